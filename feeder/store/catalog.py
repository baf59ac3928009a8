"""Files, articles and feeds in the store. Every function works within the caller's transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from feeder.articles.scan import Stamp
from feeder.errors import Problem
from feeder.models import ALL, Article, Entry, News, Topic
from feeder.store.tables import articles, entries, feeds, files

_MANY = 500  # keys in one IN (…): well under every database's limit
_UNSEEN: dict[str, Any] = {"quality": None, "amp_url": "", "cdn_amp_url": ""}  # of articles and related links
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What reading one file gave: an article, or the reason why it is none."""

    path: str
    stamp: Stamp
    article: Article | None = None
    problem: Problem | None = None


def stamps(connection: sa.Connection, paths: Collection[str] | None = None) -> dict[str, Stamp]:
    """The stamps of all known files, or of those at `paths` and in the folders there."""
    query = sa.select(files.c.path, files.c.size, files.c.mtime_ns, files.c.ctime_ns)
    if paths is None:
        return _stamps(connection.execute(query))
    found = _stamps(_among(connection, query, files.c.path, paths))
    for path in paths:
        if path not in found:  # "0" comes right after "/"
            found |= _stamps(connection.execute(query.where(files.c.path > f"{path}/", files.c.path < f"{path}0")))
    return found


def _stamps(rows: Iterable[Any]) -> dict[str, Stamp]:
    return {path: Stamp(size, mtime, ctime) for path, size, mtime, ctime in rows}


def forget_stamps(connection: sa.Connection) -> None:
    """Have every file read again by the next pass."""
    connection.execute(sa.update(files).values(size=-1))


def problems(connection: sa.Connection) -> list[Problem]:
    """Why some files are no articles now."""
    query = (
        sa.select(files.c.path, files.c.line, files.c.problem)
        .where(files.c.problem.is_not(None))
        .order_by(files.c.path)
    )
    return [Problem(where=path, line=line, reason=reason) for path, line, reason in connection.execute(query)]


def count(connection: sa.Connection, now: datetime) -> dict[str, int]:
    """How many articles are published, and how many wait for their time."""
    live = sa.select(sa.func.count()).select_from(articles).where(articles.c.live)
    published = connection.execute(live.where(articles.c.published <= now)).scalar_one()
    return {"published": published, "embargoed": connection.execute(live).scalar_one() - published}


# --- what a pass found ----------------------------------------------------------------------------------------------


def apply(
    connection: sa.Connection,
    readings: Sequence[Reading],
    gone: Collection[str],
    *,
    now: datetime,
    include_drafts: bool,
    reread: Callable[[str], Article | None],
) -> None:
    """Write what reading some files gave, and mark the feeds that it touches as stale.

    A file that is no article any more leaves its last good version in place. Of several files with one identity the
    newest publishedDateTime speaks; `reread` fetches the article of such a file when it was not read this time.
    """
    touched = _write_files(connection, readings, gone)
    fresh = {reading.path: reading.article for reading in readings if reading.article}
    known = {row.id: row for row in _among(connection, sa.select(articles), articles.c.id, touched)}
    holders: dict[str, list[tuple[str, bool]]] = {}
    query = sa.select(files.c.article, files.c.path, files.c.problem.is_(None))
    for article_id, path, good in _among(connection, query, files.c.article, touched):
        holders.setdefault(article_id, []).append((path, good))

    settled = []
    for article_id in sorted(touched):
        row = known.get(article_id)
        speaker = _speaker(holders.get(article_id, []), fresh, row, reread)
        settled.append(_settle(article_id, speaker, row, now=now, include_drafts=include_drafts))
    _write_articles(connection, [change for change in settled if change], known)


def _write_files(connection: sa.Connection, readings: Sequence[Reading], gone: Collection[str]) -> set[str]:
    """Write the rows of files; the ids of the articles that they hold or held."""
    paths = [*gone, *(reading.path for reading in readings)]
    held = dict(_among(connection, sa.select(files.c.path, files.c.article), files.c.path, paths))
    rows = [
        {
            "path": reading.path,
            **reading.stamp._asdict(),
            "article": reading.article.id if reading.article else held.get(reading.path),
            "line": reading.problem.line if reading.problem else None,
            "problem": reading.problem.reason if reading.problem else None,
        }
        for reading in readings
    ]
    _delete(connection, files, files.c.path, paths)
    if rows:
        connection.execute(sa.insert(files), rows)
    return {article for article in [*held.values(), *(row["article"] for row in rows)] if article}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Change:
    """An article's row as it shall be, and whether its feeds must be built again."""

    article: Article
    path: str
    live: bool
    updated: datetime


