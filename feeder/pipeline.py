"""One pass, from the files to the outbox.

    files ─▶ scan ─▶ read ─▶ catalog ─▶ plan          one transaction: an article and its deliveries, or neither
                                └─────▶ publish       documents as files and in the store; only the feeds that changed

A pass costs what it finds: unchanged files cost a stat, unchanged feeds nothing. It may be killed anywhere: the next one
goes on from what is in the store.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

import sqlalchemy as sa
import structlog
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.exc import SQLAlchemyError

from feeder import __version__, outbox, websub
from feeder.articles import crew, scan
from feeder.articles.files import Files
from feeder.errors import Problem
from feeder.models import ALL, Delivery, Rules, Site
from feeder.publisher import Publisher
from feeder.records import Record
from feeder.selection import PLAIN_FEEDS, Feeds
from feeder.store import (
    BACKUP_OF,
    FAILED_PASS,
    LAST_PASS,
    SEEN_UNTIL,
    Store,
    catalog,
    fact,
    missing,
    names,
    news,
    search,
    set_fact,
)
from feeder.store import deliveries as outbox_rows
from feeder.store import feeds as feed_rows
from feeder.store.missing import Missing

_FILES_AT_ONCE = 10_000  # how many files one transaction takes in
_SETTLED_AT_MOST = 1_000  # files that a report names: one that nobody told of is enough
_BUILT_WITH = "built_with"
_READING = 3  # another number when what is read of the same file becomes another
_ADOPT = "adopt_all"

log = structlog.get_logger()

Progress = Callable[[int, int], None]  # files read, of how many


class Report(Struct, frozen=True, kw_only=True):
    """What a pass did."""

    changed: int = 0  # files that were read
    gone: int = 0  # files that are no longer there, and whose articles were not held
    problems: tuple[Problem, ...] = ()  # of those files
    planned: tuple[Delivery, ...] = ()
    documents: tuple[str, ...] = ()  # paths of those that changed
    embargo: datetime | None = None  # when the next article that waits for its time comes out
    missing: Missing | None = None  # articles that are held, because too many of them have no file any more
    settled: frozenset[str] = frozenset()  # of those that were read by a pass over the whole folder: see `_settled`
    unjudged: bool = False  # files went, and a pass over the whole folder has to say whether their articles go too


class Pipeline(Struct, frozen=True, kw_only=True):
    """What a pass works with."""

    store: Store
    site: Site
    source: Path
    public: Path | None  # None: documents stay in the store
    targets: Sequence[Rules]
    now: Callable[[], datetime]
    feeds: Feeds = PLAIN_FEEDS
    include_drafts: bool = False
    keep_deleted: bool = False
    max_gone: int = 0  # articles that may be withdrawn at once; 0: see `missing.is_suspicious`
    accept_deletions: bool = False  # a person says that files which are gone were deleted
    max_bytes: int = 1_000_000
    fast_yaml: bool = True  # whether yaml-rs reads plain front matter
    many: int = 2_000  # files that it pays to read with all processors
    gather: timedelta = websub.GATHER  # how long hubs are not told, for what else may change
    passing: Callable[[str], None] = lambda _: None  # told of each point that a crash may fall on
    stopped: Callable[[], bool] = lambda: False  # asked again and again; a pass that stops early is gone on with later

    def run(self, paths: Collection[str] | None = None, progress: Progress = lambda _done, _all: None) -> Report:
        """One pass over the whole folder, or over the files and folders at `paths` alone."""
        with crew.Crew(self.source, self.max_bytes, self.feeds, fast=self.fast_yaml) as readers:
            changes, settled = self._scan(paths, readers)
            readings = self._read(changes, readers, progress)
            gone, problems, planned = self._catalog(readings, changes.gone, whole=paths is None)
        publisher = self._publisher()
        if paths is None:
            publisher.heal()
        published = publisher.publish()
        written = published.documents
        if paths is None and not self.stopped():
            written += publisher.put_site()  # after a few files it waits: a new article is out before it
        return self._remember(
            Report(
                changed=len(changes.changed),
                gone=len(gone),
                unjudged=len(gone) < len(changes.gone) and paths is not None,
                problems=(*changes.problems, *problems, *published.problems),
                planned=planned,
                documents=written,
                settled=settled,
            )
        )

    def catch_up(self) -> bool:
        """A piece of what may wait until nothing else is to be done: see `Publisher` and `search`. False when there is none."""
        with self.store.write() as connection:
            if search.fill(connection):
                return True
        if self._publisher().catch_up():
            return True
        with self.store.write() as connection:
            return search.merge(connection)

    def prepare(self) -> None:
        """What a start wants before its first pass.

        Documents that other settings built are built again, and files that somebody removed, or that a crash kept from
        being written, are written.
        """
        with self.store.write() as connection:
            if since := fact(connection, BACKUP_OF):
                self._distrust(connection, since)
            if fact(connection, _BUILT_WITH) != self._built_with():
                catalog.forget_stamps(connection)
                catalog.settle_orphans(connection, self.feeds, keep=self.keep_deleted)
                feed_rows.mark_all_stale(connection)
                self._publisher().forward(connection)
                outbox_rows.forget_others(connection, websub.MARK, websub.names(self.site))
                set_fact(connection, _BUILT_WITH, self._built_with())
            if ALL not in feed_rows.titles(connection):
                feed_rows.mark_stale(connection, {ALL: ""})
        self._publisher().restore()

    @staticmethod
    def _distrust(connection: sa.Connection, since: str) -> None:
        """The store is a backup that took the place of a lost one: nobody knows what was sent since it was made.

        What waited then is held for a person, and what came out since then is adopted as if it had been told.
        """
        held = outbox_rows.hold_pending(connection, f"the database is a backup of {since}: it may have been sent since")
        set_fact(connection, BACKUP_OF, "")
        set_fact(connection, _ADOPT, "yes")
        log.warning("store.restored", backup_of=since, held=held, way_out="feeder deliveries --state unknown")

    def note_failure(self, reason: str) -> None:
        """Keep why a pass failed, for `feeder status`, as far as the store takes it."""
        told = {"at": self.now().isoformat(timespec="seconds"), "reason": reason}
        with suppress(SQLAlchemyError), self.store.write() as connection:
            set_fact(connection, FAILED_PASS, json.dumps(told))

    def _remember(self, report: Report) -> Report:
        """Keep what `feeder status` tells of the last pass; the report, with the time of the next embargo."""
        now = self.now()
        told = {
            "ended": now.isoformat(timespec="seconds"),
            "files": report.changed,
            "documents": len(report.documents),
        }
        with self.store.write() as connection:
            set_fact(connection, LAST_PASS, json.dumps(told))
            if fact(connection, FAILED_PASS):
                set_fact(connection, FAILED_PASS, "")
            return replace(report, embargo=news.next_embargo(connection, now), missing=missing.noted(connection))

    def _built_with(self) -> str:
        settings = (self.site, self.feeds, self.include_drafts, self.keep_deleted)
        return hashlib.sha256(f"{__version__}\n{_READING}\n{settings}".encode()).hexdigest()

    def _publisher(self) -> Publisher:
        return Publisher(
            store=self.store,
            site=self.site,
            public=self.public,
            feeds=self.feeds,
            now=self.now,
            gather=self.gather,
            stopped=self.stopped,
        )

    # --- scan, read -----------------------------------------------------------------------------------------------

    def _scan(self, paths: Collection[str] | None, readers: crew.Crew) -> tuple[scan.Changes, frozenset[str]]:
        """What differs, and what of it is settled; the readers are called as soon as it is known that they are wanted."""
        with self.store.read() as connection:
            known = catalog.stamps(connection, paths)
        if paths is not None:
            return scan.compare_some(self.source, known, paths), frozenset()
        changes = scan.compare(
            self.source, known, lambda found: readers.call() if found == self.many else None, self.stopped
        )
        return changes, self._settled(changes, known)

    def _settled(self, changes: scan.Changes, known: scan.Known) -> frozenset[str]:
        """Some of the files that changed a while ago, so that a watcher has told of them, if there is one that does."""
        now_ns = self._now_ns()
        found = (
            path
            for path, stamp in changes.changed.items()
            if stamp.settled(now_ns) == stamp and known.get(path, stamp)[0] != stamp.doubtful().size
        )
        return frozenset(islice(found, _SETTLED_AT_MOST))

    def _read(self, changes: scan.Changes, readers: crew.Crew, progress: Progress) -> Iterator[catalog.Reading]:
        """Each changed file, read; the files that vanished meanwhile are left to the next pass."""
        started_ns = self._now_ns()
        paths = list(changes.changed)
        for done, (path, found) in enumerate(zip(paths, self._found(paths, readers), strict=True)):
            if self.stopped():
                return
            progress(done, len(paths))
            stamp = changes.changed[path].settled(started_ns)
            if isinstance(found, Problem):
                yield catalog.Reading(path=path, stamp=stamp.doubtful() if found.transient else stamp, problem=found)
            elif found is not None:
                yield catalog.Reading(path=path, stamp=stamp, record=found)
        progress(len(paths), len(paths))

    def _now_ns(self) -> int:
        return int(self.now().timestamp() * 1e9)

    def _found(self, paths: Sequence[str], readers: crew.Crew) -> Iterator[crew.Read]:
        """What is in files: read here where they are few, by all processors where they are many."""
        if len(paths) >= self.many:
            yield from readers.read(paths)
        else:
            with Files(self.source, self.max_bytes) as files:
                yield from (crew.read(files, path, self.feeds, fast=self.fast_yaml) for path in paths)

    def _reread(self, path: str) -> Record | None:
        with Files(self.source, self.max_bytes) as files:
            found = crew.read(files, path, self.feeds, fast=self.fast_yaml)
        return found if isinstance(found, Record) else None

    # --- catalog, plan --------------------------------------------------------------------------------------------

    def _catalog(
        self, readings: Iterable[catalog.Reading], gone: frozenset[str], *, whole: bool
    ) -> tuple[frozenset[str], tuple[Problem, ...], tuple[Delivery, ...]]:
        """Take in what was read. What many files brought goes in a piece at a time, and is planned with the last.

        Which of the files at `gone` were taken for deleted, what is wrong with others, and what is to be sent.
        """
        problems: list[Problem] = []
        with self.store.read() as connection:
            before = missing.live(connection, self.now()) if gone and whole else 0
        batches = _batches(readings, _FILES_AT_ONCE)
        batch = next(batches, [])
        planned: tuple[Delivery, ...] = ()
        while True:
            following = next(batches, None)
            problems += [reading.problem for reading in batch if reading.problem]
            with self.store.write() as connection:
                if following is None:
                    gone = self._deleted(connection, batch, gone, before, whole=whole)
                self._apply(connection, batch, gone if following is None else ())
                if following is None:
                    # Half a folder is no ground for a plan: a new target would take the other half for news.
                    planned = () if self.stopped() else self._plan(connection)
                self.passing("before the plan's commit")
            self.passing("after the plan's commit")
            if following is None:
                return gone, tuple(problems), planned
            batch = following

    def _deleted(
        self,
        connection: sa.Connection,
        batch: Sequence[catalog.Reading],
        gone: frozenset[str],
        before: int,
        *,
        whole: bool,
    ) -> frozenset[str]:
        """Those of the files at `gone` that were deleted; only a pass that has seen all files withdraws an article."""
        held = {reading.record.id for reading in batch if reading.record}
        held |= {*names.known(connection, held).values()}
        if not self.keep_deleted and (not whole or self.stopped()):
            return gone.difference(*missing.orphaned(connection, gone, held, self.now()).values())
        earlier = missing.noted(connection)
        found = missing.judge(
            connection,
            gone,
            held,
            before=before,
            max_gone=self.max_gone,
            accept=self.accept_deletions or self.keep_deleted,
            now=self.now(),
        )
        _say_missing(earlier, missing.noted(connection), deleted=len(found))
        return found

    def _apply(self, connection: sa.Connection, batch: Sequence[catalog.Reading], gone: Collection[str]) -> None:
        catalog.apply(
            connection,
            batch,
            gone,
            now=self.now(),
            include_drafts=self.include_drafts,
            keep_deleted=self.keep_deleted,
            announced=not self._tells(connection),
            feeds_of=self.feeds,
            reread=self._reread,
        )

    @staticmethod
    def _tells(connection: sa.Connection) -> bool:
        """Whether there is anybody who is told of what is new: a target that has met what is there already."""
        return bool(outbox_rows.adopted(connection)) and fact(connection, _ADOPT) != "yes"

    def _plan(self, connection: sa.Connection) -> tuple[Delivery, ...]:
        """The deliveries of what became visible; a target that is new adopts what is there."""
        now = self.now()
        adopted = outbox_rows.adopted(connection)
        fresh = news.unannounced(connection, now) if self._tells(connection) else []
        if fact(connection, _ADOPT) == "yes":
            set_fact(connection, _ADOPT, "no")
        planned = outbox.plan(fresh, self.targets, adopted, now)
        for rules in self.targets:
            if rules.target not in adopted:
                planned += outbox.backfill(feed_rows.newest(connection, rules.feeds, rules.backfill, now), rules, now)
                outbox_rows.adopt(connection, rules.target, now)
        outbox_rows.add(connection, planned)
        news.announce(connection, now, since=_moment(fact(connection, SEEN_UNTIL)))
        set_fact(connection, SEEN_UNTIL, now.isoformat())
        return tuple(planned)


def _say_missing(earlier: Missing | None, now: Missing | None, *, deleted: int) -> None:
    if now is not None and earlier is None:
        log.error(
            "articles.missing",
            articles=now.articles,
            of=now.of,
            way_out="put the files back, or run `feeder once --accept-deletions`",
        )
    elif earlier is not None and now is None:
        log.info("articles.settled", articles=earlier.articles, of=earlier.of, files_back=not deleted)


def _moment(written: str | None) -> datetime | None:
    return datetime.fromisoformat(written) if written else None


def _batches(readings: Iterable[catalog.Reading], size: int) -> Iterator[list[catalog.Reading]]:
    source = iter(readings)
    while batch := list(islice(source, size)):
        yield batch
