from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from feeder.articles import crew
from feeder.articles import parse as parse_module
from feeder.articles.files import Files
from feeder.articles.parse import parse
from feeder.articles.schema import READ
from feeder.errors import ArticleError, Problem
from feeder.markdown import content
from feeder.models import Article, Image, Provider, RelatedLink, Topic
from feeder.selection import PLAIN_FEEDS
from tests.articles import SEEDS, seed

PLAIN = """\
title: A quiet day
publishedDateTime: 2026-01-31T12:00:00Z
webUrl: https://news.example/quiet
"""
SCALARS = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS
    | st.sampled_from(["https://a.example/", "javascript:x", date(2026, 1, 31), datetime(2026, 1, 31, tzinfo=UTC)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(READ), inner, max_size=4),
    max_leaves=8,
)


def file(front: str = "", body: str = "", *, plain: str = PLAIN) -> bytes:
    """A file with the keys of a plain article, then `front`; its fifth line is the first of `front`."""
    return f"---\n{plain}{front}---\n{body}".encode()


def read(front: str = "", body: str = "", *, plain: str = PLAIN) -> Article:
    """The article of a file that there is nothing to complain about."""
    parsed = parse(file(front, body, plain=plain), "a.md")
    assert () == parsed.warnings
    return parsed.article


def without(key: str) -> str:
    """The plain article's keys but for one."""
    return "".join(line for line in PLAIN.splitlines(keepends=True) if not line.startswith(f"{key}:"))


def instead(line: str) -> bytes:
    """A plain article's file with `line`, its fourth, in place of that key."""
    return file(f"{line}\n", plain=without(line.split(":", maxsplit=1)[0]))


def refused(data: bytes) -> Problem:
    """What is said of a file that is no article."""
    with pytest.raises(ArticleError) as caught:
        parse(data, "drafts/a.md")
    return caught.value.problem


def warned(front: str) -> list[Problem]:
    """What is said of a plain article with `front`."""
    return list(parse(file(front), "drafts/a.md").warnings)


@contextmanager
def at_most(calls: int) -> Iterator[None]:
    """Work of no more than this many calls."""
    left = calls

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal left
        left -= event in {"call", "c_call"}
        if left < 0:
            sys.setprofile(None)
            raise AssertionError(f"more than {calls} calls")

    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(None)


# --- The seeds --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "identity", "topics", "provider", "related", "images"),
    [
        ("as-actors", "1964ab76b37c3276d4bc3b18494e2410", ["AI Ethics", "AI"], "The Intercept", 3, 1),
        ("bad-timing", "61ce8e1c2e6e772c36efa89774ecdb9e", ["AI"], "TheStreet.com", 2, 0),
        ("netflix-invests", "c36e480ae44899d289296a9e2bebe5a8", ["Machine Learning", "AI"], "KRON4 News", 3, 1),
        ("netflix-lists-ai", "0d95fc49c91bcbc02b390ac3f4a2734b", ["AI"], "The Guardian", 2, 0),
        ("hypocrisy", "375da3afa9228743fdf14355efd46786", ["AI"], "TechCrunch", 7, 0),
    ],
)
def test_each_seed_is_read_with_all_that_belongs_to_it(name, identity, topics, provider, related, images):
    article = seed(name)

    assert identity == article.id
    assert topics == [topic.label for topic in article.topics]
    assert article.provider is not None
    assert provider == article.provider.name
    assert (related, images) == (len(article.related), len(article.images))
    assert article.draft


def test_a_seed_is_read_to_the_letter():
    url = (
        "https://www.kron4.com/news/netflix-invests-more-than-half-a-million-dollars-in-machine-learning-role-amid-"
        "sag-wga-strikes/"
    )
    intercept_image = (
        "https://theintercept.com/wp-content/uploads/2023/07/Hollywood-sign-Artificial-Intelligence-zwei.jpg"
    )

    assert Article(
        id="c36e480ae44899d289296a9e2bebe5a8",
        title="Netflix invests more than half a million dollars in machine learning role amid SAG, WGA strikes",
        url=url,
        published=datetime(2023, 7, 26, 23, 43, tzinfo=UTC),
        source_url=url,
        excerpt=(
            "As writers and actors continue to strike in demand for fair pay, streaming giants are investing their money "
            "into artificial intelligence, and Los Gatos-based company Netflix is leading the way."
        ),
        category="news",
        quality=47,
        heat=-1,
        amp_url=f"{url}amp/",
        cdn_amp_url=f"https://www-kron4-com.cdn.ampproject.org/c/s/{url.removeprefix('https://')}amp/",
        provider=Provider(name="KRON4 News", domain="kron4.com"),
        topics=(Topic(label="Machine Learning", slug="machine-learning"), Topic(label="AI", slug="ai")),
        images=(
            Image(
                url="https://www.kron4.com/wp-content/uploads/sites/11/2023/07/75a94362f5de4b67800b25f2615f4c66-1.jpg?w=1280",
                width=1280,
                height=853,
                cached=True,
            ),
        ),
        related=(
            RelatedLink(
                title="Netflix lists $900,000 AI job as actors and writers continue to strike",
                url=(
                    "https://www.engadget.com/netflix-lists-900000-ai-job-as-actors-and-writers-continue-to-strike-"
                    "190037630.html"
                ),
                excerpt=(
                    "Will this pair of Hollywood strikes ever end? It looks like the big corporations are digging in for "
                    "a long battle, illustrated by Netflix’s recent job posting for a machine learning platform product "
                    "manager."
                ),
                published=datetime(2023, 7, 25, 19, 6, tzinfo=UTC),
                quality=47,
                provider=Provider(name="Engadget", domain="engadget.com"),
            ),
            RelatedLink(
                title="As Actors Strike for AI Protections, Netflix Lists $900,000 AI Job",
                url="https://theintercept.com/2023/07/25/strike-hollywood-ai-disney-netflix/",
                excerpt=(
                    "Hollywood executives said writers’ and actors’ strike demands like raising wages and protecting "
                    "actors’ likenesses from AI was “unrealistic.”"
                ),
                published=datetime(2023, 7, 25, 17, 32, tzinfo=UTC),
                quality=39,
                provider=Provider(name="The Intercept", domain="theintercept.com"),
                images=(Image(url=intercept_image, width=2000, height=1000, cached=True),),
            ),
            RelatedLink(
                title="Bad Timing: Netflix Lists $900,000 AI Job Amidst Writers Strike",
                url="https://www.thestreet.com/entertainment/bad-timing-netflix-lists-900000-ai-job-amidst-writers-strike",
                excerpt=(
                    "According to a posting on Netflix's job page, the FAANG company is a Machine Learning Platform "
                    "Project Manager out of its Los Gatos, CA headquarters. The role has an option for remote work."
                ),
                published=datetime(2023, 7, 26, 13, 43, tzinfo=UTC),
                quality=17,
                provider=Provider(name="TheStreet.com", domain="thestreet.com"),
            ),
        ),
        draft=True,
    ) == seed("netflix-invests")


