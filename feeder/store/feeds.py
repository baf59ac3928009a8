"""Which feeds there are and which articles stand in them. Every function works within the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

import sqlalchemy as sa
from msgspec.structs import replace

from feeder.models import Entry, News, Topic
from feeder.records import from_text
from feeder.store.keys import among, chunks
from feeder.store.tables import articles, entries, feeds, stale_archives

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def mark_stale(connection: sa.Connection, titles: Mapping[str, str]) -> None:
    """Have the feeds of these names built again; a new one gets its title."""
    there = {row.name for row in among(connection, sa.select(feeds.c.name), feeds.c.name, titles)}
    for chunk in chunks(there):
        connection.execute(sa.update(feeds).where(feeds.c.name.in_(chunk)).values(stale=True))
    new = [
        {"name": name, "title": title, "stale": True, "archives": 0, "configured": False}
        for name, title in titles.items()
        if name not in there
    ]
    if new:
        connection.execute(sa.insert(feeds), new)


def mark_archives_stale(connection: sa.Connection, archives: Collection[tuple[str, int]]) -> None:
    """Have these archives (feed, number) built again."""
    there = {(row.feed, row.archive) for row in connection.execute(sa.select(stale_archives))} if archives else set()
    new = [{"feed": feed, "archive": archive} for feed, archive in sorted(set(archives) - there)]
    if new:
        connection.execute(sa.insert(stale_archives), new)


def mark_all_stale(connection: sa.Connection) -> None:
    """Have every feed and every archive built again."""
    connection.execute(sa.update(feeds).values(stale=True))
    full = {row.name: row.archives for row in connection.execute(sa.select(feeds).where(feeds.c.archives > 0))}
    mark_archives_stale(connection, [(name, number) for name, last in full.items() for number in range(1, last + 2)])


def stale(connection: sa.Connection) -> list[Topic]:
    """The feeds that must be built again."""
    query = sa.select(feeds.c.name, feeds.c.title).where(feeds.c.stale).order_by(feeds.c.name)
    return [Topic(slug=name, label=title) for name, title in connection.execute(query)]


def freshen(
    connection: sa.Connection,
    emptied: Mapping[str, datetime | None],
    filled: Collection[str],
    configured: Collection[str],
) -> None:
    """Feeds were built: those in `filled` with entries, those in `emptied`, since when they have none, without.

    `configured` are the names of those that the settings have; it is remembered of a feed that has entries.
    """
    for chunk in chunks(filled):
        values = {"stale": False, "emptied": None, "configured": feeds.c.name.in_(configured)}
        connection.execute(sa.update(feeds).where(feeds.c.name.in_(chunk)).values(values))
    for name, since in emptied.items():
        connection.execute(sa.update(feeds).where(feeds.c.name == name).values(stale=False, emptied=since))


def about(connection: sa.Connection, name: str) -> tuple[str, bool, datetime | None]:
    """A feed's title, whether the settings had it when it last had entries, and since when it has none."""
    query = sa.select(feeds.c.title, feeds.c.configured, feeds.c.emptied).where(feeds.c.name == name)
    row = connection.execute(query).one_or_none()
    return ("", False, None) if row is None else (row.title, row.configured, row.emptied)


def unarchived(connection: sa.Connection, most: int, now: datetime) -> dict[str, int]:
    """How many entries of each feed stand in no archive yet; `most` where there are more."""
    waiting = (
        sa.select(sa.literal(1))
        .where(entries.c.feed == feeds.c.name, entries.c.archive == 0, entries.c.published <= now)
        .correlate(feeds)
        .limit(most)  # not all: after a first fill that is everything there is
        .subquery()
    )
    # Feed by feed, so that the index leads to those few and the archived ones are not looked at.
    query = sa.select(feeds.c.name, sa.select(sa.func.count()).select_from(waiting).scalar_subquery().label("number"))
    return {row.name: row.number for row in connection.execute(query)}


