"""Every document is right by the rules of the W3C's validator, of OPML and of JSON Feed, whatever the articles say."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from lxml import etree

from feeder.articles.parse import parse
from feeder.errors import ArticleError
from feeder.feeds import documents, jsonfeed, opml, pages
from feeder.models import Article, Channel, Document, Entry, Feed, Results, Site
from tests.fakes import LIMIT
from tests.validator import problems
from tests.worker import ROOT, SEEDS

PLAIN = Site(title="Feeder", base_url="https://feeds.example.org", language="en", id_authority="example.org,2026")
FULL = Site(
    title="Tom & Jerry's <News> &amp; more",
    base_url="https://example.org/news",
    language="de-AT",
    id_authority="ada@example.org,2026-05-31",
    description="All <b>day</b> & night",
    rights="© 2026 <a href='x'>us</a> & them",
    icon="https://example.org/icon.png",
    logo="https://example.org/logo.svg?v=1",
    max_age=10,
    hubs=("https://hub.example/", "https://other.example/hub?a=1&b=2"),
)
CHANNELS = [
    Channel(name="all"),
    Channel(
        name="ai",
        title="AI & <i>You</i>",
        description="&lt;b&gt; is bold & brave",
        image="https://example.org/ai.png",
        language="fr",
    ),
]


def built(feed: Feed, site: Site) -> list[Document]:
    return [*documents.documents(feed, site), jsonfeed.document(feed, site), opml.document([feed.channel], site)]


def wrong(feed: Feed, site: Site) -> list[str]:
    return [
        f"{each.path}: {problem}"
        for each in built(feed, site)
        for problem in problems(each.path, each.content_type, each.body)
    ]


def entries(*articles: Article) -> tuple[Entry, ...]:
    return tuple(Entry(article=each, updated=each.published) for each in articles)


@pytest.mark.parametrize("site", [PLAIN, FULL])
@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize(("archive", "archives"), [(0, 0), (0, 3), (1, 1), (2, 3), (3, 3), (4, 3)])
def test_the_seeds_give_valid_documents(site, channel, archive, archives):
    found = entries(*(parse(path.read_bytes(), path.name).article for path in SEEDS.glob("*.md")))

    assert wrong(Feed(channel=channel, entries=found, archive=archive, archives=archives), site) == []
    assert wrong(Feed(channel=channel, entries=(), archive=archive, archives=archives), site) == []


# What has broken feeds before, beside any text at all.
SORE = st.sampled_from(
    [
        *(
            "<b>bold</b>",
            "<script>alert(1)</script>",
            "&amp;",
            "&lt;b&gt;",
            "&",
            "<",
            ">",
            "]]>",
            "<!--",
            "-->",
            "<![CDATA[",
        ),
        *(
            "&nbsp;",
            "&#8217;",
            "&#0;",
            "&bogus;",
            "AT&T",
            "a<b",
            "<br>",
            "</p>",
            "<p",
            "'",
            '"',
            "\t",
            "\r\n",
            "\n",
            "\r",
        ),
        *(
            "\x00",
            "\x08",
            "\x0b",
            "\x1f",
            "\x7f",
            "\x85",
            "\u200b",
            "\u2028",
            "\ufeff",
            "\ufffe",
            "\uffff",
            "\U0001f389",
        ),
        *(
            "javascript:alert(1)",
            "\u202e",
            "\U000e0041",
            "{{",
            "{%",
            "e\u0301",
            "<img src=x onerror=alert(1)>",
            "&lt",
            "&copy",
        ),
        *(
            "<a href='//x.example/relative'>",
            "![x](javascript:alert(1))",
            "<style>",
            "[a](b)",
            "<svg/onload=x>",
            "\ud800",
        ),
    ]
)
TEXT = st.lists(SORE | st.text(max_size=8), max_size=6).map("".join)
PART = st.text("abcäß &<>\"'/?#%+:@[]|\\^` ", max_size=12)
URL = st.builds(lambda host, path: f"https://{host}.example/{path}", st.sampled_from(["a", "b", "xn--e1aybc"]), PART)
MOMENT = st.sampled_from(["2025-06-01T10:00:00Z", "2025-06-01T12:00:00+02:00", "1969-12-31T23:59:59Z", "2025-06-01"])


def optional(**keys: st.SearchStrategy) -> st.SearchStrategy:
    return st.fixed_dictionaries({}, optional=keys)


PROVIDER = optional(
    name=TEXT,
    domain=st.sampled_from(["a.example", "not a domain", "ä.example", "", "a.example/x?y"]),
    images=st.just([]),
)
IMAGES = st.lists(optional(url=URL, width=st.integers(-1, 5000), height=st.integers(0, 3000), title=TEXT), max_size=2)
RELATED = st.lists(
    optional(title=TEXT, webUrl=URL, publishedDateTime=MOMENT, provider=PROVIDER, excerpt=TEXT), max_size=3
)
FRONT_MATTER = st.fixed_dictionaries(
    {"title": TEXT, "publishedDateTime": MOMENT, "webUrl": URL},
    optional={
        "originalUrl": URL,
        "excerpt": TEXT,
        "provider": PROVIDER,
        "topics": st.lists(TEXT, max_size=3),
        "images": IMAGES,
        "related": RELATED,
        "language": st.sampled_from(["", "en", "pt-BR", "not a language", "x"]),
        "type": st.sampled_from(["article", "video"]),
    },
)


def parsed(front_matter: dict[str, object], body: str = "") -> Article | None:
    """The article in a file of such front matter, if it is one."""
    keys = json.dumps(front_matter, ensure_ascii=False)  # which is YAML
    try:
        return parse(f"---\n{keys}\n---\n{body}".encode("utf-8", "replace"), "generated.md").article
    except ArticleError:
        return None


@st.composite
def an_article(draw: st.DrawFn) -> Article | None:
    return parsed(draw(FRONT_MATTER), draw(TEXT))


def read(articles: list[Article | None]) -> tuple[Entry, ...]:
    """Those that are articles, each once, as a feed holds them."""
    return entries(*{each.id: each for each in articles if each}.values())


@given(
    articles=st.lists(an_article(), min_size=1, max_size=4),
    site=st.sampled_from([PLAIN, FULL]),
    channel=st.sampled_from(CHANNELS),
    place=st.sampled_from([(0, 0), (0, 2), (1, 2), (2, 2)]),
)
def test_any_articles_give_valid_documents(articles, site, channel, place):
    feed = Feed(channel=channel, entries=read(articles), archive=place[0], archives=place[1])

    assert wrong(feed, site) == []


@given(labels=st.lists(TEXT, max_size=5))
def test_any_topics_give_a_valid_list_of_feeds(labels):
    front_matter = {"title": "x", "webUrl": "https://a.example", "publishedDateTime": "2025-06-01", "topics": labels}
    found = read([parsed(front_matter)])
    topics = [topic for entry in found for topic in entry.article.topics]
    made = opml.document([CHANNELS[0], *(Channel(name=each.slug, title=each.label) for each in topics)], FULL)

    assert problems(made.path, made.content_type, made.body) == []


# --- pages, and the same bytes everywhere -------------------------------------------------------------------------------------

ILLEGAL = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f\\ud800-\\udfff\\ufffe\\uffff]")
LIVE = "//script | //iframe | //object | //embed | //style | //@style | //@*[starts-with(name(), 'on')]"
LINKS = re.compile("https?://|/|#")


def shown(feed: Feed, site: Site) -> list[Document]:
    """The feed's documents and the pages that show it."""
    articles = tuple(entry.article for entry in feed.entries)
    results = Results(articles=articles, total=len(articles), page=2, pages=3)
    return [
        *built(feed, site),
        pages.feed(feed, CHANNELS[0], site),
        pages.index(feed, [feed], site),
        Document(path="search", content_type=pages.HTML, body=pages.search(articles[0].title, results, site)),
    ]


