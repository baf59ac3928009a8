"""The documents that tell of all feeds: the first page, the list of all topics, the OPML, and what pages show themselves with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from feeder.feeds import opml, pages
from feeder.models import ALL, Channel, Document, Feed, Site
from feeder.selection import PROVIDER, Feeds
from feeder.store import documents as document_rows
from feeder.store import feeds as feed_rows


def documents(connection: sa.Connection, feeds: Feeds, site: Site, now: datetime) -> list[Document]:
    """Build the documents that tell of all feeds that are published at `now`. Takes as long as there are feeds."""
    published = document_rows.feeds(connection)
    titles = {name: title for name, title in feed_rows.titles(connection).items() if name in published}
    everything, *channels = _in_order(feeds, titles)
    shown = _on_first_page(connection, feeds, channels, now)
    latest, *others = [
        Feed(channel=channel, entries=feed_rows.newest_entries(connection, channel.name, pages.HEADLINES, now))
        for channel in (everything, *shown)
    ]
    return [
        pages.index(latest, others, site, others=len(channels) - len(shown)),
        *pages.lists(channels, site),
        opml.document([everything, *channels], site),
        *pages.assets(),
    ]


def _on_first_page(
    connection: sa.Connection, feeds: Feeds, channels: Sequence[Channel], now: datetime
) -> list[Channel]:
    """Those of `channels` that the first page shows, in their order: all; of too many those with the newest articles.

    Configured feeds go first.
    """
    if len(channels) <= pages.FEEDS:
        return list(channels)
    newest = feed_rows.newest_times(connection, now)
    configured = {rules.channel.name for rules in feeds.configured}
    ranked = sorted(channels, key=lambda each: (each.name in configured, newest[each.name]), reverse=True)
    chosen = {channel.name for channel in ranked[: pages.FEEDS]}
    return [channel for channel in channels if channel.name in chosen]


def _in_order(feeds: Feeds, titles: Mapping[str, str]) -> list[Channel]:
    """The feeds as people are shown them: all, those that were configured, topics, providers."""
    configured = {rules.channel.name: place for place, rules in enumerate(feeds.configured)}
    channels = [feeds.channel(name, title) for name, title in titles.items()]

    def key(channel: Channel) -> tuple[bool, int, bool, str, str]:
        place = configured.get(channel.name, len(configured))
        provider = channel.name.startswith(PROVIDER)
        return (channel.name != ALL, place, provider, channel.title.casefold(), channel.name)

    return sorted(channels, key=key)
