"""Passes in a running worker: one at a time, by the clock and as soon as a file lands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import Executor, Future
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog
from msgspec.structs import replace
from sqlalchemy.exc import SQLAlchemyError

from feeder import watch
from feeder.errors import FeederError, Problem, StoreReplaced, public_reason
from feeder.pipeline import Pipeline, Report
from feeder.watch import Identity

T = TypeVar("T")

_AGAIN = 10.0  # seconds after which a pass that failed is made again
_QUIET = 1.0  # seconds without a deletion after which those that were seen are judged together

log = structlog.get_logger()


class Passes:
    """Passes that are asked for. What is asked for while one runs is gathered into the next."""

    def __init__(
        self, house: Pipeline, after: Callable[[Report], None], failing: Callable[[str], None] = lambda _: None
    ) -> None:
        """`after` is told of each pass, in the event loop; `failing` why one failed, and with "" that one did not.

        `failing` is told nothing that a stranger may not read.
        """
        self._house, self._stopped = replace(house, stopped=self._progress), house.stopped
        self._after, self._failing = after, failing
        self._wanted = asyncio.Event()
        self._paths: set[str] | None = None  # what the next pass looks at; None: everything
        self._owed = False  # whether `_paths` are those of a pass that failed
        self._known_problems: dict[str, Problem] = {}
        self._judging: asyncio.TimerHandle | None = None  # a pass that says what deletions mean
        self._running: Future[Any] | None = None
        self._progressed: datetime | None = None  # when what runs got on last; None: nothing runs
        self._watcher = watch.Watcher(self.want_all)

    def want_all(self) -> None:
        """Ask for a pass over the whole folder."""
        self._paths = None
        self._wanted.set()

    def want(self, paths: frozenset[str]) -> None:
        """Ask for a pass over the files and folders at `paths`."""
        if not self._wanted.is_set() and not self._owed:
            self._paths = set(paths)
        elif self._paths is not None:
            self._paths |= paths
        self._wanted.set()

    def _owe(self, paths: set[str] | None) -> None:
        """What a pass that failed was to look at is looked at by the next one, which is not long in coming."""
        if self._wanted.is_set():
            self._paths = None if paths is None or self._paths is None else self._paths | paths
        else:
            self._paths = paths
            self._owed = True
            asyncio.get_running_loop().call_later(_AGAIN, self._wanted.set)

    def stands_still(self, patience: timedelta) -> str:
        """Why a pass that runs is taken for hung: it did not get on for longer than `patience`. Else empty."""
        since = self._progressed
        if since is None or self._house.now() - since <= patience:
            return ""
        return f"the pass has stood still since {since.isoformat(timespec='seconds')}"

    @property
    def hangs(self) -> bool:
        """Whether a pass still runs, after `run` has ended."""
        return self._running is not None and not self._running.done()

    def _progress(self) -> bool:
        """Note that what runs gets on, which it shows by asking, in its thread, whether to stop; the answer."""
        if self._progressed is not None:
            self._progressed = self._house.now()
        return self._stopped()

    async def watch(self, source: Path, stop: asyncio.Event, own: Collection[Path] = ()) -> None:
        """Ask for a pass whenever a file lands below `source`, until `stop` is set. Without a watch, the clock remains.

        The watch is renewed when a pass finds that `source` leads elsewhere, or that the watch misses something; one
        that failed is tried again after each pass over the whole folder. `own` are the paths that nobody is told of.
        """
        while not stop.is_set():
            end = asyncio.Event()
            ending = asyncio.create_task(_pass_on(stop, end))
            try:
                async for paths in self._watcher.changes(source, end, own):
                    if paths is None:
                        self.want_all()
                    else:
                        self.want(paths)
            except (OSError, RuntimeError) as error:
                self._watcher.failed(error)
            await end.wait()
            ending.cancel()

    async def run(self, stop: asyncio.Event, threads: Executor) -> None:
        """Make the passes that are asked for, in `threads`, until `stop` is set and one more is asked for."""
        prepared = False
        while True:
            if prepared and not self._wanted.is_set() and await self._catch_up(threads):
                continue
            await self._wanted.wait()
            self._wanted.clear()
            if stop.is_set():
                return
            paths, self._owed = self._paths, False
            told = self._watcher.take() if paths is None else frozenset()
            try:
                report, source = await self._in_thread(threads, partial(self._run, paths, prepared))
            except StoreReplaced:
                raise  # nothing that comes after would be of use
            except (FeederError, SQLAlchemyError, OSError) as error:
                self._watcher.give_back(told)
                self._failed(error, paths)
                continue
            prepared = True
            self._failing("")
            self._log(report, whole=paths is None)
            if paths is None:
                self._watcher.compare(source, report.settled, told)
            if report.unjudged:
                self._judge_soon()
            self._after(report)

    async def _in_thread(self, threads: Executor, work: Callable[[], T]) -> T:
        self._progressed = self._house.now()
        try:
            running = threads.submit(work)
            self._running = running
            return await asyncio.wrap_future(running)
        finally:
            self._progressed = None

    def _judge_soon(self) -> None:
        """Have a pass over the whole folder when there is no further deletion for a moment."""
        if self._judging is not None:
            self._judging.cancel()
        self._judging = asyncio.get_running_loop().call_later(_QUIET, self.want_all)

    def _failed(self, error: Exception, paths: set[str] | None) -> None:
        reason = str(getattr(error, "orig", None) or error)
        log.error("pass.failed", reason=reason, way_out=f"tried again within {_AGAIN:.0f} s")
        self._failing(public_reason(error))
        self._owe(paths)

    async def _catch_up(self, threads: Executor) -> bool:
        """A piece of what may wait; False when there is none, or it fails, which a pass then says."""
        try:
            return await self._in_thread(threads, self._house.catch_up)
        except StoreReplaced:
            raise
        except (FeederError, SQLAlchemyError, OSError) as error:
            log.warning("archives.failed", reason=str(getattr(error, "orig", None) or error))
            return False

    def _run(self, paths: set[str] | None, prepared: bool) -> tuple[Report, Identity | None]:
        """A pass, and which folder it looked at."""
        try:
            if not prepared:
                self._house.prepare()
            source = watch.identity(self._house.source) if paths is None else None
            return self._house.run(paths), source
        except (FeederError, OSError) as error:
            self._house.note_failure(str(error))
            raise

    def _log(self, report: Report, *, whole: bool) -> None:
        found = {problem.where: problem for problem in report.problems}
        for where, problem in found.items():
            if self._known_problems.get(where) != problem:
                log.warning("article.bad", file=where, line=problem.line, reason=problem.reason)
        self._known_problems = found if whole else {**self._known_problems, **found}
        if report.changed or report.gone or report.documents or report.planned:
            log.info(
                "pass.done",
                files=report.changed,
                gone=report.gone,
                bad=len(report.problems),
                documents=len(report.documents),
                deliveries=len(report.planned),
            )


async def _pass_on(stop: asyncio.Event, end: asyncio.Event) -> None:
    await stop.wait()
    end.set()
