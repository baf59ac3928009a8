"""The house put together: what is handed to whom, and the commands that come to an end. Those that go on: `worker`.

    seeds/*.md ─▶ pipeline ─▶ store, public/ ─▶ web ─▶ readers
       ▲             │
    watch,         outbox ─▶ lanes ─▶ targets ─▶ Slack, Mastodon, …
    scheduler

The clock, the random numbers, the network and the terminal are handed in from here; nothing below reaches for them.
"""

from __future__ import annotations

import asyncio
import random
import signal
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
from msgspec import Struct
from msgspec.structs import replace
from rich.console import Console

from feeder import exchange, inspection, reports
from feeder.delivery import Office
from feeder.desk import calm_collector, changed, endpoints, generation, utc_now, working
from feeder.errors import FolderError, Problem
from feeder.exchange import Clients, TerminalTransport
from feeder.feeds import publish
from feeder.lanes import Lane, Tally
from feeder.models import Outcome, Rules
from feeder.pipeline import Pipeline, Progress, Report
from feeder.settings import Loaded
from feeder.store import Store, backups, copied_store, missing
from feeder.store.lock import database_path, only_worker
from feeder.store.missing import Missing
from feeder.targets.base import Target
from feeder.wallclock import reschedule

STOP_WITHIN = 8.0  # seconds that an exchange gets to end after a signal; the process ends within 10

log = structlog.get_logger()


def spread() -> float:
    """The random numbers: from -1 to 1."""
    return random.uniform(-1, 1)


def pipeline(
    loaded: Loaded, store: Store, *, dry: bool = False, stopped: Callable[[], bool] = lambda: False
) -> Pipeline:
    """The pass of these settings; a dry one leaves the public folder alone."""
    settings = loaded.settings
    return Pipeline(
        store=store,
        site=loaded.site,
        source=settings.source,
        public=None if dry else settings.public,
        targets=rules(loaded),
        now=utc_now,
        feeds=loaded.feeds,
        include_drafts=settings.include_unpublished,
        keep_deleted=settings.keep_deleted,
        max_gone=settings.max_gone,
        max_bytes=settings.max_article_bytes,
        fast_yaml=settings.fast_yaml,
        stopped=stopped,
    )


def rules(loaded: Loaded) -> list[Rules]:
    """What each target wants."""
    return [target.rules(name, loaded.feeds) for name, target in loaded.targets.items()]


def check_folders(loaded: Loaded) -> None:
    """FolderError when the folder of articles is not there or the public one cannot be written to."""
    settings = loaded.settings
    if not settings.source.is_dir():
        raise FolderError(f"{settings.source}: there is no such folder of articles; make it, or set source to another")
    if _is_published(loaded):
        raise FolderError(_published(loaded))
    publish.check(settings.public)


def folder_problems(loaded: Loaded) -> list[Problem]:
    """What is wrong with the folder that documents are written to, and with folders that lie in each other."""
    found = [Problem(where="", reason=reason) for reason in _nested(loaded)]
    settings = loaded.settings
    try:
        publish.check(settings.public)
        if not database_path(settings.database_url).exists():  # a pass looks at what is there as well
            publish.check_foreign(settings.public)
    except FolderError as error:
        found.append(Problem(where="", reason=str(error)))
    return found


def _nested(loaded: Loaded) -> Iterator[str]:
    """What is said of folders that lie in each other: feeder's own files would be looked through for articles."""
    settings = loaded.settings
    source, public = settings.source.resolve(), settings.public.resolve()
    database = database_path(settings.database_url)
    if public.is_relative_to(source):
        yield f"{settings.public}: lies in the folder of articles, {settings.source}; set source or public to another"
    elif source.is_relative_to(public):
        yield f"{settings.source}: lies in the folder that is published, {settings.public}; set source or public to another"
    if database.resolve().is_relative_to(source):
        yield f"{database}: lies in the folder of articles, {settings.source}; set source or database_url to another"
    if _is_published(loaded):
        yield _published(loaded)


def _is_published(loaded: Loaded) -> bool:
    """Whether the database lies where a static server would give it to everybody."""
    return database_path(loaded.settings.database_url).is_relative_to(loaded.settings.public.resolve())


def _published(loaded: Loaded) -> str:
    settings = loaded.settings
    database = database_path(settings.database_url)
    return f"{database}: lies in the folder that is published, {settings.public}; set database_url or public to another"


