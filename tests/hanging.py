"""`python -m tests.hanging …`: feeder, whose pass hangs after its plan as a read of a dead file system would."""

from __future__ import annotations

import threading

from msgspec.structs import replace

from feeder import cli, worker
from feeder.app import pipeline


def _hang(point: str) -> None:
    if point == "after the plan's commit":
        threading.Event().wait()


if __name__ == "__main__":
    worker.pipeline = lambda *given, **more: replace(pipeline(*given, **more), passing=_hang)
    cli.main()
