"""One pass, from the files to the outbox.

    files ─▶ scan ─▶ read ─▶ catalog ─▶ plan          one transaction: an article and its deliveries, or neither
                                └─────▶ publish       documents in the store, then as files; only the feeds that changed

A pass costs what it finds: unchanged files cost a stat, unchanged feeds nothing. It may be killed anywhere: the next one
goes on from what is in the store.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

import sqlalchemy as sa

from feeder import __version__, outbox, websub
from feeder.articles import parse, scan
from feeder.errors import ArticleError, Problem
from feeder.feeds import content, documents, jsonfeed, opml, pages, publish
from feeder.models import ALL, FORMATS, Article, Channel, Delivery, Document, Feed, Rules, Site, Topic
from feeder.selection import PLAIN_FEEDS, PROVIDER, Feeds
from feeder.store import Store, catalog, fact, set_fact
from feeder.store import deliveries as outbox_rows
from feeder.store import documents as document_rows
from feeder.store import feeds as feed_rows

_FILES_AT_ONCE = 500  # how many files one transaction takes in
_FEEDS_AT_ONCE = 50
LAST_PASS = "last_pass"  # noqa: S105 - a fact's name
_SEEN_UNTIL = "seen_until"
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
    embargo: datetime | None = None  # when the next article that waits for its time comes out


@dataclass(frozen=True, kw_only=True, slots=True)
class Pipeline:
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
    gather: timedelta = websub.GATHER  # how long hubs are not told, for what else may change
    stopped: Callable[[], bool] = lambda: False  # asked between files; a pass that stops early is gone on with later

    def run(self, paths: Collection[str] | None = None, progress: Progress = lambda _done, _all: None) -> Report:
        """One pass over the whole folder, or over the files and folders at `paths` alone."""
        changes = self._scan(paths)
        readings = self._read(changes, progress)
        problems, planned = self._catalog(readings, changes.gone)
        written = self._publish()
        return self._remember(
            Report(
                changed=len(changes.changed),
                gone=len(changes.gone),
                problems=(*changes.problems, *problems),
                planned=planned,
                documents=written,
            )
        )

    def prepare(self) -> None:
        """What a start wants before its first pass.

        Documents that other settings built are built again, and files that somebody removed, or that a crash kept from
        being written, are written.
        """
        with self.store.write() as connection:
            if fact(connection, _BUILT_WITH) != self._built_with():
                catalog.forget_stamps(connection)
                catalog.settle_orphans(connection, self.feeds, keep=self.keep_deleted)
                feed_rows.mark_all_stale(connection)
                self._forward(connection)
                outbox_rows.forget_others(connection, websub.MARK, list(websub.hubs(self.site)))
                set_fact(connection, _BUILT_WITH, self._built_with())
            if ALL not in feed_rows.titles(connection):
                feed_rows.mark_stale(connection, {ALL: ""})
        if self.public is not None:
            publish.sweep(self.public)
            self._restore_files(self.public)

    def _forward(self, connection: sa.Connection) -> None:
        """Have the addresses that the settings call old lead to the new ones."""
        for old, new in self.feeds.moved().items():
            for path, moved_to in _addresses(old, new):
                if document_rows.tag(connection, path) is None:
                    document_rows.remove(connection, path, moved_to, self.now())

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
            return replace(report, embargo=catalog.next_embargo(connection, now))

    def _built_with(self) -> str:
        settings = (self.site, self.feeds, self.include_drafts, self.keep_deleted)
        return hashlib.sha256(f"{__version__}\n{settings}".encode()).hexdigest()

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
        return parse.parse(scan.read(self.source, path, self.max_bytes), path, self.feeds.topic).article

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
        catalog.apply(
            connection,
            batch,
            gone,
            now=self.now(),
            include_drafts=self.include_drafts,
            keep_deleted=self.keep_deleted,
            feeds_of=self.feeds,
            reread=self._reread,
        )

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
        catalog.announce(connection, now, since=_moment(fact(connection, _SEEN_UNTIL)))
        set_fact(connection, _SEEN_UNTIL, now.isoformat())
        return tuple(planned)

    # --- publish --------------------------------------------------------------------------------------------------

    def _publish(self) -> tuple[str, ...]:
        """Build the feeds that changed and the archives that became full; the paths of the documents that changed."""
        with self.store.read() as connection:
            stale = feed_rows.stale(connection)
        written: list[str] = []
        for start in range(0, len(stale), _FEEDS_AT_ONCE):
            if self.stopped():
                return tuple(written)
            written += self._put_feeds(stale[start : start + _FEEDS_AT_ONCE])
        while not self.stopped() and (built := self._put_archives()) is not None:
            written += built
        if stale:
            written += self._put_site()
        return tuple(written)

    def _put_feeds(self, topics: Sequence[Topic]) -> list[str]:
        """Build the newest documents of some feeds."""
        channels = [self.feeds.channel(topic.slug, topic.label) for topic in topics]
        self._fill_archives(channels)
        with self.store.read() as connection:
            feeds = [self._feed(connection, channel, channel.limit) for channel in channels]
            everything = self.feeds.channel(ALL, "")
            known = feed_rows.titles(connection)
            built = [self._documents(feed, everything) for feed in feeds]
            removed = {
                path: ""
                for feed, made in zip(feeds, built, strict=True)
                for path in self._superfluous(connection, feed, made)
            }
        empty = [topic for topic, feed in zip(topics, feeds, strict=True) if not feed.entries]
        for topic in empty:
            if (new := self.feeds.now_called(topic.slug, topic.label)) in known:
                removed |= {path: moved_to for path, moved_to in _addresses(topic.slug, new) if path in removed}
        named = [(topic.slug, each) for topic, made in zip(topics, built, strict=True) for each in made]
        with self._publishing(named, removed) as (connection, changed):
            feed_rows.freshen(connection, [topic.slug for topic in topics])
            feed_rows.forget_archives(connection, [topic.slug for topic in empty])
            self._tell_hubs(connection, changed)
        return [*changed, *removed]

    def _fill_archives(self, channels: Iterable[Channel]) -> None:
        now = self.now()
        with self.store.read() as connection:
            overfull = [each for each in channels if feed_rows.is_overfull(connection, each.name, each.limit, now)]
        if overfull:
            with self.store.write() as connection:
                for channel in overfull:
                    feed_rows.fill_archives(connection, channel.name, channel.limit, now)

    def _feed(self, connection: sa.Connection, channel: Channel, limit: int) -> Feed:
        entries = feed_rows.newest_entries(connection, channel.name, limit, self.now())
        archives = feed_rows.archives(connection, channel.name) if entries else 0
        return Feed(channel=channel, entries=entries, archives=archives)

    def _documents(self, feed: Feed, everything: Channel) -> list[Document]:
        """A feed in all its formats and as a page; nothing of a topic that no article is about any more."""
        if not feed.entries and not feed.archive and feed.channel.name != ALL:
            return []
        made = documents.documents(feed, self.site)
        if "json" in feed.channel.formats:
            made.append(jsonfeed.document(feed, self.site))
        if not feed.archive or feed.archive <= feed.archives:
            made.append(pages.feed(feed, everything, self.site))
        return made

    def _superfluous(self, connection: sa.Connection, feed: Feed, made: Sequence[Document]) -> list[str]:
        """The paths of a feed's documents that are no more: of a format that was dropped, or of all."""
        kept = {each.path for each in made}
        dropped = tuple(f".{extension}" for extension in FORMATS if extension not in feed.channel.formats)

        def stays(path: str) -> bool:
            is_old = bool(feed.entries) and content.is_archive(path)
            return path in kept or (is_old and not path.endswith(dropped))

        return [path for path in document_rows.paths(connection, feed.channel.name) if not stays(path)]

    def _put_archives(self) -> list[str] | None:
        """Build some of the archives that want it; None when there is none."""
        with self.store.read() as connection:
            stale = feed_rows.stale_archives_of(connection, _FEEDS_AT_ONCE)
            titles = feed_rows.titles(connection)
            everything = self.feeds.channel(ALL, "")
            made = [
                (name, each)
                for name, number in stale
                for each in self._documents(self._archive(connection, name, titles.get(name, ""), number), everything)
            ]
        if not stale:
            return None
        with self._publishing(made, {}) as (connection, changed):
            feed_rows.freshen_archives(connection, stale)
        return list(changed)

    def _archive(self, connection: sa.Connection, name: str, title: str, number: int) -> Feed:
        return Feed(
            channel=self.feeds.channel(name, title),
            entries=feed_rows.archive_entries(connection, name, number, self.now()),
            archive=number,
            archives=feed_rows.archives(connection, name),
        )

    def _put_site(self) -> list[str]:
        """Build what tells of all feeds: the first page, the OPML, and what pages show themselves with."""
        with self.store.read() as connection:
            published = document_rows.feeds(connection)
            titles = {name: title for name, title in feed_rows.titles(connection).items() if name in published}
            latest, *feeds = [self._feed(connection, channel, pages.HEADLINES) for channel in self._in_order(titles)]
        made = [
            pages.index(latest, feeds, self.site),
            opml.document([feed.channel for feed in (latest, *feeds)], self.site),
            *pages.assets(),
        ]
        with self._publishing([(None, each) for each in made], {}) as (_, changed):
            return list(changed)

    def _in_order(self, titles: Mapping[str, str]) -> list[Channel]:
        """The feeds as people are shown them: all, those that were configured, topics, providers."""
        configured = {rules.channel.name: place for place, rules in enumerate(self.feeds.configured)}
        channels = [self.feeds.channel(name, title) for name, title in titles.items()]

        def key(channel: Channel) -> tuple[bool, int, bool, str, str]:
            place = configured.get(channel.name, len(configured))
            provider = channel.name.startswith(PROVIDER)
            return (channel.name != ALL, place, provider, channel.title.casefold(), channel.name)

        return sorted(channels, key=key)

    @contextmanager
    def _publishing(
        self, made: Sequence[tuple[str | None, Document]], removed: Mapping[str, str]
    ) -> Iterator[tuple[sa.Connection, list[str]]]:
        """Publish documents, each with the name of its feed, and take others away, with where they have moved to.

        Yields the transaction, for what belongs to it, and the paths of the documents that changed. Files come first: a
        folder that cannot be written to leaves the feeds stale, so that the next pass tries again.
        """
        with self.store.read() as connection:
            changed = [
                (feed, each, publish.packed(each.body))
                for feed, each in made
                if document_rows.differs(connection, each)
            ]
        if self.public is not None:
            publish.write(self.public, [(each.path, each.body, packed) for _, each, packed in changed])
            publish.remove(self.public, removed)
        with self.store.write() as connection:
            for feed, document, packed in changed:
                document_rows.put(connection, document, packed, feed, self.now())
            for path, moved_to in removed.items():
                document_rows.remove(connection, path, moved_to, self.now())
            yield connection, [document.path for _, document, _ in changed]

    def _tell_hubs(self, connection: sa.Connection, changed: Iterable[str]) -> None:
        """Plan to tell every hub which feeds have changed; what it was not told yet of earlier versions falls away."""
        now, hubs = self.now(), websub.hubs(self.site)
        if not hubs:
            return
        digests = {
            path: tag[0]
            for path in changed
            if path.rpartition(".")[2] in FORMATS and (tag := document_rows.tag(connection, path))
        }
        waiting: dict[tuple[str, str], datetime] = {}
        for path in digests:
            for hub in hubs:
                about = websub.subject(path, "")
                if (due := outbox_rows.waiting_about(connection, about, hub)) is not None:
                    waiting[path, hub] = due
                outbox_rows.forget_about(connection, about, hub)
        outbox_rows.add(connection, websub.plan(digests, hubs, waiting, now, self.gather))

    def _restore_files(self, public: Path) -> None:
        with self.store.read() as connection:
            paths = document_rows.paths(connection)
        for path in paths:
            with self.store.read() as connection:
                document = document_rows.get(connection, path)
            if document is not None and publish.differs(public, path, body := document.body):
                publish.write(public, [(path, body, document.gzip)])


def _addresses(old: str, new: str) -> Iterator[tuple[str, str]]:
    """The paths of a feed that was called `old`, each with where it is now that it is called `new`."""
    for extension in FORMATS:
        yield content.feed_path(old, extension), content.feed_path(new, extension)
    yield f"{content.page_path(old)}{pages.INDEX}", f"{content.page_path(new)}{pages.INDEX}"


def _moment(written: str | None) -> datetime | None:
    return datetime.fromisoformat(written) if written else None


def _batches(readings: Iterable[catalog.Reading], size: int) -> Iterator[list[catalog.Reading]]:
    source = iter(readings)
    while batch := list(islice(source, size)):
        yield batch
