"""The web server: a socket, patience with slow clients and its end. The only home of uvicorn."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from feeder.errors import Problem, SettingsError

PATIENCE = 30.0  # seconds from a request's first byte to the last byte of its answer
LARGEST_REQUEST = 65_536  # bytes of a request, headers and all: nothing here takes a body
CONNECTIONS = 1_000  # at a time; whoever comes then is told to come later
_KEPT = 15  # seconds that an idle connection is kept


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


async def serve(app: ASGIApp, listener: socket.socket, stop: asyncio.Event) -> None:
    """Serve until `stop` is set; what is being answered then is finished."""
    server = _Server(
        uvicorn.Config(
            app,
            http=_Patient,
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


class _Patient(HttpToolsProtocol):
    """uvicorn's side of a connection, which ends when its client takes too long or says too much."""

    _deadline: asyncio.TimerHandle | None = None
    _received = 0  # bytes of the request

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._start()

    def data_received(self, data: bytes) -> None:
        if self._deadline is None:
            self._start()
        self._received += len(data)
        if self._received > LARGEST_REQUEST:
            self.transport.abort()
            return
        super().data_received(data)

    def on_response_complete(self) -> None:
        self._stop()
        self._received = 0
        if self.transport.get_write_buffer_size():  # the client takes its time
            self._start()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _start(self) -> None:
        self._deadline = asyncio.get_running_loop().call_later(PATIENCE, self.transport.abort)

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
