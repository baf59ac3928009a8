"""Two processes' worth of writing and eight of reading at one SQLite file."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec.structs import replace

from feeder.models import Adoption, News, Rules
from feeder.outbox import plan
from feeder.store import Store, deliveries, documents, open_store
from tests.house import House

READERS = 8


@dataclass(kw_only=True)
class Found:
    """What the threads did and met."""

    errors: list[str] = field(default_factory=list)
    writes: list[int] = field(default_factory=list)  # by writer
    reads: list[int] = field(default_factory=list)


def run(folder: Path, *, seconds: float) -> Found:
    """Write and read for so long, each through a store of its own, as processes do."""
    found, stop = Found(), threading.Event()
    url = f"sqlite:///{folder}/feeder.db"
    open_store(url).close()

    def repeat(work: Callable[[Store, int], None], counted: list[int]) -> None:
        store, done = open_store(url), 0
        try:
            while not stop.is_set():
                work(store, done)
                done += 1
        except Exception as error:  # noqa: BLE001 - counted
            found.errors.append(repr(error))
        finally:
            store.close()
            counted.append(done)

    jobs = [(_publish(folder), found.writes), (_deliver, found.writes), *[(_read, found.reads)] * READERS]
    threads = [threading.Thread(target=repeat, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    stop.wait(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    return found


def _publish(folder: Path) -> Callable[[Store, int], None]:
    (folder / "house").mkdir()

    def one(store: Store, number: int) -> None:
        house = House(folder / "house", store)
        house.write(f"n-{number}")
        house.run(f"n-{number}.md")

    return one


def _read(store: Store, _: int) -> None:
    with store.read() as connection:
        deliveries.due(connection, datetime.now(UTC), 10)
        for path in documents.paths(connection)[:3]:
            documents.get(connection, path)


def _deliver(store: Store, number: int) -> None:
    now = datetime.now(UTC)
    news = [News(article=f"{number}", published=now, feeds=frozenset({"all"}))]
    (made,) = plan(news, [Rules(target="x")], {"x": Adoption(name="x", adopted_at=now)}, now - timedelta(seconds=1))
    with store.write() as connection:
        deliveries.add(connection, [made])
    with store.write() as connection:
        deliveries.save(connection, replace(made, attempts=1))
