"""The way out, as an attacker and a bad network meet it. No packet of these tests can leave the machine.

Where an address of the internet or of a private network is asked for, the name service and the connect itself are
replaced: what would have been connected to is written down, and refused.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import httpx
import pytest
import trustme

from feeder.addresses import networks
from feeder.resolver import NotLookedUp, Resolver
from feeder.transport import GuardedTransport
from tests import fakes
from tests.test_addresses import NOT_OF_THE_INTERNET, OF_THE_INTERNET

LOOPBACK = networks(("127.0.0.0/8",))


@dataclass
class Net:
    """A name service that says what a test wants, and a network that nothing leaves."""

    answers: dict[str, list[list[str]]] = field(
        default_factory=dict
    )  # by host, one list of addresses for each question
    connected: list[str] = field(default_factory=list)

    def getaddrinfo(self, host, port, **_):
        found = self.answers.get(host)
        if found is None:
            return numeric(host, port)
        addresses = found.pop(0) if len(found) > 1 else found[0]
        return [entry for address in addresses for entry in numeric(address, port)]

    async def sock_connect(self, sock, address):
        self.connected.append(address[0])
        raise ConnectionRefusedError(111, "refused by the test")


def numeric(host, port):
    """What the operating system makes of a literal address, decimal and octal ones too; it asks nobody."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)


def asked(net: Net, *urls: str, **options: object) -> list[Exception]:
    """What comes of asking for addresses, one after the other, over one transport."""

    async def ask() -> list[Exception]:
        loop = asyncio.get_running_loop()
        loop.sock_connect = net.sock_connect
        failures = []
        transport = GuardedTransport(resolver=Resolver(net.getaddrinfo), **options)
        async with httpx.AsyncClient(transport=transport, timeout=30) as client:
            for url in urls:
                with pytest.raises((httpx.ConnectError, httpx.UnsupportedProtocol, httpx.InvalidURL)) as failed:
                    await client.post(url, content=b"x")
                failures.append(failed.value)
        return failures

    return asyncio.run(ask())


def literal(address: str) -> str:
    return f"https://[{address}]/hook" if ":" in address else f"https://{address}/hook"


def test_no_connection_is_made_to_any_literal_address_that_is_not_of_the_internet():
    net = Net()
    addresses = [each for each in NOT_OF_THE_INTERNET if "%" not in each]

    failures = asked(net, *map(literal, addresses))

    assert net.connected == []
    assert len(failures) == len(addresses) >= 60
    assert all("is no address of the internet" in str(failure) for failure in failures)


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "017700000001",
        "0177.0.0.1",
        "127.1",
        "0x7f.1",
        "0",
        "127.0.0.1.",
        "①②⑦.0.0.1",
        "127。0。0。1",
    ],
)
def test_no_connection_is_made_to_a_loopback_address_in_other_clothes(host):
    net = Net()

    asked(net, f"https://{host}/hook")

    assert net.connected == []


@pytest.mark.parametrize("address", [each for each in NOT_OF_THE_INTERNET if "%" not in each])
def test_no_connection_is_made_to_what_a_name_stands_for(address):
    net = Net({"rebinding.example": [[address]]})

    (failure,) = asked(net, "https://rebinding.example/hook")

    assert net.connected == []
    assert "is no address of the internet" in str(failure)


def test_a_name_that_stands_for_another_address_the_second_time_is_looked_at_the_second_time():
    net = Net({"rebinding.example": [["93.184.216.34"], ["127.0.0.1"], ["10.0.0.1", "169.254.169.254"]]})

    asked(net, *["https://rebinding.example/hook"] * 3)

    assert "127.0.0.1" not in net.connected
    assert set(net.connected) <= {"93.184.216.34"}


def test_of_several_addresses_only_those_of_the_internet_are_tried():
    net = Net({"mixed.example": [["10.0.0.1", "93.184.216.34", "::1", "2606:4700:4700::1111"]]})

    asked(net, "https://mixed.example/hook")

    assert {*net.connected} == {"2606:4700:4700::1111", "93.184.216.34"}