def fill_archives(connection: sa.Connection, name: str, limit: int, most: int, now: datetime) -> None:
    """Move what no longer stands among the newest `limit` entries into archives of `limit`: at most so many archives.

    The oldest go first. What stands in an archive stays there: those that are full never get another entry.
    """
    there: int = connection.execute(sa.select(feeds.c.archives).where(feeds.c.name == name)).scalar_one()
    waiting = (
        sa.select(entries.c.published, entries.c.article)
        .where(entries.c.feed == name, entries.c.archive == 0, entries.c.published <= now)
        .order_by(entries.c.published, entries.c.article)
    )
    bounded = waiting.limit(most * limit + 1).subquery()
    count = connection.execute(sa.select(sa.func.count()).select_from(bounded)).scalar_one()
    full = (count - 1) // limit
    oldest = waiting.limit(full * limit).subquery()
    order = sa.func.row_number().over(order_by=(oldest.c.published, oldest.c.article)) - 1
    ranked = sa.select(oldest, order.label("rank")).subquery()
    connection.execute(
        sa.update(entries)
        .where(
            entries.c.feed == name,
            entries.c.published == ranked.c.published,
            entries.c.article == ranked.c.article,
        )
        .values(archive=there + 1 + ranked.c.rank // limit)
    )
    connection.execute(sa.update(feeds).where(feeds.c.name == name).values(archives=there + full))
    # The last one that was full before has a newer neighbour now, and the one after the last is named by it.
    mark_archives_stale(connection, [(name, number) for number in range(max(there, 1), there + full + 2)])


def forget_archives(connection: sa.Connection, names: Collection[str]) -> None:
    """These feeds have no entries any more: what comes into them next begins with their first archive."""
    for chunk in chunks(names):
        connection.execute(sa.update(feeds).where(feeds.c.name.in_(chunk)).values(archives=0))
        connection.execute(sa.delete(stale_archives).where(stale_archives.c.feed.in_(chunk)))


def stale_archives_of(connection: sa.Connection, limit: int) -> list[tuple[str, int]]:
    """At most `limit` archives (feed, number) that must be built."""
    query = sa.select(stale_archives).order_by(stale_archives.c.feed, stale_archives.c.archive).limit(limit)
    return [(row.feed, row.archive) for row in connection.execute(query)]


def freshen_archives(connection: sa.Connection, built: Collection[tuple[str, int]]) -> None:
    """These archives were built."""
    for name, number in built:
        connection.execute(
            sa.delete(stale_archives).where(stale_archives.c.feed == name, stale_archives.c.archive == number)
        )


def archives(connection: sa.Connection, name: str) -> int:
    """How many archives of a feed are full."""
    return connection.execute(sa.select(feeds.c.archives).where(feeds.c.name == name)).scalar() or 0


def newest_entries(connection: sa.Connection, name: str, limit: int, now: datetime) -> tuple[Entry, ...]:
    """The newest `limit` entries of a feed that a reader may see at `now`; the newest first.

    What stands in no archive yet comes before what does, however old it is: a reader would see it nowhere else.
    """
    newest = _newest(name, limit, now)
    chosen = {row.article: row.published for row in connection.execute(newest.where(entries.c.archive == 0))}
    for row in connection.execute(newest):
        if len(chosen) < limit:
            chosen[row.article] = row.published
    return _entries(connection, chosen)


def archive_entries(connection: sa.Connection, name: str, number: int, now: datetime) -> tuple[Entry, ...]:
    """The entries of one archive of a feed; the newest first."""
    query = sa.select(entries.c.article, entries.c.published).where(
        entries.c.feed == name, entries.c.archive == number, entries.c.published <= now
    )
    return _entries(connection, {row.article: row.published for row in connection.execute(query)})


def _entries(connection: sa.Connection, published: Mapping[str, datetime]) -> tuple[Entry, ...]:
    """The entries of articles, given when they were published; the newest first."""
    query = sa.select(articles.c.id, articles.c.record, articles.c.updated)
    rows = among(connection, query, articles.c.id, published)
    rows.sort(key=lambda row: (published[row.id], row.id), reverse=True)
    return tuple(Entry(article=from_text(row.record), updated=row.updated) for row in rows)


def titles(connection: sa.Connection) -> dict[str, str]:
    """The titles of all feeds by name."""
    rows = connection.execute(sa.select(feeds.c.name, feeds.c.title).order_by(feeds.c.name))
    return {row.name: row.title for row in rows}


def newest_times(connection: sa.Connection, now: datetime) -> dict[str, datetime]:
    """When the newest article of each feed was published; the epoch for a feed without articles."""
    newest = (
        sa.select(entries.c.published)
        .where(entries.c.feed == feeds.c.name, entries.c.published <= now)
        .order_by(entries.c.published.desc())
        .limit(1)
        .scalar_subquery()
    )
    return {name: found or _EPOCH for name, found in connection.execute(sa.select(feeds.c.name, newest))}


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
