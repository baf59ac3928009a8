"""Names looked up, with name servers that hang."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager

import pytest

from feeder.resolver import Address, NotLookedUp, Resolver
from tests import fakes
from tests.worker import environment

HERE = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]
FOUND = [Address(family=socket.AF_INET, protocol=6, host="127.0.0.1")]


class NameServer:
    """Answers at once, but for names that begin with "hangs": these when it is let go."""

    def __init__(self):
        self.asked, self.release = [], threading.Event()

    def getaddrinfo(self, host, _port, **_):
        self.asked.append(host)
        if host.startswith("hangs"):
            self.release.wait(fakes.LIMIT)
        return HERE


@pytest.fixture
def server():
    made = NameServer()
    yield made
    made.release.set()


def lookups(*hosts: str) -> Counter[str]:
    """How many threads look these hosts up; other tests leave threads of other hosts behind."""
    names = {f"lookup {host}" for host in hosts}
    return Counter(each.name.removeprefix("lookup ") for each in threading.enumerate() if each.name in names)


def test_names_that_hang_hold_up_no_other(server):
    hosts = [f"hangs-{number}.example" for number in range(100)]

    async def ask():
        resolver = Resolver(server.getaddrinfo)
        hanging = [asyncio.create_task(resolver.addresses(host)) for host in hosts]
        found = await asyncio.wait_for(resolver.addresses("healthy.example"), fakes.LIMIT)
        waiting = lookups(*hosts)
        server.release.set()
        return found, waiting, await asyncio.gather(*hanging)

    found, waiting, late = asyncio.run(ask())

    assert found == FOUND
    assert waiting == Counter(hosts)
    assert late == [FOUND] * 100


def test_those_who_ask_for_one_name_share_its_lookup_and_who_gives_up_ends_it_for_nobody(server):
    async def ask():
        resolver = Resolver(server.getaddrinfo)
        first, *others = [asyncio.create_task(resolver.addresses("hangs.example")) for _ in range(5)]
        await asyncio.sleep(0)
        first.cancel()
        server.release.set()
        found = await asyncio.gather(*others)
        return found, first.cancelled(), await resolver.addresses("hangs.example")

    found, cancelled, again = asyncio.run(ask())

    assert (found, cancelled, again) == ([FOUND] * 4, True, FOUND)
    assert server.asked == ["hangs.example"] * 2  # nothing is remembered: how long an address holds is not known here


def test_a_name_that_hangs_has_one_thread_however_often_it_is_asked_for(server):
    host = "hangs-long.example"

    async def ask():
        resolver = Resolver(server.getaddrinfo, timeout=0.01)
        for _ in range(5):
            with pytest.raises(NotLookedUp, match=rf"{host}: no name server answers within 0\.01 s"):
                await resolver.addresses(host)
        waiting = lookups(host)
        server.release.set()
        return waiting

    assert asyncio.run(ask()) == Counter({host: 1})
    assert server.asked == [host]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), NotLookedUp),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), socket.gaierror),
        (UnicodeError("label empty or too long"), UnicodeError),
    ],
)
def test_a_failure_says_whether_the_name_may_be_there_later(fault, kind):
    def fails(*_, **__):
        raise fault

    with pytest.raises(kind):
        asyncio.run(Resolver(fails).addresses("nobody.example"))


def test_where_no_thread_is_to_be_had_it_is_tried_later(monkeypatch):
    def none(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)

    with pytest.raises(NotLookedUp, match="can't start new thread"):
        asyncio.run(Resolver().addresses("nobody.example"))


def test_the_system_is_asked_where_nothing_else_is_said():
    (found, *_) = asyncio.run(Resolver().addresses("127.0.0.1"))

    assert (found.host, found.family) == ("127.0.0.1", socket.AF_INET)


def test_a_link_local_address_keeps_its_interface():
    def link_local(*_, **__):
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 0, 0, 1))]

    (found,) = asyncio.run(Resolver(link_local).addresses("here.example"))

    assert found.host.startswith("fe80::1%")


@contextmanager
def silent_name_server():
    """A socket that takes questions and says nothing; a getaddrinfo that asks it, and waits as the system's does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(fakes.LIMIT)

        def getaddrinfo(host, _port, **_):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.connect(server.getsockname())
                client.settimeout(2)
                client.send(host.encode())
                try:
                    client.recv(512)
                except TimeoutError:
                    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution") from None

        yield server, getaddrinfo


def test_a_name_server_that_never_answers_is_waited_for_by_those_alone_who_ask_it():
    async def ask(server, getaddrinfo):
        silent, healthy = Resolver(getaddrinfo, timeout=0.05), Resolver(NameServer().getaddrinfo)
        waiting = asyncio.create_task(silent.addresses("hooks.example"))
        found = await healthy.addresses("news.example")
        with pytest.raises(NotLookedUp):
            await waiting
        return found, server.recv(512)

    with silent_name_server() as (server, getaddrinfo):
        assert asyncio.run(ask(server, getaddrinfo)) == (FOUND, b"hooks.example")


def test_a_process_ends_while_names_hang():
    program = """
import asyncio, threading
from feeder.resolver import NotLookedUp, Resolver

def hangs(*_, **__):
    threading.Event().wait()

async def main():
    try:
        await Resolver(hangs, timeout=0.01).addresses("hangs.example")
    except NotLookedUp as error:
        print(error)

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=fakes.LIMIT,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "hangs.example: no name server answers within 0.01 s\n",
        "",
    )
