"""`make bench`: the benchmarks, as a table. `--articles N` for another size, `--only WORD` for some of the rows."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.measures import MEASURES, House


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(prog="make bench", description=__doc__)
    options.add_argument("--articles", type=int, default=10_000, help="how many articles a pass is over")
    options.add_argument("--only", default="", help="a word of the rows to measure: parse, cold, idle, new, lands")
    chosen = options.parse_args()
    table = Table("what", "figure", title=f"{chosen.articles:,} articles, 40 topics, three formats")
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder), chosen.articles)
        for name, measure in MEASURES.items():
            if chosen.only in name:
                for what, figure in measure(house):
                    table.add_row(what, figure)
    Console().print(table)


if __name__ == "__main__":
    main()
