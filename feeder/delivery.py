"""Deliveries: one lane a target, claim → send → record.

`sending` is committed before the first byte leaves and the outcome after, so whatever a crash leaves in `sending` is known
to be in doubt (see outbox). A lane sends one message at a time and holds up nobody but itself. The claims and outcomes of
all lanes go into the store together: what ends while one transaction is brought to the disk goes into the next.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

import sqlalchemy as sa
import structlog
from msgspec.structs import replace
from sqlalchemy.exc import SQLAlchemyError

from feeder import exchange, outbox, selection, websub
from feeder.errors import public_reason
from feeder.exchange import Clients
from feeder.lanes import AHEAD, Lane, Tally
from feeder.models import Article, Delivery, Headline, Outcome, Ping, Site, State
from feeder.outbox import Care
from feeder.store import Store, catalog, count_claim, deliveries
from feeder.wallclock import reschedule
from feeder.websub import Hub

AT_ONCE = 500  # messages of all lanes that are on their way at a time
_SOON = 0.01  # seconds that a pause takes at least

log = structlog.get_logger()
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A delivery that is marked as `sending`, with what is to be told."""

    lane: Lane
    delivery: Delivery
    told: Headline | Ping


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ended:
    claim: Claim
    outcome: Outcome
    delivery: Delivery  # as it stands now


