"""Articles as text in the store: whole, and without what is nobody's to see where two of them are compared."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from feeder import records
from feeder.articles.parse import parse
from feeder.models import Article, Provider
from tests.articles import SEEDS

ARTICLES = [parse(path.read_bytes(), path.name).article for path in sorted(SEEDS.glob("*.md"))]
RICH = next(each for each in ARTICLES if each.related and each.topics and each.images)


@pytest.mark.parametrize("article", ARTICLES, ids=lambda article: article.title[:20])
def test_an_article_comes_back_as_it_was(article):
    assert article == records.from_text(records.to_text(article))


def test_html_that_an_earlier_feeder_kept_is_what_its_markdown_gives():
    text = records.to_text(replace(RICH, body="One *word*.\n"))
    kept = text.replace('"body":"One *word*.\\n"', '"content":"<p>One <em>word</em>.</p>"')

    assert kept != text
    assert records.seen(records.from_text(kept)) == records.seen(records.from_text(text))


def test_markdown_that_says_the_same_is_no_change():
    assert records.seen(replace(RICH, body="One *word*.\n")) == records.seen(replace(RICH, body="One _word_. \n\n\n"))


def test_a_field_that_says_nothing_is_not_written():
    article = Article(id="1", title="One", url="https://news.example/1", published=RICH.published)

    assert records.to_text(article) == (
        f'{{"id":"1","title":"One","url":"https://news.example/1","published":"{RICH.published:%Y-%m-%dT%H:%M:%SZ}"}}'
    )


@given(title=st.text(), excerpt=st.text() | st.text(st.characters(max_codepoint=127)), provider=st.text())
def test_what_the_index_is_given_holds_each_term_of_each_column_and_those_of_the_title_as_such(
    title, excerpt, provider
):
    article = replace(RICH, title=title, excerpt=excerpt, provider=Provider(name=provider))
    given = records.terms(article)
    taken = set(re.findall(r"[a-z0-9\x80-\U0010ffff]+", ascii_lower(given)))  # as FTS5

    columns = records.columns(article)
    assert taken == {*itertools.chain(*columns), *(records.IN_TITLE + term for term in columns[0])}


def ascii_lower(text: str) -> str:
    """Lower case where it is ASCII, as FTS5's tokenizer "ascii" has it."""
    return re.sub("[A-Z]+", lambda letters: letters[0].lower(), text)


@pytest.mark.parametrize(
    "change",
    [
        {"category": "else"},
        {"heat": 3},
        {"quality": 9},
        {"draft": not RICH.draft},
        {"amp_url": "https://amp.example/1"},
        {"cdn_amp_url": "https://amp.example/2"},
        {"topics": tuple(replace(topic, slug="elsewhere") for topic in RICH.topics)},
        {"images": tuple(replace(image, cached=not image.cached) for image in RICH.images)},
        *(
            {"related": tuple(replace(link, **{key: value}) for link in RICH.related)}
            for key, value in (("quality", 9), ("amp_url", "x"), ("cdn_amp_url", "x"), ("images", RICH.images))
        ),
    ],
    ids=str,
)
def test_what_no_reader_sees_is_no_change(change):
    changed = replace(RICH, **change)

    assert changed != RICH
    assert records.seen(changed) == records.seen(RICH)


@pytest.mark.parametrize(
    "change",
    [
        {"title": "else"},
        {"related": ()},
        {"related": tuple(replace(link, excerpt="else") for link in RICH.related)},
        {"topics": ()},
        {"images": ()},
        {"body": "x"},
        {"provider": None},
        {"language": "pt"},
        {"source_url": ""},
    ],
    ids=str,
)
def test_whatever_a_reader_sees_is_a_change(change):
    assert records.seen(replace(RICH, **change)) != records.seen(RICH)


def test_a_body_is_rendered_for_a_comparison_only_when_it_is_another(monkeypatch):
    rendered = []
    monkeypatch.setattr(records, "content", lambda article: rendered.append(article.body) or article.body)
    changed = replace(RICH, heat=99)

    assert not records.is_seen_to_differ(RICH, changed)
    assert records.is_seen_to_differ(RICH, replace(RICH, title="Another"))
    assert not any(rendered)
    assert records.is_seen_to_differ(RICH, replace(RICH, body="Another"))
    assert "Another" in rendered
