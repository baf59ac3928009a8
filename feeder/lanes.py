"""Lanes: what is known of each target while the worker runs. What is due to it, its rate, its breaker, what it did."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from msgspec import Struct

from feeder.models import Outcome
from feeder.outbox import Care
from feeder.pacing import Breaker, Rate
from feeder.targets.base import Target
from feeder.websub import Hub

AHEAD = 20  # deliveries of one lane that are known ahead of time

log = structlog.get_logger()


class Tally(Struct, frozen=True, kw_only=True):
    """What a lane did, by outcome."""

    delivered: int = 0
    retried: int = 0
    rejected: int = 0
    unknown: int = 0
    gone: int = 0


class Lane:
    """What is known of one target or hub while the worker runs."""

    def __init__(self, name: str, target: Target | Hub) -> None:
        self.name, self.target = name, target
        self.care: Care = target.care()
        self.busy = False
        self._queue: deque[str] = deque()  # ids of what is due
        self._had_more = False
        self._rate = Rate.read(target.rate)
        self._sent: deque[datetime] = deque(maxlen=self._rate.number if self._rate else 0)
        self._breaker = Breaker()
        self._counted: Counter[str] = Counter()

    @property
    def period(self) -> timedelta:
        """How far back counts for the lane's rate."""
        return self._rate.period if self._rate else timedelta()

    def fill(self, ids: Sequence[str]) -> None:
        """Take note of what is due, in order; no more than AHEAD of it."""
        self._queue = deque(ids)
        self._had_more = len(ids) == AHEAD

    @property
    def ran_out(self) -> bool:
        """Whether all that was known to be due is taken, and more may be."""
        return self._had_more and not self._queue

    def skip(self) -> None:
        """Leave what is due for later."""
        self.fill(())

    def take(self) -> str | None:
        """The id of what is sent next; None when nothing is known to be due."""
        return self._queue.popleft() if self._queue else None

    def free_at(self, now: datetime) -> datetime:
        """When the next message may go, as far as the rate and the breaker are concerned."""
        paced = self._rate.next_at(self._sent, now) if self._rate else now
        return max(paced, self._breaker.free_at(now))

    def has_sent(self, moment: datetime) -> None:
        """A message left at `moment`; what left later than that left by a clock that was ahead."""
        while self._sent and self._sent[-1] > moment:
            self._sent.pop()
        self._sent.append(moment)

    def ended(self, outcome: Outcome, now: datetime) -> None:
        """An attempt ended."""
        was_open = self._breaker.open_until is not None
        self._breaker = self._breaker.after(outcome, now)
        self._counted[{"retry": "retried"}.get(outcome.kind, outcome.kind)] += 1
        if self._breaker.open_until and not was_open:
            log.warning(
                "target.failing", target=self.name, failures=self._breaker.failures, way_out="one try every 30 s"
            )

    @property
    def is_failing(self) -> bool:
        """Whether the breaker is open."""
        return self._breaker.open_until is not None

    @property
    def tally(self) -> Tally:
        """What was done."""
        return Tally(**self._counted)

    @property
    def has_more(self) -> bool:
        """Whether something is known to be due."""
        return bool(self._queue)
