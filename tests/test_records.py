"""Articles as text in the store: whole, and the same for ever, because digests of it tell what changed."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from feeder import records
from feeder.articles.parse import parse
from feeder.models import Article
from feeder.slugs import slug
from tests.articles import SEEDS

ARTICLES = [parse(path.read_bytes(), path.name).article for path in sorted(SEEDS.glob("*.md"))]


def shown(article: Article) -> Article:
    """An article without what no reader sees."""
    unseen = {"quality": None, "amp_url": "", "cdn_amp_url": ""}
    return replace(
        article,
        **unseen,
        category="",
        heat=None,
        draft=False,
        topics=tuple(replace(topic, slug=slug(topic.label)) for topic in article.topics),
        images=tuple(replace(image, cached=False) for image in article.images),
        related=tuple(replace(link, **unseen, images=()) for link in article.related),
    )


@pytest.mark.parametrize("article", ARTICLES, ids=lambda article: article.title[:20])
def test_an_article_comes_back_as_it_was(article):
    assert article == records.from_text(records.to_text(article))


@pytest.mark.parametrize("article", ARTICLES, ids=lambda article: article.title[:20])
def test_what_a_reader_sees_is_the_digest_of_its_text(article):
    moved = replace(article, topics=tuple(replace(topic, slug="elsewhere") for topic in article.topics))
    for each in (article, moved, replace(article, category="else", heat=3, quality=9, draft=not article.draft)):
        assert hashlib.sha256(records.to_text(shown(article)).encode()).hexdigest()[:32] == records.visible(each)


@pytest.mark.parametrize(
    "change", [{"title": "else"}, {"related": ()}, {"topics": ()}, {"images": ()}, {"content": "<p>x</p>"}]
)
def test_whatever_a_reader_sees_changes_the_digest(change):
    article = next(each for each in ARTICLES if each.related and each.topics and each.images)
    assert records.visible(article) != records.visible(replace(article, **change))
