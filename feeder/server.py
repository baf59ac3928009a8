"""The web server: a socket, limits for slow, greedy and broken clients, and its end. The only home of uvicorn.

What a client can cost is bounded: a place among the connections (`connections`), LARGEST_REQUEST bytes that it says, two
pieces of an answer that it does not read; each for PATIENCE seconds at most.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from feeder import memory
from feeder.connections import MOST, Connections
from feeder.errors import Problem, SettingsError
from feeder.memory import Memory

PATIENCE = 30.0  # seconds for a request to come and be answered, and then for each piece of the answer to be read
LARGEST_REQUEST = 65_536  # bytes of a request, or of several that came at once: nothing here takes a body
_HEADERS = 100  # of a request: each takes Python a multiple of its bytes
_KEPT = 15.0  # seconds that an idle connection is kept
_PIECE = 65_536  # bytes of an answer that are written while the client reads
_AT_WORK = 8  # requests that the application answers at once: the database's pool of 15 is the worker's too
_ACCEPTED = 16  # connections that asyncio accepts in one go, before it looks whether there is a place for them
_QUEUE = 1_024  # connections that wait in the kernel to be accepted
_REQUEST = "feeder.request"  # an extension of ASGI: the bytes of a request whose answer may be remembered
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 10\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. SettingsError when the address cannot be had."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=_QUEUE)
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
    *,
    limit: int = MOST,
    clock: Callable[[], float] = time.time,
) -> None:
    """Serve until `stop` is set; what is being answered then is finished.

    `version` tells what is served now from what was served before: without it nothing is answered from memory.
    `limit` is the number of connections at a time; `clock` gives seconds since 1970.
    """
    remembered = Memory(version, clock) if version else None
    server = _Server(
        uvicorn.Config(
            _answering(app, remembered),
            http=_protocol(Connections(limit), remembered),
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            backlog=_ACCEPTED,
            limit_concurrency=limit + _QUEUE,  # requests that are being answered, though many clients have left
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

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start; asyncio takes one number for what it accepts at once and for the kernel's queue, and the queue is longer."""
        await super().startup(sockets)
        for each in sockets or []:
            each.listen(_QUEUE)


# --- answers ----------------------------------------------------------------------------------------------------------


def _answering(app: ASGIApp, remembered: Memory | None) -> ASGIApp:
    """`app`, a few requests at a time, whose answers go out in pieces, as the client reads them, and may be remembered."""
    room = asyncio.Semaphore(_AT_WORK)

    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        said: list[Message] = []

        async def say(message: Message) -> None:
            said.append(message)

        served = remembered.served() if remembered else None
        try:
            async with room:
                await app(scope, receive, say)
            if remembered and (request := scope.get("extensions", {}).get(_REQUEST)):
                remembered.keep(request["bytes"], said[0], _body(scope, said), served)
        finally:
            for message in said:
                await _send_pieces(message, send)

    return answering


def _body(scope: Scope, said: Sequence[Message]) -> bytes:
    return b"" if scope["method"] == "HEAD" else b"".join(message.get("body", b"") for message in said[1:])


async def _send_pieces(message: Message, send: Send) -> None:
    """Send a message of ASGI; of a body so much at a time as the transport takes before it says that it is full."""
    body, more = message.get("body", b""), message.get("more_body", False)
    if len(body) <= _PIECE:
        await send(message)
        return
    for start in range(0, len(body), _PIECE):
        last = start + _PIECE >= len(body)
        await send({**message, "body": body[start : start + _PIECE], "more_body": more or not last})


# --- connections ------------------------------------------------------------------------------------------------------


class _TooManyHeaders(ValueError):
    """More headers than anybody needs: the parser stops there."""


class _Connection(HttpToolsProtocol):
    """uvicorn's side of a connection, which ends when its client takes too long or says too much, or its place is needed.

    The parser is given a line at a time and nothing while a request is being answered: answers keep their order however
    requests come, and what comes early costs no more than its bytes. The application is one that reads no bodies.
    """

    _connections: Connections
    _memory: Memory | None
    _held = b""  # what came while a request was being answered
    _begun = False  # a request that is not whole yet
    _received = 0  # bytes that the parser was given since the last whole request
    _due = 0.0  # when the client's time is up, on the loop's clock
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._allow(PATIENCE)
        if not self._connections.admit(self):
            transport.write(_FULL)
            transport.close()

    def drop(self) -> None:
        """End the connection at once, whatever the client still has to read."""
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        plain = self._memory is not None and memory.is_plain(data) and self._is_idle()
        if plain and self._memory is not None and (answer := self._memory.answer(data)) is not None:
            self.transport.write(answer)
            self._rest()
            return
        self._held += data
        if self._received + len(self._held) > LARGEST_REQUEST:
            self.drop()
            return
        self._parse()
        if plain and self.scope is not None:
            self.scope["extensions"] = {_REQUEST: {"bytes": data}}

    def _parse(self) -> None:
        """Give the parser what was held, until a request is whole and is being answered."""
        if not (self._begun or self._received or self._is_answering()):
            self._allow(PATIENCE)
        held, start = self._held, 0
        while start < len(held) and not self._is_answering() and not self.transport.is_closing():
            end = held.find(b"\n", start) + 1 or len(held)
            self._received += end - start
            super().data_received(held[start:end])
            start = end
        self._held = held[start:]
        if self._held:
            self.flow.pause_reading()

    def on_message_begin(self) -> None:
        self._begun = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= _HEADERS:
            raise _TooManyHeaders
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._connections.work(self)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._begun, self._received = False, 0

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unset_keepalive_if_required()  # `_rest` sees to it
        self._rest()
        if self._held:
            self._parse()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._connections.wait(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._is_answering():
            self._connections.work(self)
            self._allow(PATIENCE)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._connections.remove(self)
        super().connection_lost(exc)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _is_idle(self) -> bool:
        """Whether all that the client has said was answered, and the answers are on their way."""
        said = self._held or self._received or self._begun or self._is_answering()
        return not said and not self.transport.get_write_buffer_size()

    def _rest(self) -> None:
        """Wait for the next request; the rest of one that was answered early has no more time than it had."""
        self._connections.wait(self)
        if not self._begun:
            self._allow(PATIENCE if self.transport.get_write_buffer_size() else _KEPT)

    def _allow(self, seconds: float) -> None:
        """Let the client have so many seconds from now. A timer that is set for an earlier time finds that out itself."""
        self._due = self.loop.time() + seconds
        if self._timer is None or self._timer.when() > self._due:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self.loop.call_at(self._due, self._look_at_time)

    def _look_at_time(self) -> None:
        if self.loop.time() < self._due:
            self._timer = self.loop.call_at(self._due, self._look_at_time)
        else:
            self.drop()


def _protocol(connections: Connections, remembered: Memory | None) -> type[_Connection]:
    """The protocol of connections that have this in common: uvicorn makes one from its class for each connection."""

    class Connection(_Connection):
        _connections = connections
        _memory = remembered

    return Connection
