"""The validator that other tests trust finds what it is there for."""

from __future__ import annotations

import json

import pytest

from feeder.articles.parse import parse
from feeder.models import Document, Feed
from tests.test_validity import CHANNELS, FULL, SEEDS, built, entries
from tests.validator import problems


def seeds() -> dict[str, Document]:
    found = entries(*(parse(path.read_bytes(), path.name).article for path in sorted(SEEDS.glob("*.md"))))
    return {each.path.rpartition(".")[2]: each for each in built(Feed(channel=CHANNELS[1], entries=found), FULL)}


@pytest.mark.parametrize(
    ("extension", "there", "instead", "said"),
    [
        ("rss", 'rel="self"', 'rel="first"', "no self link"),
        ("rss", "<ttl>1</ttl>", "", "ttl"),
        ("rss", "<item>\n      <title>", "<item>\n      <title>&lt;b&gt;", "holds HTML"),
        ("rss", "<item>\n      <title>", "<item>\n      <title>AT&amp;amp;T", "holds HTML"),
        ("rss", "&lt;h3&gt;Related", "&lt;script&gt;x&lt;/script&gt;", "<script>"),
        ("rss", "&lt;h3&gt;Related", "&lt;h3 onclick='x'&gt;", "onclick"),
        ("rss", 'href="https://www.engadget', 'href="javascript:x', "no web address"),
        ("rss", '&lt;a href="https:', '&lt;a href="/x', "no absolute IRI"),
        ("rss", 'isPermaLink="false"', 'isPermaLink="true"', "guid"),
        ("rss", " +0000</pubDate>", "</pubDate>", "no date of RFC 822"),
        ("rss", "<dc:creator>", '<x xmlns="https://x.example/">x</x><dc:creator>', "unknown namespace"),
        ("atom", 'xml:lang="fr"', "", "xml:lang"),
        ("atom", "<content type", "<content x", "content: type"),
        ("atom", "<title>Netflix", "<title>&lt;i&gt;Netflix", "holds HTML"),
        ("atom", "<published>2023", "<published>23", "no date of RFC 3339"),
        ("atom", ' label="AI"', "", "no term or label"),
        ("opml", 'xmlUrl="https', 'xmlUrl="ftp', "no web address"),
        ("json", '"version"', '"versions"', "'version' is a required property"),
        ("json", '"date_published": "2023', '"date_published": "23', "does not match"),
    ],
)
def test_a_fault_is_found(extension, there, instead, said):
    document = seeds()[extension]
    broken = document.body.decode().replace(there, instead, 1)
    assert broken != document.body.decode()

    assert any(said in problem for problem in problems(document.path, document.content_type, broken.encode()))


def test_what_stands_twice_is_found():
    feed = seeds()
    for extension in ("rss", "atom"):
        entry = "item" if extension == "rss" else "entry"
        text = feed[extension].body.decode()
        one = text[text.index(f"<{entry}>") : text.index(f"</{entry}>") + len(entry) + 3]
        twice = problems(feed[extension].path, feed[extension].content_type, text.replace(one, one * 2, 1).encode())
        assert any("stands twice" in problem for problem in twice)
    data = json.loads(feed["json"].body)
    data["items"] *= 2
    assert any(
        "stands twice" in each for each in problems("x.json", feed["json"].content_type, json.dumps(data).encode())
    )


def test_the_wrong_content_type_is_found():
    assert problems("x.rss", "text/xml", seeds()["rss"].body) == ["is sent as text/xml"]
