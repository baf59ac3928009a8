"""A limit on what is done at once: so much, in threads of its own, and who comes too late is told so in bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from feeder.errors import Busy

T = TypeVar("T")


class Limiter:
    """Runs at most `most` functions at once; further ones wait `patience` seconds. For one event loop."""

    def __init__(self, name: str, most: int, patience: float) -> None:
        self._free = asyncio.Semaphore(most)
        self._threads = ThreadPoolExecutor(most, name)
        self._patience = patience

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises. Busy when there was no room in time."""
        try:
            async with asyncio.timeout(self._patience):
                await self._free.acquire()
        except TimeoutError as error:
            raise Busy("Too much is asked for just now; try again in a moment.") from error
        work_done = asyncio.get_running_loop().run_in_executor(self._threads, work)
        work_done.add_done_callback(lambda _: self._free.release())  # with the work, however long its client stays
        return await asyncio.shield(work_done)
