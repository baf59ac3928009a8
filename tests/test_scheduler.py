from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from feeder.scheduler import scheduler


@pytest.mark.parametrize(("job", "called"), [("pass", ["pass"]), ("housekeeping", ["house"])])
def test_what_was_missed_while_a_machine_slept_comes_once(job, called):
    calls = []

    async def wake_up() -> datetime:
        came = asyncio.Event()

        def call(name: str) -> None:
            calls.append(name)
            came.set()

        made = scheduler(interval=60, start_pass=lambda: call("pass"), keep_house=lambda: call("house"))
        made.start(paused=True)
        made.modify_job(job, next_run_time=datetime.now(UTC) - timedelta(hours=5))
        made.resume()
        await asyncio.wait_for(came.wait(), 60)
        due = made.get_job(job).next_run_time
        made.shutdown()
        return due

    assert asyncio.run(wake_up()) > datetime.now(UTC)
    assert calls == called
