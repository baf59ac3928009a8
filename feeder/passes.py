"""Passes in a running worker: one at a time, by the clock and as soon as a file lands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

import structlog
from sqlalchemy.exc import SQLAlchemyError

from feeder import watch
from feeder.errors import FeederError, Problem, StoreReplaced
from feeder.pipeline import Pipeline, Report

_AGAIN = 10.0  # seconds after which a pass that failed is made again

log = structlog.get_logger()


class Passes:
    """Passes that are asked for. What is asked for while one runs is gathered into the next."""

    def __init__(
        self, house: Pipeline, after: Callable[[Report], None], failing: Callable[[str], None] = lambda _: None
    ) -> None:
        """`after` is told of each pass, in the event loop; `failing` why one failed, and with "" that one did not."""
        self._house, self._after, self._failing = house, after, failing
        self._wanted = asyncio.Event()
        self._paths: set[str] | None = None  # what the next pass looks at; None: everything
        self._owed = False  # whether `_paths` are those of a pass that failed
        self._known_problems: dict[str, Problem] = {}

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

    async def watch(self, root: Path, stop: asyncio.Event) -> None:
        """Ask for a pass whenever a file lands below `root`. Without a watch, the clock remains."""
        try:
            async for paths in watch.changes(root, stop):
                if paths is None:
                    self.want_all()
                else:
                    self.want(paths)
        except (OSError, RuntimeError) as error:
            log.warning("watch.unavailable", reason=str(error), way_out="new files wait for the next interval")

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
            try:
                report = await asyncio.get_running_loop().run_in_executor(threads, self._run, paths, prepared)
            except StoreReplaced:
                raise  # nothing that comes after would be of use
            except (FeederError, SQLAlchemyError, OSError) as error:
                self._failed(str(getattr(error, "orig", None) or error), paths)
                continue
            prepared = True
            self._failing("")
            self._log(report, whole=paths is None)
            self._after(report)

    def _failed(self, reason: str, paths: set[str] | None) -> None:
        log.error("pass.failed", reason=reason, way_out=f"tried again within {_AGAIN:.0f} s")
        self._failing(reason)
        self._owe(paths)

    async def _catch_up(self, threads: Executor) -> bool:
        """A piece of what may wait; False when there is none, or it fails, which a pass then says."""
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, self._house.catch_up)
        except StoreReplaced:
            raise
        except (FeederError, SQLAlchemyError, OSError) as error:
            log.warning("archives.failed", reason=str(getattr(error, "orig", None) or error))
            return False

    def _run(self, paths: set[str] | None, prepared: bool) -> Report:
        if not prepared:
            self._house.prepare()
        return self._house.run(paths)

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
