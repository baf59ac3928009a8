"""Passes and housekeeping by the clock. The only home of APScheduler."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Self

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

_HOUSEKEEPING = 3_600.0  # seconds


class Clock:
    """Calls `start_pass` every `interval` seconds and `keep_house` every hour, within ``with``.

    However late a call is, because a machine slept or a pass took long, it comes once: what was missed is coalesced.
    """

    def __init__(
        self,
        *,
        interval: float,
        start_pass: Callable[[], None],
        start_small_pass: Callable[[], None],
        keep_house: Callable[[], None],
    ) -> None:
        """`start_small_pass` starts a pass that looks at no file; see `pass_at`."""
        self._start_small_pass = start_small_pass
        self.jobs = AsyncIOScheduler(
            timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )
        self.jobs.add_job(start_pass, IntervalTrigger(seconds=interval, timezone="UTC"), id="pass")
        self.jobs.add_job(keep_house, IntervalTrigger(seconds=_HOUSEKEEPING, timezone="UTC"), id="housekeeping")

    def pass_at(self, moment: datetime | None) -> None:
        """Start a small pass at `moment`, when an embargo ends, in place of an earlier such moment; None: at none."""
        if moment is None:
            if self.jobs.get_job("embargo"):
                self.jobs.remove_job("embargo")
            return
        trigger = DateTrigger(moment, timezone="UTC")
        self.jobs.add_job(self._start_small_pass, trigger, id="embargo", replace_existing=True)

    def __enter__(self) -> Self:
        self.jobs.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.jobs.shutdown(wait=False)
