"""A pipeline over a real folder and a real SQLite file, with a clock that the test holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import feedparser

from feeder.models import Delivery, Rules, Site
from feeder.pipeline import Pipeline, Report
from feeder.selection import PLAIN_FEEDS, Feeds
from feeder.store import Store, catalog, copied_store, deliveries, documents

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
SITE = Site(title="Feeder", base_url="https://feeds.example.org", language="en", id_authority="example.org,2026")


def in_memory() -> Store:
    """A store without a file."""
    return copied_store("sqlite:////nowhere/feeder.db")


@dataclass
class House:
    """A pipeline over folders of its own."""

    folder: Path
    store: Store
    targets: list[Rules] = field(default_factory=list)
    time: datetime = START
    site: Site = SITE
    feeds: Feeds = PLAIN_FEEDS
    include_drafts: bool = True
    keep_deleted: bool = False
    max_gone: int = 0
    accept_deletions: bool = False
    stopped: Callable[[], bool] = lambda: False

    def __post_init__(self) -> None:
        self.source, self.public = self.folder / "articles", self.folder / "public"
        self.source.mkdir(exist_ok=True)

    def pipeline(self) -> Pipeline:
        return Pipeline(
            store=self.store,
            site=self.site,
            source=self.source,
            public=self.public,
            targets=self.targets,
            now=lambda: self.time,
            feeds=self.feeds,
            include_drafts=self.include_drafts,
            keep_deleted=self.keep_deleted,
            max_gone=self.max_gone,
            accept_deletions=self.accept_deletions,
            stopped=self.stopped,
        )

    def run(self, *paths: str) -> Report:
        self.time += timedelta(minutes=1)
        house = self.pipeline()
        house.prepare()
        report = house.run(paths or None)
        while house.catch_up():
            continue
        return report

    def settle(self) -> None:
        """Let every file grow old enough for its stamp to be trusted."""
        self.time = max(self.time, datetime.now(UTC)) + timedelta(days=1)
        self.run()

    def write(self, name: str, **keys: str) -> Path:
        front_matter = {
            "title": f"Title of {name}",
            "publishedDateTime": "2025-06-01T10:00:00Z",
            "webUrl": f"https://news.example.org/{name}",
            "topics": "[AI]",
            **keys,
        }
        path = self.source / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("---\n" + "".join(f"{key}: {value}\n" for key, value in front_matter.items()) + "---\n")
        return path

    def titles(self, feed: str = "all") -> list[str]:
        path = self.public / "feeds" / f"{feed}.rss"
        return [entry.title for entry in feedparser.parse(path.read_bytes()).entries] if path.exists() else []

    def outbox(self) -> list[Delivery]:
        with self.store.read() as connection:
            return deliveries.find(connection)

    def told(self, target: str) -> list[str]:
        with self.store.read() as connection:
            found = deliveries.find(connection, target=target)
            return [
                catalog.article(connection, each.subject).title.removeprefix("Title of ") for each in reversed(found)
            ]

    def document(self, path: str) -> bytes:
        """What the store publishes at `path`."""
        with self.store.read() as connection:
            found = documents.get(connection, path)
            assert found is not None, path
            return found.body

    def paths(self, beginning: str = "") -> list[str]:
        """The paths of the published documents."""
        with self.store.read() as connection:
            return [path for path in documents.paths(connection) if path.startswith(beginning)]

    def gone(self, path: str) -> str | None:
        """Where the document that was at `path` has moved to; empty: nowhere."""
        with self.store.read() as connection:
            return documents.moved_to(connection, path)
