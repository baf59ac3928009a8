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
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

import sqlalchemy as sa
import structlog
from msgspec import Struct
from msgspec.structs import replace

from feeder import __version__, outbox, websub
from feeder.articles import crew, scan
from feeder.articles.files import Files
from feeder.errors import Problem
from feeder.models import ALL, Delivery, Rules, Site
from feeder.publisher import Publisher
from feeder.records import Record
from feeder.selection import PLAIN_FEEDS, Feeds
from feeder.store import BACKUP_OF, LAST_PASS, Store, catalog, fact, news, search, set_fact
from feeder.store import deliveries as outbox_rows
from feeder.store import feeds as feed_rows

_FILES_AT_ONCE = 10_000  # how many files one transaction takes in
_SEEN_UNTIL = "seen_until"
_BUILT_WITH = "built_with"
_ADOPT = "adopt_all"

log = structlog.get_logger()

Progress = Callable[[int, int], None]  # files read, of how many


class Report(Struct, frozen=True, kw_only=True):
    """What a pass did."""

    changed: int = 0  # files that were read
    gone: int = 0  # files that are no longer there
    problems: tuple[Problem, ...] = ()  # of those files
    planned: tuple[Delivery, ...] = ()
    documents: tuple[str, ...] = ()  # paths of those that changed
    embargo: datetime | None = None  # when the next article that waits for its time comes out


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
    max_bytes: int = 1_000_000
    many: int = 2_000  # files that it pays to read with all processors
    gather: timedelta = websub.GATHER  # how long hubs are not told, for what else may change
    passing: Callable[[str], None] = lambda _: None  # told of each point that a crash may fall on
    stopped: Callable[[], bool] = lambda: False  # asked between files; a pass that stops early is gone on with later

    def run(self, paths: Collection[str] | None = None, progress: Progress = lambda _done, _all: None) -> Report:
        """One pass over the whole folder, or over the files and folders at `paths` alone."""
        with crew.Crew(self.source, self.max_bytes, self.feeds) as readers:
            changes = self._scan(paths, readers)
            readings = self._read(changes, readers, progress)
            problems, planned = self._catalog(readings, changes.gone)
        publisher = self._publisher()
        written = publisher.publish()
        if paths is None and not self.stopped():
            written += publisher.put_site()  # after a few files it waits: a new article is out before it
        return self._remember(
            Report(
                changed=len(changes.changed),
                gone=len(changes.gone),
                problems=(*changes.problems, *problems),
                planned=planned,
                documents=written,
            )
        )

    def catch_up(self) -> bool:
        """A piece of what may wait until nothing else is to be done: see `Publisher`. False when there is none."""
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
            return replace(report, embargo=news.next_embargo(connection, now))

    def _built_with(self) -> str:
        settings = (self.site, self.feeds, self.include_drafts, self.keep_deleted)
        return hashlib.sha256(f"{__version__}\n{settings}".encode()).hexdigest()

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

    def _scan(self, paths: Collection[str] | None, readers: crew.Crew) -> scan.Changes:
        """What differs; the readers are called as soon as it is known that they are wanted."""
        with self.store.read() as connection:
            known = catalog.stamps(connection, paths)
        if paths is not None:
            return scan.compare_some(self.source, known, paths)
        return scan.compare(self.source, known, lambda found: readers.call() if found == self.many else None)

    def _read(self, changes: scan.Changes, readers: crew.Crew, progress: Progress) -> Iterator[catalog.Reading]:
        """Each changed file, read; the files that vanished meanwhile are left to the next pass."""
        started_ns = int(self.now().timestamp() * 1e9)
        paths = list(changes.changed)
        for done, (path, found) in enumerate(zip(paths, self._found(paths, readers), strict=True)):
            if self.stopped():
                return
            progress(done, len(paths))
            stamp = changes.changed[path].settled(started_ns)
            if isinstance(found, Problem):
                yield catalog.Reading(path=path, stamp=stamp, problem=found)
            elif found is not None:
                yield catalog.Reading(path=path, stamp=stamp, record=found)
        progress(len(paths), len(paths))

    def _found(self, paths: Sequence[str], readers: crew.Crew) -> Iterator[crew.Read]:
        """What is in files: read here where they are few, by all processors where they are many."""
        if len(paths) >= self.many:
            yield from readers.read(paths)
        else:
            with Files(self.source, self.max_bytes) as files:
                yield from (crew.read(files, path, self.feeds) for path in paths)

    def _reread(self, path: str) -> Record | None:
        with Files(self.source, self.max_bytes) as files:
            found = crew.read(files, path, self.feeds)
        return found if isinstance(found, Record) else None

    # --- catalog, plan --------------------------------------------------------------------------------------------

    def _catalog(
        self, readings: Iterable[catalog.Reading], gone: Collection[str]
    ) -> tuple[tuple[Problem, ...], tuple[Delivery, ...]]:
        """Take in what was read. What many files brought goes in a piece at a time, and is planned with the last."""
        problems: list[Problem] = []
        batches = _batches(readings, _FILES_AT_ONCE)
        batch = next(batches, [])
        planned: tuple[Delivery, ...] = ()
        while True:
            following = next(batches, None)
            problems += [reading.problem for reading in batch if reading.problem]
            with self.store.write() as connection:
                self._apply(connection, batch, gone if following is None else ())
                if following is None:
                    # Half a folder is no ground for a plan: a new target would take the other half for news.
                    planned = () if self.stopped() else self._plan(connection)
                self.passing("before the plan's commit")
            self.passing("after the plan's commit")
            if following is None:
                return tuple(problems), planned
            batch = following

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
        news.announce(connection, now, since=_moment(fact(connection, _SEEN_UNTIL)))
        set_fact(connection, _SEEN_UNTIL, now.isoformat())
        return tuple(planned)


def _moment(written: str | None) -> datetime | None:
    return datetime.fromisoformat(written) if written else None


def _batches(readings: Iterable[catalog.Reading], size: int) -> Iterator[list[catalog.Reading]]:
    source = iter(readings)
    while batch := list(islice(source, size)):
        yield batch
