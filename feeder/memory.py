"""What the web server said a moment ago, whole and ready for the wire.

Readers ask the same again and again, byte for byte. What was answered a second ago is answered from memory, as long as
nothing was published since: the application need not look at it again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

ROOM = 32_000_000  # bytes of requests and answers that are remembered
LARGEST_ANSWER = 65_536  # bytes: what a client that does not read it costs
_LARGEST_REQUEST = 2_048  # bytes
_ENTRY = 300  # bytes that Python adds to each answer
_STATUSES = frozenset({200, 303, 304, 308, 404, 410})
_SPECIAL = re.compile(rb"\n(connection|upgrade|expect|content-length|transfer-encoding)", re.IGNORECASE)


class Memory:
    """Whole answers by the very bytes of their requests, for a second or two and as long as the same is served.

    `version` tells what is served now from what was served before; `clock` gives seconds since 1970.
    """

    def __init__(self, version: Callable[[], object], clock: Callable[[], float]) -> None:
        self._version, self._clock = version, clock
        self._served: object = None  # the version that the answers are of
        self._answers: dict[bytes, tuple[bytes, int]] = {}  # with the second in which they were given
        self._renewing: set[bytes] = set()  # requests that are being answered anew
        self._size = 0

    def served(self) -> object:
        """The version that is served now."""
        if (served := self._version()) != self._served:
            self._served = served
            self._forget()
        return served

    def answer(self, request: bytes) -> bytes | None:
        """The answer to `request`, if it is known. When it is a second old, one is told that it is not: to renew it."""
        self.served()
        if (known := self._answers.get(request)) is None:
            return None
        answer, given = known
        age = int(self._clock()) - given
        if age == 0 or (age == 1 and request in self._renewing):
            return answer
        if age == 1:
            self._renewing.add(request)
        else:
            self._drop(request)
        return None

    def keep(self, request: bytes, start: Mapping[str, Any], body: bytes, served: object) -> None:
        """Remember the answer that ASGI's `start` and `body` are, if it may be; `served` is the version it was made from."""
        if not _may_be_kept(start) or served != self.served():
            return
        answer = _written(start, body, self._clock())
        if len(answer) > LARGEST_ANSWER:
            return
        self._drop(request)
        if self._size + _size(request, answer) > ROOM:
            self._forget()
        self._answers[request] = answer, int(self._clock())
        self._size += _size(request, answer)

    def _drop(self, request: bytes) -> None:
        self._renewing.discard(request)
        if (known := self._answers.pop(request, None)) is not None:
            self._size -= _size(request, known[0])

    def _forget(self) -> None:
        self._answers.clear()
        self._renewing.clear()
        self._size = 0


def is_plain(data: bytes) -> bool:
    """Whether `data` is one request that reads, and no more or less; and one after which the connection stays."""
    return (
        data.startswith((b"GET ", b"HEAD "))
        and data.endswith(b"\r\n\r\n")
        and len(data) <= _LARGEST_REQUEST
        and data.find(b"\r\n\r\n") == len(data) - 4
        and b" HTTP/1.1\r\n" in data
        and not _SPECIAL.search(data)
    )


def _size(request: bytes, answer: bytes) -> int:
    return len(request) + len(answer) + _ENTRY


def _may_be_kept(start: Mapping[str, Any]) -> bool:
    return start["status"] in _STATUSES and (b"cache-control", b"no-store") not in start["headers"]


def _written(start: Mapping[str, Any], body: bytes, now: float) -> bytes:
    """An answer as it goes over the wire (RFC 9112)."""
    status = start["status"]
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode(),
        f"date: {formatdate(now, usegmt=True)}".encode(),
    ]
    lines += [name + b": " + value for name, value in start["headers"]]
    return b"\r\n".join([*lines, b"", body])
