"""Host names looked up, each in a thread of its own: a name server that hangs holds up its own hosts and nobody else.

The system's resolver can be asked in no other way than by a thread that waits, for half a minute where no name server
answers. A pool of such threads is full as soon as a few names hang, and the process cannot end before they do.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import httpx
from msgspec import Struct

LOOKUP_TIMEOUT = (
    8.0  # seconds: longer than a first name server that is dead takes to be passed over (resolv.conf(5): 5 s)
)

# What a name server says, and the system of itself, where the next try may end otherwise; see getaddrinfo(3).
_FOR_NOW = frozenset({socket.EAI_AGAIN, socket.EAI_MEMORY, socket.EAI_SYSTEM})
_FLAGS = socket.AI_ADDRCONFIG  # no addresses of a family that this machine has none of

GetAddrInfo: TypeAlias = Callable[..., Iterable[tuple[Any, ...]]]


class NotLookedUp(httpx.ConnectError):
    """Nobody said for now what addresses a host has: it was not asked anything."""


class Address(Struct, frozen=True, kw_only=True):
    """One address of a host."""

    family: int
    protocol: int
    host: str  # numeric


class Resolver:
    """Looks hosts up for one event loop. Those who ask for a host that is being looked up share the answer."""

    def __init__(self, getaddrinfo: GetAddrInfo = socket.getaddrinfo, timeout: float = LOOKUP_TIMEOUT) -> None:
        """`getaddrinfo` is called as `socket.getaddrinfo` is, in a thread; `timeout` is how long one who asks waits."""
        self._getaddrinfo, self._timeout = getaddrinfo, timeout
        self._running: dict[tuple[str, int], asyncio.Future[list[Address]]] = {}

    async def addresses(self, host: str, family: int = socket.AF_UNSPEC) -> list[Address]:
        """The addresses of `host`. NotLookedUp where it may have some later, socket.gaierror where it has none.

        A lookup that nobody waits for any more goes on, and is shared by whoever asks next.
        """
        key = host, family
        if key not in self._running:
            self._start(key)
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.shield(self._running[key])
        except TimeoutError as error:
            raise NotLookedUp(f"{host}: no name server answers within {self._timeout:g} s") from error
        except socket.gaierror as error:
            if error.errno in _FOR_NOW:
                raise NotLookedUp(f"{host}: {error.strerror}") from error
            raise

    def _start(self, key: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        self._running[key] = future = loop.create_future()
        future.add_done_callback(
            lambda done: (self._running.pop(key), done.exception())
        )  # looked at, if by nobody else

        def end(found: list[Address] | Exception) -> None:
            if isinstance(found, Exception):
                future.set_exception(found)
            else:
                future.set_result(found)

        def look_up() -> None:
            found = self._look_up(*key)
            try:
                loop.call_soon_threadsafe(end, found)
            except RuntimeError:  # the event loop is closed: nobody wants to know any more
                return

        try:
            threading.Thread(target=look_up, name=f"lookup {key[0]}", daemon=True).start()
        except RuntimeError as error:
            end(socket.gaierror(socket.EAI_MEMORY, str(error)))  # can't start new thread

    def _look_up(self, host: str, family: int) -> list[Address] | Exception:
        try:
            found = self._getaddrinfo(host, None, family=family, type=socket.SOCK_STREAM, flags=_FLAGS)
            return [
                Address(family=family, protocol=protocol, host=_numeric(address))
                for family, _, protocol, _, address in found
                if family in (socket.AF_INET, socket.AF_INET6)
            ]
        except (OSError, UnicodeError) as error:  # UnicodeError: what IDNA makes no name of
            return error


def _numeric(address: tuple[Any, ...]) -> str:
    """The address as text; of a link-local one with the network interface that it is on (RFC 4007, section 11)."""
    if len(address) == 4 and address[3]:
        return socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
    return str(address[0])
