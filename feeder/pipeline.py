"""One pass, from the files to the outbox.

    files ─▶ scan ─▶ read ─▶ catalog ─▶ plan          one transaction: an article and its deliveries, or neither
                                └─────▶ publish       documents in the store, then as files; only the feeds that changed

A pass costs what it finds: unchanged files cost a stat, unchanged feeds nothing. It may be killed anywhere: the next one
goes on from what is in the store.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path

import sqlalchemy as sa

from feeder import __version__, outbox
from feeder.articles import parse, scan
from feeder.errors import ArticleError, Problem
from feeder.feeds import documents, jsonfeed, pages, publish
from feeder.models import ALL, Article, Delivery, Document, Feed, Rules, Site
from feeder.store import Store, catalog, fact, set_fact
from feeder.store import deliveries as outbox_rows
from feeder.store import documents as document_rows
from feeder.store import feeds as feed_rows

_FILES_AT_ONCE = 500  # how many files one transaction takes in
_FEEDS_AT_ONCE = 50
_INDEX_HEADLINES = 15
LAST_PASS = "last_pass"  # noqa: S105 - a fact's name
_BUILT_WITH = "built_with"

Progress = Callable[[int, int], None]  # files read, of how many


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a pass did."""

    changed: int = 0  # files that were read
    gone: int = 0  # files that are no longer there
    problems: tuple[Problem, ...] = ()  # of those files
    planned: tuple[Delivery, ...] = ()
    documents: tuple[str, ...] = ()  # paths of those that changed


