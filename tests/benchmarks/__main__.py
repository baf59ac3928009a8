"""`make bench`: the benchmarks, as a table. Ratios of what ran in the same minutes on the same machine; medians of five."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console

from tests.benchmarks import peers
from tests.benchmarks.commands import measure_commands
from tests.benchmarks.house import House
from tests.benchmarks.publishing import (
    measure_cold,
    measure_front_matter,
    measure_growth,
    measure_idle,
    measure_new,
    measure_once,
)
from tests.benchmarks.searching import measure_search
from tests.benchmarks.sending import measure_backlog, measure_landing, measure_sending
from tests.benchmarks.serving import measure_serving
from tests.benchmarks.table import Row, add, drawn

# In this order: the first pass is made on an empty store, and what comes after `settled` wants all archives built.
MEASURES: dict[str, Callable[[House], Iterator[Row]]] = {
    "sending": measure_sending,
    "backlog": measure_backlog,
    "front": measure_front_matter,
    "cold": measure_cold,
    "new": measure_new,
    "idle": measure_idle,
    "once": measure_once,
    "lands": measure_landing,
    "serving": measure_serving,
    "search": measure_search,
    "commands": measure_commands,
}
_NEED_NO_STORE = {"sending", "backlog", "front", "cold"}
SMALL = 10_000


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(prog="make bench", description=__doc__)
    options.add_argument("--articles", type=int, default=100_000, help="how many there are")
    options.add_argument("--only", nargs="*", default=[*MEASURES], choices=[*MEASURES], help="some of the rows")
    options.add_argument("--growth", action="store_true", help=f"row 9 instead: from {SMALL:,} articles to so many")
    options.add_argument("--folder", type=Path, help="keep what is made in this folder, and begin with what is there")
    chosen = options.parse_args()
    console = Console(width=180)
    if missing := peers.missing():
        console.print(f"not here, so nothing is measured against them: {', '.join(missing)}")
    with nullcontext(chosen.folder) if chosen.folder else tempfile.TemporaryDirectory(prefix="feeder-bench-") as name:
        folder = Path(name)
        table = drawn(f"{chosen.articles:,} articles")
        if chosen.growth:
            rows = measure_growth(House(folder / "small", SMALL), House(folder / "large", chosen.articles))
        else:
            rows = _rows(House(folder / "house", chosen.articles), chosen.only, console)
        for row in rows:
            console.log(row.work, row.ours, row.theirs)  # the table comes when all is done
            add(table, row)
        console.print(table)


def _rows(house: House, names: list[str], console: Console) -> Iterator[Row]:
    settled = False
    for name in names:
        if name not in _NEED_NO_STORE and not settled:
            console.log("all documents and archives are built")
            house.run("once")
            settled = True
        console.log(name)
        yield from MEASURES[name](house)


if __name__ == "__main__":
    main()
