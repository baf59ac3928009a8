"""What the server answers from memory is what the application would say."""

from __future__ import annotations

import re
import socket
import threading

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from feeder import memory as memory_module
from feeder import server
from feeder.memory import Memory
from feeder.store import open_store, set_fact
from tests.fakes import LIMIT
from tests.test_server import Gate, serving_app

GET = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"


class Counting:
    """An application that says how often it was asked, and what it is asked to say."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 200, {}, b"x" * 10
        self.paths: list[str] = []

    @property
    def asked(self) -> int:
        return len(self.paths)

    async def page(self, request: Request) -> Response:
        self.paths.append(request.url.path)
        return Response(self.body, status_code=self.status, headers=self.headers)

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self.page, methods=["GET", "HEAD", "POST"])])


@pytest.fixture
def counting() -> Counting:
    return Counting()


def still() -> float:
    """A clock in a second that does not end."""
    return 1_800_000_000.5


def remembering(app: Starlette, version=lambda: 1, clock=still):
    return serving_app(app, version=version, clock=clock)


class Client:
    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, timeout=LIMIT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # each request comes as it was sent

    def send(self, request: bytes) -> None:
        self._socket.sendall(request)

    def ask(self, request: bytes, body: int = 10) -> bytes:
        self.send(request)
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


def test_the_same_request_is_answered_from_memory_and_alike(counting):
    with remembering(counting.app()) as address:
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
def test_what_is_not_a_plain_reading_request_is_not(counting, request_):
    with remembering(counting.app()) as address:
        for _ in range(3):
            client = Client(address)
            client.ask(request_)
            client.close()

    assert counting.asked == 3


@pytest.mark.parametrize(("status", "headers"), [(503, {}), (200, {"cache-control": "no-store"}), (405, {})])
def test_what_may_be_otherwise_the_next_moment_is_not_remembered(counting, status, headers):
    counting.status, counting.headers = status, headers
    with remembering(counting.app()) as address:
        client = Client(address)
        for _ in range(3):
            client.ask(GET)
        client.close()

    assert counting.asked == 3


def test_what_is_published_is_served_at_once(counting, tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/feeder.db")
    with remembering(counting.app(), version=store.version()) as address:
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


def test_what_is_published_while_the_application_answers_is_served_at_once(counting):
    version = [1]
    page = counting.page

    async def publishing(request: Request) -> Response:
        answer = await page(request)
        version[0] += counting.asked == 1
        return answer

    counting.page = publishing
    with remembering(counting.app(), version=lambda: version[0]) as address:
        client = Client(address)
        for _ in range(3):
            client.ask(GET)
        client.close()

    assert counting.asked == 2  # the first answer was old when it was given


def test_an_answer_is_renewed_every_second(counting):
    now = [1_800_000_000.0]
    with remembering(counting.app(), clock=lambda: now[0]) as address:
        client = Client(address)
        for later, asked in ((0, 1), (0.9, 1), (0.1, 2), (0, 2), (2, 3), (0, 3)):
            now[0] += later
            client.ask(GET)
            assert counting.asked == asked
        client.close()


START = {"status": 200, "headers": []}


def test_one_renews_an_answer_and_the_others_get_what_is_there():
    now = [1_800_000_000.0]
    memory = Memory(lambda: 1, lambda: now[0])
    memory.keep(GET, START, b"old", memory.served())

    now[0] += 1
    assert [(memory.answer(GET) or b"")[-3:] for _ in range(3)] == [b"", b"old", b"old"]
    memory.keep(GET, START, b"new", memory.served())
    assert memory.answer(GET).endswith(b"new")

    now[0] += 1
    assert memory.answer(GET) is None  # whoever was to renew it never came back
    now[0] += 1
    assert [memory.answer(GET) for _ in range(2)] == [None, None]


def test_no_more_is_remembered_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(memory_module, "ROOM", 1_200)
    memory = Memory(lambda: 1, still)
    for name in (b"a", b"b", b"a", b"c"):
        memory.keep(name, START, bytes(200), 1)

    assert [memory.answer(name) is not None for name in (b"a", b"b", b"c")] == [False, False, True]


def test_an_answer_that_would_be_much_to_leave_unread_is_not_remembered():
    memory = Memory(lambda: 1, still)
    for size in (60_000, 70_000):
        memory.keep(b"%d" % size, START, bytes(size), 1)

    assert [memory.answer(b"%d" % size) is not None for size in (60_000, 70_000)] == [True, False]


def test_a_head_is_remembered_without_a_body_and_apart_from_a_get(counting):
    head = GET.replace(b"GET", b"HEAD")
    with remembering(counting.app()) as address:
        client = Client(address)
        answers = [client.ask(head, body=0) for _ in range(3)]
        assert client.ask(GET).endswith(b"x" * 10)
        client.close()

    assert counting.asked == 2
    assert {answer.partition(b"\r\n\r\n")[2] for answer in answers} == {b""}
    assert all(b"content-length: 10" in answer for answer in answers)


def test_requests_that_come_in_pieces_or_two_at_once_are_answered_all_the_same(counting):
    with remembering(counting.app()) as address:
        client = Client(address)
        client.ask(GET)
        both = client.ask(GET + GET)
        while both.count(b"x" * 10) < 2:
            both += client._socket.recv(65_536)
        assert both.count(b"HTTP/1.1 200") == 2
        client._socket.sendall(GET[:10])
        assert client.ask(GET[10:]).startswith(b"HTTP/1.1 200")
        client.close()


def test_a_connection_that_is_answered_from_memory_alone_is_not_idle(counting, monkeypatch):
    monkeypatch.setattr(server, "_KEPT", 0.3)
    with remembering(counting.app()) as address:
        client = Client(address)
        ended = threading.Event()
        client.ask(GET)
        for _ in range(10):
            ended.wait(0.1)  # what a client does between its requests
            assert client.ask(GET).startswith(b"HTTP/1.1 200")
        client.close()

    assert counting.asked == 1


def test_a_connection_that_was_only_ever_answered_from_memory_is_let_go_when_idle(counting, monkeypatch):
    monkeypatch.setattr(server, "_KEPT", 0.2)
    monkeypatch.setattr(server, "PATIENCE", 10 * LIMIT)
    with remembering(counting.app()) as address:
        for _ in range(2):
            client = Client(address)
            client.ask(GET)
            assert client.ask(b"") == b""
            client.close()

    assert counting.asked == 1


def test_answers_keep_their_order_when_one_of_them_is_remembered():
    gate = Gate()
    with remembering(gate.app()) as address:
        client, other = Client(address), Client(address)
        gate.open.set()
        client.ask(GET, body=13)
        gate.open.clear()
        client.send(GET.replace(b"/a", b"/slow"))
        while gate.asked.get(timeout=LIMIT) != "/slow":
            continue
        client.send(GET)
        other.ask(GET, body=13)
        gate.open.set()
        both = client.ask(b"", body=len("waited for /slow"))
        while not both.endswith(b"/a"):
            both += client.ask(b"")
        client.close()
        other.close()

    assert re.findall(rb"waited for (/slow|/a)", both) == [b"/slow", b"/a"]


def test_what_looks_like_a_request_inside_another_is_none(counting):
    with remembering(counting.app()) as address:
        client = Client(address)
        client.ask(GET)
        client.ask(GET + b"GET /b HTTP/1.1\r\nhost: x\r\na: ")
        client.ask(GET)
        client.close()

    assert counting.paths == ["/a", "/a", "/b"]


def test_a_client_that_does_not_read_is_answered_from_memory_no_more_than_once_too_often(counting):
    counting.body = b"x" * 60_000
    asked = []
    with remembering(counting.app(), version=lambda: asked.append(1) or 1) as address:
        polite, rude = Client(address), Client(address)
        polite.ask(GET, body=60_000)
        for _ in range(500):
            rude.send(GET)
            polite.ask(GET, body=60_000)
        rude.close()
        polite.close()

    assert len(asked) < 500 + 150  # what the kernel takes from the one, and all of the other


def test_while_the_database_cannot_be_read_nothing_is_answered_from_memory(counting, tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/feeder.db")
    with remembering(counting.app(), version=store.version()) as address:
        client = Client(address)
        client.ask(GET)
        client.ask(GET)
        store.close()
        answers = [client.ask(GET) for _ in range(2)]
        client.close()

    assert counting.asked == 3
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