@pytest.mark.parametrize("address", OF_THE_INTERNET)
def test_the_internet_is_reached(address):
    net = Net()

    asked(net, literal(address))

    assert len(net.connected) == 1


def test_the_intranet_is_reached_by_those_who_are_allowed_to():
    net = Net({"intranet.example": [["10.1.2.3"]]})

    asked(
        net,
        "https://intranet.example/hook",
        "https://10.1.2.4/hook",
        "https://192.168.0.1/",
        allowed=networks(("10.0.0.0/8",)),
    )

    assert net.connected == ["10.1.2.3", "10.1.2.4"]


@contextmanager
def tripwire() -> Iterator[tuple[int, list[tuple[socket.socket, object]]]]:
    """A server on loopback that tells whoever touched it."""
    touched: list[tuple[socket.socket, object]] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        stop = threading.Event()

        def listen() -> None:
            while not stop.is_set():
                try:
                    touched.append(server.accept())
                except TimeoutError:
                    continue

        thread = threading.Thread(target=listen)
        thread.start()
        yield server.getsockname()[1], touched
        stop.set()
        thread.join()
        for connection, _ in touched:
            connection.close()


def test_the_real_client_does_not_touch_a_server_on_loopback_unless_it_is_allowed():
    async def ask(url: str, **options: object) -> None:
        async with httpx.AsyncClient(transport=GuardedTransport(**options), timeout=1) as client:
            with pytest.raises(httpx.TransportError):
                await client.post(url, content=b"x")

    with tripwire() as (port, touched):
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"):
            asyncio.run(ask(f"http://{host}:{port}/"))
        assert touched == []
        asyncio.run(ask(f"http://127.0.0.1:{port}/", allowed=LOOPBACK))
        assert len(touched) == 1


# --- what a failure says of what was sent -------------------------------------------------------------------------------------


def failure(url: str, **options: object) -> Exception:
    async def ask() -> Exception:
        transport = GuardedTransport(**{"allowed": LOOPBACK, **options})
        async with httpx.AsyncClient(transport=transport, timeout=httpx.Timeout(0.5, connect=30)) as client:
            with pytest.raises(httpx.TransportError) as failed:
                await client.post(url, content=b"x")
            return failed.value

    return asyncio.run(ask())


