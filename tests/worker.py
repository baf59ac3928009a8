"""A feeder process, as an operator starts one, and the house that it works in."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any, Self

import httpx

from tests.fakes import LIMIT

ROOT = Path(__file__).parent.parent
SEEDS = ROOT / "seeds"


def environment(**changes: str) -> dict[str, str]:
    """The environment of a command: this one's, without settings that somebody has in theirs."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("FEEDER_")}
    return {**own, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "COLUMNS": "200", **changes}


class House:
    """A folder with seeds, settings and what feeder makes of them."""

    program: tuple[str, ...] = ("-m", "feeder")  # what Python is told to run

    def __init__(self, folder: Path, settings: str = "", **env: str) -> None:
        self.folder, self.env = folder, environment(**env)
        self.seeds = folder / "seeds"
        shutil.copytree(SEEDS, self.seeds)
        (folder / "config").mkdir()
        self.config = folder / "config" / "feeder.toml"
        self.config.write_text(f"include_unpublished = true\ninterval = 3600\n{settings}")

    def feeder(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, *self.program, *arguments],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )

    def worker(self, *arguments: str, descriptors: int | None = None) -> Worker:
        """A worker with its web server, or what `arguments` say, not yet started; with so many descriptors to its name."""
        return Worker(self, arguments or ("run", "--serve", "--port", "0"), descriptors)

    def seed(self, part: str) -> Path:
        """The seed whose name holds `part`."""
        (found,) = self.seeds.glob(f"**/*{part}*.md")
        return found

    def write_article(self, name: str, title: str, **front_matter: str) -> Path:
        """A new article in the folder, put there in one step."""
        keys = {
            "title": json.dumps(title),
            "publishedDateTime": "2023-08-01T10:00:00Z",
            "webUrl": f"https://news.example.org/{name}",
            "topics": "[AI]",
            **front_matter,
        }
        text = "---\n" + "".join(f"{key}: {value}\n" for key, value in keys.items()) + "---\n"
        part = self.folder / f"{name}.part"
        part.write_text(text)
        return part.rename(self.seeds / f"{name}.md")

    def public(self) -> dict[str, bytes]:
        """The files that were published."""
        root = self.folder / "public"
        files = [path for path in root.rglob("*") if path.is_file() and path.name != ".feeder"]
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


class Worker:
    """A process that goes on, with its log as events that can be waited for."""

    def __init__(self, house: House, arguments: tuple[str, ...], descriptors: int | None = None) -> None:
        command = [sys.executable, *house.program, *arguments]
        limited = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", *command]
        self.house, self._command = house, limited if descriptors else command
        self._changed = threading.Condition()
        self.events: list[dict[str, Any]] = []
        self.noise: list[str] = []  # what was said that is no event
        self._waited = 0

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command,
            cwd=self.house.folder,
            env=self.house.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.cards: list[str] = []
        self._readers = [
            threading.Thread(target=self._listen, args=(self.process.stderr,)),
            threading.Thread(target=self._keep, args=(self.process.stdout,)),
        ]
        for reader in self._readers:
            reader.start()
        self.url = self.wait_for("web.listening")["url"].rstrip("/")
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(LIMIT)
        for reader in self._readers:
            reader.join()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()
        return code

    def wait_for(self, name: str) -> dict[str, Any]:
        """The next event of this name that was not waited for yet."""

        with self._changed:
            if not self._changed.wait_for(lambda: self._next(name) is not None, LIMIT):
                raise AssertionError(f"no {name}; events: {self.events}; said: {self.noise}")
            index = self._next(name)
            self._waited = index + 1
            return self.events[index]

    def wait_until_ready(self) -> None:
        """Wait until the first pass is over, whether there was anything to do in it or not."""
        until = time.monotonic() + LIMIT
        while self.get("readyz").status_code != 200:
            if time.monotonic() > until:
                raise AssertionError(self.get("readyz").text)

    def _next(self, name: str) -> int | None:
        indices = range(self._waited, len(self.events))
        return next((index for index in indices if self.events[index]["event"] == name), None)

    def get(self, path: str, **headers: str) -> httpx.Response:
        """What the worker's web server answers."""
        return httpx.get(f"{self.url}/{path}", headers=headers, trust_env=False, timeout=LIMIT)

    def documents(self) -> dict[str, bytes]:
        """Every published document, as the web server gives it."""
        paths = [path for path in self.house.public() if not path.endswith(".gz")]
        return {path: self.get(path.removesuffix("index.html")).content for path in paths}

    def _listen(self, pipe: IO[str]) -> None:
        for line in pipe:
            with self._changed:
                try:
                    self.events.append(json.loads(line))
                except ValueError:
                    self.noise.append(line)
                self._changed.notify_all()

    def _keep(self, pipe: IO[str]) -> None:
        self.cards.extend(pipe)