@pytest.mark.parametrize("path", sorted(SEEDS.glob("*.md")), ids=lambda path: path.name[:30])
def test_no_piece_of_what_is_secured_is_in_a_seeds_article(path):
    (secured,) = re.findall(r'^secured: "(.+)"$', path.read_text(), re.MULTILINE)
    pieces = {secured[start : start + 12] for start in range(len(secured) - 11)}

    parsed = parse(path.read_bytes(), path.name)

    assert () == parsed.warnings
    assert [] == [piece for piece in pieces if piece in repr(parsed)]


@pytest.mark.parametrize(
    "front",
    [
        'secured: "c2VjcmV0c2VjcmV0\n',
        "secured: c2VjcmV0: c2VjcmV0\n",
        "secured: [c2VjcmV0, c2VjcmV0\n",
        "secured: {? [c2VjcmV0] : x}\n",
        "secured: !c2VjcmV0 c2VjcmV0\n  c2VjcmV0: x\n",
        "secured: *c2VjcmV0\n",
        "secured: c2VjcmV0\ntopics: AI\n",
    ],
)
def test_no_piece_of_what_is_secured_is_in_what_is_said_of_a_bad_file(front):
    assert "c2VjcmV0" not in str(refused(file(front)))


def test_what_is_secured_and_other_known_keys_are_left_alone_without_a_word():
    assert read() == read(
        "secured: c2VjcmV0\nlayout: post\nfeaturedContent: <iframe src='https://x.example'></iframe>\n"
    )


# --- What comes in the wild ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("It&#8217;s &nbsp;Q&amp;A", "It’s Q&A"),
        ('"one\\r\\ntwo\\nthree"', "one two three"),
        ("|\n  one\n  two\n", "one two"),
        (">-\n  one\n\n  two\n", "one two"),
        ('"a\\0b\\x07c\\uFFFE"', "abc"),
        ("'<b>not</b> HTML'", "<b>not</b> HTML"),
        ("''", ""),
        ("", ""),
        ("null", ""),
    ],
)
def test_an_excerpt_is_one_clean_line(written, told):
    assert told == read(f"excerpt: {written}\n").excerpt


def test_a_title_is_one_clean_line():
    assert "Q&A: one" == read("", plain=f'title: " Q&amp;A:\\r\\n  one "\n{without("title")}').title


def test_an_article_and_its_related_links_have_all_that_is_said_of_them():
    said = """\
ampWebUrl: https://amp.example/{0}
cdnAmpWebUrl: https://cdn.example/{0}
quality: 7
type: video
excerpt: Words of {0}.
"""
    front = f"{said.format('a')}category: news\nlanguage: de-AT\nheat: 2\nrelated:\n  - title: B\n    webUrl: https://b.example\n"
    front += "".join(f"    {line}\n" for line in said.format("b").splitlines())

    assert replace(
        read(),
        amp_url="https://amp.example/a",
        cdn_amp_url="https://cdn.example/a",
        quality=7,
        type="video",
        excerpt="Words of a.",
        category="news",
        language="de-AT",
        heat=2,
        related=(
            RelatedLink(
                title="B",
                url="https://b.example",
                amp_url="https://amp.example/b",
                cdn_amp_url="https://cdn.example/b",
                quality=7,
                type="video",
                excerpt="Words of b.",
            ),
        ),
    ) == read(front)


def test_an_article_without_a_web_url_leads_to_its_original():
    article = read("originalUrl: https://source.example/a\n", plain=without("webUrl"))

    assert ("https://source.example/a", "https://source.example/a") == (article.url, article.source_url)


def test_an_article_leads_to_its_web_url_and_names_its_source():
    article = read("originalUrl: https://source.example/a\n")

    assert ("https://news.example/quiet", "https://source.example/a") == (article.url, article.source_url)


def test_quotes_around_an_address_do_not_matter():
    assert read() == read('webUrl: "https://news.example/quiet"\n', plain=without("webUrl"))


def test_images_have_what_is_said_of_them():
    images = """\
images:
  - url: https://news.example/a b.jpg
    width: 640
    height: 480.0
    title: "The &amp; lake"
    isCached: true
  - url: https://news.example/b.jpg
    width: 0
    height: -1
"""

    assert (
        Image(url="https://news.example/a%20b.jpg", width=640, height=480, title="The & lake", cached=True),
        Image(url="https://news.example/b.jpg"),
    ) == read(images).images


