"""One target that answers every message with a bomb of another sort, and one that is well: what the second one notices."""

from __future__ import annotations

import gzip
import itertools
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

import brotli

from tests import fakes
from tests.worker import House, Worker

_OK = b"HTTP/1.1 200 OK\r\n"
_SECONDS = 5.0  # that an endless one goes on for, if it may
_MEGABYTE = bytes(1_000_000)


@dataclass(kw_only=True)
class Found:
    """What was measured in the worker and at the healthy target."""

    delays: list[float] = field(default_factory=list)  # seconds from the file to the receiver
    stalls: list[float] = field(default_factory=list)  # seconds that the worker's own web server took to answer
    memory: int = 0  # bytes that the worker took at most
    bombs: int = 0  # that went off
    doubled: int = 0


def _packed(pack: Callable[[bytes], bytes], rest: bytes | Callable[[], bytes], megabytes: int) -> bytes:
    body = b"".join(pack(_MEGABYTE) for _ in range(megabytes))
    return body + (rest if isinstance(rest, bytes) else rest())


def _brotli(megabytes: int) -> bytes:
    packer = brotli.Compressor(quality=5)
    return _packed(packer.process, packer.finish, megabytes)


def _gzip(megabytes: int) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return _packed(packer.compress, packer.flush, megabytes)


def _whole(body: bytes, *headers: str, status: bytes = _OK) -> list[bytes]:
    lines = "".join(f"{header}\r\n" for header in (*headers, f"content-length: {len(body)}", "connection: close"))
    return [status + lines.encode() + b"\r\n" + body]


def _endless(beginning: bytes, piece: bytes) -> Iterable[bytes]:
    return itertools.chain([beginning], itertools.repeat(piece))


def sorts() -> dict[str, Callable[[], Iterable[bytes]]]:
    """Each sort of bomb: what goes over the wire."""
    small, once = _brotli(1_000), _gzip(200)
    chunked = _OK + b"transfer-encoding: chunked\r\n\r\n"
    bombs = {
        "brotli": _whole(small, "content-encoding: br"),
        "gzip": _whole(once, "content-encoding: gzip"),
        "nested gzip": _whole(gzip.compress(once), "content-encoding: gzip, gzip"),
        "codec": _whole(zlib.compress(_MEGABYTE * 10), "content-type: text/plain; charset=zlib"),
        "deep JSON": _whole(b"[" * 20_000, "content-type: application/json"),
        "number": _whole(b'{"retry_after": 1' + b"0" * 400 + b"}", status=b"HTTP/1.1 429 Slow\r\n"),
        "words": _whole(b"&#" + b"9" * 19_000, status=b"HTTP/1.1 503 Busy\r\n"),
        "cookies": _whole(b"", *[f"set-cookie: {'a=b;' * 1_500}" for _ in range(120)]),
    }
    endless = {
        "body": (_OK + b"content-length: 99999999999\r\n\r\n", _MEGABYTE),
        "chunks of a byte": (chunked, b"1\r\na\r\n" * 1_000),
        "chunk extensions": (chunked, b"1;" + b"x" * 60_000 + b"\r\na\r\n"),
        "interim answers": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1_000),
        "headers": (_OK, b"x-a: b\r\n" * 1_000),
        "a header": (_OK + b"x-a: ", b"b" * 10_000),
    }
    whole = {name: (lambda pieces=pieces: pieces) for name, pieces in bombs.items()}
    return whole | {name: (lambda parts=parts: _endless(*parts)) for name, parts in endless.items()}


@contextmanager
def bombing(went_off: list[str], *, plain: bool) -> Iterator[str]:
    """A server on loopback that answers each request with the next sort of bomb, or with a plain 204."""
    kinds = itertools.cycle([("plain", lambda: [b"HTTP/1.1 204 No Content\r\n\r\n"])] if plain else sorts().items())
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:

        def answer(connection: socket.socket, name: str, pieces: Iterable[bytes]) -> None:
            until = time.monotonic() + _SECONDS
            with connection, suppress(OSError):
                connection.settimeout(_SECONDS)
                if not connection.recv(65_536):
                    return
                went_off.append(name)
                for piece in pieces:
                    connection.sendall(piece)
                    if time.monotonic() > until:
                        return

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    name, bomb = next(kinds)
                    threading.Thread(target=answer, args=(connection, name, bomb()), daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/hook"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


class Timed(fakes.SignedWebhook):
    """A receiver that notes when each message came."""

    def __init__(self) -> None:
        super().__init__()
        self.came: dict[str, list[float]] = {}

    def respond(self, request: fakes.Request) -> fakes.Answer:
        moment = time.monotonic()
        answer = super().respond(request)
        self.came.setdefault(request.json()["data"]["title"], []).append(moment)
        return answer


def run(folder: Path, *, articles: int, plain: bool) -> Found:
    """Tell so many articles, one after the other, to a target that is well and one that answers with bombs."""
    found, put, went_off = Found(), {}, []
    with ExitStack() as stack:
        good = stack.enter_context(fakes.serving(Timed()))
        bombs = stack.enter_context(bombing(went_off, plain=plain))
        sections = [
            f'[targets.{name}]\nkind = "webhook"\nurl = "{url}"\n{fakes.LOOPBACK_TOML}'
            for name, url in (("good", f"{good.url}/hook"), ("bombs", bombs))
        ]
        secrets = {f"FEEDER_TARGETS__{name}__SECRET": fakes.SignedWebhook.secret for name in ("GOOD", "BOMBS")}
        house = House(folder, "\n".join(sections), **secrets)
        for path in house.seeds.iterdir():
            path.unlink()
        house.feeder("once")
        with house.worker() as worker:
            stop = threading.Event()
            watching = threading.Thread(target=_watch, args=(worker, stop, found.stalls))
            watching.start()
            for number in range(articles):
                put[f"Number {number}"] = time.monotonic()
                house.write_article(f"n-{number}", f"Number {number}")
                good.ledger.wait_for(number + 1)
                stop.wait(0.05)
            stop.set()
            watching.join()
            found.memory = _most_memory(worker.process.pid)
            worker.process.kill()
            worker.stop()
    found.delays = sorted(good.came[title][0] - moment for title, moment in put.items())
    found.doubled = sum(len(times) - 1 for times in good.came.values())
    found.bombs = len(went_off)
    found.stalls.sort()
    return found


def _watch(worker: Worker, stop: threading.Event, stalls: list[float]) -> None:
    where = worker.url.removeprefix("http://")
    while not stop.wait(0.01):
        asked = time.monotonic()
        with closing(HTTPConnection(where, timeout=fakes.LIMIT)) as connection:
            connection.request("GET", "/healthz")
            connection.getresponse().read()
        stalls.append(time.monotonic() - asked)


def _most_memory(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    (found,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(found.split()[1]) * 1024
