"""The programs that feeder is measured against. One that is not there is said, and its rows stand without a ratio."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LIMIT = 900.0  # seconds that a program may take before it is given up

_HUGO = """\
baseURL = "https://bench.example/"
title = "Bench"
contentDir = {articles}
ignoreErrors = ["error-disable-taxonomy"]
disableKinds = ["section", "home", "sitemap", "robotsTXT", "404", "taxonomy"]
buildDrafts = true
[taxonomies]
topic = "topics"
[outputs]
term = ["RSS"]
page = []
[frontmatter]
date = ["publishedDateTime"]
[services.rss]
limit = 50
"""
_NGINX = """\
user {user};
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  etag on;
  gzip_static on;
  types {{ application/rss+xml rss; }}
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


def missing() -> list[str]:
    """The peers that are not on this machine."""
    found = [name for name in ("hugo", "nginx", "wrk") if program(name) is None]
    return found if _has_apprise() else [*found, "apprise"]


def program(name: str) -> str | None:
    """Where a program is."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def _has_apprise() -> bool:
    return subprocess.run([sys.executable, "-c", "import apprise"], capture_output=True, check=False).returncode == 0


# --- what a whole command takes -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A command that can be run to its end, again and again."""

    words: Sequence[str]
    folder: Path
    env: Mapping[str, str] | None = None
    before: Callable[[], None] = lambda: None  # what takes away what an earlier run left

    def seconds(self) -> float:
        """How long it takes."""
        self.before()
        start = time.perf_counter()
        self._end(self._begun())
        return time.perf_counter() - start

    def peak(self) -> int:
        """The bytes of memory of it and all processes that it starts; what they share is counted once.

        It is a run of its own: whoever looks has the processes stop for it, the longer the larger they are.
        """
        self.before()
        process, peak, done = self._begun(), [0], threading.Event()

        def look() -> None:
            while not done.wait(0.05):
                peak[0] = max(peak[0], sum(map(_memory, _family(process.pid))))

        looking = threading.Thread(target=look)
        looking.start()
        try:
            self._end(process)
        finally:
            done.set()
            looking.join()
        return peak[0]

    def _begun(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.words, cwd=self.folder, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def _end(self, process: subprocess.Popen[str]) -> None:
        _, said = process.communicate(timeout=LIMIT)
        if process.returncode:
            raise SystemExit(f"{self.words[0]} ended with {process.returncode}: {said}")


def _family(pid: int) -> list[int]:
    try:
        children = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return [pid]
    return [pid, *(each for child in children for each in _family(child))]


def _memory(pid: int) -> int:
    try:
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


# --- Hugo -------------------------------------------------------------------------------------------------------------


def hugo(articles: Path, folder: Path) -> Command | None:
    """Hugo, as it builds the RSS of all topics; None where it is not installed."""
    if (command := program("hugo")) is None:
        return None

    def anew() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "config.toml").write_text(_HUGO.format(articles=f'"{articles}"'))

    return Command(words=[command, "--quiet"], folder=folder, before=anew)


# --- nginx and wrk ----------------------------------------------------------------------------------------------------


@contextmanager
def nginx(root: Path, folder: Path, port: int) -> Iterator[str | None]:
    """The address of an nginx with one worker that serves a folder; None without nginx."""
    if (command := program("nginx")) is None:
        yield None
        return
    folder.mkdir(exist_ok=True)
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, root=root, port=port, user=getpass.getuser()))
    process = subprocess.Popen(
        [command, "-c", folder / "nginx.conf", "-e", folder / "error.log"], stderr=subprocess.PIPE
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=LIMIT)


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What a server bore."""

    rate: float  # answers a second
    p99: float  # seconds


def wrk(url: str, headers: dict[str, str], seconds: int = 3, connections: int = 32) -> Load | None:
    """What a server bears; None without wrk."""
    if (command := program("wrk")) is None:
        return None
    options = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    asked = [command, "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *options, url]
    said = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=LIMIT).stdout
    if "Non-2xx or 3xx" in said or "Socket errors" in said:
        raise SystemExit(f"{url} did not bear it: {said}")
    rate, p99 = re.search(r"Requests/sec:\s+([\d.]+)", said), re.search(r"99%\s+([\d.]+)(us|ms|s)", said)
    if not (rate and p99):
        raise SystemExit(f"wrk said what nobody expected: {said}")
    return Load(rate=float(rate[1]), p99=float(p99[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[p99[2]])


# --- Apprise ----------------------------------------------------------------------------------------------------------

_APPRISE = """
import logging, sys, time
from concurrent.futures import ThreadPoolExecutor
import apprise
logging.disable(logging.CRITICAL)
port, number = map(int, sys.argv[1:])
def tell(index):
    one = apprise.Apprise()
    one.add(f"json://127.0.0.1:{port}/hook/{index}")
    return one.notify(title="A headline", body="What it says, and three links.")
start = time.perf_counter()
with ThreadPoolExecutor(50) as pool:
    assert all(pool.map(tell, range(number)))
print(time.perf_counter() - start)
"""


def apprise(port: int, number: int) -> float | None:
    """Seconds that Apprise takes to tell so many webhooks, 50 at once; None without Apprise."""
    if not _has_apprise():
        return None
    asked = [sys.executable, "-c", _APPRISE, str(port), str(number)]
    return float(subprocess.run(asked, capture_output=True, text=True, check=True, timeout=LIMIT).stdout)