def test_a_plain_article_has_nothing_that_is_not_said():
    assert (
        Article(
            id="2fbaf5d0952130656d26679f3496e381",
            title="A quiet day",
            url="https://news.example/quiet",
            published=datetime(2026, 1, 31, 12, tzinfo=UTC),
        )
        == read()
    )


@pytest.mark.parametrize(
    "key", ["excerpt", "originalUrl", "ampWebUrl", "category", "type", "language", "quality", "heat"]
)
def test_an_empty_key_is_as_good_as_none(key):
    assert read() == read(f"{key}:\n")


@pytest.mark.parametrize("key", ["published", "provider", "topics", "images", "related", "id"])
def test_an_empty_list_or_flag_is_as_good_as_none(key):
    assert read() == read(f"{key}:\n")


@pytest.mark.parametrize(("written", "draft"), [("true", False), ("false", True), ("no", True), ("yes", False)])
def test_what_is_not_published_is_a_draft(written, draft):
    assert draft == read(f"published: {written}\n").draft


def test_a_video_is_one():
    assert ("video", "article") == (read("type: video\n").type, read("type: article\n").type)


def test_a_provider_may_be_a_name_alone_or_a_domain_alone():
    assert (Provider(name="The Daily"), Provider(name="daily.example", domain="daily.example")) == (
        read("provider: The Daily\n").provider,
        read("provider: {domain: daily.example}\n").provider,
    )


def test_topics_keep_their_order_and_the_first_way_they_are_written():
    topics = "topics: [Machine Learning, AI, machine  learning, 5, '', ai, C++]\n"

    assert (
        Topic(label="Machine Learning", slug="machine-learning"),
        Topic(label="AI", slug="ai"),
        Topic(label="5", slug="5"),
        Topic(label="C++", slug="c-plus-plus-cedb1bac"),
    ) == read(topics).topics


