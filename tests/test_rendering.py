"""What an article or a feed breaks while it is rendered: it is named and left out, and nothing else stops."""

from __future__ import annotations

import json
import subprocess
import sys

import feedparser
import pytest
from msgspec.structs import replace

from feeder import inspection, markdown
from feeder.articles import parse
from feeder.feeds import content, pages
from feeder.markdown import LARGEST, to_html
from feeder.models import Channel, Entry, Feed
from feeder.rendering import Unrenderable, render
from feeder.store import catalog, open_store
from tests.articles import article
from tests.house import SITE, House
from tests.worker import environment

EVERYTHING = Channel(name="all")
REFERENCES = f"[a]: https://x.example/{'a' * 20_000}\n\n" + "[a] " * 9_000  # 47 KB, 180 MB when each is written out


@pytest.fixture
def house(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/feeder.db")
    yield House(tmp_path, store)
    store.close()


def write_body(house: House, name: str, body: str, **keys: str) -> None:
    path = house.write(name, **keys)
    path.write_text(path.read_text() + body)


def problems(house: House) -> dict[str, str]:
    with house.store.read() as connection:
        return {problem.where: problem.reason for problem in catalog.problems(connection)}


# --- one article ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", ["<p>a&#1;b</p>", "&#xFFFE;", '<p title="&#2;">a</p>', "a\x01b", "&#xD800; &#x110000; &#0;"]
)
def test_a_body_of_what_xml_cannot_hold_is_published_without_it(house, body):
    write_body(house, "odd", body)
    house.write("plain")

    assert house.run().problems == ()
    assert sorted(house.titles()) == ["Title of odd", "Title of plain"]
    assert json.loads(house.document("feeds/ai.json"))["items"]


def test_an_article_that_cannot_be_rendered_is_named_and_left_out_and_all_others_are_published(house):
    write_body(house, "huge", REFERENCES, topics="[AI, Space]")
    house.write("plain")

    (problem,) = house.run().problems

    assert problem.where == "huge.md"
    assert f"at most {LARGEST:,} are published" in problem.reason
    assert problems(house) == {"huge.md": problem.reason}
    assert house.titles("all") == house.titles("ai") == ["Title of plain"]
    assert house.titles("space") == []


def test_it_stays_out_until_its_file_changes(house):
    write_body(house, "huge", REFERENCES)
    house.run()
    house.settle()
    assert problems(house)
    assert house.run().problems == ()  # it was said

    house.write("huge", title="Short now")
    house.run()

    assert house.titles() == ["Short now"]
    assert problems(house) == {}


def test_a_published_article_that_becomes_unrenderable_leaves_its_feeds(house):
    write_body(house, "one", "Short.")
    house.run()
    write_body(house, "one", REFERENCES)

    (problem,) = house.run().problems

    assert problem.where == "one.md"
    assert house.titles() == []


def test_one_that_breaks_an_archive_is_left_out_of_it_and_named(house):
    for day in range(1, 13):
        house.write(f"n{day:02}", publishedDateTime=f"2025-06-{day:02}T10:00:00Z")
    write_body(house, "huge", REFERENCES, publishedDateTime="2025-05-01T10:00:00Z")
    house.feeds = replace(house.feeds, limit=5)

    house.run()

    assert list(problems(house)) == ["huge.md"]
    archived = feedparser.parse((house.public / "feeds/all/archive/1.rss").read_bytes()).entries
    assert "Title of huge" not in {entry.title for entry in archived}
    assert archived


def test_check_names_what_cannot_be_rendered(house):
    write_body(house, "huge", REFERENCES)
    house.write("plain")

    found = inspection.inspect_articles(house.source, 1_000_000, house.time, lambda *_: None, house.feeds)

    assert found.articles == 2
    assert [problem.where for problem in found.problems] == [str(house.source / "huge.md")]


# --- a feed --------------------------------------------------------------------------------------------------------------


def test_a_feed_that_cannot_be_rendered_stays_as_it_was_and_the_others_go_on(house, monkeypatch):
    house.write("one")
    house.write("two", topics="[Space]")
    house.run()
    before = house.document("feeds/space.rss")
    house.write("three", topics="[AI, Space]", title="Third")
    whole = pages.feed

    with monkeypatch.context() as fault:
        fault.setattr(
            pages,
            "feed",
            lambda feed, *rest: (
                1 / 0 if len(feed.entries) == 2 and feed.channel.name == "space" else whole(feed, *rest)
            ),
        )
        found = house.run().problems

    assert [problem.where for problem in found] == ["feed space"]
    assert house.document("feeds/space.rss") == before
    assert "Third" in house.titles("ai")

    house.run()
    assert "Third" in house.titles("space")


def test_who_is_to_blame_is_found_among_many():
    good, bad = article(id="a" * 32), article(id="b" * 32, body=REFERENCES)
    feed = Feed(channel=EVERYTHING, entries=tuple(Entry(article=each, updated=each.published) for each in (good, bad)))

    with pytest.raises(Unrenderable) as error:
        render(feed, EVERYTHING, SITE)

    assert list(error.value.articles) == [bad.id]


# --- bounds --------------------------------------------------------------------------------------------------------------


