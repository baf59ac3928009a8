"""Feeder processes that end where a test wants them to: at a named point, or by kill -9 whenever it pleases.

A nursery process has everything imported and forks a child for each run, so that hundreds of crashes cost seconds.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from tests.worker import ROOT, environment

CRASHED = 137


class Nursery:
    """Starts runs of feeder in a folder. `once` waits for the end of one; `worker` gives the process of one that goes on."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crashing"],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def once(self, folder: Path, env: dict[str, str], *, point: str = "", nth: int = 1, later: float = 0) -> int:
        """`feeder once` that ends at the `nth` passing of `point`, on a clock that is `later` seconds ahead; its exit code."""
        told = {"do": "once", "folder": str(folder), "env": env, "point": point, "nth": nth, "later": later}
        return self._ask(told)

    def worker(self, folder: Path, env: dict[str, str], *, later: float = 0) -> int:
        """`feeder run` on a clock that is `later` seconds ahead; its process id."""
        return self._ask({"do": "run", "folder": str(folder), "env": env, "point": "", "nth": 1, "later": later})

    def bury(self, process: int) -> int:
        """Wait for the end of a worker; its exit code."""
        return self._ask({"do": "wait", "process": process})

    def _ask(self, told: dict[str, Any]) -> int:
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def main() -> None:
    """The nursery."""
    from feeder import app, worker  # noqa: F401, PLC0415 - all that a child needs, before it is born

    for line in sys.stdin:
        told = json.loads(line)
        child = told["process"] if told["do"] == "wait" else os.fork()
        if child == 0:
            _live(told)
        if told["do"] == "run":
            answer = child
        else:
            _, status = os.waitpid(child, 0)
            answer = os.waitstatus_to_exitcode(status)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def _live(told: dict[str, Any]) -> None:
    """A child's whole life."""
    code = 1
    try:
        os.chdir(told["folder"])
        log = os.open("said.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for each in (1, 2):
            os.dup2(log, each)
        os.environ.clear()
        os.environ.update(told["env"])
        _work(told)
        code = 0
    except BaseException:  # noqa: BLE001 - a child says what it died of and never returns to the nursery
        traceback.print_exc()
    finally:
        os._exit(code)


def _work(told: dict[str, Any]) -> None:
    from feeder import app, desk, logs, settings, worker  # noqa: PLC0415 - in the child, not in the tests
    from feeder.terminal import Terminal  # noqa: PLC0415 - as above

    passed = 0

    def passing(name: str) -> None:
        nonlocal passed
        passed += name == told["point"]
        if name == told["point"] and passed == told["nth"]:
            os._exit(CRASHED)

    app.utc_now = desk.utc_now = lambda: datetime.now(UTC) + timedelta(seconds=told["later"])
    loaded = settings.load()
    logs.configure("json", secrets=loaded.secrets)
    console = Terminal(file=io.StringIO())
    if told["do"] == "once":
        app.once(loaded, console, lambda *_: None, passing=passing)
    else:
        worker.run(loaded, console, with_web=False)


if __name__ == "__main__":
    main()