def test_related_links_are_each_page_once_and_never_the_article_itself():
    related = """\
originalUrl: https://source.example/a
related:
  - {title: Itself, webUrl: "https://news.example/quiet/?utm_source=x"}
  - {title: Its source, webUrl: "https://source.example/a#top"}
  - {title: First, webUrl: "https://other.example/a"}
  - {title: Again, webUrl: "https://other.example/a/?fbclid=1"}
  - {title: Without a web address, originalUrl: "https://third.example/"}
"""

    assert (
        RelatedLink(title="First", url="https://other.example/a"),
        RelatedLink(title="Without a web address", url="https://third.example/"),
    ) == read(related).related


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ('"2026-01-31T12:00:00Z"', datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
        ("2026-01-31 12:00:00 -0530", datetime(2026, 1, 31, 17, 30, tzinfo=UTC)),
        ("2026-01-31T12:00:00.999Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2999-12-31T23:59:59Z", datetime(2999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_moment_is_read_as_utc_to_the_second(written, moment):
    assert moment == read(f"publishedDateTime: {written}\n", plain=without("publishedDateTime")).published


# --- Identity -----------------------------------------------------------------------------------------------------------


def identity(front: str, *, plain: str = without("webUrl")) -> str:
    return read(front, plain=plain).id


@pytest.mark.parametrize(
    "links",
    ["webUrl: https://a.example/\n", "webUrl: https://b.example/\noriginalUrl: https://c.example/\n"],
)
def test_an_explicit_id_is_the_identity_whatever_the_links(links):
    assert "4bc131576f1fb81e8a847a4589f09b6d" == identity(f"id: quiet-1\n{links}")


def test_an_explicit_id_is_never_mistaken_for_a_link():
    assert identity("webUrl: https://a.example/x\n") != identity(
        "id: https://a.example/x\nwebUrl: https://b.example/\n"
    )


def test_the_original_is_the_identity_before_the_web_url():
    original = "originalUrl: https://source.example/a\n"

    assert identity(f"{original}webUrl: https://a.example/\n") == identity(f"{original}webUrl: https://b.example/\n")
    assert identity(f"{original}webUrl: https://a.example/\n") == identity("webUrl: https://source.example/a\n")
    assert identity(f"{original}webUrl: https://a.example/\n") != identity("webUrl: https://a.example/\n")


@pytest.mark.parametrize(
    "written",
    [
        "https://news.example/quiet?utm_source=feed&fbclid=1",
        "https://news.example/quiet#top",
        "https://news.example:443/quiet",
        "https://news.example/quiet/",
        "HTTPS://News.Example/quiet",
    ],
)
def test_what_names_the_same_page_is_the_same_identity(written):
    assert identity("webUrl: https://news.example/quiet\n") == identity(f"webUrl: {written}\n")


@pytest.mark.parametrize(
    "written", ["http://news.example/quiet", "https://news.example/Quiet", "https://news.example/quiet?page=2"]
)
def test_what_may_be_another_page_is_another_identity(written):
    assert identity("webUrl: https://news.example/quiet\n") != identity(f"webUrl: {written}\n")


def test_neither_path_nor_content_is_part_of_the_identity():
    other = file("excerpt: Other words.\n", "Other body.", plain=PLAIN.replace("A quiet day", "A loud day"))

    assert read().id == parse(other, "elsewhere/b.md").article.id


# --- The body -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "html"),
    [
        ("", ""),
        (" \n\n", ""),
        ("Some *words*.", "<p>Some <em>words</em>.</p>"),
        ("# One\n\n- a\n- b", "<h1>One</h1>\n<ul>\n<li>a</li>\n<li>b</li>\n</ul>"),
        ("one\n\n---\n\ntwo", "<p>one</p>\n<hr>\n<p>two</p>"),
        ("~~gone~~ `<b>`", "<p><s>gone</s> <code>&lt;b&gt;</code></p>"),
        (
            "|a|\n|-|\n|1|",
            "<table>\n<thead>\n<tr>\n<th>a</th>\n</tr>\n</thead>\n<tbody>\n<tr>\n<td>1</td>\n</tr>\n</tbody>\n</table>",
        ),
        ("<b>bold</b> <abbr title='x'>y</abbr>", '<p><b>bold</b> <abbr title="x">y</abbr></p>'),
        ("a\x00b\x0cc\ufeffd", "<p>abcd</p>"),
        ("a < b & c", "<p>a &lt; b &amp; c</p>"),
        ("<script>alert(1)</script>text", "text"),
        ("<style>p {color: red}</style>text", "text"),
        ("<p style='color: red' class=x id=y>text</p>", "<p>text</p>"),
        ("<img src=/i.png onerror=alert(1) srcset='x 2x' align=left>", '<img src="https://news.example/i.png">'),
        ("<iframe src='https://x.example'></iframe>text", "text"),
        ("<form action=/x><input name=y></form>text", "text"),
        ("<svg onload=alert(1)></svg>text", "<p>text</p>"),
        ("<!-- note -->text", "text"),
        ("<a href='JavaScript:alert(1)' onclick=x>text</a>", "<p><a>text</a></p>"),
        ("<a href='data:text/html,x'>text</a>", "<p><a>text</a></p>"),
        ("<a href='https://x.example' target=_blank>text</a>", '<p><a href="https://x.example">text</a></p>'),
        ("[text](javascript:alert(1))", "<p>[text](javascript:alert(1))</p>"),
        ("[text](other)", '<p><a href="https://news.example/other">text</a></p>'),
        ("[text](/other)", '<p><a href="https://news.example/other">text</a></p>'),
        ("[text](?page=2)", '<p><a href="https://news.example/quiet?page=2">text</a></p>'),
        ("[text](#top)", '<p><a href="https://news.example/quiet#top">text</a></p>'),
        ("[text](//other.example/)", '<p><a href="https://other.example/">text</a></p>'),
        ("![text](i.png)", '<p><img src="https://news.example/i.png" alt="text"></p>'),
        ("<https://other.example>", '<p><a href="https://other.example">https://other.example</a></p>'),
    ],
)
def test_a_body_becomes_html_that_is_safe_anywhere(body, html):
    assert html == content(read("", body))


# --- Rewrites -----------------------------------------------------------------------------------------------------------

FULL = """\
title: A quiet day
excerpt: Nothing happened.
publishedDateTime: 2026-01-31T12:00:00Z
webUrl: https://news.example/quiet
heat: 3
topics:
  - AI
secured: "AAAA"
"""
REORDERED = """\
secured: "AAAA"
topics: [AI]
heat: 3
webUrl: https://news.example/quiet
publishedDateTime: 2026-01-31T12:00:00Z
excerpt: Nothing happened.
title: A quiet day
"""


@pytest.mark.parametrize(
    "rewritten",
    [
        REORDERED,
        FULL.replace("AAAA", "BBBB"),
        FULL.replace('secured: "AAAA"\n', ""),
        FULL.replace("title: A quiet day", 'title:   "A  quiet\n\n  day "'),
        FULL.replace("\n", "\n\n"),
        FULL.replace("  - AI", "- AI   # a topic"),
    ],
    ids=["key order", "secured", "without secured", "white space in a value", "empty lines", "layout"],
)
def test_a_rewrite_that_no_reader_sees_gives_an_equal_article(rewritten):
    assert rewritten != FULL
    assert read(plain=FULL, body="Body.") == read(plain=rewritten, body="\nBody.\n\n")


def test_a_rewrite_of_the_heat_changes_the_heat_alone():
    hotter = read(plain=FULL.replace("heat: 3", "heat: 4"))

    assert 4 == hotter.heat
    assert read(plain=FULL) == replace(hotter, heat=3)


@pytest.mark.parametrize(
    "written",
    [
        b"\xef\xbb\xbf" + file(body="one\n\ntwo\n"),
        file(body="one\n\ntwo\n").replace(b"\n", b"\r\n"),
        file(body="one\n\ntwo\n").replace(b"\n", b"\r"),
        b"\xef\xbb\xbf" + file(body="one\n\ntwo\n").replace(b"\n", b"\r\n"),
        b"\n \n" + file(body="one\n\ntwo\n"),
        file(body="one\n\ntwo\n").replace(b"---\n", b"----- \t\n"),
    ],
    ids=["byte order mark", "CRLF", "CR", "byte order mark and CRLF", "empty lines before", "long boundary"],
)
def test_how_a_file_was_saved_does_not_matter(written):
    parsed = parse(written, "a.md")

    assert (read(body="one\n\ntwo\n"), ()) == (parsed.article, parsed.warnings)


# --- What is no article -------------------------------------------------------------------------------------------------


def bomb(levels: int) -> str:
    """YAML that comes to ten to the `levels` values when it is written out."""
    first = f"a0: &a0 [{', '.join('x' * 10)}]\n"
    return first + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, levels))


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        pytest.param(b"", 1, "the file is empty", id="empty file"),
        pytest.param(b"\xef\xbb\xbf", 1, "the file is empty", id="byte order mark alone"),
        pytest.param(
            b"# A quiet day\n", 1, "no front matter; begin the file with a line of three dashes", id="no front matter"
        ),
        pytest.param(b"\n\ntitle: x\n", 3, "no front matter", id="no front matter after empty lines"),
        pytest.param(
            b"---\ntitle: A quiet d",
            1,
            "the front matter has no end; close it with a line of three dashes (half written?)",
            id="half written",
        ),
        pytest.param(b"---\n---\nbody\n", 1, "the front matter holds no keys", id="no keys"),
        pytest.param(b"---\n- title\n---\n", 1, "the front matter holds no keys", id="a list"),
        pytest.param(
            file('excerpt: "one\ntopics:\n'),
            7,
            "the front matter is not YAML: found unexpected end of stream; quote text",
            id="open quote",
        ),
        pytest.param(
            file("excerpt: one: two\n"),
            5,
            "mapping values are not allowed in this context; quote text that holds : # or quotes",
            id="colon",
        ),
        pytest.param(file("topics: [AI\n"), 6, "did not find expected ',' or ']'", id="open bracket"),
        pytest.param(
            file("topics:\n\t- AI\n"),
            6,
            "found character that cannot start any token; indent with spaces, not tabs",
            id="tab",
        ),
        pytest.param(
            file("provider:\n  name: x\n\tdomain: y\n"), 7, "indent with spaces, not tabs", id="tab further in"
        ),
        pytest.param(
            b"\n\n" + file("topics: [AI\n"), 8, "did not find expected ',' or ']'", id="open bracket after empty lines"
        ),
        pytest.param(file("excerpt: *other\n"), 5, "found undefined alias", id="undefined alias"),
        pytest.param(
            file("excerpt: !!python/object/apply:os.system [id]\n"),
            5,
            "could not determine a constructor",
            id="Python tag",
        ),
        pytest.param(file("? [a]\n: b\n"), 5, "found unhashable key", id="list as key"),
        pytest.param(
            file("<<: x\n"), 5, "expected a mapping or list of mappings for merging", id="merge of no mapping"
        ),
        pytest.param(
            file(f"{bomb(6)}excerpt: *a5\n"),
            1,
            "aliases or nesting grow without bounds; write the values out",
            id="alias bomb",
        ),
        pytest.param(
            file("topics: &t\n  - AI\n  - *t\n"), 1, "aliases or nesting grow without bounds", id="recursive alias"
        ),
        pytest.param(
            file("provider: &p {name: x, images: [*p]}\n"),
            1,
            "aliases or nesting grow without bounds",
            id="recursive alias further in",
        ),
        pytest.param(
            file(f"layout: &l {'[' * 2000}{']' * 2000}\ncategory: *l\n"),
            1,
            "aliases or nesting grow without bounds",
            id="deep alias",
        ),
        pytest.param(
            file(plain=f"title: {'[' * 20}{']' * 20}\n{without('title')}"), 2, "title: '[[[[", id="nested title"
        ),
        pytest.param(
            file().replace(b"quiet day", b"caf\xe9"), 2, "not UTF-8 (byte 0xe9); save the file as UTF-8", id="Latin-1"
        ),
        pytest.param(
            file(body="one\ntwo \xff").replace("\xff".encode(), b"\xff"),
            7,
            "not UTF-8 (byte 0xff)",
            id="not UTF-8 in the body",
        ),
        pytest.param(b"\xff\xfe-\x00-\x00-\x00", 1, "not UTF-8 (byte 0xff)", id="UTF-16"),
        pytest.param(
            instead("publishedDateTime: yesterday"),
            4,
            "publishedDateTime: 'yesterday' is not a date; write it like 2026-01-31T12:00:00Z",
            id="no date",
        ),
        pytest.param(
            instead("publishedDateTime: 2026-13-45T12:00:00Z"),
            4,
            "publishedDateTime: '2026-13-45T12:00:00Z' is not a date",
            id="13th month",
        ),
        pytest.param(
            instead("publishedDateTime: 20260131"),
            4,
            "publishedDateTime: '20260131' is not a date",
            id="number as date",
        ),
        pytest.param(instead("publishedDateTime: 0001-01-01"), 4, "is not a date", id="year 1"),
        pytest.param(instead("publishedDateTime: 9999-12-31T23:00:00-12:00"), 4, "is not a date", id="last day of all"),
        pytest.param(
            file(plain=without("publishedDateTime")),
            1,
            "no publishedDateTime; write publishedDateTime: 2026-01-31T12:00:00Z",
            id="no publishedDateTime",
        ),
        pytest.param(b"\n\n" + file(plain=without("title")), 3, "no title", id="no title after empty lines"),
        pytest.param(file(plain=without("title")), 1, "no title; write title: …", id="no title"),
        pytest.param(instead('title: " &nbsp; "'), 4, "title: is empty; write title: …", id="empty title"),
        pytest.param(
            instead("title: [A, B]"), 4, "title: \"['A', 'B']\" is not text; put it in quotes", id="list as title"
        ),
        pytest.param(instead("title: yes"), 4, "title: 'True' is not text; put it in quotes", id="flag as title"),
        pytest.param(file(plain=without("webUrl")), 1, "no link; write webUrl: https://…", id="no link"),
        pytest.param(instead("webUrl: ''\noriginalUrl:"), 1, "no link; write webUrl: https://…", id="empty links"),
        pytest.param(
            instead("webUrl: javascript:alert(1)"),
            4,
            "webUrl: 'javascript:alert(1)' is not an http or https address",
            id="javascript link",
        ),
        pytest.param(
            file("originalUrl: JavaScript:alert(1)\n"),
            5,
            "originalUrl: 'JavaScript:alert(1)' is not an http or https address",
            id="javascript source",
        ),
        pytest.param(
            instead("webUrl: news.example/quiet"),
            4,
            "webUrl: 'news.example/quiet' is not a whole address; begin it with https://",
            id="link without a scheme",
        ),
        pytest.param(
            file("originalUrl: [https://a.example]\n"),
            5,
            "originalUrl: \"['https://a.example']\" is not text",
            id="list as link",
        ),
        pytest.param(
            file("topics: AI, ML\n"),
            5,
            "topics: 'AI, ML' is not a list; write topics: with one line “- …” for each",
            id="topics as text",
        ),
        pytest.param(
            file("topics: !!set {AI, ML}\n"), 5, "topics: \"{'AI': None, 'ML': None}\" is not a list", id="set"
        ),
        pytest.param(file("topics: {AI: 1}\n"), 5, "topics: \"{'AI': 1}\" is not a list", id="topics as mapping"),
        pytest.param(
            file("topics:\n  - AI\n  - [ML]\n"),
            7,
            "topics[1]: \"['ML']\" is not text; put it in quotes",
            id="list as topic",
        ),
        pytest.param(
            file("topics:\n  - AI\n  - no\n"), 7, "topics[1]: 'False' is not text; put it in quotes", id="flag as topic"
        ),
        pytest.param(
            file("published: 'false'\n"), 5, "published: 'false' is neither true nor false", id="text as flag"
        ),
        pytest.param(
            b"\n\n" + file("published: 0\n"), 7, "published: '0' is neither true nor false", id="empty lines before"
        ),
        pytest.param(
            b"---\n\n\n" + file("published: 0\n")[4:],
            7,
            "published: '0' is neither true nor false",
            id="empty lines within",
        ),
        pytest.param(
            file("published: 0\n").replace(b"\n", b"\r\n"), 5, "published: '0' is neither true nor false", id="CRLF"
        ),
        pytest.param(
            file("title: x\npublished: true\npublished: 0\n"),
            7,
            "published: '0' is neither true nor false",
            id="the last of two keys",
        ),
    ],
)
def test_what_is_no_article_is_told_by_file_line_and_reason(data, line, words):
    problem = refused(data)

    assert ("drafts/a.md", line, False) == (problem.where, problem.line, problem.warning)
    assert words in problem.reason


