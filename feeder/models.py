"""The records that the parts of feeder hand each other. All frozen; times are aware datetimes in UTC.

The words are those of CONTRIBUTING.md: article, topic, feed, headline, delivery, outcome. They are Structs, and not
dataclasses, because very many are made, and those of articles are written as JSON and read again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from msgspec import Struct

ALL = "all"  # the name of the feed of all articles
TYPES = ("article", "video")  # what an article may be
FORMATS = ("rss", "atom", "json")  # what a feed is published as, by the extension of its documents


class _Part(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the store keeps as JSON. Defaults are left out: a field that a later feeder adds changes no record."""


class Image(_Part, frozen=True, kw_only=True):
    """A picture of an article or a provider."""

    url: str
    width: int | None = None  # pixels
    height: int | None = None
    title: str = ""
    cached: bool = False  # the wild's `isCached`


class Provider(_Part, frozen=True, kw_only=True):
    """Who published an article first."""

    name: str
    domain: str = ""
    images: tuple[Image, ...] = ()


class RelatedLink(_Part, frozen=True, kw_only=True):
    """Coverage of the same event elsewhere, as an article lists it."""

    title: str
    url: str
    excerpt: str = ""
    published: datetime | None = None
    type: str = TYPES[0]
    quality: int | None = None
    provider: Provider | None = None
    images: tuple[Image, ...] = ()
    amp_url: str = ""
    cdn_amp_url: str = ""


class Topic(_Part, frozen=True, kw_only=True):
    """A label that articles carry."""

    label: str  # as the article writes it
    slug: str  # the name of its feed: safe in a URL and a file name, and the same for ever


class Article(_Part, frozen=True, kw_only=True):
    """One Markdown file, parsed. Holds what a reader can see, its state and its identity; nothing else of the file."""

    id: str  # 32 hex digits, from the identity: an explicit `id`, else the canonical originalUrl, else webUrl
    title: str
    url: str  # where a reader goes
    published: datetime
    source_url: str = ""  # the page it was found at (rel="via")
    excerpt: str = ""  # plain text
    body: str = ""  # Markdown, as it is written
    content: str = ""  # the body as HTML: where an earlier feeder kept that, until the file is read again
    category: str = ""
    type: str = TYPES[0]  # one of TYPES
    language: str = ""  # RFC 5646 tag, empty for the site's
    quality: int | None = None
    heat: int | None = None  # changes all day
    amp_url: str = ""
    cdn_amp_url: str = ""
    provider: Provider | None = None
    topics: tuple[Topic, ...] = ()
    images: tuple[Image, ...] = ()
    related: tuple[RelatedLink, ...] = ()
    draft: bool = False


class Site(Struct, frozen=True, kw_only=True):
    """What all feeds of a publisher have in common."""

    title: str
    base_url: str  # without a slash at its end
    language: str  # RFC 5646 tag
    id_authority: str  # the authority and date of every `tag:` URI (RFC 4151); never changes
    description: str = ""
    rights: str = ""  # who may do what with the text
    icon: str = ""  # URL of a small square picture
    logo: str = ""  # URL of a picture twice as wide as high
    max_age: int = 60  # seconds that a reader may keep a document without asking
    hubs: tuple[str, ...] = ()  # URLs of WebSub hubs
    images: bool = True  # whether pages show the articles' pictures


class Channel(Struct, frozen=True, kw_only=True):
    """A feed without its entries: what a reader lists it as."""

    name: str  # its slug
    title: str = ""  # empty for the feed of all articles
    description: str = ""
    image: str = ""  # URL
    language: str = ""  # RFC 5646 tag, empty for the site's
    formats: tuple[str, ...] = FORMATS
    limit: int = 50  # entries in its newest documents, and in each archive


class Entry(Struct, frozen=True, kw_only=True):
    """An article in a feed, with the time of the last change that a reader would see."""

    article: Article
    updated: datetime


