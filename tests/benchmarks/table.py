"""What a benchmark found: our figure, the peer's, their ratio, and what was asked of it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.table import Table

RUNS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line. `ratio` says how often theirs fits in ours, or ours in theirs: `asked` says which way it has to go."""

    number: str  # of the row in the table of what is asked
    work: str
    ours: str
    theirs: str = "–"
    ratio: float | None = None
    asked: str = "–"
    met: bool | None = None  # None: nothing is asked, or there was no peer


def at_least(asked: float, ratio: float) -> dict[str, object]:
    """The fields of a row whose ratio has to be `asked` or more."""
    return {"ratio": ratio, "asked": f"≥ {asked:g} ×", "met": ratio >= asked}


def at_most(asked: float, ratio: float) -> dict[str, object]:
    """The fields of a row whose ratio has to be `asked` or less."""
    return {"ratio": ratio, "asked": f"≤ {asked:g} ×", "met": ratio <= asked}


def within(asked: float, seconds: float) -> dict[str, object]:
    """The fields of a row whose time has to be `asked` seconds or less."""
    return {"asked": f"≤ {asked * 1000:g} ms", "met": seconds <= asked}


def drawn(title: str) -> Table:
    """A table without rows."""
    return Table("#", "work", "feeder", "against", "ratio", "asked", "", title=title)


def add(table: Table, row: Row) -> None:
    """One more row."""
    ratio = "–" if row.ratio is None else f"{row.ratio:,.2f} ×"
    verdict = {None: "", True: "met", False: "missed"}[row.met]
    table.add_row(row.number, row.work, row.ours, row.theirs, ratio, row.asked, verdict)


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def median(work: Callable[[], object], runs: int = RUNS) -> float:
    """The median of several runs, in seconds."""
    return statistics.median(timed(work) for _ in range(runs))


def shown(seconds: float) -> str:
    """Seconds as a person reads them."""
    return f"{seconds:,.2f} s" if seconds >= 1 else f"{seconds * 1000:,.1f} ms"
