"""What the server answers from memory is what the application would say."""

from __future__ import annotations

import socket
import threading

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from feeder import server
from feeder.store import open_store, set_fact
from tests.fakes import LIMIT
from tests.test_server import serving_app

GET = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"


class Counting:
    """An application that says how often it was asked, and what it is asked to say."""

    def __init__(self) -> None:
        self.asked, self.status, self.headers = 0, 200, {}

    async def page(self, _: Request) -> Response:
        self.asked += 1
        return Response(b"x" * 10, status_code=self.status, headers=self.headers)

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self.page, methods=["GET", "HEAD", "POST"])])


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
def still(monkeypatch) -> None:
    """A second that does not end."""
    monkeypatch.setattr(server.time, "time", lambda: 1_800_000_000.5)


class Client:
    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, timeout=LIMIT)

    def ask(self, request: bytes, body: int = 10) -> bytes:
        self._socket.sendall(request)
        found = b""
        while b"\r\n\r\n" not in found or len(found.partition(b"\r\n\r\n")[2]) < body:
            chunk = self._socket.recv(65_536)
            if not chunk:
                break
            found += chunk
        return found

    def close(self) -> None:
        self._socket.close()


def plain(answer: bytes) -> list[bytes]:
    """An answer without its time."""
    return [line for line in answer.split(b"\r\n") if not line.startswith(b"date: ")]


def test_the_same_request_is_answered_from_memory_and_alike(counting, still):
    with serving_app(counting.app(), version=lambda: 1) as address:
        client = Client(address)
        first = client.ask(GET)
        again = [client.ask(GET) for _ in range(5)]
        other = Client(address)
        again.append(other.ask(GET))
        client.close()
        other.close()

    assert counting.asked == 1
    assert [plain(each) for each in again] == [plain(first)] * 6
    assert first.endswith(b"\r\n\r\n" + b"x" * 10)


@pytest.mark.parametrize(
    "request_",
    [
        GET.replace(b"GET", b"POST"),
        GET.replace(b"host: x", b"host: x\r\nconnection: close"),
        GET.replace(b"host: x", b"host: x\r\nCONTENT-LENGTH: 0"),
        GET.replace(b"1.1", b"1.0"),
    ],
)
def test_what_is_not_a_plain_reading_request_is_not(counting, still, request_):
    with serving_app(counting.app(), version=lambda: 1) as address:
        for _ in range(3):
            client = Client(address)
            client.ask(request_)
            client.close()

    assert counting.asked == 3


@pytest.mark.parametrize(("status", "headers"), [(503, {}), (200, {"cache-control": "no-store"}), (405, {})])
def test_what_may_be_otherwise_the_next_moment_is_not_remembered(counting, still, status, headers):
    counting.status, counting.headers = status, headers
    with serving_app(counting.app(), version=lambda: 1) as address:
        client = Client(address)
        for _ in range(3):
            client.ask(GET)
        client.close()

    assert counting.asked == 3


def test_what_is_published_is_served_at_once(counting, still, tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/feeder.db")
    with serving_app(counting.app(), version=store.version()) as address:
        client = Client(address)
        for asked in (1, 1):
            client.ask(GET)
            assert counting.asked == asked
        with store.write() as connection:
            set_fact(connection, "a", "b")
        client.ask(GET)
        client.ask(GET)
        client.close()
    store.close()

    assert counting.asked == 2


def test_what_is_published_while_the_application_answers_is_served_at_once(counting, still):
    version = [1]
    page = counting.page

    async def publishing(request: Request) -> Response:
        answer = await page(request)
        version[0] += counting.asked == 1
        return answer

    counting.page = publishing
    with serving_app(counting.app(), version=lambda: version[0]) as address:
        client = Client(address)
        for _ in range(3):
            client.ask(GET)
        client.close()

    assert counting.asked == 2  # the first answer was old when it was given


def test_an_answer_is_renewed_every_second(counting, monkeypatch):
    now = [1_800_000_000.0]
    monkeypatch.setattr(server.time, "time", lambda: now[0])
    with serving_app(counting.app(), version=lambda: 1) as address:
        client = Client(address)
        for later, asked in ((0, 1), (0.9, 1), (0.1, 2), (0, 2), (2, 3), (0, 3)):
            now[0] += later
            client.ask(GET)
            assert counting.asked == asked
        client.close()


def test_one_renews_an_answer_and_the_others_get_what_is_there(monkeypatch):
    now = [1_800_000_000.0]
    monkeypatch.setattr(server.time, "time", lambda: now[0])
    memory = server._Memory(lambda: 1)
    memory.keep(GET, b"old", memory.served())

    now[0] += 1
    assert [memory.answer(GET) for _ in range(3)] == [None, b"old", b"old"]
    memory.keep(GET, b"new", memory.served())
    assert memory.answer(GET) == b"new"

    now[0] += 1
    assert memory.answer(GET) is None  # whoever was to renew it never came back
    now[0] += 1
    assert [memory.answer(GET) for _ in range(2)] == [None, None]


def test_no_more_is_remembered_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(server, "_MEMORY", 100)
    memory = server._Memory(lambda: 1)
    for name in (b"a", b"b", b"a", b"c"):
        memory.keep(name, bytes(40), 1)

    assert [memory.answer(name) is not None for name in (b"a", b"b", b"c")] == [False, False, True]


def test_a_head_is_remembered_without_a_body_and_apart_from_a_get(counting, still):
    head = GET.replace(b"GET", b"HEAD")
    with serving_app(counting.app(), version=lambda: 1) as address:
        client = Client(address)
        answers = [client.ask(head, body=0) for _ in range(3)]
        assert client.ask(GET).endswith(b"x" * 10)
        client.close()

    assert counting.asked == 2
    assert {answer.partition(b"\r\n\r\n")[2] for answer in answers} == {b""}
    assert all(b"content-length: 10" in answer for answer in answers)


def test_requests_that_come_in_pieces_or_two_at_once_are_answered_all_the_same(counting, still):
    with serving_app(counting.app(), version=lambda: 1) as address:
        client = Client(address)
        client.ask(GET)
        both = client.ask(GET + GET)
        while both.count(b"x" * 10) < 2:
            both += client._socket.recv(65_536)
        assert both.count(b"HTTP/1.1 200") == 2
        client._socket.sendall(GET[:10])
        assert client.ask(GET[10:]).startswith(b"HTTP/1.1 200")
        client.close()


def test_a_connection_that_is_answered_from_memory_alone_is_not_idle(counting, still, monkeypatch):
    monkeypatch.setattr(server, "_KEPT", 0.3)
    with serving_app(counting.app(), version=lambda: 1) as address:
        client = Client(address)
        ended = threading.Event()
        client.ask(GET)
        for _ in range(10):
            ended.wait(0.1)  # what a client does between its requests
            assert client.ask(GET).startswith(b"HTTP/1.1 200")
        client.close()

    assert counting.asked == 1
