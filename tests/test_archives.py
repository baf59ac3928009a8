"""Archives (RFC 5005, section 4): what a reader that comes late can go back to, and that never changes once it is full."""

from __future__ import annotations

import json
from datetime import timedelta

import feedparser
import pytest
from lxml import etree

from feeder.selection import Feeds
from feeder.store import open_store
from tests.house import House
from tests.validator import problems

LINK = "{http://www.w3.org/2005/Atom}link"
BASE = "https://feeds.example.org"


@pytest.fixture
def house(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/feeder.db")
    yield House(tmp_path, store, feeds=Feeds(limit=3))
    store.close()


def day(house: House, number: int, **keys: str) -> None:
    house.write(f"day-{number:02}", publishedDateTime=f"2025-06-{number:02}T10:00:00Z", **keys)


def titles(house: House, path: str) -> list[int]:
    return [int(entry.title[-2:]) for entry in feedparser.parse(house.document(path)).entries]


def links(house: House, path: str) -> dict[str, str]:
    tree = etree.fromstring(house.document(path))
    found = {link.get("rel"): link.get("href") for link in tree.findall(f".//{LINK}") if link.get("rel") != "related"}
    return {
        rel: href.removeprefix(f"{BASE}/feeds/") for rel, href in found.items() if href.startswith(f"{BASE}/feeds/")
    }


def everything(house: House) -> list[int]:
    """All entries that a reader meets who goes back from the newest document."""
    found, path = [], "feeds/ai.atom"
    while path:
        found += titles(house, path)
        previous = links(house, path).get("prev-archive", "")
        path = f"feeds/{previous}" if previous else ""
    return found


def test_a_feed_that_holds_no_more_than_its_limit_has_no_archive(house):
    for number in (1, 2, 3):
        day(house, number)
    house.run()

    assert (titles(house, "feeds/ai.atom"), house.paths("feeds/ai/")) == ([3, 2, 1], [])
    assert "prev-archive" not in links(house, "feeds/ai.atom")


def test_what_leaves_the_newest_stands_in_archives_of_the_same_size(house):
    for number in range(1, 9):
        day(house, number)
    house.run()

    assert titles(house, "feeds/ai.atom") == [8, 7, 6]
    assert titles(house, "feeds/ai/archive/1.atom") == [3, 2, 1]
    assert titles(house, "feeds/ai/archive/2.atom") == [6, 5, 4]
    assert sorted({*everything(house)}) == [*range(1, 9)]


def test_the_newest_document_is_never_left_empty(house):
    for number in range(1, 7):
        day(house, number)
    house.run()

    assert titles(house, "feeds/ai.atom") == [6, 5, 4]
    assert [titles(house, f"feeds/ai/archive/{number}.atom") for number in (1, 2)] == [[3, 2, 1], []]


@pytest.mark.parametrize("extension", ["rss", "atom"])
def test_archives_are_chained_by_links_and_say_what_they_are(house, extension):
    for number in range(1, 9):
        day(house, number)
    house.run()

    def at(number: int) -> str:
        return f"ai/archive/{number}.{extension}"

    newest, first, second = (links(house, f"feeds/{path}") for path in (f"ai.{extension}", at(1), at(2)))
    assert (newest["self"], newest["prev-archive"]) == (f"ai.{extension}", at(2))
    assert (first["self"], first["current"], first["next-archive"]) == (at(1), f"ai.{extension}", at(2))
    assert (second["prev-archive"], second["next-archive"]) == (at(1), at(3))
    assert "prev-archive" not in first
    mark = "{http://purl.org/syndication/history/1.0}archive"
    assert etree.fromstring(house.document(f"feeds/{at(1)}")).find(f".//{mark}") is not None
    assert etree.fromstring(house.document(f"feeds/ai.{extension}")).find(f".//{mark}") is None


def test_json_feeds_lead_back_by_their_next_url(house):
    for number in range(1, 9):
        day(house, number)
    house.run()

    found, url = [], f"{BASE}/feeds/ai.json"
    while url:
        data = json.loads(house.document(url.removeprefix(f"{BASE}/")))
        found += [int(item["title"][-2:]) for item in data["items"]]
        url = data.get("next_url")
    assert sorted({*found}) == [*range(1, 9)]


def test_pages_lead_to_older_ones_and_back(house):
    for number in range(1, 9):
        day(house, number)
    house.run()

    def ways(path: str) -> dict[str, str]:
        tree = etree.HTML(house.document(path))
        return {each.get("rel"): each.get("href") for each in tree.xpath("//nav/a")}

    assert ways("topics/ai/index.html") == {"prev": "/topics/ai/archive/2/"}
    assert ways("topics/ai/archive/2/index.html") == {"prev": "/topics/ai/archive/1/", "next": "/topics/ai/"}
    assert ways("topics/ai/archive/1/index.html") == {"next": "/topics/ai/archive/2/"}


def test_a_full_archive_never_changes_as_more_comes(house):
    for number in range(1, 8):
        day(house, number)
    house.run()
    full = {path: house.document(path) for path in house.paths("feeds/ai/archive/1.")}
    assert len(full) == 3

    for number in range(8, 25):
        day(house, number)
        house.run()

    assert {path: house.document(path) for path in full} == full
    assert sorted({*everything(house)}) == [*range(1, 25)]


def test_every_link_to_a_next_archive_leads_somewhere(house):
    for number in range(1, 9):
        day(house, number)
    house.run()

    for path in house.paths("feeds/ai/archive/"):
        if path.endswith("json"):
            continue
        for rel, to in links(house, path).items():
            assert house.document(f"feeds/{to}"), rel


@pytest.mark.parametrize("filled_at_once", [1, 2, 50])
@pytest.mark.parametrize("one_by_one", [True, False])
def test_articles_one_by_one_and_all_at_once_end_in_full_archives_without_gaps(
    house, monkeypatch, one_by_one, filled_at_once
):
    monkeypatch.setattr("feeder.publisher._FILLED_AT_ONCE", filled_at_once)
    for number in range(1, 14):
        day(house, number)
        if one_by_one or number == 13:
            house.run()

    found = everything(house)
    assert sorted({*found}) == [*range(1, 14)]
    for number in range(1, 4):
        assert len(titles(house, f"feeds/ai/archive/{number}.atom")) == 3


def test_a_correction_and_a_removal_show_in_the_archive_that_holds_the_article(house):
    for number in range(1, 9):
        day(house, number)
    house.run()
    day(house, 2, title="Corrected 02")
    (house.source / "day-03.md").unlink()

    report = house.run()

    assert titles(house, "feeds/ai/archive/1.atom") == [2, 1]
    assert b"Corrected 02" in house.document("feeds/ai/archive/1.rss")
    assert "feeds/ai/archive/2.atom" not in report.documents


def test_an_old_article_that_comes_late_is_seen_in_the_newest_document(house):
    for number in range(2, 10):
        day(house, number)
    house.run()
    before = house.document("feeds/ai/archive/1.atom")

    day(house, 1)
    house.run()

    assert 1 in titles(house, "feeds/ai.atom")
    assert house.document("feeds/ai/archive/1.atom") == before
    assert sorted({*everything(house)}) == [*range(1, 10)]


def test_a_feed_that_lost_its_articles_takes_its_archives_along_and_begins_again(house):
    for number in range(1, 9):
        day(house, number)
    house.run()
    for path in house.source.iterdir():
        path.unlink()
    house.accept_deletions = True
    house.run()
    assert house.paths("feeds/ai") == ["feeds/ai.atom", "feeds/ai.json", "feeds/ai.rss"]
    assert b"archive" not in house.document("feeds/ai.atom")
    assert house.gone("feeds/ai/archive/1.atom") == ""
    assert not list(house.public.rglob("archive"))

    for number in range(11, 16):
        day(house, number)
    house.run()
    assert titles(house, "feeds/ai/archive/1.atom") == [13, 12, 11]


def test_an_embargoed_article_stands_in_no_archive_before_its_time(house):
    house.time += timedelta(days=1)
    for number in range(1, 9):
        day(house, number)
    house.write("later", title="Later 99", publishedDateTime="2026-06-01T10:00:00Z")
    house.run()

    assert 99 not in everything(house)


def test_archives_are_valid_and_survive_a_start_and_other_settings(house):
    for number in range(1, 9):
        day(house, number)
    house.run()
    before = {path: house.document(path) for path in house.paths()}
    house.run()
    assert {path: house.document(path) for path in house.paths()} == before

    for path, body in before.items():
        extension = path.rpartition(".")[2]
        if extension in ("rss", "atom", "json"):
            kind = {"rss": "rss+xml", "atom": "atom+xml", "json": "feed+json"}[extension]
            assert problems(path, f"application/{kind}; charset=utf-8", body) == []

    house.feeds = Feeds(limit=4)
    house.run()
    assert sorted({*everything(house)}) == [*range(1, 9)]
