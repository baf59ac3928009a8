"""Articles whose files go many at a time: held, not withdrawn."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from feeder.models import Rules
from feeder.selection import Feeds
from feeder.store import missing, open_store
from tests.house import House


@pytest.fixture
def house(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/feeder.db")
    yield House(tmp_path, store)
    store.close()


def fill(house: House, number: int, folder: str = "deep") -> None:
    for each in range(number):
        house.write(f"{folder}/n-{each:02}")
    house.settle()


def empty(house: House, number: int, folder: str = "deep") -> None:
    for path in sorted((house.source / folder).iterdir())[:number]:
        path.unlink()


@pytest.mark.parametrize(
    ("orphaned", "live", "max_gone", "suspicious"),
    [
        (0, 0, 0, False),
        (0, 5, 0, False),
        (1, 1, 0, False),  # all of one
        (2, 2, 0, True),  # all of several
        (2, 3, 0, False),
        (10, 11, 0, False),
        (11, 12, 0, True),
        (20, 100, 0, False),
        (21, 100, 0, True),
        (3, 100, 3, False),
        (4, 100, 3, True),
        (100, 100, 1000, True),
        (99, 100, 1000, False),
    ],
)
def test_all_of_several_or_more_than_the_limit_are_suspicious(orphaned, live, max_gone, suspicious):
    assert missing.is_suspicious(orphaned, live, max_gone) is suspicious


def test_an_emptied_source_withdraws_nothing_and_its_return_settles_it(house):
    fill(house, 3)
    before = {path: house.document(path) for path in house.paths()}
    (house.source / "deep").rename(house.folder / "away")

    report = house.run()

    assert (report.gone, report.missing.articles, report.missing.of) == (0, 3, 3)
    assert report.missing.since == house.time
    assert house.run().missing == report.missing  # since the first pass that met it
    assert {path: house.document(path) for path in house.paths()} == before

    (house.folder / "away").rename(house.source / "deep")
    assert house.run().missing is None
    assert {path: house.document(path) for path in house.paths()} == before


def test_a_subfolder_that_is_not_there_is_held_while_other_changes_go_through(house):
    fill(house, 12)
    house.write("kept")
    house.write("odd", published="false")
    fill(house, 3, "other")
    (house.source / "deep").rename(house.folder / "away")
    house.write("new")
    (house.source / "other/n-00.md").rename(house.source / "renamed.md")

    report = house.run()

    assert (report.changed, report.gone, report.missing.articles) == (2, 1, 12)
    assert len(house.titles()) == 12 + 1 + 1 + 3 + 1
    assert "Title of new" in house.titles()


def test_what_may_go_at_once_is_a_setting(house):
    fill(house, 8)
    house.max_gone = 2
    empty(house, 3)
    assert house.run().missing.articles == 3

    house.max_gone = 3
    assert (house.run().missing, len(house.titles())) == (None, 5)


def test_a_few_deletions_are_taken_in(house):
    fill(house, 12)
    empty(house, 10)

    report = house.run()

    assert (report.gone, report.missing, len(house.titles())) == (10, None, 2)


def test_a_renamed_folder_is_no_deletion(house):
    fill(house, 12)
    (house.source / "deep").rename(house.source / "elsewhere")

    report = house.run()

    assert (report.gone, report.missing, report.documents) == (12, None, ())


def test_files_that_hold_nothing_published_of_their_own_do_not_count(house):
    house.include_drafts = False
    house.write("live")
    house.write("stays")
    for each in range(12):
        house.write(f"deep/draft-{each}", published="false")
        house.write(f"deep/copy-{each}", webUrl="https://news.example.org/stays")
        (house.source / f"deep/bad-{each}.md").write_text("no front matter")
    house.settle()
    (house.source / "deep").rename(house.folder / "away")

    report = house.run()

    assert (report.gone, report.missing) == (36, None)


def test_a_person_accepts_that_they_are_gone(house):
    fill(house, 12)
    empty(house, 12)
    assert house.run().missing is not None
    house.accept_deletions = True

    report = house.run()

    assert (report.gone, report.missing, house.titles()) == (12, None, [])
    house.accept_deletions = False
    assert house.run().missing is None


def test_what_was_accepted_for_the_next_pass_is_what_was_missing_then_and_no_more(house):
    fill(house, 40)
    with house.store.write() as connection:
        assert missing.accept(connection) is None
    empty(house, 12)
    house.run()
    with house.store.write() as connection:
        assert missing.accept(connection).articles == 12
    empty(house, 1)
    assert house.run().missing.articles == 13

    with house.store.write() as connection:
        missing.accept(connection)
    assert house.run("deep").missing.articles == 13  # a pass over some files judges nothing
    assert house.run().missing is None
    assert len(house.titles()) == 40 - 13

    empty(house, 12)
    assert house.run().missing.articles == 12  # word is good for once


def test_deleted_articles_that_are_kept_need_no_guard(house):
    house.keep_deleted = True
    fill(house, 12)
    empty(house, 12)

    report = house.run()

    assert (report.gone, report.missing, len(house.titles())) == (12, None, 12)


def test_a_pass_over_some_files_withdraws_nothing_and_asks_for_one_over_all(house):
    house.write("stays")
    house.write("one")
    house.write("two")
    house.settle()
    (house.source / "one.md").unlink()
    (house.source / "two.md").rename(house.source / "renamed.md")

    report = house.run("one.md", "two.md", "renamed.md")

    assert (report.changed, report.gone, report.unjudged) == (1, 1, True)
    assert len(house.titles()) == 3
    report = house.run()
    assert (report.gone, report.unjudged, len(house.titles())) == (1, False, 2)


def test_a_pass_that_is_stopped_midway_withdraws_nothing(house):
    fill(house, 3)
    shutil.rmtree(house.source / "deep")
    house.stopped = lambda: True

    report = house.run()

    assert (report.gone, report.missing, len(house.titles())) == (0, None, 3)


def test_a_pass_that_is_killed_midway_leaves_what_it_found_to_the_next(house):
    fill(house, 3)
    shutil.rmtree(house.source / "deep")
    pipeline = house.pipeline()

    with pytest.raises(ZeroDivisionError):
        replace(pipeline, passing=lambda _: 1 / 0).run()
    with house.store.read() as connection:
        assert missing.noted(connection) is None

    assert house.run().missing.articles == 3


def test_feeds_without_articles_are_listed_nowhere_and_dated_when_they_became_so(house):
    house.write("one", topics="[AI, Rare]")
    house.write("two")
    house.run()
    (house.source / "one.md").unlink()
    house.run()
    emptied = house.time
    before = house.document("feeds/rare.atom")

    house.feeds = Feeds(limit=49)  # everything is built again
    house.run()

    assert house.document("feeds/rare.atom") == before
    assert f"<updated>{emptied.isoformat()}</updated>".encode() in before
    assert b"rare" not in house.document("index.html")
    assert b"rare" not in house.document("feeds.opml")

    house.write("three", topics="[Rare]")
    house.run()
    assert house.titles("rare") == ["Title of three"]
    assert b"rare" in house.document("feeds.opml")


def test_a_feed_that_never_had_a_visible_article_is_not_published_empty(house):
    house.write("later", topics="[Secret]", publishedDateTime="2027-01-01T10:00:00Z")

    house.run()

    assert house.paths("feeds/secret") == []


def test_a_store_without_articles_has_a_feed_of_all_with_a_date(house):
    house.run()

    assert f"<updated>{house.time.isoformat()}</updated>".encode() in house.document("feeds/all.atom")


# --- what waits for its time --------------------------------------------------------------------------------------------


SOON = "2026-01-02T00:00:00Z"


def wait_until_out(house: House) -> None:
    """Let the time come at which SOON is past, and make the pass that is made then."""
    house.time = max(house.time, datetime.fromisoformat(SOON))
    house.run("nothing")


@pytest.mark.parametrize("keep_deleted", [False, True])
def test_what_waits_for_its_time_does_not_come_out_without_a_file(house, keep_deleted):
    house.keep_deleted = keep_deleted
    for number in range(3):
        house.write(f"deep/{number}")
    house.write("deep/secret", publishedDateTime=SOON)
    house.run()
    (house.source / "deep").rename(house.folder / "away")
    report = house.run()
    assert keep_deleted or report.missing.articles == 3

    wait_until_out(house)
    assert "Title of deep/secret" not in house.titles()

    (house.folder / "away").rename(house.source / "deep")
    house.run()
    assert "Title of deep/secret" in house.titles()


def test_what_waits_for_its_time_is_told_once_when_its_file_is_back(house):
    house.targets = [Rules(target="hook")]
    house.run()
    path = house.write("secret", publishedDateTime=SOON)
    house.run()
    path.rename(house.folder / "secret.md")
    house.run("secret.md")
    wait_until_out(house)
    assert house.outbox() == []

    (house.folder / "secret.md").rename(path)
    house.run("secret.md")
    house.run()
    assert house.told("hook") == ["secret"]


@pytest.mark.parametrize("keep_deleted", [False, True])
def test_what_waits_for_its_time_does_not_come_out_while_its_file_is_bad(house, keep_deleted):
    house.keep_deleted = keep_deleted
    house.targets = [Rules(target="hook")]
    house.run()
    house.write("secret", publishedDateTime=SOON)
    house.run()
    house.write("secret", publishedDateTime="31.12.2026")  # who writes this wants it later
    house.run()
    wait_until_out(house)
    assert (house.outbox(), house.titles()) == ([], [])

    house.write("secret", publishedDateTime="2026-01-03T00:00:00Z")
    house.run()
    assert house.outbox() == []
    house.time += timedelta(days=2)
    house.run("nothing")
    assert house.told("hook") == ["secret"]


def test_what_is_out_stays_out_while_its_file_is_bad(house):
    house.write("out")
    house.run()
    house.write("out", publishedDateTime="31.12.2026")
    house.run()

    assert house.titles() == ["Title of out"]
