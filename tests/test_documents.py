"""Feeds as bytes: golden files beside the rules that they must keep."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import feedparser
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from feeder.articles.parse import parse
from feeder.feeds import documents, jsonfeed
from feeder.models import Article, Channel, Document, Entry, Feed, Image, Provider, RelatedLink, Site, Topic
from feeder.text import line
from tests.worker import ROOT, SEEDS

GOLDEN = Path(__file__).parent / "golden"
SITE = Site(title="Feeder", base_url="https://feeds.example.org", language="en", id_authority="example.org,2026")
ATOM = {
    "a": "http://www.w3.org/2005/Atom",
    "media": "http://search.yahoo.com/mrss/",
    "dc": "http://purl.org/dc/elements/1.1/",
}


def entry(article: Article) -> Entry:
    return Entry(article=article, updated=article.published)


def seeds(topic: str | None = None) -> Feed:
    articles = [parse(path.read_bytes(), path.name).article for path in SEEDS.glob("*.md")]
    chosen = [each for each in articles if topic is None or topic in [found.slug for found in each.topics]]
    ordered = sorted(chosen, key=lambda each: each.published, reverse=True)
    title = {"ai": "AI", "ai-ethics": "AI Ethics", "machine-learning": "Machine Learning"}.get(topic or "", "")
    return feed(topic or "all", title, *(entry(each) for each in ordered))


def feed(name: str, title: str, *entries: Entry) -> Feed:
    return Feed(channel=Channel(name=name, title=title), entries=entries)


def built(feed: Feed) -> dict[str, Document]:
    made = [*documents.documents(feed, SITE), jsonfeed.document(feed, SITE)]
    return {document.path.rpartition(".")[2]: document for document in made}


def of(article: Article) -> dict[str, Document]:
    return built(feed("ai", "AI", entry(article)))


def article(**changes: object) -> Article:
    kept = {
        "id": "0" * 32,
        "title": "Title",
        "url": "https://news.example.org/a",
        "published": datetime(2025, 6, 1, 10, tzinfo=UTC),
    }
    return Article(**{**kept, **changes})


@pytest.mark.parametrize("topic", ["ai", "ai-ethics", "machine-learning"])
@pytest.mark.parametrize("extension", ["rss", "atom", "json"])
def test_the_seeds_give_the_golden_documents(topic, extension):
    golden = GOLDEN / f"{topic}.{extension}"

    assert built(seeds(topic))[extension].body == golden.read_bytes()


def test_the_same_feed_gives_the_same_bytes_in_another_process_time_zone_and_locale():
    code = "from tests.test_documents import built, seeds; print({k: d.body for k, d in built(seeds()).items()})"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "TZ": zone, "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for zone, seed in [("UTC", "1"), ("Asia/Kolkata", "2"), ("America/New_York", "3")]
    }

    assert len(outputs) == 1
    assert outputs.pop().strip() == str({name: document.body for name, document in built(seeds()).items()})


@pytest.mark.parametrize("extension", ["rss", "atom"])
def test_a_feed_parses_with_its_entries_newest_first_and_its_dates(extension):
    found = feedparser.parse(built(seeds("ai"))[extension].body)

    assert not found.bozo
    assert len(found.entries) == 5
    assert [each.published_parsed[:3] for each in found.entries] == sorted(
        (each.published_parsed[:3] for each in found.entries), reverse=True
    )
    assert found.feed.language == "en"
    assert found.feed.updated_parsed == found.entries[0].published_parsed


@pytest.mark.parametrize(("extension", "prefix"), [("rss", "//item/a:link"), ("atom", "//a:entry/a:link")])
def test_entries_carry_alternate_via_and_related_links_with_their_rel(extension, prefix):
    tree = etree.fromstring(built(seeds("ai-ethics"))[extension].body)
    links = [(link.get("rel"), link.get("href"), link.get("title")) for link in tree.xpath(prefix, namespaces=ATOM)]
    source = "https://theintercept.com/2023/07/25/strike-hollywood-ai-disney-netflix/"

    assert [link for link in links if link[0] == "related"] == [
        ("related", each.url, each.title) for each in seeds("ai-ethics").entries[0].article.related
    ]
    assert ("via", source, None) in links
    assert len([link for link in links if link[0] == "alternate"]) == (1 if extension == "atom" else 0)


@pytest.mark.parametrize(("extension", "path"), [("rss", "//channel/a:link"), ("atom", "/a:feed/a:link")])
def test_a_feed_names_itself(extension, path):
    tree = etree.fromstring(built(seeds("ai"))[extension].body)
    links = {link.get("rel"): (link.get("href"), link.get("type")) for link in tree.xpath(path, namespaces=ATOM)}

    media_type = {"rss": "application/rss+xml", "atom": "application/atom+xml"}[extension]
    assert links["self"] == (f"https://feeds.example.org/feeds/ai.{extension}", media_type)


def test_rss_names_the_page_not_the_feed_as_its_link():
    tree = etree.fromstring(built(seeds("ai"))["rss"].body)

    assert [tree.findtext("channel/link"), tree.findtext("channel/title")] == [
        "https://feeds.example.org/topics/ai/",
        "AI · Feeder",
    ]


def test_an_article_has_one_id_in_all_feeds_and_formats():
    ids = set()
    for topic in ("ai", "ai-ethics", None):
        for extension in ("rss", "atom"):
            found = feedparser.parse(built(seeds(topic))[extension].body)
            ids |= {each.id for each in found.entries if each.title.startswith("As Actors")}
        found = json.loads(built(seeds(topic))["json"].body)
        ids |= {each["id"] for each in found["items"] if each["title"].startswith("As Actors")}

    assert ids == {"tag:example.org,2026:article/1964ab76b37c3276d4bc3b18494e2410"}


@pytest.mark.parametrize("extension", ["rss", "atom", "json"])
def test_every_address_in_a_document_is_absolute(extension):
    body = built(seeds("ai"))[extension].body.decode()

    for mark in ('href="', "src=", '"url": "'):
        for rest in body.split(mark)[1:]:
            assert rest.lstrip('\\"').startswith(("http://", "https://"))


def test_provider_topics_and_image_are_told():
    made = of(
        article(
            provider=Provider(name="The Paper", domain="paper.example"),
            topics=(Topic(label="AI & You", slug="ai-and-you-1"), Topic(label="AI", slug="ai")),
            images=(Image(url="https://paper.example/a.jpg", width=640, height=480, title="A picture"),),
        )
    )
    rss, atom = etree.fromstring(made["rss"].body), etree.fromstring(made["atom"].body)
    item = json.loads(made["json"].body)["items"][0]

    assert rss.xpath("//item/dc:creator/text()", namespaces=ATOM) == ["The Paper"]
    assert atom.xpath("//a:entry/a:author/a:name/text()", namespaces=ATOM) == ["The Paper"]
    assert item["authors"] == [{"name": "The Paper", "url": "https://paper.example/"}]
    assert rss.xpath("//item/category/text()") == ["AI & You", "AI"]
    assert atom.xpath("//a:entry/a:category/@label", namespaces=ATOM) == ["AI & You", "AI"]
    assert item["tags"] == ["AI & You", "AI"]
    for tree in (rss, atom):
        (image,) = tree.xpath("//media:content", namespaces=ATOM)
        assert dict(image.attrib) == {
            "url": "https://paper.example/a.jpg",
            "medium": "image",
            "width": "640",
            "height": "480",
        }
    assert item["image"] == "https://paper.example/a.jpg"
    assert '<img src="https://paper.example/a.jpg" alt="A picture" width="640" height="480">' in item["content_html"]


def test_content_holds_the_excerpt_and_the_related_coverage_with_its_source():
    related = (RelatedLink(title="Other <b>", url="https://b.example/?a=1&b=2", provider=Provider(name="B & C")),)
    content = (
        feedparser.parse(of(article(excerpt="Short & sweet", related=related))["atom"].body).entries[0].content[0].value
    )

    assert content == (
        "<p>Short &amp; sweet</p><h3>Related</h3><ul><li>"
        '<a href="https://b.example/?a=1&amp;b=2">Other &lt;b&gt;</a> (B &amp; C)</li></ul>'
    )


def test_a_body_stands_in_the_content_in_place_of_the_excerpt():
    content = json.loads(of(article(excerpt="Short", content="<p>Long</p>"))["json"].body)["items"][0]

    assert (content["content_html"], content["summary"]) == ("<p>Long</p>", "Short")


def test_a_summary_that_reads_as_html_is_escaped_for_those_who_read_it_so():
    made = of(article(excerpt="1 < 2 & <b>"))

    assert b"<description>1 &amp;lt; 2 &amp;amp; &amp;lt;b&amp;gt;</description>" in made["rss"].body
    assert feedparser.parse(made["rss"].body).entries[0].summary == "1 &lt; 2 &amp; &lt;b&gt;"
    assert b'<summary type="html">1 &amp;lt; 2 &amp;amp; &amp;lt;b&amp;gt;</summary>' in made["atom"].body


def test_an_article_without_anything_but_title_link_and_date_is_an_entry():
    made = of(article())

    for extension in ("rss", "atom"):
        (found,) = feedparser.parse(made[extension].body).entries
        assert (found.title, found.link) == ("Title", "https://news.example.org/a")
    assert json.loads(made["json"].body)["items"][0]["content_html"] == "<p>Title</p>"


def test_a_feed_without_entries_is_a_feed():
    for document in built(feed("all", "")).values():
        assert document.body
    assert feedparser.parse(built(feed("all", ""))["atom"].body).feed.title == "Feeder"


text = st.text(max_size=60)


@given(
    title=text.map(line).filter(bool),
    excerpt=text.map(line),
    body=text,
    label=text.map(line).filter(bool),
    other=text.map(line).filter(bool),
)
def test_any_text_gives_documents_that_parse_and_say_it(title, excerpt, body, label, other):
    front_matter = json.dumps(
        {"title": "x", "webUrl": "https://a.example/b", "publishedDateTime": "2025-06-01T10:00:00Z"}
    )
    content = parse(f"---\n{front_matter}\n---\n{body}".encode("utf-8", "replace"), "x.md").article.body
    made = of(
        article(
            title=title,
            excerpt=excerpt,
            body=content,
            topics=(Topic(label=label, slug="x"),),
            provider=Provider(name=other),
            images=(Image(url="https://a.example/i", title=other),),
            related=(RelatedLink(title=other, url="https://b.example/"),),
        )
    )

    atom, rss = etree.fromstring(made["atom"].body), etree.fromstring(made["rss"].body)
    told = atom.find("a:entry/a:title", namespaces=ATOM)
    assert (unescape(told.text) if told.get("type") == "html" else told.text) == title
    assert rss.findtext("channel/item/title").replace("\u200b", "") == title.replace("\u200b", "")
    assert json.loads(made["json"].body)["items"][0]["title"] == title
    html = etree.HTML(json.loads(made["json"].body)["items"][0]["content_html"])
    assert (
        html.xpath("//script | //style | //iframe | //@onerror | //@style | //a[starts-with(@href, 'javascript')]")
        == []
    )


def regenerate() -> None:
    """Write the golden files: `python -c 'from tests.test_documents import *; regenerate()'`; then read the difference."""
    GOLDEN.mkdir(exist_ok=True)
    for topic in ("ai", "ai-ethics", "machine-learning"):
        for extension, document in built(seeds(topic)).items():
            (GOLDEN / f"{topic}.{extension}").write_bytes(document.body)