def test_a_reference_that_is_used_often_takes_no_memory():
    """270 MB it took, for 47 KB."""
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (700_000_000,) * 2); from feeder.markdown import to_html\n"
        "try: to_html(sys.stdin.read(), 'https://x.example/')\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=REFERENCES, capture_output=True, text=True, check=True, env=environment()
    )

    assert "characters of HTML" in done.stdout


def test_a_body_may_be_as_large_as_a_file():
    assert len(to_html("word " * 200_000, "https://x.example/")) > 900_000


def test_a_feed_holds_as_many_of_its_newest_articles_as_a_reader_takes():
    large = [article(id=f"{number:032}", body=f"{number} " + "word " * 200_000) for number in range(12)]
    feed = Feed(channel=EVERYTHING, entries=tuple(Entry(article=each, updated=each.published) for each in large))

    kept = content.within_bounds(feed).entries

    assert kept == feed.entries[: len(kept)]
    assert 1 < len(kept) < 12
    assert sum(len(content.content_html(entry.article)) for entry in kept) <= 8_000_000


def test_a_large_body_is_rendered_once_for_all_documents(monkeypatch):
    rendered = []
    whole = markdown.to_html
    monkeypatch.setattr(markdown, "to_html", lambda *arguments: rendered.append(1) or whole(*arguments))
    large = article(body="once for all " * 10_000)
    feed = Feed(channel=EVERYTHING, entries=(Entry(article=large, updated=large.published),))

    render(feed, EVERYTHING, SITE)
    render(replace(feed, channel=Channel(name="ai", title="AI")), EVERYTHING, SITE)

    assert len(rendered) == 1


def test_one_article_is_never_too_large_for_its_feed(monkeypatch):
    monkeypatch.setattr(content, "_LARGEST", 10)
    feed = Feed(channel=EVERYTHING, entries=(Entry(article=article(), updated=article().published),))

    assert content.within_bounds(feed) == feed


@pytest.mark.parametrize(
    ("key", "written", "read", "complaint"),
    [
        ("topics", [f"t{number}" for number in range(3_000)], 50, "topics: lists 3,000; the first 50 are read"),
        (
            "images",
            [{"url": f"https://x.example/{number}"} for number in range(60)],
            50,
            "images: lists 60; the first 50 are read",
        ),
        (
            "related",
            [{"title": "a", "webUrl": f"https://x.example/{number}"} for number in range(500)],
            100,
            "related: lists 500; the first 100 are read",
        ),
        ("title", "a" * 5_000, 1_000, "title: holds 5,000 characters; the first 1,000 are read"),
        ("excerpt", "b " * 15_000, 20_000, "excerpt: holds 30,000 characters; the first 20,000 are read"),
        ("topics", ["a" * 300, "AI"], 1, f"topics[0]: '{'a' * 59}…' is longer than 200 characters; left out"),
    ],
)
def test_what_an_article_may_hold_of_one_kind_is_bounded(key, written, read, complaint):
    keys = {"title": "A", "publishedDateTime": "2026-01-31T12:00:00Z", "webUrl": "https://news.example/a", key: written}
    data = "---\n" + "".join(f"{name}: {json.dumps(value)}\n" for name, value in keys.items()) + "---\n"

    found = parse.parse(data.encode(), "a.md")

    assert [warning.reason for warning in found.warnings if "publishedDateTime" not in warning.reason] == [complaint]
    assert abs(len(getattr(found.article, key)) - read) <= 1  # white space at the end of a text is none of it


# --- many feeds ----------------------------------------------------------------------------------------------------------


def test_pages_do_not_grow_with_all_feeds(house):
    for number in range(12):
        house.write(f"a{number}", topics=json.dumps([f"Topic {number} {each}" for each in range(50)]))
    house.run()

    index = house.document("index.html").decode()
    assert len(index) < 400_000
    assert index.count("<section aria-labelledby") == pages.FEEDS
    assert f"All topics, {600 - pages.FEEDS} more" in index
    lists = [*house.paths("topics/page."), "topics/index.html"]
    assert len(lists) == 600 // pages.LISTED
    listed = "".join(house.document(path).decode() for path in lists)
    assert all(f"/topics/topic-{number}-{each}/" in listed for number in range(12) for each in range(50))


def test_the_first_page_shows_the_feeds_with_the_newest_articles_and_the_list_shrinks_with_them(house, monkeypatch):
    monkeypatch.setattr(pages, "FEEDS", 2)
    monkeypatch.setattr(pages, "LISTED", 2)
    for number, topic in enumerate("ABCDE", 1):
        house.write(topic, topics=f"[{topic} topic]", publishedDateTime=f"2025-06-0{number}T10:00:00Z")
    house.run()

    index = house.document("index.html").decode()
    assert [f"topics/{slug}-topic/" in index for slug in "abcde"] == [False, False, False, True, True]
    assert house.paths("topics/page.") == ["topics/page.2/index.html", "topics/page.3/index.html"]

    for topic in "ABCD":
        house.write(topic, topics="[E topic]", publishedDateTime="2025-06-09T10:00:00Z")
    house.run()

    assert house.paths("topics/page.") == []


def test_few_feeds_are_listed_too_though_the_first_page_shows_them_all(house):
    """The categories of an RSS feed lead to the list."""
    house.write("one")
    house.run()

    assert "All topics" not in house.document("index.html").decode()
    assert '<a href="/topics/ai/"' in house.document("topics/index.html").decode().replace(
        "https://feeds.example.org", ""
    )
    assert house.paths("topics/page.") == []