@contextmanager
def server_that(*steps: bytes | None, read: bool = True) -> Iterator[str]:
    """A server that takes a request (or not), says `steps` one by one and hangs up; None: it waits for the client to go."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                if read:
                    connection.recv(65_536)
                for step in steps:
                    if step is None:
                        connection.settimeout(fakes.LIMIT)
                        connection.recv(1)
                    else:
                        connection.sendall(step)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/hook"
        thread.join()


def test_a_refused_connection_is_known_to_have_brought_nothing():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    assert isinstance(failure(f"http://127.0.0.1:{port}/"), httpx.ConnectError)


@pytest.mark.parametrize(
    ("fault", "for_now"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), False),
        (socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure in name resolution"), False),
        (UnicodeError("label too long"), False),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), True),
        (socket.gaierror(socket.EAI_SYSTEM, "System error"), True),
    ],
)
def test_an_unknown_host_is_known_to_have_brought_nothing_and_for_how_long_it_is_unknown(fault, for_now):
    def nobody(*_: object, **__: object) -> None:
        raise fault

    error = failure("http://nobody.example/", resolver=Resolver(nobody))

    assert isinstance(error, httpx.ConnectError)
    assert isinstance(error, NotLookedUp) == for_now


def test_a_handshake_that_fails_is_known_to_have_brought_nothing():
    with server_that(b"HTTP/1.1 200 OK\r\n\r\n") as address:
        assert isinstance(failure(address.replace("http:", "https:")), httpx.ConnectError)


def test_a_certificate_that_nobody_vouches_for_is_refused():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(connection, server_side=True)
            connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        error = failure(f"https://127.0.0.1:{server.getsockname()[1]}/")
        thread.join()

    assert isinstance(error, httpx.ConnectError)
    assert "certificate" in str(error).lower()


@pytest.mark.parametrize(
    "steps",
    [(), (b"HTTP/1.1 200",), (b"nonsense\r\n\r\n",), (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",), (None,)],
)
def test_what_breaks_after_the_request_may_have_arrived(steps):
    with server_that(*steps) as address:
        error = failure(address)

    assert not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))


def test_redirects_are_not_followed_and_cookies_are_not_kept():
    service = fakes.Slack()
    with fakes.serving(service):

        async def ask() -> list[httpx.Response]:
            async with httpx.AsyncClient(transport=GuardedTransport(allowed=LOOPBACK)) as client:
                moved = {"location": f"{service.url}/elsewhere", "set-cookie": "a=b; path=/"}
                service.next_answers = [fakes.Answer(status=307, headers=moved), fakes.Answer(status=400)]
                requests = [httpx.Request("POST", f"{service.url}/x", content=b"x") for _ in range(2)]
                return [await client.send(request) for request in requests]

        first, _ = asyncio.run(ask())

    assert first.status_code == 307
    assert [request.path for request, _ in service.ledger.refused] == ["/x", "/x"]
    assert all("cookie" not in request.headers for request, _ in service.ledger.refused)


def test_an_address_goes_out_as_it_was_written():
    service = fakes.Slack()
    with fakes.serving(service):

        async def ask() -> None:
            async with httpx.AsyncClient(transport=GuardedTransport(allowed=LOOPBACK)) as client:
                await client.post(f"{service.url}/a%2Fb/~c/%7Ed?sig=a%2Bb%3D&x=%20y", content=b"x")

        asyncio.run(ask())

    assert service.ledger.refused[0][0].path == "/a%2Fb/~c/%7Ed?sig=a%2Bb%3D&x=%20y"


@pytest.mark.parametrize(("keep", "connections"), [(True, 1), (False, 3)])
def test_a_connection_is_used_again_where_that_is_safe(keep, connections):
    service = fakes.Slack()
    with fakes.serving(service):

        async def ask() -> None:
            async with httpx.AsyncClient(transport=GuardedTransport(allowed=LOOPBACK, keep=keep)) as client:
                for _ in range(3):
                    await client.post(f"{service.url}/x", content=b"x")

        asyncio.run(ask())

    assert service.connections == connections


# --- answers without end ------------------------------------------------------------------------------------------------------


@contextmanager
def server_that_goes_on(beginning: bytes, piece: bytes) -> Iterator[tuple[str, list[int]]]:
    """A server that says `beginning`, and then `piece` until the client is gone; how many bytes it could say."""
    said = [0]
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            connection.settimeout(fakes.LIMIT)
            with connection, suppress(OSError):
                connection.recv(65_536)
                connection.sendall(beginning)
                while True:
                    said[0] += connection.send(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/hook", said
        thread.join()


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("beginning", "piece"),
    [
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1_000),
        (OK, b"x-a: b\r\n" * 1_000),
        (OK + b"x-a: ", b"b" * 10_000),
        (OK + b"transfer-encoding: chunked\r\n\r\n", b"1;" + b"x" * 60_000 + b"\r\na\r\n"),
        (OK + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", b"x-a: b\r\n" * 1_000),
    ],
    ids=["interim answers", "headers", "a header", "chunk extensions", "trailers"],
)
def test_what_is_said_without_end_around_a_body_is_not_listened_to_for_long(beginning, piece):
    with server_that_goes_on(beginning, piece) as (address, said):
        error = failure(address)

    assert not isinstance(error, (httpx.ConnectError, httpx.TimeoutException))
    assert said[0] < 20_000_000  # what the system's buffers on both sides take, and not what four seconds would bring


def test_a_connection_that_is_used_again_is_not_counted_as_one_long_answer():
    service = fakes.Slack()
    with fakes.serving(service):
        service.next_answers = [fakes.Answer(status=400, body="x" * 100_000) for _ in range(8)]

        async def ask() -> list[int]:
            async with httpx.AsyncClient(transport=GuardedTransport(allowed=LOOPBACK)) as client:
                return [len((await client.post(f"{service.url}/x", content=b"x")).content) for _ in range(8)]

        assert asyncio.run(ask()) == [100_000] * 8

    assert service.connections == 1