async def send_test(target: Target, console: Console) -> Outcome:
    """Send one test message to `target`, with an idempotency key of its own."""
    async with Clients(TerminalTransport(console)) as http:
        return await exchange.tell(http.of(target), target, inspection.sample(utc_now()), uuid.uuid4().hex, utc_now)


# --- once -------------------------------------------------------------------------------------------------------------


class Once(Struct, frozen=True, kw_only=True):
    """What one pass and its deliveries came to."""

    report: Report
    tallies: dict[str, Tally]  # by target


def dry_run(loaded: Loaded, progress: Progress, *, accept_deletions: bool = False) -> Report:
    """What a pass would do, done to a copy of the store in memory."""
    copy = copied_store(loaded.settings.database_url)
    try:
        house = replace(pipeline(loaded, copy, dry=True), accept_deletions=accept_deletions)
        house.prepare()
        return house.run(progress=progress)
    finally:
        copy.close()


def restore(loaded: Loaded, copy: Path, progress: Progress) -> dict[str, Any]:
    """Put a copy of the store in its place; as plain data, what the next pass makes of it. StoreInUse while a worker works."""
    with only_worker(loaded.settings.database_url) as lock:
        done = backups.restore(lock, copy, generation())
        found = {"restored": str(copy), "backup_of": done.backup_of, "kept": str(done.kept) if done.kept else None}
        with closing(copied_store(loaded.settings.database_url)) as store:
            return found | _first_pass_after(loaded, store, progress)


def _first_pass_after(loaded: Loaded, store: Store, progress: Progress) -> dict[str, Any]:
    """What the first pass over a restored store holds and takes for told, tried on a copy of it."""
    house = pipeline(loaded, store, dry=True)
    before = reports.known(store)
    house.prepare()
    try:
        house.run(progress=progress)
    except FolderError as error:  # the store is back all the same; the worker says so again
        return reports.restored(store, before) | {"adopted": None, "unread": str(error)}
    return reports.restored(store, before)


def _nothing(_: str) -> None:
    pass


def once(
    loaded: Loaded,
    console: Console,
    progress: Progress,
    passing: Callable[[str], None] = _nothing,
    *,
    accept_deletions: bool = False,
) -> Once:
    """One pass, and the deliveries that are due. `passing` is told of each point that a crash may fall on."""
    check_folders(loaded)
    with working(loaded) as store:
        reschedule(store, utc_now(), spread())
        house = replace(
            pipeline(loaded, store),
            gather=timedelta(0),  # nothing comes after this pass
            passing=passing,
            accept_deletions=accept_deletions,
        )
        house.prepare()
        report = house.run(progress=progress)
        tallies = asyncio.run(_drain(loaded, store, console, passing))
        while house.catch_up():
            continue
        return Once(report=report, tallies=tallies)


def request_deletions(loaded: Loaded) -> Missing | None:
    """Have the worker that holds the store withdraw the articles that are missing; which. None: there are none."""
    with changed(loaded) as store, store.write() as connection:
        return missing.accept(connection)


async def _drain(loaded: Loaded, store: Store, console: Console, passing: Callable[[str], None]) -> dict[str, Tally]:
    stop = stop_on_signals()
    with ThreadPoolExecutor(1, "store") as threads:
        async with Clients(TerminalTransport(console)) as http:
            office = office_of(loaded, store, http, threads)
            office.passing = passing
            calm_collector()
            draining = asyncio.create_task(office.drain(stop))
            stopping = asyncio.create_task(_cancel_after(stop, draining))
            try:
                return await draining
            except asyncio.CancelledError:
                return office.tallies
            finally:
                stopping.cancel()


async def _cancel_after(stop: asyncio.Event, task: asyncio.Task[dict[str, Tally]]) -> None:
    await stop.wait()
    await asyncio.sleep(STOP_WITHIN)
    task.cancel()


def office_of(loaded: Loaded, store: Store, http: Clients, threads: ThreadPoolExecutor) -> Office:
    """The office of these settings, with what a crash interrupted resolved."""
    office = Office(
        lanes={name: Lane(name, target) for name, target in endpoints(loaded).items()},
        store=store,
        http=http,
        threads=threads,
        site=loaded.site,
        now=utc_now,
        spread=spread,
    )
    for name, number in office.recover().items():
        log.warning("deliveries.interrupted", target=name, number=number)
    return office


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM, Ctrl-C and the end of the terminal set; the last not under nohup, which ignores it."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            loop.add_signal_handler(number, stop.set)
    return stop
