"""The web server among slow, greedy and broken clients: raw sockets on loopback."""

from __future__ import annotations

import asyncio
import logging
import queue
import random
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from feeder import server
from feeder.connections import Connections
from tests.fakes import LIMIT

GET = b"GET / HTTP/1.1\r\nhost: x\r\n"


async def page(_: Request) -> Response:
    return Response(b"x" * 1_000)


async def large(_: Request) -> Response:
    return Response(b"x" * 50_000_000)


APP = Starlette(routes=[Route("/", page), Route("/large", large), Route("/{number:int}", page)])


@contextmanager
def serving() -> Iterator[tuple[str, int]]:
    with serving_app(APP) as address:
        yield address


@contextmanager
def serving_app(
    app: Starlette, version: Callable[[], object] | None = None, **options: Any
) -> Iterator[tuple[str, int]]:
    """An application on loopback."""
    listener = server.listen("127.0.0.1", 0)
    started, loops = threading.Event(), []

    async def serve() -> None:
        stop = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stop))
        started.set()
        await server.serve(app, listener, stop, version, **options)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    started.wait()
    try:
        yield listener.getsockname()[:2]
    finally:
        loop, stop = loops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def rest(client: socket.socket) -> bytes:
    """All that comes until the server hangs up."""
    client.settimeout(LIMIT)
    found = b""
    while True:
        try:
            chunk = client.recv(65_536)
        except ConnectionResetError:
            return found
        if not chunk:
            return found
        found += chunk


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(server, "PATIENCE", 0.2)


@pytest.mark.parametrize("said", [b"", b"G", GET, GET + b"accept: te"])
def test_a_client_that_does_not_finish_its_request_is_let_go(impatient, said):
    with serving() as address, socket.create_connection(address) as client:
        client.sendall(said)

        assert rest(client) == b""


def test_a_client_that_takes_its_time_between_requests_is_let_go_after_the_first(impatient):
    with serving() as address, socket.create_connection(address) as client:
        client.sendall(GET.replace(b"GET", b"HEAD") + b"\r\n")
        assert client.recv(65_536).startswith(b"HTTP/1.1 200 OK")
        client.sendall(GET)

        assert rest(client) == b""


def status(address: tuple[str, int]) -> bytes:
    """What a client hears that does everything right."""
    with socket.create_connection(address) as client:
        client.sendall(GET + b"connection: close\r\n\r\n")
        return rest(client)[:12]


class Watched(Connections):
    """Connections that say when one has ended."""

    def __init__(self) -> None:
        super().__init__(limit=100)
        self.gone: queue.Queue[object] = queue.Queue()

    def remove(self, connection) -> None:
        super().remove(connection)
        self.gone.put(connection)


