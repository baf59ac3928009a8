"""So much at once, and a bounded wait for the rest."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import pytest

from feeder.errors import Busy
from feeder.limiter import Limiter

MOMENT = 0.01  # seconds


class Work:
    """Something that takes until it is let go."""

    def __init__(self) -> None:
        self.go, self.begun = threading.Event(), threading.Semaphore(0)

    def __call__(self) -> str:
        self.begun.release()
        self.go.wait()
        return "done"

    async def has_begun(self) -> None:
        await asyncio.to_thread(self.begun.acquire)


def test_what_is_more_than_may_be_done_at_once_is_told_so_and_what_comes_later_is_done():
    async def body():
        limiter, work = Limiter("test", 2, MOMENT), Work()
        running = [asyncio.create_task(limiter.run(work)) for _ in range(2)]
        for _ in running:
            await work.has_begun()
        with pytest.raises(Busy, match="try again in a moment"):
            await limiter.run(work)
        work.go.set()
        return [*await asyncio.gather(*running), await limiter.run(lambda: "later")]

    assert asyncio.run(body()) == ["done", "done", "later"]


def test_what_waits_gets_the_first_free_place():
    async def body():
        limiter, work = Limiter("test", 1, 60), Work()
        running = asyncio.create_task(limiter.run(work))
        await work.has_begun()
        waiting = asyncio.create_task(limiter.run(lambda: "next"))
        work.go.set()
        return await asyncio.gather(running, waiting)

    assert asyncio.run(body()) == ["done", "next"]


def test_a_failure_frees_its_place_and_is_the_callers():
    async def body():
        limiter = Limiter("test", 1, 60)
        with pytest.raises(ZeroDivisionError):
            await limiter.run(lambda: 1 / 0)
        return await limiter.run(lambda: "next")

    assert asyncio.run(body()) == "next"


def test_work_whose_caller_has_gone_keeps_its_place_until_it_ends():
    async def body():
        limiter, work = Limiter("test", 1, MOMENT), Work()
        running = asyncio.create_task(limiter.run(work))
        await work.has_begun()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        with pytest.raises(Busy):
            await limiter.run(work)
        work.go.set()
        return await Limiter("other", 1, 60).run(lambda: "done")

    assert asyncio.run(body()) == "done"