@dataclass(kw_only=True)
class Office:
    """All lanes, and what they share."""

    lanes: Mapping[str, Lane]
    store: Store
    http: Clients
    threads: Executor  # where the store is spoken to, away from the event loop
    site: Site
    now: Callable[[], datetime]
    spread: Callable[[], float]  # a random number from -1 to 1
    passing: Callable[[str], None] = lambda _: None  # told of each point that a crash may fall on
    failing: Callable[[str], None] = lambda _: None  # told why the store fails, and with "" that it does not
    look_again: float = 5.0  # seconds after which the store is looked at for what another process changed
    store_again: float = 1.0  # seconds after which a store that failed is tried again
    wake: asyncio.Event = field(default_factory=asyncio.Event)  # set when there is something new
    _ended: list[_Ended] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)  # set when a message has ended
    _stale: bool = True  # whether the lanes have to be told again what is due
    _set_back: int = 0  # how often the clock was set back
    _rescheduled: int = 0  # as of which of these times

    def recover(self) -> Counter[str]:
        """Resolve what a crash left in `sending`; how many there were, by target. Before the first claim.

        A target that was switched off and has other credentials now is on again.
        """
        with self.store.write() as connection:
            self._review_switched_off(connection)
            found = [each for each in deliveries.find(connection, states=[State.SENDING]) if each.target in self.lanes]
            deliveries.save_all(
                connection, [outbox.interrupted(each, self.now(), self.lanes[each.target].care) for each in found]
            )
            longest, now = max((lane.period for lane in self.lanes.values()), default=timedelta()), self.now()
            for target, moment in deliveries.sent_between(connection, now - longest, now):
                if target in self.lanes:
                    self.lanes[target].has_sent(moment)
        return Counter(each.target for each in found)

    def _review_switched_off(self, connection: sa.Connection) -> None:
        for name, adoption in deliveries.adopted(connection).items():
            if name not in self.lanes or not adoption.off:
                continue
            refused = deliveries.refused(connection, name)
            if refused and refused != self.lanes[name].target.credentials():
                deliveries.switch(connection, name, "")
                log.info("target.on", target=name, reason="its credentials are others now")
            else:
                way_out = f"put it right, then: feeder target enable {name}"
                log.error("target.off", target=name, reason=adoption.off, way_out=way_out)

    def clock_was_set_back(self) -> None:
        """Take note that the clock was set back while this runs: no time that is remembered can be relied on."""
        self._set_back += 1
        self.wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set, and end what is being sent then."""
        await self._work(stop, until_idle=False)

    async def drain(self, stop: asyncio.Event) -> dict[str, Tally]:
        """Deliver what is due now, and no more."""
        await self._work(stop, until_idle=True)
        return self.tallies

    @property
    def tallies(self) -> dict[str, Tally]:
        """What each lane did."""
        return {name: lane.tally for name, lane in self.lanes.items()}

    async def _work(self, stop: asyncio.Event, *, until_idle: bool) -> None:
        try:
            while not stop.is_set():
                self.wake.clear()
                self._moved.clear()
                await self._round(until_idle=until_idle)
                pause = 0.0 if self._has_work() else await self._pause(until_idle=until_idle)
                if until_idle and pause is None and not self._tasks:
                    return
                if pause != 0:
                    await self._wait(stop, self.look_again if pause is None else min(pause, self.look_again))
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            await self._end()

    def _has_work(self) -> bool:
        """Whether another round would do something now."""
        return bool(self._ended) or (len(self._tasks) < AT_ONCE and any(self._ready_lanes()))

    async def _wait(self, stop: asyncio.Event, seconds: float) -> None:
        await _first(stop.wait(), self.wake.wait(), self._moved.wait(), within=seconds)
        if not self._moved.is_set() or self.wake.is_set():
            self._stale = True

    async def _end(self) -> None:
        """Record what has ended, and of what has not that nobody knows."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        ended, self._ended = self._ended, []
        if ended:
            with suppress(SQLAlchemyError):
                self._record_and_claim(ended, [])

    # --- rounds -------------------------------------------------------------------------------------------------------

    async def _round(self, *, until_idle: bool) -> None:
        """Record what ended and start what is due."""
        ended = list(self._ended)
        try:
            if (noticed := self._set_back) > self._rescheduled:
                await self._in_thread(lambda: reschedule(self.store, self.now(), self.spread(), set_back=True))
                self._rescheduled, self._stale = noticed, True
            wanting = None if self._stale else [name for name, lane in self.lanes.items() if lane.ran_out]
            if wanting is None or wanting:
                await self._in_thread(lambda: self._look_what_is_due(wanting))
                self._stale = False
            wanted = self._ready()
            if ended or wanted:
                claims = await self._in_thread(lambda: self._record_and_claim(ended, wanted))
                del self._ended[: len(ended)]
                for each in ended:
                    self._log(each)
                for claim in claims:
                    self._start(claim)
            self.failing("")
        except SQLAlchemyError as error:
            await self._wait_out(error, until_idle=until_idle)

    async def _wait_out(self, error: SQLAlchemyError, *, until_idle: bool) -> None:
        """The store fails: what ended is kept, to be recorded when it works again; until then nothing is sent."""
        if until_idle:
            raise error
        reason = str(getattr(error, "orig", None) or error)
        log.error("store.failed", reason=reason, way_out="nothing is sent until it works again")
        self.failing(public_reason(error))
        self._stale = True
        for lane in self.lanes.values():
            lane.skip()
        await asyncio.sleep(self.store_again)

    def _look_what_is_due(self, names: Sequence[str] | None) -> None:
        """Tell the lanes called `names` what is due to them; all lanes when that is None."""
        with self.store.read() as connection:
            off = deliveries.off(connection)
            found = deliveries.due(connection, self.now(), AHEAD, names)
        by_target: dict[str, list[str]] = {}
        for target, delivery_id in found:
            if target not in off:
                by_target.setdefault(target, []).append(delivery_id)
        for name in self.lanes if names is None else names:
            self.lanes[name].fill(by_target.get(name, ()))

    def _ready_lanes(self) -> Iterable[Lane]:
        now = self.now()
        return (lane for lane in self.lanes.values() if lane.has_more and not lane.busy and lane.free_at(now) <= now)

    def _ready(self) -> list[tuple[Lane, str]]:
        """The lanes that can send something now, with what."""
        room = AT_ONCE - len(self._tasks)
        ready = [lane for lane, _ in zip(self._ready_lanes(), range(room), strict=False)]
        return [(lane, found) for lane in ready if (found := lane.take()) is not None]

    def _record_and_claim(self, ended: Sequence[_Ended], wanted: Sequence[tuple[Lane, str]]) -> list[Claim]:
        """One transaction for all lanes. Nothing is sent that it did not mark."""
        now = self.now()
        with self.store.write() as connection:
            for each in ended:
                if each.outcome.kind == "gone":
                    lane = each.claim.lane
                    deliveries.switch(connection, lane.name, each.outcome.reason or "gone", lane.target.credentials())
            deliveries.save_all(connection, [each.delivery for each in ended])
            claims, held = self._claims(connection, wanted, now)
            deliveries.save_all(connection, [*(claim.delivery for claim in claims), *held])
            number = count_claim(connection) if claims else 0
            self.passing("before the commit")
        if number:
            self.store.note_claims(number)
        self.passing("after the commit")
        for delivery in held:
            log.warning("delivery.unknown", target=delivery.target, delivery=delivery.id, reason=delivery.last_error)
        return claims

    def _claims(
        self, connection: sa.Connection, wanted: Sequence[tuple[Lane, str]], now: datetime
    ) -> tuple[list[Claim], list[Delivery]]:
        """What is to be sent, and what is held because sending it again might double it."""
        pending = {each.id: each for each in deliveries.pending(connection, [id_ for _, id_ in wanted], now)}
        off = deliveries.off(connection) if pending else set()
        begun = [
            (lane, outbox.begin(pending[id_], now, lane.care))
            for lane, id_ in wanted
            if id_ in pending and lane.name not in off
        ]
        articles = catalog.articles_of(connection, {each.subject for _, each in begun})
        claims, held = [], []
        for lane, delivery in begun:
            told = self._told(lane, delivery, articles)
            if delivery.state is State.SENDING and told is not None:
                claims.append(Claim(lane=lane, delivery=delivery, told=told))
            elif delivery.state is not State.SENDING:
                held.append(delivery)
        return claims, held

    def _told(self, lane: Lane, delivery: Delivery, articles: Mapping[str, Article]) -> Headline | Ping | None:
        """What the delivery is about, as its target is told it."""
        if isinstance(lane.target, Hub):
            return websub.ping(delivery.subject, self.site)
        article = articles.get(delivery.subject)
        if article is None:
            return None
        return selection.headline(article, lane.target.rules(lane.name), self.site.language)

    # --- sending ------------------------------------------------------------------------------------------------------

    def _start(self, claim: Claim) -> None:
        claim.lane.busy = True
        task = asyncio.create_task(self._send(claim))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, claim: Claim) -> None:
        care = claim.lane.care
        try:
            self.passing("before the message")
            outcome, care = await self._outcome(claim)
            self.passing("after the message")
        except asyncio.CancelledError:
            outcome = Outcome(kind="unknown", reason="feeder stopped before the answer came")
        now = self.now()
        if outcome.asked:
            claim.lane.has_sent(claim.delivery.next_at)
        done = outbox.after(claim.delivery, outcome, now, care, self.spread())
        self._ended.append(_Ended(claim=claim, outcome=outcome, delivery=done))
        claim.lane.ended(outcome, now)
        claim.lane.busy = False
        self._moved.set()

    async def _outcome(self, claim: Claim) -> tuple[Outcome, Care]:
        """How the attempt ended, and the care that the delivery wants then."""
        target, delivery, care = claim.lane.target, claim.delivery, claim.lane.care
        http = self.http.of(target)
        since = delivery.doubtful_since
        if since is not None and outbox.must_look(delivery, delivery.next_at, care):
            found = await exchange.look(http, target, claim.told, delivery.id, self.now, since=since)
            if found is not None and found.kind == "rejected" and not outbox.unseen(delivery, care):
                return replace(found, kind="unknown"), replace(care, looks=False, on_unknown="hold")
            if found is not None and found.kind != "rejected":
                return found, care
        return await exchange.tell(http, target, claim.told, delivery.id, self.now), care

    def _log(self, ended: _Ended) -> None:
        claim, outcome, delivery = ended.claim, ended.outcome, ended.delivery
        about = log.bind(target=claim.lane.name, delivery=delivery.id, title=claim.told.title)
        if outcome.kind == "gone":
            enable = f"put it right, then: feeder target enable {claim.lane.name}"
            about.error("target.off", reason=outcome.reason, way_out=enable)
        elif delivery.state is State.DELIVERED:
            if not claim.lane.target.shows_itself:
                about.info("delivery.delivered", attempts=delivery.attempts)
        elif delivery.state is State.PENDING:
            about.warning("delivery.retry", reason=outcome.reason, at=delivery.next_at.isoformat(timespec="seconds"))
        else:
            way_out = "feeder deliveries settle" if delivery.state is State.UNKNOWN else "feeder retry"
            about.error(f"delivery.{delivery.state}", reason=outcome.reason, way_out=f"{way_out} {delivery.id[:12]}")

    # --- pauses -------------------------------------------------------------------------------------------------------

    async def _pause(self, *, until_idle: bool) -> float | None:
        """Seconds until a lane is free again or something is due; None when there is nothing to wait for."""
        now = self.now()
        waiting = [lane for lane in self.lanes.values() if lane.has_more and not lane.busy]
        if until_idle:  # whoever waits for the end does not wait for a target that fails
            waiting = [lane for lane in waiting if not lane.is_failing]
        moments = [lane.free_at(now) for lane in waiting]
        if not until_idle and (due := await self._due_next()) is not None:
            moments.append(due)
        return max((min(moments) - now).total_seconds(), _SOON) if moments else None

    async def _due_next(self) -> datetime | None:
        with suppress(SQLAlchemyError):  # the next round says so
            return await self._in_thread(self._next_due)
        return None

    def _next_due(self) -> datetime | None:
        with self.store.read() as connection:
            return deliveries.next_due(connection, self.now())

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
