"""Files and articles in the store. Every function works within the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace

from feeder.errors import Problem
from feeder.models import Article
from feeder.records import Record, from_text, is_seen_to_differ
from feeder.records import record as record_of
from feeder.selection import PLAIN_FEEDS, Feeds
from feeder.store import feeds, names, search
from feeder.store.keys import among, chunks, delete, insert, plain_rows
from feeder.store.tables import articles, entries, files

if TYPE_CHECKING:
    from feeder.articles.scan import Stamp

_SECOND = timedelta(seconds=1)


class Reading(Struct, frozen=True, kw_only=True):
    """What reading one file gave: an article's record, or the reason why it is none."""

    path: str
    stamp: Stamp
    record: Record | None = None
    problem: Problem | None = None


def stamps(connection: sa.Connection, paths: Collection[str] | None = None) -> dict[str, tuple[int, int, int]]:
    """The stamps of all known files, or of those at `paths` and in the folders there."""
    query = sa.select(files.c.path, files.c.size, files.c.mtime_ns, files.c.ctime_ns)
    if paths is None:
        return {row[0]: row[1:] for row in plain_rows(connection, query)}
    found = _stamps(among(connection, query, files.c.path, paths))
    for path in paths:
        if path not in found:  # "0" comes right after "/"
            found |= _stamps(connection.execute(query.where(files.c.path > f"{path}/", files.c.path < f"{path}0")))
    return found


def _stamps(rows: Iterable[Any]) -> dict[str, tuple[int, int, int]]:
    return {path: (size, mtime, ctime) for path, size, mtime, ctime in rows}


def forget_stamps(connection: sa.Connection, paths: Collection[str] | None = None) -> None:
    """Have every file, or those at `paths`, read again by the next pass."""
    for chunk in [None] if paths is None else chunks(paths):
        query = sa.update(files).values(size=-1)
        connection.execute(query if chunk is None else query.where(files.c.path.in_(chunk)))


def problems(connection: sa.Connection) -> list[Problem]:
    """Why some files are no articles now."""
    query = (
        sa.select(files.c.path, files.c.line, files.c.problem)
        .where(files.c.problem.is_not(None))
        .order_by(files.c.path)
    )
    return [Problem(where=path, line=line, reason=reason) for path, line, reason in connection.execute(query)]


# --- what a pass found ----------------------------------------------------------------------------------------------


def apply(
    connection: sa.Connection,
    readings: Sequence[Reading],
    gone: Collection[str],
    *,
    now: datetime,
    include_drafts: bool,
    keep_deleted: bool,
    announced: bool,
    feeds_of: Feeds,
    reread: Callable[[str], Record | None],
) -> None:
    """Write what reading some files gave, and mark the feeds that it touches as stale.

    A file that is no article any more leaves its last good version in place; not if that waits for its time, for nobody
    knows whether it still is to come out then. Of several files with one identity the
    newest publishedDateTime speaks; `reread` fetches the record of such a file when it was not read this time; one that
    it cannot fetch is read again by the next pass, and an article that only such files hold stays as it is.
    `announced` says that nobody is told of what comes out with these.
    """
    unread: set[str] = set()

    def read(path: str) -> Record | None:
        if (record := reread(path)) is None:
            unread.add(path)
            return None
        return names.renamed(record, names.known(connection, [record.id]))

    held = _held(connection, [*gone, *(reading.path for reading in readings)])
    readings = _named(connection, held, readings)
    touched = _write_files(connection, held, readings)
    fresh = {reading.path: reading.record for reading in readings if reading.record}
    known = {row.id: row for row in among(connection, sa.select(articles), articles.c.id, touched)}
    holders = _holders(connection, known, fresh)

    settled = []
    for article_id in sorted(touched):
        row, found = known.get(article_id), holders.get(article_id, [])
        waits = row is not None and row.published > now
        is_unsure = waits and not any(good for _, good in found)
        speaker = None if is_unsure else _speaker(found, fresh, row, feeds_of, read)
        if speaker is not None or not keep_deleted or waits:
            settled.append(_settle(article_id, speaker, row, now=now, include_drafts=include_drafts))
    _write_articles(connection, [change for change in settled if change], known, now if announced else None)
    forget_stamps(connection, unread)


