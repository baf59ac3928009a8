"""Which feeds there are and which articles stand in them. Every function works within the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa

from feeder.models import Entry, News, Topic
from feeder.store.keys import among, chunks
from feeder.store.records import from_text
from feeder.store.tables import articles, entries, feeds


def mark_stale(connection: sa.Connection, titles: Mapping[str, str]) -> None:
    """Have the feeds of these names built again; a new one gets its title."""
    there = {row.name for row in among(connection, sa.select(feeds.c.name), feeds.c.name, titles)}
    for chunk in chunks(there):
        connection.execute(sa.update(feeds).where(feeds.c.name.in_(chunk)).values(stale=True))
    new = [{"name": name, "title": title, "stale": True} for name, title in titles.items() if name not in there]
    if new:
        connection.execute(sa.insert(feeds), new)


def mark_stale_among(connection: sa.Connection, names: sa.Select[tuple[str]]) -> None:
    """Have the feeds whose names a query gives built again."""
    connection.execute(sa.update(feeds).where(feeds.c.name.in_(names)).values(stale=True))


def mark_all_stale(connection: sa.Connection) -> None:
    """Have every feed built again."""
    connection.execute(sa.update(feeds).values(stale=True))


def stale(connection: sa.Connection) -> list[Topic]:
    """The feeds that must be built again."""
    query = sa.select(feeds.c.name, feeds.c.title).where(feeds.c.stale).order_by(feeds.c.name)
    return [Topic(slug=name, label=title) for name, title in connection.execute(query)]


def freshen(connection: sa.Connection, names: Collection[str]) -> None:
    """The feeds of these names were built."""
    for chunk in chunks(names):
        connection.execute(sa.update(feeds).where(feeds.c.name.in_(chunk)).values(stale=False))


def newest_entries(connection: sa.Connection, name: str, limit: int, now: datetime) -> tuple[Entry, ...]:
    """The newest `limit` entries of a feed that a reader may see at `now`; the newest first."""
    ids = _newest(name, limit, now).subquery()
    query = (
        sa.select(articles.c.record, articles.c.updated)
        .join(ids, ids.c.article == articles.c.id)
        .order_by(ids.c.published.desc(), ids.c.article.desc())
    )
    return tuple(Entry(article=from_text(text), updated=updated) for text, updated in connection.execute(query))


def titles(connection: sa.Connection) -> dict[str, str]:
    """The titles of all feeds by name."""
    rows = connection.execute(sa.select(feeds.c.name, feeds.c.title).order_by(feeds.c.name))
    return {row.name: row.title for row in rows}


def _newest(name: str, limit: int, now: datetime) -> sa.Select[tuple[str, datetime]]:
    return (
        sa.select(entries.c.article, entries.c.published)
        .where(entries.c.feed == name, entries.c.published <= now)
        .order_by(entries.c.published.desc(), entries.c.article.desc())
        .limit(limit)
    )


def newest(connection: sa.Connection, names: Collection[str], limit: int, now: datetime) -> list[News]:
    """The newest `limit` articles that stand in any of the feeds called `names`; the oldest first."""
    found: dict[str, News] = {}
    for name in names:
        for row in connection.execute(_newest(name, limit, now)):
            article_id, published = row.article, row.published
            item = found.get(article_id) or News(article=article_id, published=published, feeds=frozenset())
            found[article_id] = replace(item, feeds=item.feeds | {name})
    ordered = sorted(found.values(), key=lambda item: (item.published, item.article))
    return ordered[-limit:] if limit else []
