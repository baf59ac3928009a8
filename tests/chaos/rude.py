"""Clients that send nothing, a byte at a time, too much at once, or read nothing, beside a worker that publishes."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests.worker import House, Worker

DESCRIPTORS = 1_024
_IDLE, _SLOW, _UNREAD = 1_500, 200, 100  # sockets that each kind keeps
_GET = b"GET /feeds/all.json HTTP/1.1\r\nhost: x\r\n\r\n"


@dataclass(kw_only=True)
class Found:
    """What a polite client met, what was published meanwhile and what it took."""

    errors: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # of each polite request
    dropped: int = 0
    unpublished: list[str] = field(default_factory=list)
    memory: int = 0  # bytes, the peak of the worker's own process
    descriptors: int = 0  # the most that were open
    log_bytes: int = 0

    @property
    def requests(self) -> int:
        return len(self.seconds)

    @property
    def p99(self) -> float:
        return sorted(self.seconds)[len(self.seconds) * 99 // 100]

    @property
    def published(self) -> int:
        return self.dropped - len(self.unpublished)


def run(folder: Path, *, seconds: float) -> Found:
    """Let all of them loose on one worker for so long, while an article lands each second and a polite client asks."""
    found, stop = Found(), threading.Event()
    house = House(folder, "limit = 1000\n")
    with house.worker(descriptors=DESCRIPTORS) as worker:
        worker.wait_for("pass.done")
        parts = urlsplit(worker.url)
        address = (parts.hostname or "", parts.port or 0)
        rude = [
            _keeping(_IDLE, b""),
            _keeping(_SLOW, _GET[:1]),
            _keeping(_UNREAD, _GET),
            _unread,
            _remembered,
            _pipelining,
        ]
        jobs: list[Callable[[], None]] = [
            *(lambda each=each: each(address, stop) for each in rude),
            lambda: _ask(worker, found, stop),
            lambda: _look(worker.process.pid, found, stop),
        ]
        threads = [threading.Thread(target=job) for job in jobs]
        for thread in threads:
            thread.start()
        titles = _drop(house, stop, seconds)
        stop.set()
        for thread in threads:
            thread.join()
        found.dropped, found.unpublished = len(titles), _missing(worker, titles)
        found.memory = _status(worker.process.pid, "VmHWM") * 1_024
    found.log_bytes = sum(len(str(each)) for each in (*worker.events, *worker.noise))
    return found


# --- the rude ---------------------------------------------------------------------------------------------------------


def _keeping(number: int, said: bytes) -> Callable[[tuple[str, int], threading.Event], None]:
    """Clients that say this much and keep their sockets; who is let go comes again."""

    def keep(address: tuple[str, int], stop: threading.Event) -> None:
        clients: list[socket.socket] = []
        try:
            while not stop.wait(0.002):
                with suppress(OSError):
                    clients.append(_client(address, said))
                if len(clients) > number:
                    clients.pop(0).close()
        finally:
            _close(clients)

    return keep


def _remembered(address: tuple[str, int], stop: threading.Event) -> None:
    """A client that asks for one remembered answer after the other and reads none."""
    _repeat(address, _GET, stop)


def _pipelining(address: tuple[str, int], stop: threading.Event) -> None:
    _repeat(address, _GET * 5_000, stop)


def _unread(address: tuple[str, int], stop: threading.Event) -> None:
    _repeat(address, _GET.replace(b"/feeds/all.json", b"/"), stop)


def _repeat(address: tuple[str, int], said: bytes, stop: threading.Event) -> None:
    clients: list[socket.socket] = []
    try:
        while not stop.wait(0.001):
            if not clients:
                with suppress(OSError):
                    clients.append(_client(address, b""))
                continue
            try:
                clients[0].send(said)
            except BlockingIOError:
                continue
            except OSError:
                clients.pop().close()
    finally:
        _close(clients)


def _client(address: tuple[str, int], said: bytes) -> socket.socket:
    client = socket.socket()
    try:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.settimeout(1)
        client.connect(address)
        client.setblocking(False)
        if said:
            client.send(said)
    except OSError:
        client.close()
        raise
    return client


def _close(clients: list[socket.socket]) -> None:
    for client in clients:
        client.close()


# --- the polite, and who looks on -------------------------------------------------------------------------------------


def _ask(worker: Worker, found: Found, stop: threading.Event) -> None:
    """Ask for a feed with a new connection each time, as feed readers do."""
    while not stop.wait(0.02):
        start = time.monotonic()
        try:
            answer = httpx.get(f"{worker.url}/feeds/all.rss", trust_env=False, timeout=30)
            if answer.status_code != 200:
                found.errors.append(str(answer.status_code))
        except httpx.HTTPError as error:
            found.errors.append(repr(error))
        found.seconds.append(time.monotonic() - start)


def _look(process: int, found: Found, stop: threading.Event) -> None:
    while not stop.wait(0.05):
        found.descriptors = max(found.descriptors, len(os.listdir(f"/proc/{process}/fd")))


def _status(process: int, name: str) -> int:
    return int(re.search(rf"{name}:\s+(\d+)", Path(f"/proc/{process}/status").read_text())[1])


def _drop(house: House, stop: threading.Event, seconds: float) -> list[str]:
    """Write an article a second; their titles."""
    titles: list[str] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end and not stop.wait(1):
        titles.append(f"Dropped {len(titles):04}")
        house.write_article(f"dropped-{len(titles)}", titles[-1])
    return titles


def _missing(worker: Worker, titles: list[str]) -> list[str]:
    """The titles that are still in no feed when there was time enough."""
    end = time.monotonic() + 10
    while True:
        text = worker.get("feeds/all.rss").text
        missing = [title for title in titles if title not in text]
        if not missing or time.monotonic() > end:
            return missing
