from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from feeder.scheduler import Clock


@pytest.mark.parametrize(("job", "called"), [("pass", ["pass"]), ("housekeeping", ["house"])])
def test_what_was_missed_while_a_machine_slept_comes_once(job, called):
    calls = []

    async def wake_up() -> datetime:
        came = asyncio.Event()

        def call(name: str) -> None:
            calls.append(name)
            came.set()

        made = Clock(
            interval=60,
            start_pass=lambda: call("pass"),
            start_small_pass=lambda: call("small"),
            keep_house=lambda: call("house"),
        )
        with made:
            made.jobs.pause()
            made.jobs.modify_job(job, next_run_time=datetime.now(UTC) - timedelta(hours=5))
            made.jobs.resume()
            await asyncio.wait_for(came.wait(), 60)
            return made.jobs.get_job(job).next_run_time

    assert asyncio.run(wake_up()) > datetime.now(UTC)
    assert calls == called


def called_at(*moments: timedelta | None) -> list[str]:
    """What a clock calls when it is told of embargoes that end so long from now, until the first small pass."""

    async def wait() -> list[str]:
        calls: list[str] = []
        came = asyncio.Event()

        def small() -> None:
            calls.append("small")
            came.set()

        made = Clock(interval=3600, start_pass=list, start_small_pass=small, keep_house=list)
        with made:
            for moment in moments:
                made.pass_at(None if moment is None else datetime.now(UTC) + moment)
            if made.jobs.get_job("embargo"):
                await asyncio.wait_for(came.wait(), 60)
        return calls

    return asyncio.run(wait())


def test_a_small_pass_starts_when_an_embargo_ends():
    assert called_at(timedelta(milliseconds=50)) == ["small"]


def test_an_embargo_that_ended_while_a_machine_slept_is_not_missed():
    assert called_at(timedelta(hours=-5)) == ["small"]


def test_the_earliest_embargo_counts_and_none_takes_it_back():
    assert called_at(timedelta(hours=5), timedelta(milliseconds=50)) == ["small"]
    assert called_at(timedelta(hours=5), None) == []
