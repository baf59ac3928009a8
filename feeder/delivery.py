"""Deliveries: one lane a target, claim → send → record. The only place that talks HTTP to targets.

`sending` is committed before the first byte leaves and the outcome after, so whatever a crash leaves in `sending` is known
to be in doubt (see outbox). A lane that is slow holds up nobody but itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

import httpx
import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError

from feeder import __version__, outbox, selection, websub
from feeder.models import Delivery, Headline, Outcome, Ping, Site, State
from feeder.redact import redact
from feeder.store import Store, catalog, deliveries
from feeder.targets.base import Endpoint, Target
from feeder.websub import Hub

TIMEOUT = 15.0  # seconds for one exchange, from the first byte to the last
CONNECT_TIMEOUT = 5.0
ANSWER = 20_000  # bytes of an answer that are read
USER_AGENT = f"feeder/{__version__}"

log = structlog.get_logger()
T = TypeVar("T")

# Nothing of the request can have arrived: a plain retry.
_BEFORE_THE_FIRST_BYTE = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
# The request itself cannot be sent, today or tomorrow.
_IMPOSSIBLE = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL)


def client(terminal: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
    """The HTTP client of all targets. Requests to `console://` go to `terminal`."""
    return httpx.AsyncClient(
        headers={"user-agent": USER_AGENT},
        timeout=httpx.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT),
        limits=httpx.Limits(max_connections=100, max_keepalive_connections=50),
        follow_redirects=False,
        trust_env=False,  # no proxy and no .netrc that nobody set here
        mounts={"console://": terminal},
    )


async def attempt(
    http: httpx.AsyncClient, target: Endpoint, told: Headline | Ping, key: str, now: Callable[[], datetime]
) -> Outcome:
    """One try at telling it: drive the target through its requests. Never raises for what a network can do."""
    steps = target.deliver(told, key)
    try:
        request = next(steps)
        while True:
            request.headers.setdefault("user-agent", USER_AGENT)
            if target.replay is None:  # a kept connection that the service drops would leave the message in doubt
                request.headers["connection"] = "close"
            target.sign(request, now())
            request = steps.send(await _exchange(http, request))
    except StopIteration as end:
        outcome: Outcome = end.value
    except _BEFORE_THE_FIRST_BYTE as error:
        outcome = Outcome(kind="retry", reason=_reason(error))
    except _IMPOSSIBLE as error:
        outcome = Outcome(kind="rejected", reason=_reason(error))
    except (httpx.HTTPError, httpx.StreamError, TimeoutError) as error:
        outcome = Outcome(kind="unknown", reason=_reason(error))
    return replace(outcome, reason=redact(outcome.reason, target.secrets()))


async def _exchange(http: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    async with asyncio.timeout(TIMEOUT):
        response = await http.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) >= ANSWER:
                    break
        finally:
            await response.aclose()
    headers = [
        (name, value) for name, value in response.headers.items() if name not in ("content-encoding", "content-length")
    ]
    return httpx.Response(response.status_code, headers=headers, content=bytes(body[:ANSWER]), request=request)


def _reason(error: Exception) -> str:
    said = str(error)
    name = type(error).__name__
    return f"{name}: {said}" if said else name


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """What a lane did, by outcome."""

    delivered: int = 0
    retried: int = 0
    rejected: int = 0
    unknown: int = 0
    gone: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Lane:
    """The deliveries to one target or hub, one after the other, in order of publication."""

    name: str
    target: Target | Hub
    store: Store
    http: httpx.AsyncClient
    threads: Executor  # where the store is spoken to, away from the event loop
    site: Site
    now: Callable[[], datetime]
    spread: Callable[[], float]  # a random number from -1 to 1
    wake: asyncio.Event  # set when there is something new
    look_again: float = 5.0  # seconds after which it looks for what another process changed

    def recover(self) -> int:
        """Resolve what a crash left in `sending`; how many there were. Before the first claim."""
        with self.store.write() as connection:
            found = deliveries.find(connection, states=[State.SENDING], target=self.name)
            for delivery in found:
                deliveries.save(connection, outbox.interrupted(delivery, self.now(), self.target.care()))
        return len(found)

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set, and end what is being sent then."""
        while not stop.is_set():
            self.wake.clear()
            try:
                pause = 0.0 if await self.deliver_next() else await self._pause()
            except SQLAlchemyError as error:
                pause = await self._after_failure(error)
            if pause:
                await _first(stop.wait(), self.wake.wait(), within=pause)

    async def drain(self, stop: asyncio.Event) -> Tally:
        """Deliver what is due now, and no more."""
        tally = Tally()
        while not stop.is_set() and (outcome := await self.deliver_next()) is not None:
            field = {"retry": "retried"}.get(outcome.kind, outcome.kind)
            tally = replace(tally, **{field: getattr(tally, field) + 1})
        return tally

    async def deliver_next(self) -> Outcome | None:
        """Deliver the next that is due; None when there is none."""
        claimed = await self._in_thread(self._claim)
        if claimed is None:
            return None
        delivery, told = claimed
        try:
            outcome = await attempt(self.http, self.target, told, delivery.id, self.now)
        except asyncio.CancelledError:
            self._record(delivery, Outcome(kind="unknown", reason="feeder stopped before the answer came"), told)
            raise
        await self._in_thread(lambda: self._record(delivery, outcome, told))
        return outcome

    def _claim(self) -> tuple[Delivery, Headline | Ping] | None:
        while True:
            with self.store.read() as connection:
                if deliveries.is_off(connection, self.name) or not deliveries.next_pending(
                    connection, self.name, self.now()
                ):
                    return None
            with self.store.write() as connection:
                pending = deliveries.next_pending(connection, self.name, self.now())
                if pending is None:
                    return None
                begun = outbox.begin(pending, self.now(), self.target.care())
                deliveries.save(connection, begun)
                told = self._told(connection, begun)
            if begun.state is State.SENDING and told is not None:
                return begun, told
            log.warning("delivery.unknown", target=self.name, delivery=begun.id, reason=begun.last_error)

    def _told(self, connection: sa.Connection, delivery: Delivery) -> Headline | Ping | None:
        """What the delivery is about, as its target is told it."""
        if isinstance(self.target, Hub):
            return websub.ping(delivery.subject, self.site)
        article = catalog.article(connection, delivery.subject)
        if article is None:
            return None
        return selection.headline(article, self.target.rules(self.name), self.site.language)

    def _record(self, delivery: Delivery, outcome: Outcome, told: Headline | Ping) -> None:
        done = outbox.after(delivery, outcome, self.now(), self.target.care(), self.spread())
        with self.store.write() as connection:
            deliveries.save(connection, done)
            if outcome.kind == "gone":
                deliveries.switch(connection, self.name, outcome.reason or "gone")
        self._log(done, outcome, told.title)

    def _log(self, delivery: Delivery, outcome: Outcome, title: str) -> None:
        about = log.bind(target=self.name, delivery=delivery.id, title=title)
        if outcome.kind == "gone":
            about.error(
                "target.off", reason=outcome.reason, way_out=f"put it right, then: feeder target enable {self.name}"
            )
        elif delivery.state is State.DELIVERED:
            if not self.target.shows_itself:
                about.info("delivery.delivered", attempts=delivery.attempts)
        elif delivery.state is State.PENDING:
            about.warning("delivery.retry", reason=outcome.reason, at=delivery.next_at.isoformat(timespec="seconds"))
        else:
            about.error(f"delivery.{delivery.state}", reason=outcome.reason, way_out=f"feeder retry {delivery.id[:12]}")

    async def _after_failure(self, error: SQLAlchemyError) -> float:
        """The store failed. What was being sent is in doubt like after a crash; how long to wait before going on."""
        log.error("store.failed", target=self.name, reason=str(getattr(error, "orig", None) or error))
        with suppress(SQLAlchemyError):
            await self._in_thread(self.recover)
        return self.look_again

    async def _pause(self) -> float:
        due = await self._in_thread(self._next_due)
        return self.look_again if due is None else min(max((due - self.now()).total_seconds(), 0.01), self.look_again)

    def _next_due(self) -> datetime | None:
        with self.store.read() as connection:
            return None if deliveries.is_off(connection, self.name) else deliveries.next_due(connection, self.name)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)


async def _first(*events: Awaitable[object], within: float) -> None:
    """Wait until one of `events` happens, or for `within` seconds."""
    tasks = [asyncio.ensure_future(event) for event in events]
    try:
        await asyncio.wait(tasks, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