def settle_orphans(connection: sa.Connection, feeds_of: Feeds, *, keep: bool) -> None:
    """Settle the articles that were kept when their files were deleted: they stay, or leave their feeds."""
    held = sa.exists().where(files.c.article == articles.c.id)
    known = {row.id: row for row in connection.execute(sa.select(articles).where(articles.c.live, ~held))}
    changes = [
        _Change(record=_kept(row, feeds_of), path=row.path, live=keep, updated=row.updated, seen=False)
        for row in known.values()
    ]
    _write_articles(connection, changes, known, None)


def reject(connection: sa.Connection, reasons: Mapping[str, str]) -> list[Problem]:
    """Take articles out of their feeds for `reasons` (by id), until their files change; the problems of those files."""
    known = {row.id: row for row in among(connection, sa.select(articles), articles.c.id, reasons)}
    changes = [
        _Change(record=_kept(row, PLAIN_FEEDS), path=row.path, live=False, updated=row.updated, seen=False)
        for row in known.values()
    ]
    _write_articles(connection, changes, known, None)
    problems = [Problem(where=row.path, reason=reasons[row.id]) for row in known.values()]
    for problem in problems:
        connection.execute(
            sa.update(files).where(files.c.path == problem.where).values(line=None, problem=problem.reason)
        )
    return problems


_FILE = ("path", "size", "mtime_ns", "ctime_ns", "article", "line", "problem")


def _held(connection: sa.Connection, paths: Collection[str]) -> dict[str, str | None]:
    """The ids of the articles that the files at `paths` hold, as far as they are known."""
    return dict(among(connection, sa.select(files.c.path, files.c.article), files.c.path, paths))


def _named(connection: sa.Connection, held: Mapping[str, str | None], readings: Sequence[Reading]) -> Sequence[Reading]:
    """What was read, each record with the id that its article has always had."""
    ids = names.learn(connection, held, {each.path: each.record for each in readings if each.record})
    if not ids:
        return readings
    return [replace(each, record=each.record and names.renamed(each.record, ids)) for each in readings]


def _write_files(connection: sa.Connection, held: Mapping[str, str | None], readings: Sequence[Reading]) -> set[str]:
    """Write the rows of files in place of those that `held` names; the ids of the articles that they hold or held."""
    rows = [
        (
            reading.path,
            *reading.stamp,
            reading.record.id if reading.record else held.get(reading.path),
            reading.problem.line if reading.problem else None,
            reading.problem.reason if reading.problem else None,
        )
        for reading in readings
    ]
    delete(connection, files, files.c.path, held)
    insert(connection, files, _FILE, rows)
    return {article for article in [*held.values(), *(row[4] for row in rows)] if article}


def _holders(
    connection: sa.Connection, known: Collection[str], fresh: Mapping[str, Record]
) -> dict[str, list[tuple[str, bool]]]:
    """The files that hold articles, and whether they are good. An article that is not known stands in fresh ones alone."""
    found: dict[str, list[tuple[str, bool]]] = {}
    for path, record in fresh.items():
        if record.id not in known:
            found.setdefault(record.id, []).append((path, True))
    query = sa.select(files.c.article, files.c.path, files.c.problem.is_(None))
    for article_id, path, good in among(connection, query, files.c.article, known):
        found.setdefault(article_id, []).append((path, good))
    return found


