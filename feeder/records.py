"""Articles as the store keeps them: as text, with what is asked of them without reading it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, lru_cache
from typing import Any

from pydantic import TypeAdapter

from feeder.models import Article
from feeder.slugs import slug
from feeder.text import searchable

_UNSEEN: Any = {  # of an article, as pydantic leaves it out
    **dict.fromkeys(("category", "heat", "draft", "quality", "amp_url", "cdn_amp_url"), True),
    "images": {"__all__": {"cached"}},
    "related": {"__all__": {"quality", "amp_url", "cdn_amp_url", "images"}},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """An article as the store keeps it. Cheap to hand from one process to another."""

    id: str
    published: datetime
    draft: bool
    visible: str  # digest of what a reader sees
    title: str  # as a search compares it
    text: str  # the article as JSON
    feeds: Mapping[str, str]  # that it stands in while it is live: their titles by name

    @property
    def article(self) -> Article:
        """The article itself."""
        return from_text(self.text)


def record(article: Article, feeds: Mapping[str, str]) -> Record:
    """The record of an article that stands in `feeds`."""
    return Record(
        id=article.id,
        published=article.published,
        draft=article.draft,
        visible=visible(article),
        title=searchable(article.title),
        text=to_text(article),
        feeds=feeds,
    )


@cache
def _adapter() -> TypeAdapter[Article]:
    return TypeAdapter(Article)


def to_text(article: Article) -> str:
    """An article as JSON."""
    # Defaults are left out, so that a field added by a later feeder changes no record and no digest.
    return _adapter().dump_json(article, exclude_defaults=True).decode()


@lru_cache(maxsize=2_000)  # the newest articles are read again with each newcomer
def from_text(text: str) -> Article:
    """The article in what `to_text` gave."""
    return _adapter().validate_json(text)


def visible(article: Article) -> str:
    """A digest of what a reader sees: title, excerpt, body, links, dates, provider, topics, images, related.

    Of a topic that is its label: where its feed stands is no part of the article.
    """
    topics = tuple(replace(topic, slug=slug(topic.label)) for topic in article.topics)
    seen = article if topics == article.topics else replace(article, topics=topics)
    text = _adapter().dump_json(seen, exclude_defaults=True, exclude=_UNSEEN)
    return hashlib.sha256(text).hexdigest()[:32]
