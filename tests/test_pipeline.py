"""Passes over real folders and real SQLite files, with a clock that the test holds."""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import feedparser
import pytest
from msgspec.structs import replace

from feeder.errors import FolderError
from feeder.models import Rules, State
from feeder.pipeline import Report
from feeder.selection import PLAIN_FEEDS, Feeds, TopicRules
from feeder.store import catalog, deliveries, documents, feeds, open_store
from feeder.wallclock import reschedule
from tests.house import SITE, START, House
from tests.worker import SEEDS


@pytest.fixture
def house(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/feeder.db")
    yield House(tmp_path, store)
    store.close()


def test_the_seeds_make_four_feeds(house):
    shutil.copytree(SEEDS, house.source, dirs_exist_ok=True)

    report = house.run()

    assert (report.changed, report.problems) == (5, ())
    assert {name: len(house.titles(name)) for name in ("all", "ai", "ai-ethics", "machine-learning")} == {
        "all": 5,
        "ai": 5,
        "ai-ethics": 1,
        "machine-learning": 1,
    }
    assert sorted(path.name for path in (house.public / "feeds").iterdir()) == sorted(
        f"{name}.{extension}{packed}"
        for name in ("all", "ai", "ai-ethics", "machine-learning")
        for extension in ("rss", "atom", "json")
        for packed in ("", ".gz")
    )


def test_an_idle_pass_reads_and_writes_nothing(house):
    house.write("one")
    house.settle()

    assert house.run() == Report()


def test_a_file_that_just_changed_is_read_once_more(house):
    house.time = datetime.now(UTC) - timedelta(minutes=1)
    house.write("one")
    house.run()

    assert house.run().changed == 1


@contextmanager
def one_descriptor_left():
    """Let this process open its folder and no file in it: EMFILE."""
    free = [os.open("/dev/null", os.O_RDONLY) for _ in range(2)]
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    for descriptor in free:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(free), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_read_that_fails_for_a_moment_is_tried_again_and_costs_no_published_version(house):
    house.write("one")
    house.settle()
    house.write("one", title="Corrected")
    pipeline = house.pipeline()
    with one_descriptor_left():
        (problem,) = pipeline.run().problems
    assert (problem.reason, problem.transient) == ("cannot be read: Too many open files", True)
    assert house.titles() == ["Title of one"]

    house.run()

    assert house.titles() == ["Corrected"]
    assert house.run().problems == ()


def test_an_article_whose_other_file_cannot_be_read_for_a_moment_stays_published(house):
    house.write("one", webUrl="https://a.example/story", publishedDateTime="2025-06-02T10:00:00Z")
    house.write("two", webUrl="https://a.example/story")
    house.settle()
    (house.source / "one.md").unlink()
    pipeline = house.pipeline()
    with one_descriptor_left():
        pipeline.run()
    assert house.titles() == ["Title of one"]

    house.run()

    assert house.titles() == ["Title of two"]


def test_one_new_article_touches_the_documents_of_its_own_topics_alone(house):
    house.write("one", topics="[AI]")
    house.write("two", topics="[Space]")
    house.run()
    house.write("three", topics="[Space]")

    assert house.run("three.md").documents == (
        *(f"feeds/all.{extension}" for extension in ("rss", "atom", "json")),
        "topics/all/index.html",
        *(f"feeds/space.{extension}" for extension in ("rss", "atom", "json")),
        "topics/space/index.html",
    )
    assert b"Title of three" in (house.public / "index.html").read_bytes()  # which came after the pass


def test_a_pass_over_a_folder_alone_finds_what_came_into_it_and_what_went(house):
    house.write("one")
    house.write("deep/two")
    house.write("deep/deeper/three")
    house.write("deep0")
    house.settle()
    (house.source / "deep" / "two.md").unlink()
    house.write("deep/four")

    report = house.run("deep")

    assert (report.changed, report.gone, report.unjudged) == (1, 0, True)
    assert house.run().gone == 1
    assert sorted(house.titles()) == [f"Title of {name}" for name in ("deep/deeper/three", "deep/four", "deep0", "one")]


def test_a_pass_over_a_folder_that_has_gone_finds_everything_in_it_gone(house):
    house.write("one")
    house.write("deep/two")
    house.write("deep/deeper/three")
    house.settle()
    (house.source / "deep").rename(house.folder / "away")

    report = house.run("deep", "4913")

    assert (report.changed, report.gone, report.unjudged) == (0, 0, True)
    assert len(house.titles()) == 3
    assert (house.run().gone, house.titles()) == (2, ["Title of one"])


def test_two_files_with_one_url_are_one_entry_and_the_newer_speaks(house):
    house.write("one", webUrl="https://a.example/story")
    house.write("two", webUrl="https://A.example/story/?utm_source=x#top", publishedDateTime="2025-06-02T10:00:00Z")

    house.run()
    assert house.titles() == ["Title of two"]

    (house.source / "two.md").unlink()
    house.run()
    assert house.titles() == ["Title of one"]

    house.write("two", webUrl="https://a.example/story", publishedDateTime="2025-05-02T10:00:00Z")
    house.run()
    assert house.titles() == ["Title of one"]


def test_the_entry_of_an_article_keeps_its_id_when_another_file_speaks_for_it(house):
    house.write("one", webUrl="https://a.example/story")
    house.run()
    first = feedparser.parse((house.public / "feeds/all.atom").read_bytes()).entries[0]
    house.write("two", webUrl="https://a.example/story", publishedDateTime="2025-06-02T10:00:00Z")
    house.run()

    assert feedparser.parse((house.public / "feeds/all.atom").read_bytes()).entries[0].id == first.id


def test_entries_stand_newest_first_and_the_limit_holds(house):
    house.feeds = Feeds(limit=2)
    for day in (3, 1, 4, 2):
        house.write(f"day-{day}", publishedDateTime=f"2025-06-0{day}T10:00:00Z")

    house.run()

    assert house.titles("ai") == ["Title of day-4", "Title of day-3"]


def test_a_deleted_file_leaves_its_feeds_and_a_feed_without_articles_stays(house):
    house.write("one", topics="[AI, Rare]")
    house.write("two")
    house.run()
    (house.source / "one.md").unlink()

    report = house.run()

    assert report.gone == 1
    assert house.titles("ai") == ["Title of two"]
    assert house.titles("rare") == []
    assert [house.gone(f"feeds/rare.{extension}") for extension in ("rss", "atom", "json")] == [None] * 3
    assert b"No article is published here." in (house.public / "topics/rare/index.html").read_bytes()


def test_an_article_that_comes_back_is_not_told_again(house):
    house.targets = [Rules(target="t")]
    house.run()
    path = house.write("one")
    text = path.read_text()
    house.run()
    path.unlink()
    house.run()

    path.write_text(text)
    report = house.run()

    assert house.titles() == ["Title of one"]
    assert report.planned == ()
    assert house.told("t") == ["one"]


def test_a_moved_file_leaves_every_document_as_it_is(house):
    path = house.write("one")
    house.write("two")
    house.settle()
    (house.source / "deep").mkdir()
    path.rename(house.source / "deep" / "renamed.txt")

    report = house.run()

    assert (report.changed, report.gone, report.documents) == (1, 1, ())


def test_a_change_that_a_reader_sees_moves_updated_and_nothing_else(house):
    house.write("one")
    house.run()
    before = feedparser.parse((house.public / "feeds/all.atom").read_bytes()).entries[0]
    house.write("one", title="Corrected", quality="7")
    house.run()
    after = feedparser.parse((house.public / "feeds/all.atom").read_bytes()).entries[0]

    assert (after.title, after.id, after.published) == ("Corrected", before.id, before.published)
    assert (before.updated[:19], after.updated[:19]) == ("2025-06-01T10:00:00", "2026-01-01T12:02:00")


def test_a_change_that_no_reader_sees_is_kept_without_moving_updated(house):
    house.write("one", quality="7", heat="1")
    house.run()
    house.write("one", quality="8", heat="2", secured='"blob"')

    assert house.run().documents == ()
    with house.store.read() as connection:
        (entry,) = feeds.newest_entries(connection, "all", 10, house.time)
    assert (entry.article.quality, entry.updated.replace(microsecond=0)) == (8, entry.article.published)


def test_a_retagged_article_moves_between_feeds(house):
    house.write("one", topics="[AI]")
    house.run()
    house.write("one", topics="[Space]")
    house.run()

    assert (house.titles("ai"), house.titles("space")) == ([], ["Title of one"])


def test_a_bad_file_is_reported_and_its_last_good_version_stays(house):
    path = house.write("one")
    house.write("two")
    house.run()
    path.write_text("---\ntitle: half writ")

    (problem,) = house.run().problems

    assert (problem.where, problem.line) == ("one.md", 1)
    assert sorted(house.titles()) == ["Title of one", "Title of two"]
    with house.store.read() as connection:
        assert [found.where for found in catalog.problems(connection)] == ["one.md"]

    house.write("one", title="Whole again")
    assert house.run().problems == ()
    assert sorted(house.titles()) == ["Title of two", "Whole again"]


def test_drafts_stay_in_unless_the_setting_lets_them_out(house):
    house.include_drafts = False
    house.write("one", published="false")
    house.write("two", published="true")
    house.run()
    assert house.titles() == ["Title of two"]

    house.include_drafts = True
    house.run()
    assert sorted(house.titles()) == ["Title of one", "Title of two"]


def test_an_embargoed_article_comes_out_and_is_told_when_its_time_comes(house):
    house.targets = [Rules(target="t")]
    house.run()
    house.write("later", publishedDateTime="2026-01-01T13:00:00Z")
    house.run()
    assert (house.titles(), house.told("t")) == ([], [])

    house.time = datetime(2026, 1, 1, 13, tzinfo=UTC)
    report = house.run()

    assert (report.changed, house.titles("ai"), house.told("t")) == (1, ["Title of later"], ["later"])


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(days=400)])
def test_a_clock_that_was_ahead_loses_no_article_and_tells_none_again(house, ahead):
    house.targets = [Rules(target="t")]
    house.run()
    start = house.time
    embargo = (start + timedelta(minutes=30)).isoformat()
    house.write("moved")
    house.run()
    house.write("before")
    house.time = start + ahead
    house.run()
    house.write("ahead", publishedDateTime=(start + ahead).isoformat())  # as the clock has it: soon
    house.run()
    house.time = start + timedelta(minutes=5)
    reschedule(house.store, house.time, 0)
    house.write("embargoed", publishedDateTime=embargo)
    house.write("moved", publishedDateTime=embargo)  # comes out again, and is no news
    house.run()
    assert sorted(house.told("t")) == ["ahead", "before", "moved"]
    assert {"Title of before"} <= {*house.titles()} <= {"Title of before", "Title of ahead"}
    house.time = start + timedelta(minutes=31)
    house.run()

    assert sorted(house.told("t")) == ["ahead", "before", "embargoed", "moved"]
    assert {"Title of before", "Title of embargoed", "Title of moved"} <= {*house.titles()}