class _Change(Struct, frozen=True, kw_only=True):
    """An article's row as it shall be."""

    record: Record
    path: str
    live: bool
    updated: datetime
    seen: bool  # whether a reader sees that it changed

    def stands(self) -> dict[str, str]:
        """The feeds that the article stands in: their titles by name."""
        return self.record.feeds if self.live else {}

    def values(self) -> tuple[Any, ...]:
        """What is written of it, in the order of `_ARTICLE`."""
        it = self.record
        return (it.id, self.path, it.published, self.updated, self.live, tuple(self.stands()), it.text)

    def entry(self) -> search.Entry | None:
        """The article as a search finds it; None when none does."""
        return _entry(self.record.id, self.record.published, self.record.text) if self.live else None

    def alters(self, row: sa.Row[Any]) -> bool:
        """Whether this is anything else than what is there."""
        return any(getattr(row, name) != value for name, value in zip(_ARTICLE, self.values(), strict=False))


def _speaker(
    holders: Iterable[tuple[str, bool]],
    fresh: Mapping[str, Record],
    row: sa.Row[Any] | None,
    feeds_of: Feeds,
    reread: Callable[[str], Record | None],
) -> tuple[str, Record] | None:
    """The file that speaks for an article, and what it says."""
    paths = sorted(holders)
    if len(paths) == 1 and (only := fresh.get(paths[0][0])) is not None:
        return paths[0][0], only
    found = []
    for path, good in paths:
        record = fresh.get(path)
        if record is None and row is not None and row.path == path and (len(paths) == 1 or not good):
            record = _kept(row, feeds_of)
        elif record is None and good:
            record = reread(path)
        if record is not None:
            found.append((path, record))
    if not found and row is not None and (good_ones := [path for path, good in paths if good]):
        return good_ones[0], _kept(row, feeds_of)  # the next pass reads them
    return max(found, key=lambda holder: holder[1].published, default=None)


def _kept(row: sa.Row[Any], feeds_of: Feeds) -> Record:
    """The record of an article as it was read last."""
    article = from_text(row.record)
    return record_of(article, feeds_of.of(article))


def _settle(
    article_id: str,
    speaker: tuple[str, Record] | None,
    row: sa.Row[Any] | None,
    *,
    now: datetime,
    include_drafts: bool,
) -> _Change | None:
    """What becomes of an article's row; None when it stays."""
    if speaker is None:
        if row is None or not row.live:
            return None
        article = from_text(row.record)
        return _Change(record=record_of(article, {}), path=row.path, live=False, updated=row.updated, seen=False)
    path, record = speaker
    live = include_drafts or not record.draft
    if record.id != article_id:  # a file with two articles' worth of history; the other id has a row of its own
        return None
    if row is None:
        return _Change(record=record, path=path, live=live, updated=_own(record.published, article_id), seen=True)
    differs = row.record != record.text and is_seen_to_differ(from_text(row.record), record.article)
    updated = _own(max(now, row.updated + _SECOND, record.published), article_id) if differs else row.updated
    return _Change(record=record, path=path, live=live, updated=updated, seen=differs)


def _own(moment: datetime, article_id: str) -> datetime:
    """`moment` with a fraction of a second that is the article's own.

    So no two entries of a feed share their `updated`, and none depends on which others there are.
    """
    return moment.replace(microsecond=1 + int(article_id[:8], 16) % 999_999)


_ARTICLE = ("id", "path", "published", "updated", "live", "feeds", "record", "announced", "number")
_ENTRY = ("feed", "published", "article", "archive")
_LEAVE = sa.delete(entries).where(  # one place at a time: SQLite looks through all entries for several
    entries.c.feed == sa.bindparam("name"),
    entries.c.published == sa.bindparam("moment"),
    entries.c.article == sa.bindparam("key"),
)


def _write_articles(
    connection: sa.Connection, changes: Sequence[_Change], known: Mapping[str, sa.Row[Any]], announced: datetime | None
) -> None:
    """Write articles and the feeds that they stand in.

    Of those that are new, what is out at `announced` is no news.
    """
    new, members = [], []
    stale: dict[str, str] = {}
    altered: list[tuple[_Change, sa.Row[Any]]] = []
    numbers = _index(connection, (change for change in changes if change.record.id not in known))
    for change in changes:
        record = change.record
        if (row := known.get(record.id)) is not None:
            if change.alters(row):
                altered.append((change, row))
            continue
        is_no_news = announced is not None and change.live and record.published <= announced
        new.append((*change.values(), is_no_news, numbers.get(record.id)))
        members += [(name, record.published, record.id, 0) for name in change.stands()]
        stale |= change.stands()
    insert(connection, articles, _ARTICLE, sorted(new))
    insert(connection, entries, _ENTRY, sorted(members))
    feeds.mark_stale(connection, stale)
    if altered:
        _alter_articles(connection, altered)


