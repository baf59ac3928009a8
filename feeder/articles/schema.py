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


class ImageKeys(Struct, frozen=True, kw_only=True):
    """A picture."""

    url: str
    width: Whole | None = None
    height: Whole | None = None
    title: str | None = None
    isCached: bool | None = None  # noqa: N815 - the file's own name for it, as with all keys below


class ProviderKeys(Struct, frozen=True, kw_only=True):
    """Who published an article first."""

    name: str | None = None
    domain: str | None = None
    images: tuple[ImageKeys, ...] | None = None


class _Keys(Struct, frozen=True, kw_only=True):
    title: str
    webUrl: str | None = None  # noqa: N815
    originalUrl: str | None = None  # noqa: N815
    ampWebUrl: str | None = None  # noqa: N815
    cdnAmpWebUrl: str | None = None  # noqa: N815
    excerpt: str | None = None
    type: Type | None = None
    quality: Whole | None = None
    provider: ProviderKeys | str | None = None
    images: tuple[ImageKeys, ...] | None = None


class RelatedKeys(_Keys, frozen=True, kw_only=True):
    """An article that is listed as related."""

    publishedDateTime: datetime | None = None  # noqa: N815


class ArticleKeys(_Keys, frozen=True, kw_only=True):
    """A file's front matter."""

    publishedDateTime: Time  # noqa: N815
    id: str | None = None
    published: bool | None = None
    category: str | None = None
    language: str | None = None
    heat: Whole | None = None
    topics: tuple[str | int | float, ...] | None = None
    related: tuple[RelatedKeys, ...] | None = None


READ = ArticleKeys.__struct_fields__
KNOWN = frozenset((*READ, *LEFT_ALONE))


def as_written(metadata: Mapping[str, Any]) -> ArticleKeys:
    """The keys of front matter that is as it should be. ValueError when it is not."""
    if not metadata.keys() <= KNOWN:
        raise ValueError
    try:
        return convert(metadata, ArticleKeys, builtin_types=(datetime,))  # a text is no time: YAML has read those
    except ValidationError as error:
        raise ValueError from error