def test_what_waits_when_nobody_is_told_yet_is_news_when_its_time_comes(house):
    house.write("out")
    house.write("later", publishedDateTime="2026-01-01T13:00:00Z")
    house.write("draft", published="false")
    house.include_drafts = False
    house.run()
    house.targets = [Rules(target="t")]
    house.run()
    assert house.told("t") == []

    house.time, house.include_drafts = datetime(2026, 1, 1, 13, tzinfo=UTC), True
    house.run()

    assert sorted(house.told("t")) == ["draft", "later"]


def test_the_topics_of_a_rule_say_which_articles_a_target_is_told(house):
    house.targets = [Rules(target="ai", feeds=PLAIN_FEEDS.names(["ai", "Space"])), Rules(target="everything")]
    house.run()
    house.write("one", topics="[AI]")
    house.write("two", topics="[Cooking]", publishedDateTime="2025-06-02T10:00:00Z")
    house.write("three", topics="[Space]", publishedDateTime="2025-06-03T10:00:00Z")

    house.run()

    assert (house.told("ai"), house.told("everything")) == (["one", "three"], ["one", "two", "three"])


def test_a_new_target_adopts_what_is_there(house):
    for day in (1, 2, 3):
        house.write(f"day-{day}", publishedDateTime=f"2025-06-0{day}T10:00:00Z")
    house.targets = [Rules(target="quiet"), Rules(target="newcomer", backfill=2)]
    house.run()
    assert (house.told("quiet"), house.told("newcomer")) == ([], ["day-2", "day-3"])

    house.write("day-4", publishedDateTime="2025-06-04T10:00:00Z")
    house.targets.append(Rules(target="late", backfill=1))
    house.run()
    assert (house.told("quiet"), house.told("newcomer"), house.told("late")) == (
        ["day-4"],
        ["day-2", "day-3", "day-4"],
        ["day-4"],
    )


