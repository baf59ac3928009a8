"""Articles as the store keeps them: as text, with what is asked of them without reading it."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from msgspec import Struct, json
from msgspec.structs import replace

from feeder.markdown import content
from feeder.models import Article
from feeder.slugs import slug
from feeder.text import index_terms
from feeder.urls import untracked

_encode = json.Encoder().encode
_decode = json.Decoder(Article).decode
_COMMON = 50_000  # characters of an article that is kept at hand; a larger one is read each time


IN_TITLE = "§"  # before a term that the title holds; no term has it


class Record(Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """An article as the store keeps it. Cheap to hand from one process to another."""

    id: str
    published: datetime
    draft: bool
    text: str  # the article as JSON
    feeds: dict[str, str]  # that it stands in while it is live: their titles by name

    @property
    def article(self) -> Article:
        """The article itself."""
        return from_text(self.text)


def record(article: Article, feeds: dict[str, str]) -> Record:
    """The record of an article that stands in `feeds`."""
    return Record(
        id=article.id,
        published=article.published,
        draft=article.draft,
        text=to_text(article),
        feeds=feeds,
    )


def terms(article: Article) -> str:
    """The terms of what a search looks in, and once more those of the title, as such.

    The store's index takes these alone: a change of what this gives takes a migration that fills the index anew. Where all
    is ASCII it is left to the index, which finds the same terms in it in a tenth of the time.
    """
    title, others = index_terms(article.title), " ".join(_others(article))
    in_title = [IN_TITLE + term for term in title]
    return " ".join((*title, *in_title, others if others.isascii() else " ".join(index_terms(others))))


def columns(article: Article) -> tuple[list[str], ...]:
    """What a search looks in, each as its terms: title, excerpt, provider, topics."""
    return tuple(index_terms(text) for text in (article.title, *_others(article)))


def _others(article: Article) -> tuple[str, str, str]:
    provider = article.provider.name if article.provider else ""
    return article.excerpt, provider, " ".join([topic.label for topic in article.topics])


def to_text(article: Article) -> str:
    """An article as JSON."""
    return _encode(article).decode()


def from_text(text: str) -> Article:
    """The article in what `to_text` gave."""
    return _at_hand(text) if len(text) <= _COMMON else _decode(text)


@lru_cache(maxsize=2_000)  # the newest articles are read again with each newcomer
def _at_hand(text: str) -> Article:
    return _decode(text)


def is_seen_to_differ(before: Article, after: Article) -> bool:
    """Whether a reader sees that an article has changed. Its body is rendered only if it is another."""
    if (before.body, before.content, before.url) == (after.body, after.content, after.url):
        before, after = (replace(each, body="", content="") for each in (before, after))
    return seen(before) != seen(after)


def seen(article: Article) -> Article:
    """What a reader sees of an article: title, excerpt, body, links, dates, provider, topics, images, related.

    Of a topic that is its label: where its feed stands is no part of the article. Of a link it is the page that it leads to.
    """
    return replace(
        article,
        url=untracked(article.url),
        source_url=untracked(article.source_url),
        category="",
        heat=None,
        draft=False,
        body="",
        content=_shown(article),
        quality=None,
        amp_url="",
        cdn_amp_url="",
        topics=tuple(replace(topic, slug=slug(topic.label)) for topic in article.topics),
        images=tuple(replace(image, cached=False) for image in article.images),
        related=tuple(
            replace(link, url=untracked(link.url), quality=None, amp_url="", cdn_amp_url="", images=())
            for link in article.related
        ),
    )


def _shown(article: Article) -> str:
    """The body as HTML; as it is written where that cannot be had, which publishing says."""
    try:
        return content(article)
    except Exception:  # noqa: BLE001 - whatever the body of one article brings about must not end a pass over all
        return article.body