def test_all_that_keeps_a_file_from_being_an_article_is_told_at_the_line_of_the_first():
    problem = refused(b"---\npublishedDateTime: soon\nwebUrl: ftp://x.example\ntitle: ''\npublished: 1\n---\n")

    assert (
        "drafts/a.md:2: publishedDateTime: 'soon' is not a date; write it like 2026-01-31T12:00:00Z; webUrl: "
        "'ftp://x.example' is not an http or https address; title: is empty; write title: …; published: '1' is neither true "
        "nor false"
    ) == str(problem)


def test_a_long_value_is_told_by_its_beginning():
    problem = refused(file(f"published: {'x' * 5000}\n"))

    assert f"published: '{'x' * 59}…' is neither true nor false" == problem.reason


def test_an_alias_bomb_is_found_with_little_work_even_where_nobody_reads_it():
    with at_most(calls=20_000):
        problem = refused(file(bomb(60).replace("a0:", "layout:")))

    assert "aliases or nesting grow without bounds" in problem.reason


def test_aliases_that_stay_small_are_read():
    assert "One line." == read("excerpt: &e One line.\ncategory: *e\n").category


# --- What an article does without ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("front", "line", "reason"),
    [
        pytest.param("titel: x\n", 5, "titel: unknown key, not read; did you mean title?", id="misspelt key"),
        pytest.param("\nweb_url: x\n", 6, "web_url: unknown key, not read; did you mean webUrl?", id="other case"),
        pytest.param("zzz: 1\n", 5, "zzz: unknown key, not read", id="unknown key"),
        pytest.param("heat: hot\n", 5, "heat: 'hot' is not a whole number; left out", id="heat"),
        pytest.param("quality: 1.5\n", 5, "quality: '1.5' is not a whole number; left out", id="quality"),
        pytest.param("quality: .inf\n", 5, "quality: 'inf' is not a whole number; left out", id="infinite quality"),
        pytest.param(
            "quality: 2147483648\n", 5, "quality: '2147483648' is not a whole number; left out", id="huge quality"
        ),
        pytest.param("quality: true\n", 5, "quality: 'True' is not a whole number; left out", id="flag as quality"),
        pytest.param("type: podcast\n", 5, "type: 'podcast' is not one of article, video; read as article", id="type"),
        pytest.param("excerpt: [x]\n", 5, "excerpt: \"['x']\" is not text; put it in quotes", id="excerpt"),
        pytest.param("id: [x]\n", 5, "id: \"['x']\" is not text; put it in quotes", id="id"),
        pytest.param(
            "ampWebUrl: x\n",
            5,
            "ampWebUrl: 'x' is not a whole address; begin it with https://; left out",
            id="AMP link",
        ),
        pytest.param("provider: [x]\n", 5, "provider: \"['x']\" has no name; left out", id="provider"),
        pytest.param(
            "provider:\n  name: {a: b}\n",
            6,
            "provider.name: \"{'a': 'b'}\" is not text; put it in quotes",
            id="provider's name",
        ),
        pytest.param(
            "images: x\n", 5, "images: 'x' is not a list; write images: with one line “- …” for each", id="images"
        ),
        pytest.param("images:\n  - x\n", 6, "images[0]: 'x' is not an image; write - url: https://…", id="image"),
        pytest.param(
            "images:\n  - url: /i.png\n",
            6,
            "images[0].url: '/i.png' is not a whole address; begin it with https://; left out",
            id="relative image",
        ),
        pytest.param(
            "related: none\n",
            5,
            "related: 'none' is not a list; write related: with one line “- …” for each",
            id="related",
        ),
        pytest.param(
            "related:\n  - x\n",
            6,
            "related[0]: 'x' is not a related article; write - title: … and webUrl: …; left out",
            id="related text",
        ),
        pytest.param(
            "related:\n  - webUrl: https://b.example/\n",
            6,
            "related[0]: a related article needs a title and a webUrl; no title, left out",
            id="no title",
        ),
        pytest.param(
            "related:\n  - title: B\n",
            6,
            "related[0]: a related article needs a title and a webUrl; no link, left out",
            id="no link",
        ),
    ],
)
def test_what_an_article_does_without_is_told_by_file_line_and_reason(front, line, reason):
    assert [Problem(where="drafts/a.md", line=line, reason=reason, warning=True)] == warned(front)
    assert read() == parse(file(front), "a.md").article


