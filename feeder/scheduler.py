"""Passes and housekeeping by the clock. The only home of APScheduler."""

from __future__ import annotations

from collections.abc import Callable

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

_HOUSEKEEPING = 3_600.0  # seconds


def scheduler(*, interval: float, start_pass: Callable[[], None], keep_house: Callable[[], None]) -> AsyncIOScheduler:
    """A scheduler, not yet started, that calls `start_pass` every `interval` seconds and `keep_house` every hour.

    However late a call is, because a machine slept or a pass took long, it comes once: what was missed is coalesced.
    """
    made = AsyncIOScheduler(
        timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    )
    made.add_job(start_pass, IntervalTrigger(seconds=interval, timezone="UTC"), id="pass")
    made.add_job(keep_house, IntervalTrigger(seconds=_HOUSEKEEPING, timezone="UTC"), id="housekeeping")
    return made
