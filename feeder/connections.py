"""How many clients are connected at once, so that what else runs in the process has descriptors to work with.

Whoever comes when all places are taken gets that of the connection that has waited for its client longest: for a
request, for the rest of one, or for an answer to be read. A connection whose request is being answered keeps its place.
"""

from __future__ import annotations

import resource
from collections import OrderedDict
from typing import Protocol

from msgspec import Struct

MOST = 1_000  # connections at a time, however many descriptors there are
RESERVED = 256  # descriptors for the database, its files, readers, targets, and sockets on their way in and out
_WANTED = 4_096  # descriptors that the process asks for


class Connection(Protocol):
    """A client's connection."""

    def drop(self) -> None:
        """End it at once."""


class Descriptors(Struct, frozen=True, kw_only=True):
    """What the system lets this process open, and what of it is for clients."""

    limit: int  # RLIMIT_NOFILE
    connections: int


def share(limit: int) -> int:
    """How many connections fit into `limit` descriptors beside those that are reserved; of very few, a quarter."""
    return min(MOST, max(limit - RESERVED, limit // 4, 1))


def claim() -> Descriptors:
    """Raise this process's limit of descriptors as far as it may and need be (setrlimit(2)), and share them out."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return Descriptors(limit=_WANTED, connections=share(_WANTED))
    most = _WANTED if hard == resource.RLIM_INFINITY else min(_WANTED, hard)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    return Descriptors(limit=soft, connections=share(soft))


class Connections:
    """The connections there are, at most `limit`. For one thread."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._all: set[Connection] = set()
        self._waiting: OrderedDict[Connection, None] = OrderedDict()  # for their clients; longest first

    def admit(self, connection: Connection) -> bool:
        """Give `connection` a place, if need be another's; False when all others are at work."""
        if len(self._all) >= self._limit:
            if not self._waiting:
                return False
            longest = next(iter(self._waiting))
            self.remove(longest)
            longest.drop()
        self._all.add(connection)
        self._waiting[connection] = None
        return True

    def wait(self, connection: Connection) -> None:
        """Note that `connection` waits for its client from now on."""
        if connection in self._all:
            self._waiting[connection] = None
            self._waiting.move_to_end(connection)

    def work(self, connection: Connection) -> None:
        """Note that it is the client who waits."""
        self._waiting.pop(connection, None)

    def remove(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        self._all.discard(connection)
        self._waiting.pop(connection, None)
