"""Passes and housekeeping by the clock. The only home of APScheduler."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Self

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.date import DateTrigger

from feeder.outbox import CLOCKS_DIFFER
from feeder.wallclock import Steps

_HOUSEKEEPING = 3_600.0  # seconds
_LOOK = 5.0  # seconds between two looks whether the clock was set
_STEP = timedelta(seconds=2)  # more than a clock drifts within that time


class _Every(BaseTrigger):  # type: ignore[misc]  # the library says nothing of its types
    """So many seconds after the last time. APScheduler's own trigger counts all times that were missed, one by one."""

    def __init__(self, seconds: float) -> None:
        self._period = timedelta(seconds=seconds)

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """The next time, never one that is past."""
        return now + self._period


class Clock:
    """Calls `start_pass` every `interval` seconds and `keep_house` every hour, within ``with``.

    However late a call is, because a machine slept or a pass took long, it comes once: what was missed is coalesced.
    Nor does it matter when the clock is set: APScheduler waits for the time that it planned, and would wait for as long as
    a clock was ahead.
    """

    def __init__(
        self,
        *,
        interval: float,
        start_pass: Callable[[], None],
        start_small_pass: Callable[[], None],
        keep_house: Callable[[], None],
        now: Callable[[], datetime],
        set_back: Callable[[], None] = lambda: None,
    ) -> None:
        """`start_small_pass` starts a pass that looks at no file; see `pass_at`.

        `now` is the clock, and `set_back` is called when it was set back by more than clocks differ.
        """
        self._start_pass, self._start_small_pass = start_pass, start_small_pass
        self._now, self._set_back = now, set_back
        self._periods = {"pass": interval, "housekeeping": _HOUSEKEEPING}
        self.jobs = AsyncIOScheduler(
            timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )
        for name, job in (("pass", start_pass), ("housekeeping", keep_house)):
            self.jobs.add_job(job, _Every(self._periods[name]), id=name)

    def pass_at(self, moment: datetime | None) -> None:
        """Start a small pass at `moment`, when an embargo ends, in place of an earlier such moment; None: at none."""
        if moment is None:
            if self.jobs.get_job("embargo"):
                self.jobs.remove_job("embargo")
            return
        trigger = DateTrigger(moment, timezone="UTC")
        self.jobs.add_job(self._start_small_pass, trigger, id="embargo", replace_existing=True)

    def notice(self, step: timedelta) -> None:
        """Plan anew if the clock was set by `step`: a pass now, and all that comes at times that count from now."""
        if abs(step) <= _STEP:
            return
        for name, seconds in self._periods.items():
            self.jobs.reschedule_job(name, trigger=_Every(seconds))
        if step < -CLOCKS_DIFFER:
            self._set_back()
        self._start_pass()

    def __enter__(self) -> Self:
        self.jobs.start()
        self._loop = asyncio.get_running_loop()
        self._steps = Steps(self._now, self._loop.time)
        self._looking = self._loop.call_later(_LOOK, self._look)
        return self

    def __exit__(self, *_: object) -> None:
        self._looking.cancel()
        self.jobs.shutdown(wait=False)

    def _look(self) -> None:
        self._looking = self._loop.call_later(_LOOK, self._look)
        self.notice(self._steps.look())