def test_an_image_does_without_a_width_that_is_none():
    parsed = parse(file("images:\n  - url: https://a.example/i\n    width: wide\n    height: 480\n"), "a.md")

    assert (Image(url="https://a.example/i", height=480),) == parsed.article.images
    assert ["a.md:7: images[0].width: 'wide' is not a whole number; left out"] == [
        str(warning) for warning in parsed.warnings
    ]


@pytest.mark.parametrize("related", ["", "zzz: 1\n"], ids=["at once", "mended"])
@pytest.mark.parametrize("written", ["2026-01-31T12:00:59.9999999Z", "'2026-01-31T12:00:59.9999999Z'"])
def test_a_time_is_cut_to_its_second(written, related):
    parsed = parse(instead(f"publishedDateTime: {written}\n{related}".rstrip()), "a.md")

    assert parsed.article.published == datetime(2026, 1, 31, 12, 0, 59, tzinfo=UTC)


def test_of_a_related_link_with_a_good_address_the_other_one_is_not_looked_at():
    related = "related:\n  - title: B\n    webUrl: https://b.example/\n    originalUrl: ftp://b.example/\n"

    assert [link.url for link in read(related).related] == ["https://b.example/"]
    assert [problem.reason for problem in warned(f"{related}zzz: 1\n")] == ["zzz: unknown key, not read"]


