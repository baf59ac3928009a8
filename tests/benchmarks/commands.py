"""Row 8: commands that only ask."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from tests.benchmarks.house import House
from tests.benchmarks.table import RUNS, Row, at_most, median, shown


def measure_commands(house: House) -> Iterator[Row]:
    """The start of a process counts."""
    nothing = [sys.executable, "-c", "pass"]
    least = median(lambda: subprocess.run(nothing, check=True), 3 * RUNS)
    for arguments, asked in (("--help",), 10), (("status",), 35):
        ours = median(lambda arguments=arguments: house.run(*arguments), 3 * RUNS)
        rest = {"theirs": f"python -c pass {shown(least)}", **at_most(asked, ours / least)}
        yield Row(number="8", work=f"feeder {' '.join(arguments)}, as a whole command", ours=shown(ours), **rest)
