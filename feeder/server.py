"""The web server: a socket, patience with slow clients, a memory for what was just asked, and its end. The only home of uvicorn.

Readers ask the same again and again, byte for byte. What was answered a second ago is answered from memory, in the
protocol itself, as long as nothing was published since: the application need not look at it again.
"""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from feeder.errors import Problem, SettingsError

PATIENCE = 30.0  # seconds from a request's first byte to the last byte of its answer
LARGEST_REQUEST = 65_536  # bytes of a request, headers and all: nothing here takes a body
CONNECTIONS = 1_000  # at a time; whoever comes then is told to come later
_KEPT = 15  # seconds that an idle connection is kept
_MEMORY = 32_000_000  # bytes of answers that are remembered
_LARGEST_KEPT = 2_048  # bytes of a request whose answer is remembered
_REQUEST = "feeder.request"  # an extension of ASGI: the bytes of a request whose answer may be remembered
_KEPT_STATUSES = frozenset({200, 303, 304, 308, 404, 410})
_NOT_KEPT = re.compile(rb"\r\n(connection|upgrade|expect|content-length|transfer-encoding):", re.IGNORECASE)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. SettingsError when the address cannot be had."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = f"the web server cannot listen on {host} port {port}: {getattr(error, 'strerror', None) or error}"
        raise SettingsError(
            [Problem(where="host, port", reason=f"{reason}; stop what does, or set another FEEDER_PORT")]
        ) from error


async def serve(
    app: ASGIApp,
    listener: socket.socket,
    stop: asyncio.Event,
    version: Callable[[], object] | None = None,
) -> None:
    """Serve until `stop` is set; what is being answered then is finished.

    `version` tells what is served now from what was served before: without it nothing is answered from memory.
    """
    memory = _Memory(version) if version else None
    server = _Server(
        uvicorn.Config(
            _remembering(app, memory) if memory else app,
            http=_protocol(memory),
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=_KEPT,
            timeout_graceful_shutdown=5,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await asyncio.wait([serving, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await serving


class _Server(uvicorn.Server):
    """uvicorn, which leaves the process's signals to whoever runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Memory:
    """Whole answers by the very bytes of their requests, for a second or two and as long as the same is served."""

    def __init__(self, version: Callable[[], object]) -> None:
        self._version = version
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
        age = int(time.time()) - given
        if age == 0 or (age == 1 and request in self._renewing):
            return answer
        if age == 1:
            self._renewing.add(request)
        else:
            self._drop(request)
        return None

    def keep(self, request: bytes, answer: bytes, served: object) -> None:
        """Remember an answer, unless something was published since `served` was."""
        if served != self.served():
            return
        self._drop(request)
        if self._size + len(answer) > _MEMORY:
            self._forget()
        self._answers[request] = answer, int(time.time())
        self._size += len(request) + len(answer)

    def _drop(self, request: bytes) -> None:
        self._renewing.discard(request)
        if (known := self._answers.pop(request, None)) is not None:
            self._size -= len(request) + len(known[0])

    def _forget(self) -> None:
        self._answers.clear()
        self._renewing.clear()
        self._size = 0


def _remembering(app: ASGIApp, memory: _Memory) -> ASGIApp:
    """`app`, with those answers kept that are whole and need no second look."""

    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        request = scope.get("extensions", {}).get(_REQUEST, {}).get("bytes")
        if request is None:
            await app(scope, receive, send)
            return
        said: list[Message] = []
        served = memory.served()

        async def keeping(message: Message) -> None:
            said.append(message)
            await send(message)

        await app(scope, receive, keeping)
        if len(said) == 2 and _may_be_kept(said[0]) and not said[1].get("more_body"):
            body = b"" if scope["method"] == "HEAD" else said[1].get("body", b"")
            memory.keep(request, _written(said[0], body), served)

    return answering


def _may_be_kept(start: Message) -> bool:
    return start["status"] in _KEPT_STATUSES and (b"cache-control", b"no-store") not in start["headers"]


def _written(start: Message, body: bytes) -> bytes:
    """An answer as it goes over the wire (RFC 9112)."""
    status = start["status"]
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode(), f"date: {formatdate(usegmt=True)}".encode()]
    lines += [name + b": " + value for name, value in start["headers"]]
    return b"\r\n".join([*lines, b"", body])


class _Patient(HttpToolsProtocol):
    """uvicorn's side of a connection, which ends when its client takes too long or says too much."""

    _memory: _Memory | None = None
    _deadline: asyncio.TimerHandle | None = None
    _received = 0  # bytes of the request
    _last = 0.0  # when something was last answered from memory, on the loop's clock

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._start()

    def data_received(self, data: bytes) -> None:
        whole = self._memory is not None and self._received == 0 and _is_whole(data)
        if whole and self._memory is not None and (answer := self._memory.answer(data)) is not None:
            self._stop()
            self._last = self.loop.time()
            self.transport.write(answer)
            return
        if self._deadline is None:
            self._start()
        self._received += len(data)
        if self._received > LARGEST_REQUEST:
            self.transport.abort()
            return
        super().data_received(data)
        if whole and self.scope is not None:
            self.scope["extensions"] = {_REQUEST: {"bytes": data}}

    def on_response_complete(self) -> None:
        self._stop()
        self._received = 0
        if self.transport.get_write_buffer_size():  # the client takes its time
            self._start()
        super().on_response_complete()

    def timeout_keep_alive_handler(self) -> None:
        idle = self.loop.time() - self._last
        if idle < _KEPT:
            self.timeout_keep_alive_task = self.loop.call_later(_KEPT - idle, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _start(self) -> None:
        self._deadline = asyncio.get_running_loop().call_later(PATIENCE, self.transport.abort)

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _protocol(memory: _Memory | None) -> type[_Patient]:
    """The protocol of connections that share a memory: uvicorn makes one from its class for each connection."""

    class Remembering(_Patient):
        _memory = memory

    return Remembering


def _is_whole(data: bytes) -> bool:
    """Whether `data` is one request that reads, and no more or less; and one after which the connection stays."""
    return (
        data.startswith((b"GET ", b"HEAD "))
        and data.endswith(b"\r\n\r\n")
        and len(data) <= _LARGEST_KEPT
        and data.find(b"\r\n\r\n") == len(data) - 4
        and b" HTTP/1.1\r\n" in data
        and not _NOT_KEPT.search(data)
    )
