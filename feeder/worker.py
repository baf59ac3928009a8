"""The processes that go on: the worker, with or without its web server, and the web server alone."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import NoReturn

import structlog
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from feeder import connections, reports, server, watch, web, websub
from feeder.app import STOP_WITHIN, check_folders, office_of, pipeline, spread, stop_on_signals
from feeder.desk import calm_collector, endpoints, utc_now, working
from feeder.errors import StoreError
from feeder.exchange import Clients, TerminalTransport
from feeder.passes import Passes
from feeder.pipeline import Report
from feeder.scheduler import Clock
from feeder.settings import Loaded
from feeder.store import Store
from feeder.store.followed import FollowedStore
from feeder.store.lock import database_path
from feeder.wallclock import reschedule

_GATHERED = websub.GATHER.total_seconds() + 0.01

log = structlog.get_logger()


def run(loaded: Loaded, console: Console, *, with_web: bool) -> None:
    """The worker: passes and deliveries until a signal ends it."""
    check_folders(loaded)
    listener = server.listen(loaded.settings.host, loaded.settings.port) if with_web else None
    with working(loaded) as store:
        hangs = asyncio.run(_run(loaded, store, console, listener))
    if hangs:
        _end_at_once()


def _end_at_once() -> NoReturn:
    """End this process though a thread of it hangs, say in a read of a file system that is dead, and Python would wait.

    All else is closed by now. What a pass has not written the next one writes.
    """
    for process in multiprocessing.active_children():
        process.kill()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


async def _run(loaded: Loaded, store: Store, console: Console, listener: socket.socket | None) -> bool:
    """Run the worker; whether its pass hangs in its thread after all."""
    stop, settings = stop_on_signals(), loaded.settings
    pass_thread = ThreadPoolExecutor(1, "pass")  # not waited for: see `_end_at_once`
    with ThreadPoolExecutor(1, "store") as store_thread:
        async with Clients(TerminalTransport(console)) as http:
            log.info("worker.started", process=os.getpid(), source=str(settings.source), targets=list(loaded.targets))
            reschedule(store, utc_now(), spread())
            office = office_of(loaded, store, http, store_thread)

            def wake_all() -> None:
                passes.want_all()
                office.wake.set()

            def after_pass(report: Report) -> None:
                office.wake.set()
                if (
                    report.documents and loaded.hubs
                ):  # which are told a moment later, of all that has changed until then
                    asyncio.get_running_loop().call_later(_GATHERED, office.wake.set)
                clock.pass_at(report.embargo)
                say_missing(str(report.missing or ""))

            health = _Health()
            office.failing = health.part("deliveries")
            say_missing = health.part("articles")
            house = pipeline(loaded, store, stopped=stop.is_set)
            passes = Passes(house, after=after_pass, failing=health.part("passes"))
            clock = Clock(
                interval=settings.interval,
                start_pass=passes.want_all,
                start_small_pass=lambda: passes.want(frozenset()),
                keep_house=lambda: _keep_house(store),
                now=utc_now,
                set_back=office.clock_was_set_back,
            )
            own = watch.own_files(settings.public, database_path(settings.database_url))
            parts = [passes.watch(settings.source, stop, own), passes.run(stop, pass_thread)]
            parts.append(office.run(stop))
            if listener is not None:
                _log_listening(listener)
                patience = _patience(loaded)

                def not_ready() -> str:
                    off = reports.off_in_public(store, office.lanes)
                    return "; ".join(filter(None, (health.reason(), passes.stands_still(patience), *off)))

                app = web.application(store, loaded.site, utc_now, not_ready)
                parts.append(server.serve(app, listener, stop, store.version(), limit=_connection_limit()))
            calm_collector()
            with clock:
                await _until_stopped(parts, stop, wake=wake_all)
    pass_thread.shutdown(wait=False, cancel_futures=True)
    if passes.hangs:
        log.warning("pass.abandoned", reason="it did not end; the next start goes on with it")
    log.info("worker.stopped")
    return passes.hangs


def _patience(loaded: Loaded) -> timedelta:
    """How long nothing may be heard of passes."""
    return timedelta(seconds=max(3 * loaded.settings.interval, 300))


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
    _, late = await asyncio.wait(tasks, timeout=STOP_WITHIN)
    for task in late:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


def _keep_house(store: Store) -> None:
    try:
        store.tidy()
    except (StoreError, SQLAlchemyError) as error:
        log.warning("housekeeping.failed", reason=str(error))


def serve(loaded: Loaded) -> None:
    """The web server alone, beside a worker."""
    listener = server.listen(loaded.settings.host, loaded.settings.port)
    with closing(FollowedStore(loaded.settings.database_url)) as store:
        asyncio.run(_serve(loaded, store, listener))


async def _serve(loaded: Loaded, store: Store, listener: socket.socket) -> None:
    stop = stop_on_signals()
    _log_listening(listener)
    calm_collector()

    def reason() -> str:
        off = reports.off_in_public(store, endpoints(loaded))
        return "; ".join(filter(None, (reports.stale_pass(store, utc_now(), _patience(loaded)), *off)))

    app = web.application(store, loaded.site, utc_now, reason)
    await server.serve(app, listener, stop, store.version(), limit=_connection_limit())


def _log_listening(listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    log.info("web.listening", url=f"http://{f'[{host}]' if ':' in host else host}:{port}/")


def _connection_limit() -> int:
    """How many clients the web server may have at a time, with a word to the operator when that is fewer than it could."""
    found = connections.claim()
    if found.connections < connections.MOST:
        log.warning(
            "web.connections_limited",
            connections=found.connections,
            descriptors=found.limit,
            way_out=f"for {connections.MOST} connections, ulimit -n {connections.MOST + connections.RESERVED}",
        )
    return found.connections


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
