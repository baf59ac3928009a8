"""The web server among slow, greedy and broken clients: raw sockets on loopback."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from feeder import server
from tests.fakes import LIMIT

GET = b"GET / HTTP/1.1\r\nhost: x\r\n"


async def page(_: Request) -> Response:
    return Response(b"x" * 1_000)


async def large(_: Request) -> Response:
    return Response(b"x" * 50_000_000)


@contextmanager
def serving() -> Iterator[tuple[str, int]]:
    with serving_app(Starlette(routes=[Route("/", page), Route("/large", large)])) as address:
        yield address


@contextmanager
def serving_app(app: Starlette, version: Callable[[], object] | None = None) -> Iterator[tuple[str, int]]:
    """An application on loopback."""
    listener = server.listen("127.0.0.1", 0)
    started, loops = threading.Event(), []

    async def serve() -> None:
        stop = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stop))
        started.set()
        await server.serve(app, listener, stop, version)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    started.wait()
    yield listener.getsockname()[:2]
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


def test_a_client_that_does_not_read_is_let_go(impatient, monkeypatch):
    monkeypatch.setattr(server, "CONNECTIONS", 2)
    with serving() as address, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(address)
        client.sendall(GET.replace(b"/ ", b"/large ") + b"\r\n")

        deadline = time.monotonic() + LIMIT
        while (heard := status(address)) == b"HTTP/1.1 503" and time.monotonic() < deadline:
            continue
        assert heard == b"HTTP/1.1 200"


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


def test_more_clients_than_there_is_room_for_are_told_to_come_later(monkeypatch):
    monkeypatch.setattr(server, "CONNECTIONS", 3)
    with serving() as address:
        waiting = [socket.create_connection(address) for _ in range(3)]
        with socket.create_connection(address) as client:
            client.sendall(GET + b"connection: close\r\n\r\n")
            assert rest(client).startswith(b"HTTP/1.1 503")
        for each in waiting:
            each.close()
