"""What a clock that is set wrong, or set right again, does to times that are remembered.

A clock that goes ahead makes what is planned come early, once. One that is set back leaves the store with times that are
long in coming: retries would wait, and messages in doubt look younger than they are.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from feeder import outbox
from feeder.store import SEEN_UNTIL, Store, deliveries, fact, set_fact

log = structlog.get_logger()


class Steps:
    """Tells by how much the clock was set between two looks at it."""

    def __init__(self, now: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        """`now` is the clock; `monotonic` gives seconds that no one can set."""
        self._now, self._monotonic = now, monotonic
        self._last = now(), monotonic()

    def look(self) -> timedelta:
        """By how much the clock was set since the last look: negative when it was set back."""
        before, (now, seconds) = self._last, (self._now(), self._monotonic())
        self._last = now, seconds
        return now - before[0] - timedelta(seconds=seconds - before[1])


def reschedule(store: Store, now: datetime, spread: float, *, set_back: bool = False) -> None:
    """Bring forward what a clock that was ahead put off. Before anything else is done with the store.

    The clock was `set_back`, or is earlier than the last pass by more than clocks differ. What waits for longer than
    anything does is brought forward in any case.
    """
    with store.write() as connection:
        last = datetime.fromisoformat(fact(connection, SEEN_UNTIL) or now.isoformat())
        set_back = set_back or last > now + outbox.CLOCKS_DIFFER
        late = now if set_back else now + outbox.LONGEST_WAIT
        found = [each for each in deliveries.unended(connection, late) if set_back or outbox.is_overdue(each, now)]
        deliveries.save_all(connection, [outbox.rescheduled(each, now, spread) for each in found])
        if set_back:
            set_fact(connection, SEEN_UNTIL, min(last, now).isoformat())
    if set_back or found:
        log.warning("clock.set_back", last_pass=last.isoformat(timespec="seconds"), deliveries=len(found))
