"""What all formats of a feed say alike: ids, addresses, links and the HTML of an entry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from html import escape

from msgspec.structs import replace

from feeder import markdown
from feeder.models import Article, Channel, Entry, Feed, Image, Provider, RelatedLink, Site
from feeder.safehtml import sanitise
from feeder.text import unescape
from feeder.urls import http_url

MEDIA_TYPES = {"rss": "application/rss+xml", "atom": "application/atom+xml", "json": "application/feed+json"}
NAMES = {"rss": "RSS", "atom": "Atom", "json": "JSON Feed"}  # what a person calls a format
OPML = "feeds.opml"
_AT_HAND = 2_000  # articles whose HTML is kept
_COMMON = 50_000  # characters of a body whose HTML is kept with those of so many others
_LARGE_AT_HAND = 16  # larger ones that are kept: to render one takes seconds
_LARGEST = 8_000_000  # characters of content that a feed's newest documents hold
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT = timedelta(microseconds=1)
_ARCHIVE = "/archive/"
_READ_AS_HTML = re.compile(r"<(?=[A-Za-z/!?])|&(?=#?\w)")


# --- names and addresses ----------------------------------------------------------------------------------------------


def entry_id(site: Site, article: Article) -> str:
    """The article's id in every feed and format: a tag URI (RFC 4151) that depends on its identity alone."""
    return f"tag:{site.id_authority}:article/{article.id}"


def feed_id(site: Site, feed: Feed) -> str:
    """The feed's id, the same in every format and in its archives."""
    return f"tag:{site.id_authority}:feed/{feed.channel.name}"


def feed_title(site: Site, channel: Channel) -> str:
    """What a reader lists the feed as."""
    return f"{channel.title} · {site.title}" if channel.title else site.title


def feed_description(site: Site, channel: Channel) -> str:
    """A line about the feed; RSS wants one."""
    if channel.title:
        return channel.description or f"{channel.title}: headlines with related coverage"
    return site.description or f"{site.title}: all headlines with related coverage"


def language(site: Site, channel: Channel) -> str:
    """The language of a feed (RFC 5646)."""
    return channel.language or site.language


def feed_path(name: str, extension: str, archive: int = 0) -> str:
    """Where a feed's document, or one of its archives, stands below the site's root."""
    return f"feeds/{name}{_ARCHIVE}{archive}.{extension}" if archive else f"feeds/{name}.{extension}"


def page_path(name: str, archive: int = 0) -> str:
    """Where the page of a feed, or of one of its archives, stands below the site's root: a folder, with its slash."""
    return f"topics/{name}{_ARCHIVE}{archive}/" if archive else f"topics/{name}/"


def list_path(number: int) -> str:
    """Where a page of the list of all feeds stands, the first being 1: a folder, with its slash. No slug has a dot."""
    return f"topics/page.{number}/" if number > 1 else "topics/"


def is_archive(path: str) -> bool:
    """Whether an archive stands at `path`."""
    return _ARCHIVE in path


def links(site: Site, feed: Feed, extension: str) -> Iterator[tuple[str, str]]:
    """The links of a feed's document to itself, its hubs and its archives: rel and address.

    RFC 5005, section 4. A full archive says the same for ever.
    """

    def at(archive: int) -> str:
        return f"{site.base_url}/{feed_path(feed.channel.name, extension, archive)}"

    yield "self", at(feed.archive)
    if feed.archive:
        yield "current", at(0)
        if feed.archive > 1:
            yield "prev-archive", at(feed.archive - 1)
        if feed.archive <= feed.archives:
            yield "next-archive", at(feed.archive + 1)
    else:
        for hub in site.hubs:
            yield "hub", hub
        if feed.archives:
            yield "prev-archive", at(feed.archives)


def home_page(provider: Provider) -> str:
    """The address of a provider's site; empty where its domain is none."""
    try:
        return http_url(f"https://{provider.domain}/")
    except ValueError:
        return ""


# --- entries ----------------------------------------------------------------------------------------------------------


def updated(feed: Feed) -> datetime:
    """The last change that a reader of the feed would see."""
    return max((entry.updated for entry in feed.entries), default=feed.emptied or _NEVER)


def distinct(feed: Feed) -> tuple[Entry, ...]:
    """The entries, no two of which share their `updated`; the W3C's validator asks for that."""
    taken: set[datetime] = set()
    found = []
    for entry in feed.entries:
        moment = entry.updated
        while moment in taken:
            moment += _INSTANT
        taken.add(moment)
        found.append(entry if moment == entry.updated else replace(entry, updated=moment))
    return tuple(found)


def inert(text: str) -> str:
    """`text` so that whoever takes it for HTML shows what it says.

    RSS does not say whether a title is text or HTML. A zero-width space keeps ``<b>`` from being a tag, and ``&amp;``
    from being a character, for those who think it is HTML; the others show it as it is written.
    """
    return _READ_AS_HTML.sub("\\g<0>\u200b", text) if reads_as_html(text) else text


def reads_as_html(text: str) -> bool:
    """Whether `text` says something else when it is taken for HTML."""
    return "<" in text or ("&" in text and unescape(text) != text)


def within_bounds(feed: Feed) -> Feed:
    """`feed` with as many of its newest entries as a reader can be expected to take in one document; one at least."""
    room = _LARGEST
    for number, entry in enumerate(feed.entries):
        room -= len(content_html(entry.article)) + len(entry.article.excerpt)
        if room < 0 and number:
            return replace(feed, entries=feed.entries[:number])
    return feed


def content_html(article: Article) -> str:
    """An entry's content: the image, the body or the excerpt, and the related coverage. Never empty."""
    return _at_hand(article) if len(article.body) <= _COMMON else _large_at_hand(article)


@lru_cache(maxsize=_AT_HAND)  # an article stands in several feeds and formats, and is built again with each newcomer
def _at_hand(article: Article) -> str:
    return _content_html(article)


@lru_cache(maxsize=_LARGE_AT_HAND)
def _large_at_hand(article: Article) -> str:
    return _content_html(article)


def _content_html(article: Article) -> str:
    body = markdown.content(article) or (f"<p>{escape(article.excerpt)}</p>" if article.excerpt else "")
    made = sanitise(_image(article) + body + _related(article.related), article.url)
    return made or f"<p>{escape(article.title)}</p>"


def _image(article: Article) -> str:
    if not article.images:
        return ""
    image = article.images[0]
    size = "".join(
        f' {side}="{pixels}"' for side, pixels in (("width", image.width), ("height", image.height)) if pixels
    )
    return f'<p><img src="{escape(image.url)}" alt="{escape(alt(image, article))}"{size}></p>'


def alt(image: Image, article: Article) -> str:
    """What stands for an image that is not seen."""
    return image.title or article.title


def _related(related: tuple[RelatedLink, ...]) -> str:
    if not related:
        return ""
    items = "".join(
        f'<li><a href="{escape(link.url)}">{escape(link.title)}</a>{_source(link)}</li>' for link in related
    )
    return f"<h3>Related</h3><ul>{items}</ul>"


def _source(link: RelatedLink) -> str:
    """Who published a related article, and when: " (The Daily, 31 October 2026)"."""
    told = [escape(link.provider.name)] if link.provider else []
    if link.published:
        told.append(f'<time datetime="{link.published.isoformat()}">{day(link.published)}</time>')
    return f" ({', '.join(told)})" if told else ""


_MONTHS = "January February March April May June July August September October November December".split()


def day(moment: datetime) -> str:
    """A date as people write it, in no locale but this: 31 October 2026."""
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}"