@pytest.mark.parametrize("language", ["5", "1.5", ".nan"])
def test_a_language_that_is_a_number_is_none(language):
    (warning,) = warned(f"language: {language}\n")

    assert "is not a language tag" in warning.reason


def test_a_naive_date_is_read_as_utc_and_told():
    parsed = parse(instead("publishedDateTime: 2026-01-31 12:00:00"), "a.md")

    assert parsed.article == read()
    assert [
        (
            "a.md:4: publishedDateTime: '2026-01-31 12:00:00' has no time zone and is read as UTC; write it like "
            "2026-01-31T12:00:00Z"
        )
    ] == [str(warning) for warning in parsed.warnings]


def test_a_day_alone_begins_at_midnight_utc_and_is_told():
    parsed = parse(instead("publishedDateTime: 2026-01-31"), "a.md")

    assert datetime(2026, 1, 31, tzinfo=UTC) == parsed.article.published
    assert [4] == [warning.line for warning in parsed.warnings]


def test_a_related_link_with_a_bad_address_is_left_out_and_told_and_the_others_stay():
    related = """\
related:
  - title: One
    webUrl: https://one.example/
  - title: Two
    webUrl: javascript:alert(1)
  - title: Three
    webUrl: https://three.example/
    quality: high
    publishedDateTime: then
"""
    parsed = parse(file(related), "a.md")

    assert ["One", "Three"] == [link.title for link in parsed.article.related]
    assert {str(warning) for warning in parsed.warnings} >= {
        "a.md:9: related[1].webUrl: 'javascript:alert(1)' is not an http or https address; left out",
        "a.md:12: related[2].quality: 'high' is not a whole number; left out",
        "a.md:13: related[2].publishedDateTime: 'then' is not a date; left out",
    }


@given(st.dictionaries(st.sampled_from(READ), VALUES, min_size=1, max_size=6), st.text(max_size=40))
def test_whatever_the_keys_hold_the_file_is_an_article_or_told_by_line(front, body):
    data = file(yaml.safe_dump(front, allow_unicode=True), body)
    lines = data.decode().count("\n") + 1

    try:
        problems = parse(data, "a.md").warnings
    except ArticleError as error:
        problems = (error.problem,)

    assert [] == [problem for problem in problems if not 1 <= (problem.line or 0) <= lines]


