"""Feeds, pages and health over HTTP. The only home of Starlette and uvicorn.

Documents come from the store, so a web process beside the worker serves what the worker published the moment it is committed.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import format_datetime, parsedate_to_datetime

import uvicorn
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from feeder.errors import Problem, SettingsError
from feeder.feeds.pages import INDEX
from feeder.store import Store, documents

_MAX_AGE = 60  # seconds that a client or proxy may keep a document without asking
_HEADERS = {
    "access-control-allow-origin": "*",
    "cache-control": f"public, max-age={_MAX_AGE}",
    "x-content-type-options": "nosniff",
}


def application(store: Store) -> Starlette:
    """The web application over `store`."""
    served = _Documents(store)
    return Starlette(
        routes=[
            Route("/", served.index),
            Route("/feeds/{name}", served.feed),
            Route("/healthz", served.health),
        ]
    )


class _Documents:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[str, documents.Published] = {}

    async def index(self, request: Request) -> Response:
        """The page of all feeds."""
        return await self._serve(request, INDEX)

    async def feed(self, request: Request) -> Response:
        """A feed in one of its formats."""
        return await self._serve(request, f"feeds/{request.path_params['name']}")

    async def health(self, _: Request) -> Response:
        """Whether this process can serve: 200, or 503 with the reason."""
        try:
            await run_in_threadpool(self._find, INDEX)
        except SQLAlchemyError as error:
            return JSONResponse({"status": "failing", "reason": str(getattr(error, "orig", error))}, status_code=503)
        return JSONResponse({"status": "ok"})

    async def _serve(self, request: Request, path: str) -> Response:
        document = await run_in_threadpool(self._find, path)
        if document is None:
            return PlainTextResponse("404: there is no such feed here; / lists those that there are\n", status_code=404)
        headers = {
            **_HEADERS,
            "etag": f'"{document.digest}"',
            "last-modified": format_datetime(document.modified, usegmt=True),
        }
        if _has_it(request, document):
            return Response(status_code=304, headers=headers)
        return Response(document.body, headers={**headers, "content-type": document.content_type})

    def _find(self, path: str) -> documents.Published | None:
        """The document, from memory as long as the store holds the same."""
        with self._store.read() as connection:
            kept = self._kept.get(path)
            tag = documents.tag(connection, path)
            if kept is not None and tag == (kept.digest, kept.modified):
                return kept
            found = documents.get(connection, path) if tag else None
        if found is None:
            self._kept.pop(path, None)
        else:
            self._kept[path] = found
        return found


def _has_it(request: Request, document: documents.Published) -> bool:
    """Whether the client holds these bytes already (RFC 9110, section 13.1: If-None-Match is a list and goes first)."""
    if (tags := request.headers.get("if-none-match")) is not None:
        held = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
        return "*" in held or f'"{document.digest}"' in held
    try:
        return document.modified <= parsedate_to_datetime(request.headers.get("if-modified-since", ""))
    except (TypeError, ValueError):
        return False


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


async def serve(app: Starlette, listener: socket.socket, stop: asyncio.Event) -> None:
    """Serve until `stop` is set; what is being answered then is finished."""
    server = _Server(
        uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, lifespan="off", timeout_graceful_shutdown=5
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