@given(articles=st.lists(an_article(), min_size=1, max_size=3), site=st.sampled_from([PLAIN, FULL]))
def test_any_articles_give_pages_in_which_nothing_lives(articles, site):
    found = read(articles)
    assume(found)
    for document in shown(Feed(channel=CHANNELS[1], entries=found), site):
        text = document.body.decode()
        assert ILLEGAL.search(text) is None
        if not document.content_type.startswith("text/html"):
            continue
        tree = etree.HTML(text)
        assert tree.xpath(LIVE) == []
        assert all(LINKS.match(value) for value in tree.xpath("//@href | //@src | //@action | //@srcset"))
        if document.path != "search":
            assert found[0].article.title in "".join(tree.itertext())


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Callable[[Feed, Site], str]]:
    """Another process, in another time zone, that says the digest of what it builds."""
    environment = {**os.environ, "TZ": "Asia/Kolkata", "LC_ALL": "C", "PYTHONHASHSEED": "7", "PYTHONUTF8": "0"}
    command = [sys.executable, "-c", "from tests.test_validity import answer; answer()"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(feed: Feed, site: Site) -> str:
        process.stdin.write(base64.b64encode(pickle.dumps((feed, site))) + b"\n")
        process.stdin.flush()
        return process.stdout.readline().decode().strip()

    yield ask
    process.stdin.close()
    process.stdout.close()
    assert process.wait(LIMIT) == 0


def answer() -> None:
    """What the other process does: a digest for each feed."""
    for line in sys.stdin:
        sys.stdout.write(digest(*pickle.loads(base64.b64decode(line))) + "\n")
        sys.stdout.flush()


def digest(feed: Feed, site: Site) -> str:
    return hashlib.sha256(b"\0".join(document.body for document in shown(feed, site))).hexdigest()


@given(articles=st.lists(an_article(), min_size=1, max_size=3))
def test_any_articles_give_the_same_bytes_again_and_in_another_process_and_time_zone(articles, elsewhere):
    found = read(articles)
    assume(found)
    feed = Feed(channel=CHANNELS[1], entries=found)

    assert digest(feed, FULL) == digest(feed, FULL) == elsewhere(feed, FULL)


# --- what one article may be -------------------------------------------------------------------------------------------------


def article(number: int, **changes: object) -> Article:
    plain = {
        "id": f"{number:032x}",
        "title": f"Title {number}",
        "url": f"https://news.example.org/{number}",
        "published": datetime(2025, 6, 1, tzinfo=UTC) + timedelta(hours=number),
    }
    return Article(**{**plain, **changes})


def test_a_json_feed_stays_under_the_size_that_readers_take_by_its_newest_entries():
    many = entries(*(article(number, content=f"<p>{'x' * 9_000}</p>") for number in range(50, 0, -1)))

    body = jsonfeed.document(Feed(channel=CHANNELS[0], entries=many), PLAIN).body
    items = json.loads(body)["items"]

    assert 200_000 < len(body) <= 250_000
    assert [item["title"] for item in items] == [f"Title {50 - place}" for place in range(len(items))]
    archive = jsonfeed.document(Feed(channel=CHANNELS[0], entries=many, archive=1, archives=1), PLAIN)
    assert len(json.loads(archive.body)["items"]) == 50


def test_one_entry_that_is_larger_than_that_is_there_all_the_same():
    huge = entries(article(1, content=f"<p>{'x' * 300_000}</p>"))

    assert len(json.loads(jsonfeed.document(Feed(channel=CHANNELS[0], entries=huge), PLAIN).body)["items"]) == 1


def test_entries_that_changed_in_one_instant_have_different_times():
    same = datetime(2026, 1, 1, tzinfo=UTC)
    found = tuple(Entry(article=article(number), updated=same) for number in range(3))

    assert wrong(Feed(channel=CHANNELS[0], entries=found), PLAIN) == []