@pytest.mark.parametrize("levels", [101, 1_500, 60_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}"), ("\n  " + "- ", "")])
def test_values_that_nest_too_deep_are_refused_before_anything_recurses(levels, opening, closing):
    nested = ("\n  " + "- " * levels if opening.startswith("\n") else opening * levels) + "1" + closing * levels

    assert "nesting grow without bounds" in refused(file(f"secured: {nested}\n")).reason


@pytest.mark.parametrize(
    "value", ["!!bool maybe", "!!timestamp x", "!!int ''", "!!float ''", "0x" + "f" * 5000, "9" * 5000]
)
@pytest.mark.parametrize("key", ["secured", "excerpt", "title", "quality", "publishedDateTime"])
def test_a_value_that_is_not_what_its_tag_says_stops_at_most_its_own_file(key, value):
    data = instead(f"{key}: {value}") if f"{key}:" in PLAIN else file(f"{key}: {value}\n")

    with suppress(ArticleError):
        assert parse(data, "a.md").article.published


def test_a_title_that_yaml_reads_as_a_number_is_told():
    parsed = parse(instead("title: 12:30"), "a.md")

    assert parsed.article.title == "750"
    assert parsed.warnings[0].reason == "title: is read as the number 750; put it in quotes to keep it as it is written"


def test_a_control_character_is_named_with_its_line():
    problem = refused(file("excerpt: one\nlanguage: e\x07n\n"))

    assert (problem.line, problem.reason) == (
        6,
        "the front matter is not YAML: it holds the control character U+0007; take it out",
    )


@pytest.mark.parametrize("mark", ["<div>", "![", "["])
def test_a_body_that_would_nest_without_end_is_refused(mark):
    assert "the body holds more than 10,000 of < or [" in refused(file(body=mark * 20_000)).reason


def test_a_key_without_a_value_is_told_at_its_own_line():
    assert refused(instead("title:")).line == 4


@pytest.mark.parametrize("language", ["english please", "e", "en_US", "en-", "abcdefghi", "<b>"])
def test_a_language_that_is_none_is_left_out_with_a_warning(language):
    (warning,) = warned(f"language: {language}\n")

    assert parse(file(f"language: {language}\n"), "a.md").article.language == ""
    assert "is not a language tag like en or pt-BR (RFC 5646); left out" in warning.reason


@pytest.mark.parametrize("before", ["", " ", "\n", "\n\n  ", "\t"])
def test_space_before_the_front_matter_moves_no_line(before):
    text = before.encode() + file("titel: x\nquality: many\n") + b"\n---\nlater: {\n---\n"
    found = parse(text, "a.md")

    lines = {warning.reason.split(":")[0]: warning.line for warning in found.warnings}
    first = 1 + before.count("\n")
    assert lines == {"titel": first + 4, "quality": first + 5}


# --- the two ways -------------------------------------------------------------------------------------------------------


def read_both_ways(data: bytes) -> None:
    """What nobody complains about is read at once; an unknown key has it mended first. Both give the same article."""
    try:
        straight = parse(data, "a.md")
    except ArticleError:
        return
    mended = parse(data.replace(b"---\n", b"---\nzzz: 1\n", 1), "a.md")

    assert mended.article == straight.article
    assert [each.reason for each in mended.warnings] == [
        "zzz: unknown key, not read",
        *(each.reason for each in straight.warnings),
    ]


@pytest.mark.parametrize("path", sorted(SEEDS.glob("*.md")), ids=lambda path: path.stem[:20])
def test_a_seed_that_is_mended_is_the_same(path):
    read_both_ways(path.read_bytes())


NEAR = st.sampled_from(  # what the schema takes, and what it just does not
    [
        *(
            "",
            " ",
            "A &amp; B",
            " two  words ",
            "https://a.example/?utm_source=x",
            "HTTPS://B.example",
            "en",
            "e",
            "video",
        ),
        *("2026-01-31T12:00:00Z", "2026-01-31 12:00", "0001-01-01T00:00:00Z", date(1, 1, 1), date(2026, 1, 31)),
        *(0, -1, 47.0, 1.5, 2**31, 2**70, True, False, datetime(2026, 1, 31, 12, tzinfo=UTC)),
    ]
)
DEEPER = ["title", "webUrl", "originalUrl", "url", "name", "domain", "images", "type", "width", "isCached", "quality"]
NESTED = st.recursive(
    NEAR | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*DEEPER, "publishedDateTime", "excerpt", "provider"]), inner, max_size=5)
    ),
    max_leaves=10,
)


@settings(max_examples=500)
@given(st.dictionaries(st.sampled_from(READ), NESTED, max_size=8), st.sampled_from(["", "Some *text*."]))
def test_whatever_is_read_at_once_is_the_same_when_it_is_mended(front, body):
    read_both_ways(file(yaml.safe_dump(front, allow_unicode=True) if front else "", body))


def test_what_nobody_foresaw_is_the_problem_of_that_file_alone(tmp_path, monkeypatch):
    for name in ("odd", "plain"):
        (tmp_path / f"{name}.md").write_text(
            f"---\ntitle: {name}\npublishedDateTime: 2026-01-31T12:00:00Z\nwebUrl: https://x.example/{name}\n---\n"
        )
    title = parse_module._title

    def failing(value: str) -> str:
        return title(value) if value != "odd" else 1 / 0

    monkeypatch.setattr(parse_module, "_title", failing)
    with Files(tmp_path, 1_000) as files:
        odd, plain = (crew.read(files, f"{name}.md", PLAIN_FEEDS) for name in ("odd", "plain"))

    assert (odd.where, odd.reason) == (
        "odd.md",
        "feeder fails at it: ZeroDivisionError: division by zero; please report it",
    )
    assert plain.article.title == "plain"


FRONT = "title: A\npublishedDateTime: 2026-01-31T12:00:00Z\nwebUrl: https://x.example/a\n"


def test_of_many_unknown_keys_some_are_named_and_the_others_counted():
    keys = "".join(f"k{number}: 1\n" for number in range(3_000)) + f"{'titel' * 100}: 1\n"

    warnings = parse(f"---\n{FRONT}{keys}---\n".encode(), "a.md").warnings

    assert len(warnings) == 21
    assert warnings[0].reason == "k0: unknown key, not read"
    assert warnings[-1].reason == "2,981 more unknown keys, not read"


@pytest.mark.parametrize("value", ["59:" * 100_000 + "59", "1" * 5_000, "0x" + "f" * 5_000, "1_" * 5_000 + "1"])
def test_a_number_that_nobody_can_count_with_is_text(value):
    (warning,) = parse(f"---\n{FRONT}quality: {value}\n---\n".encode(), "a.md").warnings

    assert warning.reason.endswith("is not a whole number; left out")


@pytest.mark.parametrize(
    ("marks", "accepted"),
    [
        ("*_~`&\\", 8_333),
        ("\n|", 25_000),
        *((mark, 50_000) for mark in ("*", "_", "~", "`", "&", "\\", "|", "\n", "\r")),
    ],
)
def test_what_falls_into_pieces_without_end_is_no_text(marks, accepted):
    def body(number):
        return f"---\n{FRONT}---\na{' a'.join([marks] * number)}a".encode()

    assert parse(body(accepted), "a.md").warnings == ()
    with pytest.raises(ArticleError) as refused:
        parse(body(accepted + 1), "a.md")
    most = r"more than 10,000 of < or [, 50,000 of *, _, ~, `, & and \, or 50,000 lines and cells; that is no text"
    assert most in refused.value.problem.reason
