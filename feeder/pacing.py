"""How often a target is asked: its rate, and what is done when it fails. Plain functions over records; no clock.

closed ──(10 failures in a row)──▶ open ──(30 s)──▶ one probe ──▶ closed, or open again
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from feeder.models import Outcome

FAILURES = 10  # in a row, and the breaker opens
PROBE_AFTER = timedelta(seconds=30)

_UNITS = {"s": "seconds", "min": "minutes", "h": "hours"}
_RATE = re.compile(r"(\d{1,6})/(\d{0,4})(s|min|h)")
_FAILED = frozenset({"retry", "unknown"})


class Rate(Struct, frozen=True, kw_only=True):
    """At most `number` messages in any `period`."""

    number: int
    period: timedelta

    @classmethod
    def read(cls, written: str) -> Rate | None:
        """The rate that a setting names: "10/s", "300/5min", "300/3h"; None for the empty one. ValueError if it is none."""
        if not written:
            return None
        found = _RATE.fullmatch(written)
        if found is None or int(found[1]) == 0 or found[2] == "0":
            raise ValueError("is no rate: a number, a slash and a time, like 1/s, 20/min or 300/3h")
        return cls(number=int(found[1]), period=timedelta(**{_UNITS[found[3]]: int(found[2] or 1)}))

    def next_at(self, sent: Sequence[datetime], now: datetime) -> datetime:
        """When the next message may go, after those that were `sent`, the last one last.

        What was sent later than now was sent by a clock that was ahead, and does not count.
        """
        counted = len(sent)
        while counted and sent[counted - 1] > now:
            counted -= 1
        if counted < self.number:
            return now
        return max(now, sent[counted - self.number] + self.period)


class Breaker(Struct, frozen=True, kw_only=True):
    """Keeps a target that fails from being asked all the time."""

    failures: int = 0  # in a row
    open_until: datetime | None = None  # then one message is tried

    def free_at(self, now: datetime) -> datetime:
        """When the next message may be tried; now, if a clock that was ahead said when."""
        if self.open_until is None or self.open_until > now + PROBE_AFTER:
            return now
        return max(now, self.open_until)

    def after(self, outcome: Outcome, now: datetime) -> Breaker:
        """The breaker after an attempt. A refusal is an answer: the target works."""
        if outcome.kind not in _FAILED:
            return Breaker()
        failures = self.failures + 1
        return replace(self, failures=failures, open_until=now + PROBE_AFTER if failures >= FAILURES else None)
