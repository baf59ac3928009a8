"""Feeds, archives and pages as documents: in the store, as files, and told to hubs. Only those that changed.

Files come before rows: a folder that cannot be written to leaves the feeds stale, and the next pass tries again. A crash
between the two is healed by the next start, which compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
import structlog
from msgspec import Struct

from feeder import overview, websub
from feeder.errors import Problem
from feeder.feeds import content, pages, publish
from feeder.feeds.publish import File
from feeder.models import ALL, FORMATS, Channel, Document, Feed, Site, Topic
from feeder.rendering import Unrenderable, render
from feeder.selection import Feeds
from feeder.store import Store, catalog, fact, set_fact
from feeder.store import deliveries as outbox_rows
from feeder.store import documents as document_rows
from feeder.store import feeds as feed_rows

_FEEDS_AT_ONCE = 50
_ARCHIVES_AT_ONCE = 2  # so that a new article never waits for them long
_FILLED_AT_ONCE = 50  # archives that entries are moved into, for the same reason
_SITE_IS_STALE = "site_is_stale"

log = structlog.get_logger()


class Published(Struct, frozen=True, kw_only=True):
    """What publishing came to."""

    documents: tuple[str, ...] = ()  # paths of those that changed
    problems: tuple[Problem, ...] = ()  # articles and feeds that could not be rendered


class Publisher(Struct, frozen=True, kw_only=True):
    """What publishing works with."""

    store: Store
    site: Site
    public: Path | None  # None: documents stay in the store
    feeds: Feeds
    now: Callable[[], datetime]
    gather: timedelta  # how long hubs are not told, for what else may change
    stopped: Callable[[], bool]

    def publish(self) -> Published:
        """Build the feeds that changed. All else is left to `catch_up`.

        An article that cannot be rendered is left out, and its feeds are built again without it. A feed that cannot be
        stays as it is, and stale, so that the next pass tries again.
        """
        written: list[str] = []
        problems: list[Problem] = []
        failed: set[str] = set()
        while topics := self._stale(failed):
            for start in range(0, len(topics), _FEEDS_AT_ONCE):
                if self.stopped():
                    return Published(documents=tuple(written), problems=tuple(problems))
                written += self._put_feeds(topics[start : start + _FEEDS_AT_ONCE], problems, failed)
        return Published(documents=tuple(written), problems=tuple(problems))

    def _stale(self, failed: Collection[str]) -> list[Topic]:
        with self.store.read() as connection:
            return [topic for topic in feed_rows.stale(connection) if topic.slug not in failed]

    def _put_feeds(self, topics: Sequence[Topic], problems: list[Problem], failed: set[str]) -> list[str]:
        """Build the newest documents of some feeds; the paths of those that changed."""
        made: list[_Made] = []
        empty: dict[str, datetime | None] = {}
        removed: dict[str, str] = {}
        built: list[str] = []
        broken: dict[str, str] = {}
        with self.store.read() as connection, publish.threads() as threads:
            everything = self.feeds.channel(ALL, "")
            known = feed_rows.titles(connection)
            for topic in topics:
                channel = self.feeds.channel(topic.slug, topic.label)
                feed = self._feed(connection, channel, channel.limit)
                try:
                    rendered = render(feed, everything, self.site)
                except Unrenderable as error:
                    self._note(error, topic.slug, broken, problems, failed)
                    continue
                built.append(topic.slug)
                paths = {each.path for each in rendered}
                for each in rendered:
                    made += _differing(connection, topic.slug, each, threads)
                gone = dict.fromkeys(self._superfluous(connection, feed, paths), "")
                if not feed.entries:
                    empty[topic.slug] = feed.emptied
                    if (new := self.feeds.now_called(topic.slug, topic.label)) in known:
                        gone |= {path: moved_to for path, moved_to in _addresses(topic.slug, new) if path in gone}
                removed |= gone
        with self._publishing(made, removed) as (connection, changed):
            filled = [name for name in built if name not in empty]
            feed_rows.freshen(connection, empty, filled, [rules.channel.name for rules in self.feeds.configured])
            feed_rows.forget_archives(connection, empty)
            set_fact(connection, _SITE_IS_STALE, "yes")
            self._tell_hubs(connection, changed)
            problems += catalog.reject(connection, broken)
        return [*changed, *removed]

    @staticmethod
    def _note(
        error: Unrenderable, feed: str, broken: dict[str, str], problems: list[Problem], failed: set[str]
    ) -> None:
        """Take note of what keeps `feed` from being rendered: some of its articles, or the feed itself."""
        broken |= error.articles
        if not error.articles:
            failed.add(feed)
            problems.append(Problem(where=f"feed {feed}", reason=f"cannot be published: {error}; it stays as it was"))

    def _feed(self, connection: sa.Connection, channel: Channel, limit: int) -> Feed:
        entries = feed_rows.newest_entries(connection, channel.name, limit, self.now())
        archives = feed_rows.archives(connection, channel.name) if entries else 0
        emptied = None if entries else self._emptied(connection, channel.name)
        return Feed(channel=channel, entries=entries, archives=archives, emptied=emptied)

    def _emptied(self, connection: sa.Connection, name: str) -> datetime | None:
        """Since when a feed is published without entries; None when it was not published, or the settings took it away."""
        title, was_configured, since = feed_rows.about(connection, name)
        if not self.feeds.offers(name, title, was_configured=was_configured):
            return None
        if name != ALL and not document_rows.paths(connection, name):
            return None
        return since or self.now().replace(microsecond=0)

    def _superfluous(self, connection: sa.Connection, feed: Feed, kept: Collection[str]) -> list[str]:
        """The paths of a feed's documents that are no more: of a format that was dropped, or of all."""
        name = feed.channel.name
        newest = [content.feed_path(name, extension) for extension in FORMATS]
        if feed.entries and not any(document_rows.tag(connection, path) for path in newest if path not in kept):
            return []  # so a feed's archives are not looked through each time
        dropped = tuple(f".{extension}" for extension in FORMATS if extension not in feed.channel.formats)

        def stays(path: str) -> bool:
            is_old = bool(feed.entries) and content.is_archive(path)
            return path in kept or (is_old and not path.endswith(dropped))

        return [path for path in document_rows.paths(connection, name) if not stays(path)]

    # --- archives -------------------------------------------------------------------------------------------------

    def catch_up(self) -> bool:
        """A piece of what may wait until nothing else is to be done; False when there is none.

        That is: to build what tells of all feeds, to move what no longer stands in a feed's newest document into its
        archives, and to build those.
        """
        if self.put_site():
            return True
        with self.store.read() as connection:
            channels = [self.feeds.channel(name, title) for name, title in feed_rows.titles(connection).items()]
            most = max((channel.limit for channel in channels), default=0) + 1
            counted = feed_rows.unarchived(connection, most, self.now())
        overfull = next((each for each in channels if counted[each.name] > each.limit), None)
        if overfull is None:
            return self._put_archives()
        with self.store.write() as connection:
            feed_rows.fill_archives(connection, overfull.name, overfull.limit, _FILLED_AT_ONCE, self.now())
            feed_rows.mark_stale(connection, {overfull.name: ""})
        _log_problems(self.publish().problems)
        return True

    def _put_archives(self) -> bool:
        """Build some of the archives that want it; False when there is none."""
        made: list[_Made] = []
        broken: dict[str, str] = {}
        with self.store.read() as connection, publish.threads() as threads:
            stale = feed_rows.stale_archives_of(connection, _ARCHIVES_AT_ONCE)
            titles = feed_rows.titles(connection)
            everything = self.feeds.channel(ALL, "")
            for name, number in stale:
                archive = self._archive(connection, name, titles.get(name, ""), number)
                try:
                    rendered = render(archive, everything, self.site)
                except Unrenderable as error:  # an archive of which no article is to blame stays as it was
                    broken |= error.articles
                    continue
                for each in rendered:
                    made += _differing(connection, name, each, threads)
        if not stale:
            return False
        with self._publishing(made, {}) as (connection, _):
            feed_rows.freshen_archives(connection, stale)
            problems = catalog.reject(connection, broken)  # which has those archives built without them
        _log_problems(problems)
        return True

    def _archive(self, connection: sa.Connection, name: str, title: str, number: int) -> Feed:
        return Feed(
            channel=self.feeds.channel(name, title),
            entries=feed_rows.archive_entries(connection, name, number, self.now()),
            archive=number,
            archives=feed_rows.archives(connection, name),
        )

    def put_site(self) -> tuple[str, ...]:
        """Build what tells of all feeds, if one of them changed: the first page, the OPML, what pages show themselves with.

        It takes as long as there are feeds. The paths of the documents that changed.
        """
        made: list[_Made] = []
        with self.store.read() as connection, publish.threads() as threads:
            if fact(connection, _SITE_IS_STALE) != "yes":
                return ()
            try:
                documents = overview.documents(connection, self.feeds, self.site, self.now())
            except Exception as error:  # noqa: BLE001 - whatever it is, the feeds are out, and the next pass tries again
                log.error("site.failed", reason=str(error) or type(error).__name__)  # noqa: TRY400 - no traceback
                return ()
            for each in documents:
                made += _differing(connection, None, each, threads)
            superfluous = pages.lists_after(documents, lambda path: document_rows.tag(connection, path) is not None)
        with self._publishing(made, dict.fromkeys(superfluous, "")) as (connection, changed):
            set_fact(connection, _SITE_IS_STALE, "no")
        return (*changed, *superfluous)

    @contextmanager
    def _publishing(
        self, made: Sequence[_Made], removed: Mapping[str, str]
    ) -> Iterator[tuple[sa.Connection, list[str]]]:
        """Publish documents and take others away, with where they have moved to.

        Yields the transaction, for what belongs to it, and the paths of the documents that changed. Files come first: a
        folder that cannot be written to leaves the feeds stale, so that the next pass tries again.
        """
        with self.store.read() as connection:
            files = [self._file(connection, each) for each in made]
        if self.public is not None:
            publish.write(self.public, files)
            publish.remove(self.public, removed)
        with self.store.write() as connection:
            for each, file in zip(made, files, strict=True):
                document_rows.put(connection, each.document, file.packed, each.feed, file.modified)
            for path, moved_to in removed.items():
                document_rows.remove(connection, path, moved_to, self.now())
            yield connection, [file.path for file in files]

    def _file(self, connection: sa.Connection, made: _Made) -> File:
        return File(
            path=made.document.path,
            body=made.document.body,
            packed=made.packed.result(),
            modified=document_rows.next_modified(connection, made.document.path, self.now()),
        )

    def _tell_hubs(self, connection: sa.Connection, changed: Iterable[str]) -> None:
        """Plan to tell every hub which feeds have changed; what it was not told yet of earlier versions falls away."""
        now, hubs = self.now(), websub.names(self.site)
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

    # --- what a start wants ---------------------------------------------------------------------------------------

    def forward(self, connection: sa.Connection) -> None:
        """Have the addresses that the settings call old lead to the new ones."""
        for old, new in self.feeds.moved().items():
            for path, moved_to in _addresses(old, new):
                if document_rows.tag(connection, path) is None:
                    document_rows.remove(connection, path, moved_to, self.now())

    def heal(self) -> None:
        """Restore a public folder that is gone, as far as a few looks tell."""
        if self.public is None:
            return
        with self.store.read() as connection:
            there = (pages.INDEX, "feeds", "topics") if document_rows.tag(connection, pages.INDEX) else ()
        if not publish.is_whole(self.public, there):
            self.restore()
            log.warning("public.restored", folder=str(self.public))

    def _take(self, public: Path) -> None:
        """Have a public folder that is feeder's. FolderError when it may be somebody else's."""
        if publish.is_whole(public, ()):
            return
        with self.store.read() as connection:
            index = document_rows.get(connection, pages.INDEX)
            ours = {path.partition("/")[0] for path in document_rows.paths(connection)}
        publish.take(public, ours, index.body if index else None)

    def restore(self) -> None:
        """Write the files that somebody removed or changed, or that a crash kept from being written."""
        if self.public is None:
            return
        self._take(self.public)
        found = publish.sweep(self.public)
        with self.store.read() as connection:
            times = document_rows.times(connection)
        for path, modified in times.items():
            if self.stopped():
                return
            if publish.is_there(found, path, modified):
                continue
            with self.store.read() as connection:
                document = document_rows.get(connection, path)
            if document is not None:
                file = File(path=path, body=document.body, packed=document.gzip, modified=document.modified)
                publish.write(self.public, [file])


def _log_problems(problems: Iterable[Problem]) -> None:
    for problem in problems:
        log.warning("article.bad", file=problem.where, reason=problem.reason)


class _Made(Struct, frozen=True, kw_only=True):
    """A document that is to be published."""

    feed: str | None  # the name of its feed
    document: Document
    packed: Future[bytes]  # compressed while the next one is built


def _differing(connection: sa.Connection, feed: str | None, document: Document, threads: Executor) -> list[_Made]:
    """The document, where it differs from what is published."""
    if not document_rows.differs(connection, document):
        return []
    return [_Made(feed=feed, document=document, packed=threads.submit(publish.packed, document.body))]


def _addresses(old: str, new: str) -> Iterator[tuple[str, str]]:
    """The paths of a feed that was called `old`, each with where it is now that it is called `new`."""
    for extension in FORMATS:
        yield content.feed_path(old, extension), content.feed_path(new, extension)
    yield f"{content.page_path(old)}{pages.INDEX}", f"{content.page_path(new)}{pages.INDEX}"
