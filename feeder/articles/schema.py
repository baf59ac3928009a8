"""The keys of front matter that are read, and what each may hold. The allow-list: what is not named here is never looked at."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, ValidationError, convert

MOST = 2**31  # no whole number is as large
LEFT_ALONE = ("featuredContent", "layout", "secured")  # what articles carry and nobody may be shown

Whole = Annotated[int, Meta(gt=-MOST, lt=MOST)]
Time = Annotated[datetime, Meta(tz=True)]
Type = Literal["article", "video"]


class _Written(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a mapping may hold, by the names of its keys in Python: web_url is written webUrl."""


class ImageKeys(_Written, frozen=True, kw_only=True):
    """A picture."""

    url: str
    width: Whole | None = None
    height: Whole | None = None
    title: str | None = None
    is_cached: bool | None = None


class ProviderKeys(_Written, frozen=True, kw_only=True):
    """Who published an article first."""

    name: str | None = None
    domain: str | None = None
    images: tuple[ImageKeys, ...] | None = None


class _Keys(_Written, frozen=True, kw_only=True):
    title: str
    web_url: str | None = None
    original_url: str | None = None
    amp_web_url: str | None = None
    cdn_amp_web_url: str | None = None
    excerpt: str | None = None
    type: Type | None = None
    quality: Whole | None = None
    provider: ProviderKeys | str | None = None
    images: tuple[ImageKeys, ...] | None = None


class RelatedKeys(_Keys, frozen=True, kw_only=True):
    """An article that is listed as related."""

    published_date_time: datetime | None = None


class ArticleKeys(_Keys, frozen=True, kw_only=True):
    """A file's front matter."""

    published_date_time: Time
    id: str | None = None
    published: bool | None = None
    category: str | None = None
    language: str | None = None
    heat: Whole | None = None
    topics: tuple[str | int | float, ...] | None = None
    related: tuple[RelatedKeys, ...] | None = None


READ = ArticleKeys.__struct_encode_fields__  # as they are written
KNOWN = frozenset((*READ, *LEFT_ALONE))


def as_written(metadata: Mapping[str, Any]) -> ArticleKeys:
    """The keys of front matter that is as it should be. ValueError when it is not."""
    if not metadata.keys() <= KNOWN:
        raise ValueError
    try:
        return convert(metadata, ArticleKeys, builtin_types=(datetime,))  # a text is no time: YAML has read those
    except ValidationError as error:
        raise ValueError from error
