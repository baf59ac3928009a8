"""The processes that go on: the worker, with or without its web server, and the web server alone."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import structlog
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from feeder import reports, server, web
from feeder.app import STOP_WITHIN, check_folders, office_of, pipeline, stop_on_signals
from feeder.desk import calm_collector, utc_now, working
from feeder.errors import StoreError
from feeder.exchange import Clients, TerminalTransport
from feeder.passes import Passes
from feeder.pipeline import Report
from feeder.scheduler import Clock
from feeder.settings import Loaded
from feeder.store import Store
from feeder.store.followed import FollowedStore

log = structlog.get_logger()


def run(loaded: Loaded, console: Console, *, with_web: bool) -> None:
    """The worker: passes and deliveries until a signal ends it."""
    check_folders(loaded)
    listener = server.listen(loaded.settings.host, loaded.settings.port) if with_web else None
    with working(loaded) as store:
        asyncio.run(_run(loaded, store, console, listener))


async def _run(loaded: Loaded, store: Store, console: Console, listener: socket.socket | None) -> None:
    stop, settings = stop_on_signals(), loaded.settings
    with ThreadPoolExecutor(1, "pass") as pass_thread, ThreadPoolExecutor(1, "store") as store_thread:
        async with Clients(TerminalTransport(console)) as http:
            log.info("worker.started", process=os.getpid(), source=str(settings.source), targets=list(loaded.targets))
            office = office_of(loaded, store, http, store_thread)

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
    patience = timedelta(seconds=max(3 * loaded.settings.interval, 300))

    def reason() -> str:
        return reports.stale_pass(store, utc_now(), patience)

    await server.serve(web.application(store, loaded.site, utc_now, reason), listener, stop, store.version())


def _log_listening(listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    log.info("web.listening", url=f"http://{f'[{host}]' if ':' in host else host}:{port}/")


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
