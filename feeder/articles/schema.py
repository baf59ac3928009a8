"""The keys of front matter that are read, and what each may hold. The allow-list: what is not named here is never looked at."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, ValidationError, convert

MOST = 2**31  # no whole number is as large
LONGEST_LINE = 1_000  # characters of a title or name
LONGEST_EXCERPT = 20_000
LONGEST_LABEL = 200  # characters of a topic
MOST_TOPICS = 50
MOST_RELATED = 100
MOST_IMAGES = 50
LEFT_ALONE = ("featuredContent", "layout", "secured")  # what articles carry and nobody may be shown

Whole = Annotated[int, Meta(gt=-MOST, lt=MOST)]
Time = Annotated[datetime, Meta(tz=True)]
Type = Literal["article", "video"]
Line = Annotated[str, Meta(max_length=LONGEST_LINE)]
Label = Annotated[str, Meta(max_length=LONGEST_LABEL)]


class _Written(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a mapping may hold, by the names of its keys in Python: web_url is written webUrl."""


class ImageKeys(_Written, frozen=True, kw_only=True):
    """A picture."""

    url: str
    width: Whole | None = None
    height: Whole | None = None
    title: Line | None = None
    is_cached: bool | None = None


Images = Annotated[tuple[ImageKeys, ...], Meta(max_length=MOST_IMAGES)]


class ProviderKeys(_Written, frozen=True, kw_only=True):
    """Who published an article first."""

    name: Line | None = None
    domain: Line | None = None
    images: Images | None = None


class _Keys(_Written, frozen=True, kw_only=True):
    title: Line
    web_url: str | None = None
    original_url: str | None = None
    amp_web_url: str | None = None
    cdn_amp_web_url: str | None = None
    excerpt: Annotated[str, Meta(max_length=LONGEST_EXCERPT)] | None = None
    type: Type | None = None
    quality: Whole | None = None
    provider: ProviderKeys | Line | None = None
    images: Images | None = None


class RelatedKeys(_Keys, frozen=True, kw_only=True):
    """An article that is listed as related."""

    published_date_time: datetime | None = None


class ArticleKeys(_Keys, frozen=True, kw_only=True):
    """A file's front matter."""

    published_date_time: Time
    id: str | None = None
    published: bool | None = None
    category: Line | None = None
    language: str | None = None
    heat: Whole | None = None
    topics: Annotated[tuple[Label | int | float, ...], Meta(max_length=MOST_TOPICS)] | None = None
    related: Annotated[tuple[RelatedKeys, ...], Meta(max_length=MOST_RELATED)] | None = None


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
