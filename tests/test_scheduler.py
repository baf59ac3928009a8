from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from feeder import scheduler
from feeder.scheduler import Clock


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize(("job", "called"), [("pass", ["pass"]), ("housekeeping", ["house"])])
@pytest.mark.parametrize("ago", [timedelta(hours=5), timedelta(days=100_000)])
def test_what_was_missed_while_a_machine_slept_comes_once_however_much_it_is(job, called, ago):
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
            now=now,
        )
        with made:
            made.jobs.pause()
            made.jobs.modify_job(job, next_run_time=datetime.now(UTC) - ago)
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

        made = Clock(interval=3600, start_pass=list, start_small_pass=small, keep_house=list, now=now)
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


@dataclass
class Watched:
    """A clock's calls, and a time that a test sets; the scheduler itself goes by the machine's clock."""

    ahead: timedelta = timedelta()
    calls: Counter[str] = field(default_factory=Counter)
    passed: asyncio.Event = field(default_factory=asyncio.Event)

    def start_pass(self) -> None:
        self.calls["pass"] += 1
        self.passed.set()

    def clock(self) -> Clock:
        return Clock(
            interval=3600,
            start_pass=self.start_pass,
            start_small_pass=list,
            keep_house=list,
            now=lambda: now() + self.ahead,
            set_back=lambda: self.calls.update(["set back"]),
        )


@pytest.mark.parametrize(
    ("step", "calls"),
    [
        (timedelta(seconds=-3), {"pass": 1}),
        (timedelta(hours=-1), {"pass": 1, "set back": 1}),
        (timedelta(days=-400), {"pass": 1, "set back": 1}),
        (timedelta(hours=1), {"pass": 1}),
        (timedelta(days=400), {"pass": 1}),
        (timedelta(seconds=0.1), {}),
        (timedelta(seconds=-0.1), {}),
    ],
)
def test_after_a_clock_was_set_a_pass_starts_at_once_and_the_next_ones_in_time(step, calls):
    async def set_clock() -> tuple[Counter[str], list[datetime]]:
        watched = Watched()
        with watched.clock() as made:
            for job in made.jobs.get_jobs():  # as a clock leaves them that was ahead, or behind
                made.jobs.modify_job(job.id, next_run_time=now() - step + timedelta(hours=1))
            made.notice(step)
            return watched.calls, [job.next_run_time for job in made.jobs.get_jobs()]

    found, planned = asyncio.run(set_clock())

    assert found == calls
    if calls:
        assert max(planned) <= now() + timedelta(hours=1)
        assert min(planned) > now() + timedelta(minutes=55)


def test_that_the_clock_was_set_is_noticed_while_it_runs(monkeypatch):
    monkeypatch.setattr(scheduler, "_LOOK", 0.01)

    async def set_clock() -> Counter[str]:
        watched = Watched()
        with watched.clock():
            watched.ahead -= timedelta(days=400)
            await asyncio.wait_for(watched.passed.wait(), 60)
        return watched.calls

    assert asyncio.run(set_clock()) == {"pass": 1, "set back": 1}