def test_a_lost_database_floods_nobody(house, tmp_path):
    house.targets = [Rules(target="t")]
    house.run()
    house.write("one")
    house.run()
    again = open_store(f"sqlite:///{tmp_path}/new.db")
    fresh = House(tmp_path, again, targets=house.targets)

    fresh.run()

    assert (fresh.told("t"), fresh.titles()) == ([], ["Title of one"])
    again.close()


def test_a_pass_that_is_stopped_half_way_plans_nothing_and_the_next_one_adopts_all(house):
    for number in range(4):
        house.write(f"number-{number}")
    house.targets = [Rules(target="t")]
    asked = iter([False, False, True, True, True, True])
    house.stopped = lambda: next(asked, True)
    house.run()

    house.stopped = lambda: False
    house.run()

    assert (house.told("t"), len(house.titles())) == ([], 4)


def test_the_same_articles_make_the_same_bytes_in_another_house(house, tmp_path):
    shutil.copytree(SEEDS, house.source, dirs_exist_ok=True)
    house.run()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    store = open_store(f"sqlite:///{elsewhere}/feeder.db")
    other = House(elsewhere, store, time=START + timedelta(days=400))
    shutil.copytree(SEEDS, other.source / "deeper", dirs_exist_ok=True)
    other.run()
    store.close()

    def published(house: House) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in house.public.rglob("*") if path.is_file()}

    assert published(other) == published(house)