def _alter_articles(connection: sa.Connection, altered: Sequence[tuple[_Change, sa.Row[Any]]]) -> None:
    """Write articles that are known. An entry stays in the archive that it stands in."""
    numbers = _reindex(connection, altered)
    values, members, places = [], [], []
    stale: dict[str, str] = {}
    stale_archives: set[tuple[str, int]] = set()
    for change, row in altered:
        stands, before = change.stands(), _archives(connection, row)
        places += [{"name": name, "moment": row.published, "key": row.id} for name in row.feeds]
        values.append(dict(zip(_ARTICLE, change.values(), strict=False)) | {"key": row.id, "number": numbers[row.id]})
        members += [(name, change.record.published, row.id, before.get(name, 0)) for name in stands]
        touched = {*stands, *row.feeds} if change.seen else {*stands} ^ {*row.feeds}
        stale |= {name: stands.get(name, "") for name in touched}
        stale_archives |= {(name, before[name]) for name in touched if before.get(name)}
    columns: dict[str, Any] = {name: sa.bindparam(name) for name in _ARTICLE if name not in ("id", "announced")}
    connection.execute(sa.update(articles).where(articles.c.id == sa.bindparam("key")).values(columns), values)
    if places:
        connection.execute(_LEAVE, places)
    insert(connection, entries, _ENTRY, sorted(members))
    feeds.mark_stale(connection, stale)
    feeds.mark_archives_stale(connection, stale_archives)


def _index(connection: sa.Connection, changes: Iterable[_Change]) -> dict[str, int]:
    """Have articles found; the numbers of those that are, by id."""
    return search.add(connection, [entry for change in changes if (entry := change.entry())])


def _reindex(connection: sa.Connection, altered: Sequence[tuple[_Change, sa.Row[Any]]]) -> dict[str, int | None]:
    """Have altered articles found as they are now; their numbers by id."""
    numbers: dict[str, int | None] = {row.id: row.number for _, row in altered}
    moved, old = [], []
    for change, row in altered:
        before = None if row.number is None else _entry(row.id, row.published, row.record)
        if _finds(before) == _finds(change.entry()):
            continue
        moved.append(change)
        numbers[row.id] = None
        if before is not None:
            old.append((row.number, before))
    search.remove(connection, old)
    return numbers | _index(connection, moved)


def _entry(article_id: str, published: datetime, record: str) -> search.Entry:
    return search.Entry(id=article_id, published=published, record=record)


def _finds(entry: search.Entry | None) -> tuple[datetime, str] | None:
    """Since when a search finds an article, and by what."""
    return None if entry is None else (entry.published, entry.terms)


def _archives(connection: sa.Connection, row: sa.Row[Any]) -> dict[str, int]:
    """The numbers of the archives that an article stands in, by feed."""
    query = sa.select(entries.c.feed, entries.c.archive).where(
        entries.c.published == row.published, entries.c.article == row.id
    )
    found = among(connection, query, entries.c.feed, row.feeds)
    return {entry.feed: entry.archive for entry in found}


# --- questions ------------------------------------------------------------------------------------------------------


def articles_of(connection: sa.Connection, ids: Collection[str]) -> dict[str, Article]:
    """The articles with these ids, live or not."""
    query = sa.select(articles.c.id, articles.c.record)
    return {row.id: from_text(row.record) for row in among(connection, query, articles.c.id, ids)}


def article(connection: sa.Connection, article_id: str) -> Article | None:
    """The article with this id, live or not."""
    text = connection.execute(sa.select(articles.c.record).where(articles.c.id == article_id)).scalar()
    return None if text is None else from_text(text)