@dataclass(frozen=True, kw_only=True, slots=True)
class Pipeline:
    """What a pass works with."""

    store: Store
    site: Site
    source: Path
    public: Path | None  # None: documents stay in the store
    targets: Sequence[Rules]
    now: Callable[[], datetime]
    include_drafts: bool = False
    max_bytes: int = 1_000_000
    stopped: Callable[[], bool] = lambda: False  # asked between files; a pass that stops early is gone on with later

    def run(self, paths: Collection[str] | None = None, progress: Progress = lambda _done, _all: None) -> Report:
        """One pass over the whole folder, or over the files and folders at `paths` alone."""
        changes = self._scan(paths)
        readings = self._read(changes, progress)
        problems, planned = self._catalog(readings, changes.gone)
        written = self._publish()
        report = Report(
            changed=len(changes.changed),
            gone=len(changes.gone),
            problems=(*changes.problems, *problems),
            planned=planned,
            documents=written,
        )
        self._remember(report)
        return report

    def prepare(self) -> None:
        """What a start wants before its first pass.

        Documents that other settings built are built again, and files that somebody removed, or that a crash kept from
        being written, are written.
        """
        with self.store.write() as connection:
            if fact(connection, _BUILT_WITH) != self._built_with():
                catalog.forget_stamps(connection)
                feed_rows.mark_all_stale(connection)
                set_fact(connection, _BUILT_WITH, self._built_with())
            if ALL not in feed_rows.titles(connection):
                feed_rows.mark_stale(connection, {ALL: ""})
        if self.public is not None:
            publish.sweep(self.public)
            self._restore_files(self.public)

    def _remember(self, report: Report) -> None:
        """Keep what `feeder status` tells of the last pass."""
        ended = self.now().isoformat(timespec="seconds")
        told = {"ended": ended, "files": report.changed, "documents": len(report.documents)}
        with self.store.write() as connection:
            set_fact(connection, LAST_PASS, json.dumps(told))

    def _built_with(self) -> str:
        return hashlib.sha256(f"{__version__}\n{self.site}\n{self.include_drafts}".encode()).hexdigest()

    # --- scan, read -----------------------------------------------------------------------------------------------

    def _scan(self, paths: Collection[str] | None) -> scan.Changes:
        with self.store.read() as connection:
            known = catalog.stamps(connection, paths)
        return scan.compare(self.source, known) if paths is None else scan.compare_some(self.source, known, paths)

    def _read(self, changes: scan.Changes, progress: Progress) -> Iterator[catalog.Reading]:
        """Each changed file, read; the files that vanished meanwhile are left to the next pass."""
        started_ns = int(self.now().timestamp() * 1e9)
        for done, (path, stamp) in enumerate(changes.changed.items()):
            if self.stopped():
                return
            progress(done, len(changes.changed))
            try:
                reading = self._read_one(path, stamp.settled(started_ns))
            except FileNotFoundError:
                continue
            yield reading
        progress(len(changes.changed), len(changes.changed))

    def _read_one(self, path: str, stamp: scan.Stamp) -> catalog.Reading:
        try:
            return catalog.Reading(path=path, stamp=stamp, article=self._parse(path))
        except ArticleError as error:
            return catalog.Reading(path=path, stamp=stamp, problem=error.problem)

    def _parse(self, path: str) -> Article:
        return parse.parse(scan.read(self.source, path, self.max_bytes), path).article

    def _reread(self, path: str) -> Article | None:
        try:
            return self._parse(path)
        except (ArticleError, FileNotFoundError):
            return None

    # --- catalog, plan --------------------------------------------------------------------------------------------

    def _catalog(
        self, readings: Iterable[catalog.Reading], gone: Collection[str]
    ) -> tuple[tuple[Problem, ...], tuple[Delivery, ...]]:
        """Take in what was read. What many files brought goes in a piece at a time, and is planned with the last."""
        problems: list[Problem] = []
        batches = _batches(readings, _FILES_AT_ONCE)
        batch = next(batches, [])
        while True:
            following = next(batches, None)
            problems += [reading.problem for reading in batch if reading.problem]
            with self.store.write() as connection:
                self._apply(connection, batch, gone if following is None else ())
                if following is None:
                    # Half a folder is no ground for a plan: a new target would take the other half for news.
                    return tuple(problems), () if self.stopped() else self._plan(connection)
            batch = following

    def _apply(self, connection: sa.Connection, batch: Sequence[catalog.Reading], gone: Collection[str]) -> None:
        catalog.apply(connection, batch, gone, now=self.now(), include_drafts=self.include_drafts, reread=self._reread)

    def _plan(self, connection: sa.Connection) -> tuple[Delivery, ...]:
        """The deliveries of what became visible; a target that is new adopts what is there."""
        now = self.now()
        adopted = outbox_rows.adopted(connection)
        news = catalog.news(connection, now) if adopted else []
        planned = outbox.plan(news, self.targets, adopted, now)
        for rules in self.targets:
            if rules.target not in adopted:
                planned += outbox.backfill(feed_rows.newest(connection, rules.feeds, rules.backfill, now), rules, now)
                outbox_rows.adopt(connection, rules.target, now)
        outbox_rows.add(connection, planned)
        catalog.announce(connection, now)
        return tuple(planned)

    # --- publish --------------------------------------------------------------------------------------------------

    def _publish(self) -> tuple[str, ...]:
        """Build the feeds that changed; the paths of the documents that did."""
        with self.store.read() as connection:
            stale = feed_rows.stale(connection)
        written: list[str] = []
        for start in range(0, len(stale), _FEEDS_AT_ONCE):
            if self.stopped():
                return tuple(written)
            with self.store.read() as connection:
                feeds = [
                    self._feed(connection, topic.slug, topic.label) for topic in stale[start : start + _FEEDS_AT_ONCE]
                ]
            written += self._put([(feed, _documents(feed, self.site)) for feed in feeds])
        if stale:
            written += self._put_index()
        return tuple(written)

    def _feed(self, connection: sa.Connection, name: str, title: str) -> Feed:
        return Feed(
            name=name, title=title, entries=feed_rows.newest_entries(connection, name, self.site.limit, self.now())
        )

    def _put(self, built: Sequence[tuple[Feed, list[Document]]]) -> list[str]:
        changed: list[Document] = []
        removed: list[str] = []
        with self.store.write() as connection:
            for feed, made in built:
                changed += [each for each in made if document_rows.put(connection, each, feed.name, self.now())]
                paths = {each.path for each in made}
                removed += [path for path in document_rows.paths(connection, feed.name) if path not in paths]
            document_rows.remove(connection, removed)
            feed_rows.freshen(connection, [feed.name for feed, _ in built])
        self._write_files(changed, removed)
        return [each.path for each in changed] + removed

    def _put_index(self) -> list[str]:
        with self.store.write() as connection:
            published = document_rows.feeds(connection)
            titles = {name: title for name, title in feed_rows.titles(connection).items() if name in published}
            latest = replace(self._feed(connection, ALL, ""), title="")
            page = pages.index(replace(latest, entries=latest.entries[:_INDEX_HEADLINES]), titles, self.site)
            changed = document_rows.put(connection, page, None, self.now())
        self._write_files([page] if changed else [], [])
        return [page.path] if changed else []

    def _write_files(self, changed: Iterable[Document], removed: Iterable[str]) -> None:
        if self.public is None:
            return
        for document in changed:
            publish.write(self.public, document.path, document.body)
        publish.remove(self.public, removed)

    def _restore_files(self, public: Path) -> None:
        with self.store.read() as connection:
            paths = document_rows.paths(connection)
        for path in paths:
            with self.store.read() as connection:
                document = document_rows.get(connection, path)
            if document is not None and publish.differs(public, path, document.body):
                publish.write(public, path, document.body)


def _documents(feed: Feed, site: Site) -> list[Document]:
    """All formats of a feed; none of a topic that no article is about any more."""
    if not feed.entries and feed.name != ALL:
        return []
    return [*documents.documents(feed, site), jsonfeed.document(feed, site)]


def _batches(readings: Iterable[catalog.Reading], size: int) -> Iterator[list[catalog.Reading]]:
    source = iter(readings)
    while batch := list(islice(source, size)):
        yield batch