def _speaker(
    holders: Iterable[tuple[str, bool]],
    fresh: Mapping[str, Article],
    row: sa.Row[Any] | None,
    reread: Callable[[str], Article | None],
) -> tuple[str, Article] | None:
    """The file that speaks for an article, and what it says."""
    paths = sorted(holders)
    found = []
    for path, good in paths:
        article = fresh.get(path)
        if article is None and row is not None and row.path == path and (len(paths) == 1 or not good):
            article = _article(row.record)
        elif article is None and good:
            article = reread(path)
        if article is not None:
            found.append((path, article))
    return max(found, key=lambda holder: holder[1].published, default=None)


def _settle(
    article_id: str,
    speaker: tuple[str, Article] | None,
    row: sa.Row[Any] | None,
    *,
    now: datetime,
    include_drafts: bool,
) -> _Change | None:
    """What becomes of an article's row; None when it stays."""
    if speaker is None:
        if row is None or not row.live:
            return None
        return _Change(article=_article(row.record), path=row.path, live=False, updated=row.updated)
    path, article = speaker
    live = include_drafts or not article.draft
    if article.id != article_id:  # a file with two articles' worth of history; the other id has a row of its own
        return None
    if row is None:
        return _Change(article=article, path=path, live=live, updated=article.published)
    if row.record == _json(article) and row.live == live and row.path == path:
        return None
    seen = row.visible != _visible(article)
    updated = max(now.replace(microsecond=0), row.updated + _SECOND, article.published) if seen else row.updated
    return _Change(article=article, path=path, live=live, updated=updated)


def _write_articles(connection: sa.Connection, changes: Sequence[_Change], known: Mapping[str, sa.Row[Any]]) -> None:
    stale: dict[str, str] = {}
    new, old, members = [], [], []
    for change in changes:
        row, article = known.get(change.article.id), change.article
        values = {
            "path": change.path,
            "published": article.published,
            "updated": change.updated,
            "live": change.live,
            "visible": _visible(article),
            "record": _json(article),
        }
        if row is None:
            new.append({"id": article.id, "announced": False, **values})
        else:
            old.append({"key": article.id, **values})
        if row is None or row.visible != values["visible"] or row.live != change.live:
            topics = {
                topic.slug: topic.label for topic in (*article.topics, *(_article(row.record).topics if row else ()))
            }
            stale |= {**topics, ALL: ""}
        if change.live:
            members += [(feed, article) for feed in (ALL, *(topic.slug for topic in article.topics))]
    if new:
        connection.execute(sa.insert(articles), new)
    if old:
        columns: dict[str, Any] = {name: sa.bindparam(name) for name in old[0] if name != "key"}
        connection.execute(sa.update(articles).where(articles.c.id == sa.bindparam("key")).values(columns), old)
        _delete(connection, entries, entries.c.article, [row["key"] for row in old])
    if members:
        rows = [{"feed": feed, "published": article.published, "article": article.id} for feed, article in members]
        connection.execute(sa.insert(entries), rows)
    mark_stale(connection, stale)


# --- news: what became visible ----------------------------------------------------------------------------------------


def news(connection: sa.Connection, now: datetime) -> list[News]:
    """The articles that a reader sees since `now` at the latest and that were never announced; the oldest first."""
    query = (
        sa.select(articles.c.id, articles.c.published, entries.c.feed)
        .join(entries, entries.c.article == articles.c.id)
        .where(_unannounced(now))
        .order_by(articles.c.published, articles.c.id)
    )
    found: dict[str, News] = {}
    for article_id, published, feed in connection.execute(query):
        item = found.get(article_id) or News(article=article_id, published=published, feeds=frozenset())
        found[article_id] = replace(item, feeds=item.feeds | {feed})
    return list(found.values())


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