def test_many_files_read_by_all_processors_come_to_the_same(house, tmp_path):
    shutil.copytree(SEEDS, house.source, dirs_exist_ok=True)
    for number in range(450):
        house.write(f"n-{number}", topics=f"[Topic {number % 7}]")
    (house.source / "broken.md").write_text("no front matter")
    house.write("renamed", topics="[AI]")
    house.feeds = Feeds(topics=(TopicRules(label="AI", slug="intelligence"),))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    store = open_store(f"sqlite:///{elsewhere}/feeder.db")
    other = House(elsewhere, store, feeds=house.feeds)
    shutil.copytree(house.source, other.source, dirs_exist_ok=True)
    house.time += timedelta(minutes=1)
    house.pipeline().prepare()
    here = house.pipeline().run()
    other.time = house.time
    other.pipeline().prepare()
    there = replace(other.pipeline(), many=1).run()

    assert there == here
    assert len(there.problems) == 1
    assert multiprocessing.active_children() == []
    assert [other.document(path) for path in other.paths()] == [house.document(path) for path in house.paths()]
    store.close()


def test_other_settings_build_the_documents_again(house):
    house.write("one")
    house.run()
    house.site = replace(SITE, title="Renamed")

    report = house.run()

    assert "feeds/all.rss" in report.documents
    assert b"Renamed" in (house.public / "feeds/all.rss").read_bytes()


def test_a_start_writes_the_documents_that_somebody_removed_and_sweeps_half_written_ones(house):
    house.write("one")
    house.run()
    before = (house.public / "feeds/ai.rss").read_bytes()
    (house.public / "feeds/ai.rss").unlink()
    (house.public / "feeds/.ai.rss.part").write_text("half")

    house.run()

    assert (house.public / "feeds/ai.rss").read_bytes() == before
    assert not (house.public / "feeds/.ai.rss.part").exists()


def test_a_start_writes_what_somebody_changed_and_leaves_the_rest_alone(house):
    house.write("one")
    house.run()
    rss, atom = house.public / "feeds/ai.rss", house.public / "feeds/ai.atom"
    before, untouched = rss.read_bytes(), atom.stat().st_ino
    rss.write_bytes(b"mine")
    (house.public / "feeds/ai.json.gz").unlink()

    house.run()

    assert rss.read_bytes() == before
    assert (house.public / "feeds/ai.json.gz").exists()
    assert atom.stat().st_ino == untouched  # written anew it would be another file