def unread(address: tuple[str, int], request_: bytes) -> socket.socket:
    """A client that asks and does not read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # each request comes as it was sent
    client.connect(address)
    client.sendall(request_)
    return client


LARGE = GET.replace(b"/ ", b"/large ") + b"\r\n"


def test_a_client_that_does_not_read_is_let_go(impatient, monkeypatch):
    watched = Watched()
    monkeypatch.setattr(server, "Connections", lambda _: watched)
    with serving() as address, unread(address, LARGE):
        watched.gone.get(timeout=LIMIT)


def test_a_client_that_reads_slowly_and_steadily_gets_all(impatient):
    with serving() as address, unread(address, LARGE) as client:
        got, reading = 0, threading.Event()
        while got < 50_000_000:
            reading.wait(0.02)  # what a thin line does between pieces
            piece = client.recv(1_000_000, socket.MSG_WAITALL)
            assert piece, f"cut off after {got} bytes"
            got += len(piece)


def test_a_client_that_never_begins_a_request_is_let_go_whatever_it_sends(impatient):
    with serving() as address, socket.create_connection(address) as client:
        ended, sending = False, threading.Event()
        for _ in range(200):
            try:
                client.sendall(b"\r\n")
            except OSError:
                ended = True
                break
            sending.wait(0.05)

        assert ended


@pytest.mark.parametrize(
    "request_",
    [
        GET + b"a: " + b"x" * 70_000,
        b"GET /" + b"x" * 70_000,
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n" + b"x" * 200_000,
    ],
)
def test_a_client_that_says_too_much_is_let_go(request_):
    with serving() as address, socket.create_connection(address) as client:
        try:
            client.sendall(request_)
        except OSError:
            return

        assert b"200 OK" not in rest(client)


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
    ],
)
def test_what_is_no_request_gets_400_and_stops_nobody(request_):
    with serving() as address:
        with socket.create_connection(address) as client:
            client.sendall(request_)
            client.shutdown(socket.SHUT_WR)
            assert b"Traceback" not in rest(client)
        with socket.create_connection(address) as client:
            client.sendall(GET + b"connection: close\r\n\r\n")
            assert rest(client).startswith(b"HTTP/1.1 200 OK")


# --- more clients than there are places -------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", GET, GET + b"\r\n", LARGE])
def test_clients_that_are_waited_for_make_room_for_others(said):
    with serving_app(APP, limit=3) as address:
        waiting = [unread(address, said) for _ in range(10)]
        for _ in range(5):
            assert status(address) == b"HTTP/1.1 200"
        for each in waiting:
            each.close()


def test_the_one_that_is_waited_for_longest_makes_room():
    with serving_app(APP, limit=2) as address:
        first, second = socket.create_connection(address), socket.create_connection(address)
        for each in (second, first, second):
            each.sendall(GET.replace(b"GET", b"HEAD") + b"\r\n")
            assert each.recv(65_536).startswith(b"HTTP/1.1 200")
        assert status(address) == b"HTTP/1.1 200"

        assert rest(first) == b""
        second.sendall(GET + b"connection: close\r\n\r\n")
        assert rest(second).startswith(b"HTTP/1.1 200")
        for each in (first, second):
            each.close()


class Gate:
    """An application whose answers wait until it is opened."""

    def __init__(self) -> None:
        self.open, self.asked = threading.Event(), queue.Queue()
        self.at_once, self._now, self._lock = 0, 0, threading.Lock()

    def wait(self, request: Request) -> Response:  # in a thread, as Starlette has it
        with self._lock:
            self._now += 1
            self.at_once = max(self.at_once, self._now)
        self.asked.put(request.url.path)
        self.open.wait(LIMIT)
        with self._lock:
            self._now -= 1
        return Response(f"waited for {request.url.path}")

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/", page), Route("/{path:path}", self.wait)])


def test_whoever_comes_when_all_are_being_answered_is_told_to_come_later():
    gate = Gate()
    with serving_app(gate.app(), limit=2) as address:
        busy = [socket.create_connection(address) for _ in range(2)]
        for each in busy:
            each.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            gate.asked.get(timeout=LIMIT)
        with socket.create_connection(address) as client:
            assert rest(client).startswith(b"HTTP/1.1 503")
        gate.open.set()
        for each in busy:
            assert rest(each).endswith(b"waited for /slow")
            each.close()


def test_the_application_is_asked_no_more_at_once_than_leaves_the_database_to_others():
    gate = Gate()
    with serving_app(gate.app()) as address:
        clients = [socket.create_connection(address) for _ in range(30)]
        for each in clients:
            each.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        for _ in range(8):
            gate.asked.get(timeout=LIMIT)
        with pytest.raises(queue.Empty):
            gate.asked.get(timeout=0.5)
        gate.open.set()
        assert all(rest(each).endswith(b"waited for /slow") for each in clients)
        for each in clients:
            each.close()

    assert gate.at_once == 8


# --- several requests at once -----------------------------------------------------------------------------------------


def pipelined(number: int) -> bytes:
    return b"".join(b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n" % each for each in range(number))


@pytest.mark.parametrize("size", [1, 7, 40, 100_000])
def test_requests_in_a_row_are_answered_in_their_order_however_they_come(size):
    gate = Gate()
    gate.open.set()
    asked = pipelined(100) + b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    with serving_app(gate.app()) as address, socket.create_connection(address) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(asked), size):
            client.sendall(asked[start : start + size])
        answers = rest(client)

    assert re.findall(rb"waited for /(\d+)", answers) == [b"%d" % number for number in range(100)]
    assert answers.endswith(b"x" * 1_000)


def test_what_is_no_request_is_refused_after_the_answers_to_what_came_before():
    gate = Gate()
    gate.open.set()
    with serving_app(gate.app()) as address, socket.create_connection(address) as client:
        client.sendall(pipelined(2) + b"nonsense\r\n\r\n")

        assert re.findall(rb"HTTP/1.1 (\d+)", rest(client)) == [b"200", b"200", b"400"]


def test_a_flood_of_requests_whose_answers_nobody_reads_takes_up_little(monkeypatch):
    watched = Watched()
    monkeypatch.setattr(server, "Connections", lambda _: watched)
    with serving() as address, unread(address, b"") as client:
        client.setblocking(False)
        flood, kept = pipelined(800), []
        for _ in range(50):
            with suppress(OSError):
                client.send(flood)
            assert status(address) == b"HTTP/1.1 200"
            kept += [len(each._held) + each.transport.get_write_buffer_size() for each in list(watched._all)]

    assert max(kept) <= server.LARGEST_REQUEST + 2 * 65_536


def test_a_request_with_more_headers_than_anybody_needs_is_refused():
    with serving() as address, socket.create_connection(address) as client:
        client.sendall(GET + b"a: b\r\n" * 200 + b"\r\n")

        assert rest(client).startswith(b"HTTP/1.1 400")


# --- bytes of any kind ------------------------------------------------------------------------------------------------

LINES = """\
GET / HTTP/1.1|POST /|HEAD / HTTP/1.0|OPTIONS * HTTP/1.1|CONNECT x:1 HTTP/1.1|PRI * HTTP/2.0|SM|GET x: HTTP/1.1
GET /large HTTP/1.1|GET /
GET http://[::1 HTTP/1.1|GET /%00%ff%zz?%%% HTTP/1.1|GET /1 HTTP/9.9|GET / HTTP/1.1\r|host: x|host : x|content-length: 3
content-length: -1|transfer-encoding: chunked|3|abc|0|ffffffffffffffff|expect: 100-continue|upgrade: websocket|upgrade: h2c
connection: upgrade|connection: close|||""".replace("\n", "|").split("|")
PIECES = [
    *(line.encode() + b"\r\n" for line in LINES),
    *(b"\n", b"\r", b"\x00", b"\xff\xfe", b"\x16\x03\x01\x02\x00", b"a" * 3_000, b" ", b":", b"\t"),
]


def garbage(chance: random.Random) -> bytes:
    """Pieces of requests in any order, with some bytes changed."""
    said = bytearray(b"".join(chance.choices(PIECES, k=chance.randint(1, 12))))
    for _ in range(chance.choice([0, 0, 1, 3])):
        said[chance.randrange(len(said))] = chance.randrange(256)
    return bytes(said)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_a_client_sends_it_is_answered_or_let_go_and_nobody_else_minds(monkeypatch, caplog, seed):
    monkeypatch.setattr(server, "PATIENCE", 1.0)
    monkeypatch.setattr(server, "_KEPT", 1.0)
    chance = random.Random(seed)
    with serving_app(APP, version=lambda: 1) as address:
        for _ in range(150):
            with socket.create_connection(address) as client:
                for _ in range(chance.randint(1, 3)):
                    with suppress(OSError):
                        client.sendall(garbage(chance))
                if chance.random() < 0.9:
                    with suppress(OSError):
                        client.shutdown(socket.SHUT_WR)
                    assert rest(client)[:9] in {b"", b"HTTP/1.1 "}
        assert status(address) == b"HTTP/1.1 200"

    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
