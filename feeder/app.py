"""The house put together: what is handed to whom, and the processes that run it.

    seeds/*.md ─▶ pipeline ─▶ store, public/ ─▶ web ─▶ readers
       ▲             │
    watch,         outbox ─▶ lanes ─▶ targets ─▶ Slack, Mastodon, …
    scheduler

The clock, the random numbers, the network and the terminal are handed in from here; nothing below reaches for them.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import uuid
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from feeder import exchange, inspection, reports, server, web
from feeder.delivery import Office
from feeder.desk import calm_collector, endpoints, opened, utc_now
from feeder.errors import FolderError, Problem
from feeder.exchange import Clients, TerminalTransport
from feeder.feeds import publish
from feeder.lanes import Lane, Tally
from feeder.models import Outcome, Rules
from feeder.passes import Passes
from feeder.pipeline import Pipeline, Progress, Report
from feeder.scheduler import Clock
from feeder.settings import Loaded
from feeder.store import Store, copied_store
from feeder.store.lock import only_worker
from feeder.targets.base import Target

_STOP_WITHIN = 8.0  # seconds that an exchange gets to end after a signal; the process ends within 10

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
        max_bytes=settings.max_article_bytes,
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
    publish.check(settings.public)


def folder_problems(loaded: Loaded) -> list[Problem]:
    """What is wrong with the folder that documents are written to."""
    try:
        publish.check(loaded.settings.public)
    except FolderError as error:
        return [Problem(where="", reason=str(error))]
    return []


async def send_test(target: Target, console: Console) -> Outcome:
    """Send one test message to `target`, with an idempotency key of its own."""
    async with Clients(TerminalTransport(console)) as http:
        return await exchange.tell(http.of(target), target, inspection.sample(utc_now()), uuid.uuid4().hex, utc_now)


# --- once -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Once:
    """What one pass and its deliveries came to."""

    report: Report
    tallies: dict[str, Tally]  # by target


def dry_run(loaded: Loaded, progress: Progress) -> Report:
    """What a pass would do, done to a copy of the store in memory."""
    copy = copied_store(loaded.settings.database_url)
    try:
        house = pipeline(loaded, copy, dry=True)
        house.prepare()
        return house.run(progress=progress)
    finally:
        copy.close()


def _nothing(_: str) -> None:
    pass


def once(loaded: Loaded, console: Console, progress: Progress, passing: Callable[[str], None] = _nothing) -> Once:
    """One pass, and the deliveries that are due. `passing` is told of each point that a crash may fall on."""
    check_folders(loaded)
    with only_worker(loaded.settings.database_url), opened(loaded) as store:
        house = replace(pipeline(loaded, store), gather=timedelta(0), passing=passing)  # nothing comes after this pass
        house.prepare()
        report = house.run(progress=progress)
        tallies = asyncio.run(_drain(loaded, store, console, passing))
        while house.catch_up():
            continue
        return Once(report=report, tallies=tallies)


async def _drain(loaded: Loaded, store: Store, console: Console, passing: Callable[[str], None]) -> dict[str, Tally]:
    stop = _stop_on_signals()
    with ThreadPoolExecutor(1, "store") as threads:
        async with Clients(TerminalTransport(console)) as http:
            office = _office(loaded, store, http, threads)
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
    await asyncio.sleep(_STOP_WITHIN)
    task.cancel()


def _office(loaded: Loaded, store: Store, http: Clients, threads: ThreadPoolExecutor) -> Office:
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


class _Health:
    """Why the worker cannot do its work, part by part."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {"passes": "the first pass is not over"}

    def part(self, name: str) -> Callable[[str], None]:
        """Where a part says why it fails, and with "" that it does not."""

        def say(reason: str) -> None:
            self._reasons[name] = reason

        return say

    def reason(self) -> str:
        """Why; empty when all is well."""
        return "; ".join(f"{name}: {reason}" for name, reason in self._reasons.items() if reason)


# --- run --------------------------------------------------------------------------------------------------------------


def run(loaded: Loaded, console: Console, *, with_web: bool) -> None:
    """The worker: passes and deliveries until a signal ends it."""
    check_folders(loaded)
    listener = server.listen(loaded.settings.host, loaded.settings.port) if with_web else None
    with only_worker(loaded.settings.database_url), opened(loaded) as store:
        asyncio.run(_run(loaded, store, console, listener))


async def _run(loaded: Loaded, store: Store, console: Console, listener: socket.socket | None) -> None:
    stop, settings = _stop_on_signals(), loaded.settings
    with ThreadPoolExecutor(1, "pass") as pass_thread, ThreadPoolExecutor(1, "store") as store_thread:
        async with Clients(TerminalTransport(console)) as http:
            log.info("worker.started", process=os.getpid(), source=str(settings.source), targets=list(loaded.targets))
            office = _office(loaded, store, http, store_thread)

            def wake_all() -> None:
                passes.want_all()
                office.wake.set()

            def after_pass(report: Report) -> None:
                office.wake.set()
                clock.pass_at(report.embargo)

            health = _Health()
            office.failing = health.part("deliveries")
            house = pipeline(loaded, store, stopped=stop.is_set)
            passes = Passes(house, after=after_pass, failing=health.part("passes"))
            clock = Clock(
                interval=settings.interval,
                start_pass=passes.want_all,
                start_small_pass=lambda: passes.want(frozenset()),
                keep_house=lambda: _keep_house(store),
            )
            passes.want_all()
            # The watch first: what lands during the first pass is seen by one of the two.
            parts = [passes.watch(settings.source.resolve(), stop), passes.run(stop, pass_thread)]
            parts.append(office.run(stop))
            if listener is not None:
                _log_listening(listener)
                parts.append(
                    server.serve(
                        web.application(store, loaded.site, utc_now, health.reason), listener, stop, store.version()
                    )
                )
            calm_collector()
            with clock:
                await _until_stopped(parts, stop, wake=wake_all)
    log.info("worker.stopped")


async def _until_stopped(parts: Sequence[Awaitable[None]], stop: asyncio.Event, wake: Callable[[], None]) -> None:
    """Run the parts until the signal, or until one breaks: the worker ends with it, and its supervisor sees that.

    `wake` wakes those that wait for something else than `stop`.
    """

    async def stopping_on_failure(part: Awaitable[None]) -> None:
        try:
            await part
        except BaseException:
            stop.set()
            raise

    tasks = [asyncio.ensure_future(stopping_on_failure(part)) for part in parts]
    await stop.wait()
    wake()
    _, late = await asyncio.wait(tasks, timeout=_STOP_WITHIN)
    for task in late:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


def _keep_house(store: Store) -> None:
    try:
        store.tidy()
    except SQLAlchemyError as error:
        log.warning("housekeeping.failed", reason=str(error))


def serve(loaded: Loaded) -> None:
    """The web server alone, beside a worker."""
    listener = server.listen(loaded.settings.host, loaded.settings.port)
    with opened(loaded) as store:
        asyncio.run(_serve(loaded, store, listener))


async def _serve(loaded: Loaded, store: Store, listener: socket.socket) -> None:
    stop = _stop_on_signals()
    _log_listening(listener)
    calm_collector()
    patience = timedelta(seconds=max(3 * loaded.settings.interval, 300))

    def reason() -> str:
        return reports.stale_pass(store, utc_now(), patience)

    await server.serve(web.application(store, loaded.site, utc_now, reason), listener, stop, store.version())


def _log_listening(listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    log.info("web.listening", url=f"http://{f'[{host}]' if ':' in host else host}:{port}/")


def _stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and Ctrl-C set."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