def announce(connection: sa.Connection, now: datetime) -> None:
    """Mark what `news` gave: it never comes again. Its feeds become stale."""
    fresh = sa.select(articles.c.id).where(_unannounced(now))
    touched = sa.select(entries.c.feed).where(entries.c.article.in_(fresh))
    connection.execute(sa.update(feeds).where(feeds.c.name.in_(touched)).values(stale=True))
    connection.execute(sa.update(articles).where(_unannounced(now)).values(announced=True))


def _unannounced(now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(sa.not_(articles.c.announced), articles.c.live, articles.c.published <= now)


# --- feeds ------------------------------------------------------------------------------------------------------------


def mark_stale(connection: sa.Connection, titles: Mapping[str, str]) -> None:
    """Have the feeds of these names built again; a new one gets its title."""
    there = {row.name for row in _among(connection, sa.select(feeds.c.name), feeds.c.name, titles)}
    for chunk in _chunks(there):
        connection.execute(sa.update(feeds).where(feeds.c.name.in_(chunk)).values(stale=True))
    new = [{"name": name, "title": title, "stale": True} for name, title in titles.items() if name not in there]
    if new:
        connection.execute(sa.insert(feeds), new)


def mark_all_stale(connection: sa.Connection) -> None:
    """Have every feed built again."""
    connection.execute(sa.update(feeds).values(stale=True))


def stale_feeds(connection: sa.Connection) -> list[Topic]:
    """The feeds that must be built again."""
    query = sa.select(feeds.c.name, feeds.c.title).where(feeds.c.stale).order_by(feeds.c.name)
    return [Topic(slug=name, label=title) for name, title in connection.execute(query)]


def freshen(connection: sa.Connection, names: Collection[str]) -> None:
    """The feeds of these names were built."""
    for chunk in _chunks(names):
        connection.execute(sa.update(feeds).where(feeds.c.name.in_(chunk)).values(stale=False))


def feed_entries(connection: sa.Connection, name: str, limit: int, now: datetime) -> tuple[Entry, ...]:
    """The newest `limit` entries of a feed that a reader may see at `now`; the newest first."""
    ids = _newest(name, limit, now).subquery()
    query = (
        sa.select(articles.c.record, articles.c.updated)
        .join(ids, ids.c.article == articles.c.id)
        .order_by(ids.c.published.desc(), ids.c.article.desc())
    )
    return tuple(Entry(article=_article(text), updated=updated) for text, updated in connection.execute(query))


def article(connection: sa.Connection, article_id: str) -> Article | None:
    """The article with this id, live or not."""
    text = connection.execute(sa.select(articles.c.record).where(articles.c.id == article_id)).scalar()
    return None if text is None else _article(text)


def topics(connection: sa.Connection) -> dict[str, str]:
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


# --- records as text ----------------------------------------------------------------------------------------------------


@cache
def _adapter() -> TypeAdapter[Article]:
    return TypeAdapter(Article)


def _json(article: Article) -> str:
    # Defaults are left out, so that a field added by a later feeder changes no record and no digest.
    return _adapter().dump_json(article, exclude_defaults=True).decode()


def _article(text: str) -> Article:
    return _adapter().validate_json(text)


def _visible(article: Article) -> str:
    """A digest of what a reader sees: title, excerpt, body, links, dates, provider, topics, images, related."""
    seen = replace(
        article,
        **_UNSEEN,
        category="",
        heat=None,
        draft=False,
        images=tuple(replace(image, cached=False) for image in article.images),
        related=tuple(replace(link, **_UNSEEN, images=()) for link in article.related),
    )
    return hashlib.sha256(_json(seen).encode()).hexdigest()[:32]


# --- many keys at once ----------------------------------------------------------------------------------------------------


def _chunks(keys: Iterable[Any]) -> Iterable[list[Any]]:
    ordered = sorted(set(keys))
    return (ordered[start : start + _MANY] for start in range(0, len(ordered), _MANY))


def _among(connection: sa.Connection, query: sa.Select[Any], column: sa.Column[Any], keys: Iterable[Any]) -> list[Any]:
    return [row for chunk in _chunks(keys) for row in connection.execute(query.where(column.in_(chunk)))]


def _delete(connection: sa.Connection, table: sa.Table, column: sa.Column[Any], keys: Iterable[Any]) -> None:
    for chunk in _chunks(keys):
        connection.execute(sa.delete(table).where(column.in_(chunk)))
