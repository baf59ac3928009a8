"""Which articles are out, which wait for their time, and which of them nobody was told of yet.

Every function works within the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from feeder.models import News
from feeder.store import feeds
from feeder.store.keys import among
from feeder.store.tables import articles

_EITHER = articles.c.announced.in_([True, False])  # so that the index leads to those of a time


def count(connection: sa.Connection, now: datetime) -> dict[str, int]:
    """How many articles are published, and how many wait for their time."""
    live = sa.select(sa.func.count()).select_from(articles).where(_EITHER, articles.c.live)
    return {
        "published": connection.execute(live.where(articles.c.published <= now)).scalar_one(),
        "embargoed": connection.execute(live.where(articles.c.published > now)).scalar_one(),
    }


def unannounced(connection: sa.Connection, now: datetime) -> list[News]:
    """The articles that a reader sees since `now` at the latest and that were never announced; the oldest first."""
    query = (
        sa.select(articles.c.id, articles.c.published, articles.c.feeds)
        .where(_is_news(now))
        .order_by(articles.c.published, articles.c.id)
    )
    return [
        News(article=article_id, published=published, feeds=frozenset(names))
        for article_id, published, names in connection.execute(query)
    ]


def announce(connection: sa.Connection, now: datetime, since: datetime | None) -> None:
    """Mark what `unannounced` gave: it never comes again. The feeds of what came out after `since` become stale."""
    fresh = _is_news(now)
    if since is not None:  # an article whose date was moved into the future comes out again, and is no news
        again = sa.and_(
            articles.c.announced, articles.c.live, articles.c.published > since, articles.c.published <= now
        )
        fresh = sa.or_(fresh, again)
    found = connection.execute(sa.select(articles.c.feeds).where(fresh).distinct()).scalars()
    feeds.mark_stale(connection, {name: "" for names in found for name in names})
    connection.execute(sa.update(articles).where(_is_news(now)).values(announced=True))


def _is_news(now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(sa.not_(articles.c.announced), articles.c.live, articles.c.published <= now)


def announced(connection: sa.Connection) -> frozenset[str]:
    """The ids of the articles that are out and were announced, or taken for it."""
    query = sa.select(articles.c.id).where(articles.c.announced, articles.c.live)
    return frozenset(connection.execute(query).scalars())


def newest(connection: sa.Connection, ids: Collection[str], limit: int) -> list[str]:
    """Those `limit` of the articles with these ids that were published last."""
    rows = among(connection, sa.select(articles.c.id, articles.c.published), articles.c.id, ids)
    return [row.id for row in sorted(rows, key=lambda row: (row.published, row.id), reverse=True)[:limit]]


def next_embargo(connection: sa.Connection, now: datetime) -> datetime | None:
    """When the next article that waits for its time comes out."""
    query = sa.select(sa.func.min(articles.c.published, type_=articles.c.published.type)).where(
        _EITHER, articles.c.live, articles.c.published > now
    )
    found: datetime | None = connection.execute(query).scalar()
    return found
