"""What every command has at hand."""

from __future__ import annotations

import subprocess
import sys

from tests.fakes import LIMIT
from tests.worker import environment

_TOLD = """
import gc
gc.disable()
from feeder.desk import calm_collector
calm_collector()
print(gc.isenabled(), gc.get_freeze_count() > 10_000, gc.get_threshold()[0] > 700)
"""


def test_the_collector_works_again_and_leaves_what_is_there_alone():
    asked = [sys.executable, "-c", _TOLD]
    said = subprocess.run(asked, env=environment(), capture_output=True, text=True, timeout=LIMIT, check=True)

    assert said.stdout.split() == ["True", "True", "True"]