class Feed(Struct, frozen=True, kw_only=True):
    """A named, ordered selection of articles, the newest first: the newest of all, or one archive (RFC 5005, section 4).

    Archives are numbered from the oldest, which is 1. The one after the last full one is there too, without entries, so
    that a full one can name it and never changes.
    """

    channel: Channel
    entries: tuple[Entry, ...]
    archive: int = 0  # the number of this archive; 0: the newest entries
    archives: int = 0  # how many archives are full
    emptied: datetime | None = None  # since when it has no entries


class Results(Struct, frozen=True, kw_only=True):
    """One page of what a search found."""

    articles: tuple[Article, ...] = ()  # the best first
    total: int = 0  # how many there are on all pages
    more: bool = False  # whether there are more than `total`, which are not counted
    page: int = 1  # counted from 1
    pages: int = 0


class Ping(Struct, frozen=True, kw_only=True):
    """What a WebSub hub is told: that a document has changed."""

    title: str  # what a person calls it
    url: str


class News(Struct, frozen=True, kw_only=True):
    """An article that became visible, as far as planning needs to know it."""

    article: str  # its id
    published: datetime
    feeds: frozenset[str]  # the names of the feeds that it stands in


class Rules(Struct, frozen=True, kw_only=True):
    """Which articles a target wants, and what goes along with each."""

    target: str
    feeds: frozenset[str] = frozenset({ALL})  # any of these
    related: int = 3  # how many related links go along
    backfill: int = 0  # how many of the articles that are there already a new target is told
    hashtags: bool | tuple[str, ...] = True  # the topics' own, none, or these
    max_per_pass: int = 0  # more articles than this at once are a flood, and the older ones are held; 0: no limit
    max_age: timedelta | None = None  # older articles are never told


class Document(Struct, frozen=True, kw_only=True):
    """A feed or page as it is published: bytes at a path below the site's root."""

    path: str  # "feeds/ai.atom"
    content_type: str
    body: bytes


class Headline(Struct, frozen=True, kw_only=True):
    """What a target is given to tell. Knows no service."""

    article: Article
    related: tuple[RelatedLink, ...] = ()
    hashtags: tuple[str, ...] = ()  # without '#'
    language: str = ""
    is_test: bool = False  # sent by a person to see whether it arrives

    def __hash__(self) -> int:  # equal ones are about the same article; the whole of it takes a while
        return hash(self.article.id)

    @property
    def title(self) -> str:
        """The article's."""
        return self.article.title


class State(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"  # due at `next_at`
    SENDING = "sending"  # committed before the first byte leaves
    DELIVERED = "delivered"
    UNKNOWN = "unknown"  # may have arrived; held for a person
    DEAD = "dead"  # a dead letter: not tried again unless a person says so


class Delivery(Struct, frozen=True, kw_only=True):
    """The duty to bring one article to one target, or to tell one hub of one version of a document."""

    id: str  # the idempotency key: 32 hex digits, the same for the same subject and target for ever
    subject: str  # an article's id; or a document's path and digest, with '@' between them
    target: str
    published: datetime  # the subject; a target is told in this order
    state: State = State.PENDING
    next_at: datetime  # when it is due
    attempts: int = 0  # tries that were begun
    doubtful_since: datetime | None = None  # the first try whose end is not known: it may have arrived then
    last_error: str = ""
    remote_id: str = ""  # what the service calls the message


class Outcome(Struct, frozen=True, kw_only=True):
    """How an attempt ended."""

    kind: Literal["delivered", "retry", "rejected", "unknown", "gone"]
    reason: str = ""  # the service's own words, or the network's
    not_before: timedelta | datetime | None = None  # when the service wants to be asked again
    remote_id: str = ""
    asked: bool = True  # whether the service was asked at all; not where its host's name could not be looked up


class Adoption(Struct, frozen=True, kw_only=True):
    """A target that the store has met."""

    name: str
    adopted_at: datetime
    off: str = ""  # why it is switched off; empty when it is on