@pytest.mark.parametrize("lost", ["", "feeds", "topics", "index.html", ".feeder"])
def test_a_public_folder_that_was_deleted_is_written_by_the_next_pass(house, lost):
    house.write("one")
    house.settle()
    before = {path: path.read_bytes() for path in house.public.rglob("*") if path.is_file()}
    path = house.public / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()

    house.pipeline().run()

    assert {path: path.read_bytes() for path in house.public.rglob("*") if path.is_file()} == before


def test_a_foreign_site_is_not_overwritten_unasked(house):
    house.public.mkdir()
    (house.public / "index.html").write_text("their site")
    house.write("one")

    with pytest.raises(FolderError, match=r"holds index\.html, which feeder did not make"):
        house.run()
    assert os.listdir(house.public) == ["index.html"]
    assert (house.public / "index.html").read_text() == "their site"

    (house.public / ".feeder").touch()
    house.run()
    assert "Title of one" in (house.public / "index.html").read_text()


def test_a_folder_of_an_earlier_feeder_is_taken_without_a_word(house):
    house.write("one")
    house.run()
    (house.public / ".feeder").unlink()

    house.run()

    assert (house.public / ".feeder").exists()


def test_a_lost_database_goes_on_with_the_folder_that_is_marked(house, tmp_path):
    house.write("one")
    house.run()
    house.store = open_store(f"sqlite:///{tmp_path}/another.db")
    house.write("two")

    house.run()
    house.store.close()

    assert len(house.titles()) == 2


def test_a_file_has_the_time_that_http_says_of_its_document(house):
    house.write("one")
    house.run()
    with house.store.read() as connection:
        modified = documents.get(connection, "feeds/ai.rss").modified

    assert int((house.public / "feeds/ai.rss").stat().st_mtime) == int(modified.timestamp())


def test_a_feed_that_a_crash_left_stale_is_built_by_the_next_pass(house):
    house.write("one")
    house.run()
    with house.store.write() as connection:
        documents.remove(connection, "feeds/ai.rss", "", house.time)
        feeds.mark_stale(connection, {"ai": "AI"})

    assert house.run().documents == ("feeds/ai.rss",)


def test_what_keeps_the_first_page_from_being_built_stops_nothing_else_and_the_next_pass_builds_it(house, monkeypatch):
    house.write("one")
    with monkeypatch.context() as fault:
        fault.setattr("feeder.feeds.pages.index", lambda *_, **__: 1 / 0)
        house.run()
    assert house.titles("ai") == ["Title of one"]

    assert "index.html" in house.run().documents


def test_last_modified_moves_forward_by_a_second_with_every_change_even_when_the_clock_does_not(house):
    house.write("one")
    house.run()

    def modified() -> datetime:
        with house.store.read() as connection:
            return documents.get(connection, "feeds/all.rss").modified

    first = modified()
    house.time = START - timedelta(days=1)
    house.write("one", title="Corrected")
    house.run()

    assert modified() == first + timedelta(seconds=1)


def test_a_missing_folder_is_an_error_and_nothing_is_gone(house):
    house.write("one")
    house.run()
    house.source.rename(house.folder / "away")

    with pytest.raises(FolderError, match=re.escape(f"{house.source}: the folder of articles cannot be read")):
        house.run()

    (house.folder / "away").rename(house.source)
    house.run()
    assert house.titles() == ["Title of one"]


def test_deliveries_wait_in_the_outbox_in_order_of_publication(house):
    house.targets = [Rules(target="t")]
    house.run()
    for day in (2, 1):
        house.write(f"day-{day}", publishedDateTime=f"2025-06-0{day}T10:00:00Z")
    house.run()

    with house.store.read() as connection:
        (_, first), _ = deliveries.due(connection, house.time, 10)
    assert first == house.outbox()[-1].id
    assert {delivery.state for delivery in house.outbox()} == {State.PENDING}


def test_the_delivery_of_an_article_that_is_gone_waits_until_it_is_back(house):
    house.targets = [Rules(target="t")]
    house.run()
    path = house.write("one")
    house.run()
    path.rename(house.folder / "away.md")
    house.run()
    with house.store.read() as connection:
        assert deliveries.due(connection, house.time, 10) == []

    (house.folder / "away.md").rename(path)
    house.run()
    with house.store.read() as connection:
        assert len(deliveries.due(connection, house.time, 10)) == 1
