"""A feed as documents in all its formats, and which of its articles keep it from becoming them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from feeder.feeds import content, documents, jsonfeed, pages
from feeder.models import Channel, Document, Feed, Site


class Unrenderable(Exception):
    """A feed cannot be rendered. `articles` are those of its articles that cannot either: reasons by id."""

    def __init__(self, reason: str, articles: Mapping[str, str]) -> None:
        super().__init__(reason)
        self.articles = articles


def render(feed: Feed, everything: Channel, site: Site) -> list[Document]:
    """Render `feed` in all its formats and as a page; nothing of one without entries that is not published as an empty one.

    `everything` is the feed of all articles. Unrenderable names the articles that are to blame; none, where it is the
    feed itself.
    """
    try:
        return list(_documents(feed, everything, site))
    except Exception as error:  # whatever an article brings a library to raise must stop nothing but itself
        raise Unrenderable(_reason(error), _culprits(feed, everything, site)) from error


def _culprits(feed: Feed, everything: Channel, site: Site) -> dict[str, str]:
    """The articles that cannot be rendered in a feed of their own, with the reasons."""
    found = {}
    for entry in feed.entries:
        try:
            list(_documents(replace(feed, entries=(entry,)), everything, site))
        except Exception as error:  # noqa: BLE001 - the same, one article at a time
            found[entry.article.id] = f"cannot be published: {_reason(error)}; take out of it what is odd there"
    return found


def _documents(feed: Feed, everything: Channel, site: Site) -> Iterator[Document]:
    if not feed.entries and not feed.archive and feed.emptied is None:
        return
    if not feed.archive:
        feed = content.within_bounds(feed)
    yield from documents.documents(feed, site)
    if "json" in feed.channel.formats:
        yield jsonfeed.document(feed, site)
    if not feed.archive or feed.archive <= feed.archives:
        yield pages.feed(feed, everything, site)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
