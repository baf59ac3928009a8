"""snac2, a real server with Mastodon's API (https://codeberg.org/grunfink/snac2), on loopback.

Debian has it as a package: `tests/e2e/get` unpacks one, installed or not. SNAC names the program where it is not on the PATH.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests import fakes

UNPACKED = Path(__file__).parents[2] / ".e2e" / "snac" / "usr" / "bin" / "snac"


def program() -> str:
    """The path of the program. AssertionError where there is none: `make e2e` gets it."""
    found = os.environ.get("SNAC") or shutil.which("snac") or (str(UNPACKED) if UNPACKED.exists() else None)
    assert found, "snac is not there; make e2e gets it, or name it: SNAC=/path/of/snac"
    return found


class Snac:
    """A server with one account."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.url = folder, f"http://127.0.0.1:{port}"
        self.token = ""
        self.process: subprocess.Popen[bytes] | None = None
        self._run("init", stdin=f"127.0.0.1\n{port}\n127.0.0.1:{port}\n\n\n")
        settings = folder / "server.json"
        settings.write_text(json.dumps({**json.loads(settings.read_text()), "protocol": "http"}))
        said = self._run("adduser", "news", stdin="N\nn@x.org\n")
        self._password = said.split("User password is ")[1].split()[0]

    def _run(self, command: str, *arguments: str, stdin: str) -> str:
        done = subprocess.run(
            [program(), command, str(self.folder), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=fakes.LIMIT,
            check=True,
        )
        return done.stdout + done.stderr

    def start(self) -> None:
        """Serve, and have a token."""
        with (self.folder.parent / "snac.log").open("ab") as log:
            self.process = subprocess.Popen([program(), "httpd", str(self.folder)], stdout=log, stderr=log)
        login = {"login": "news", "passwd": self._password}
        until = time.monotonic() + fakes.LIMIT
        while True:
            try:
                answer = httpx.post(f"{self.url}/oauth/x-snac-get-token", data=login, timeout=fakes.LIMIT)
                break
            except httpx.ConnectError:
                assert self.process.poll() is None, "snac has ended"
                assert time.monotonic() < until, "snac does not answer"
                time.sleep(0.02)
        self.token = self.token or answer.raise_for_status().text.strip()

    def stop(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def notes(self) -> list[dict[str, Any]]:
        """The statuses that it keeps, in no order: its own objects of ActivityPub."""
        found = [json.loads(path.read_text()) for path in (self.folder / "object").rglob("*.json")]
        return [each for each in found if each.get("type") == "Note"]


@contextmanager
def snac(folder: Path) -> Iterator[Snac]:
    """A server that listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Snac(folder / "snac", port)
    server.start()
    try:
        yield server
    finally:
        server.stop()
