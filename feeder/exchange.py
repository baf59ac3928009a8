"""One attempt: a target's requests sent, its answers handed back. The only place that talks HTTP to targets."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable, Generator
from datetime import datetime
from typing import Self, TypeVar, cast

import httpx
from msgspec.structs import replace
from rich.console import Console

from feeder import __version__, terminal
from feeder.models import Headline, Outcome, Ping
from feeder.redact import redact
from feeder.resolver import LOOKUP_TIMEOUT, NotLookedUp, Resolver
from feeder.targets.base import Endpoint, brief

TIMEOUT = 15.0  # seconds for one exchange, from the first byte to the last; what a lookup may take comes on top
CONNECT_TIMEOUT = 5.0
ANSWER = 20_000  # bytes of an answer that are read
LISTED = 400_000  # of one that lists what a service has: forty statuses of an account
USER_AGENT = f"feeder/{__version__}"

_TIMEOUTS = {"connect": CONNECT_TIMEOUT, "read": TIMEOUT, "write": TIMEOUT, "pool": TIMEOUT}
_OF_THE_BODY = ("content-encoding", "content-length")  # headers that no longer hold when it was read
_DEFLATED = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}  # zlib's window sizes to try, by content coding
# Python has codecs that decompress, or take quadratic time, and a service may name any of them.
_CHARSETS = frozenset({"utf-8", "us-ascii", "iso-8859-1", "iso-8859-15", "windows-1252"})

R = TypeVar("R")

# Nothing of the request can have arrived: a plain retry.
_BEFORE_THE_FIRST_BYTE = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
# The request itself cannot be sent, today or tomorrow.
_IMPOSSIBLE = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL)


class Clients:
    """The ways out, by the networks that may be reached. Requests to `console://` go to `terminal`.

    They are httpx transports, used without a client: there are no cookies, no redirects, no proxies to be had by mistake.
    """

    def __init__(self, terminal: httpx.AsyncBaseTransport, resolver: Resolver | None = None) -> None:
        self._terminal, self._resolver = terminal, resolver or Resolver()
        self._made: dict[tuple[tuple[str, ...], bool], httpx.AsyncBaseTransport] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for transport in self._made.values():
            await transport.aclose()

    def of(self, endpoint: Endpoint) -> httpx.AsyncBaseTransport:
        """The way to what `endpoint` may reach."""
        # A kept connection that a service drops leaves a message in doubt: not for those that do not know it again.
        key = endpoint.allow, endpoint.replay is not None
        if key not in self._made:
            from feeder.transport import GuardedTransport  # noqa: PLC0415 - slow to import, and not all have targets

            self._made[key] = _Ways(
                self._terminal, GuardedTransport(allowed=endpoint.networks, keep=key[1], resolver=self._resolver)
            )
        return self._made[key]


class TerminalTransport(httpx.AsyncBaseTransport):
    """An httpx transport that draws a card for each request: colour on a terminal, plain text in a pipe.

    The console target's requests come here instead of to the network, so that they are driven, recorded and previewed like
    all others.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Draw the card in the request's body. 500 when the terminal is gone, so that it is tried again."""
        try:
            terminal.draw(self._console, json.loads(request.content))
        except OSError as error:
            return httpx.Response(500, text=f"standard output: {error.strerror}", request=request)
        return httpx.Response(200, request=request)


class _Ways(httpx.AsyncBaseTransport):
    """To the terminal, or out of the house."""

    def __init__(self, terminal: httpx.AsyncBaseTransport, outside: httpx.AsyncBaseTransport) -> None:
        self._terminal, self._outside = terminal, outside

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.scheme == "console":
            return await self._terminal.handle_async_request(request)
        return await self._outside.handle_async_request(request)

    async def aclose(self) -> None:
        await self._outside.aclose()


async def tell(
    http: httpx.AsyncBaseTransport, target: Endpoint, told: Headline | Ping, key: str, now: Callable[[], datetime]
) -> Outcome:
    """Tell `told` to `target`. Never raises for what a network, a service or an article can do."""
    return await _driven(http, target, lambda: target.deliver(told, key), now, ANSWER)


async def look(
    http: httpx.AsyncBaseTransport,
    target: Endpoint,
    told: Headline | Ping,
    key: str,
    now: Callable[[], datetime],
    *,
    since: datetime,
) -> Outcome | None:
    """Look whether `told` arrived at `target` after `since`: see `Endpoint.look`."""
    found = await _driven(http, target, lambda: target.look(told, key, since, now()), now, LISTED)
    return replace(found, kind="retry") if found is not None and found.kind == "unknown" else found


async def _driven(
    http: httpx.AsyncBaseTransport,
    target: Endpoint,
    start: Callable[[], Generator[httpx.Request, httpx.Response, R]],
    now: Callable[[], datetime],
    most: int,
) -> R | Outcome:
    """What a target's steps come to; of each answer they see `most` bytes."""
    sent = 0
    outcome: R | Outcome
    try:
        steps = start()
        request = next(steps)
        while True:
            request.headers.setdefault("user-agent", USER_AGENT)
            request.headers["accept-encoding"] = "identity"
            target.sign(request, now())
            sent += 1
            request = steps.send(await _exchange(http, request, most))
    except StopIteration as end:
        outcome = end.value
    except NotLookedUp as error:
        outcome = Outcome(kind="retry", reason=str(error), asked=sent > 1)
    except _BEFORE_THE_FIRST_BYTE as error:
        outcome = Outcome(kind="retry", reason=_reason(error))
    except _IMPOSSIBLE as error:
        outcome = Outcome(kind="rejected", reason=_reason(error))
    except (httpx.HTTPError, httpx.StreamError, TimeoutError) as error:
        outcome = Outcome(kind="unknown", reason=_reason(error))
    except Exception as error:  # noqa: BLE001 - an article that breaks a target is a dead letter, and stops no other
        outcome = Outcome(kind="unknown" if sent else "rejected", reason=f"feeder failed at it: {_reason(error)}")
    if isinstance(outcome, Outcome) and outcome.reason:
        return replace(outcome, reason=redact(outcome.reason, target.secrets()))
    return outcome


async def _exchange(http: httpx.AsyncBaseTransport, request: httpx.Request, most: int) -> httpx.Response:
    request.extensions = {"timeout": _TIMEOUTS}
    async with asyncio.timeout(LOOKUP_TIMEOUT + TIMEOUT):
        response = await http.handle_async_request(request)
        try:
            body, stream = bytearray(), cast(httpx.AsyncByteStream, response.stream)  # its bytes as they came
            async for chunk in stream:
                body += chunk
                if len(body) >= most:
                    break
        finally:
            await response.aclose()
    return _readable(request, response, bytes(body[:most]), most)


def _readable(request: httpx.Request, response: httpx.Response, body: bytes, most: int) -> httpx.Response:
    """The response with as much of its body as is wanted; none where it is in a coding that nobody asked for.

    Of a compressed body no more is unpacked than `most` bytes, so that a small one costs no more than a large one.
    """
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    for name in _OF_THE_BODY:
        response.headers.pop(name, None)
    content = body if coding in ("identity", "") else unpacked(body, coding, most)
    read = httpx.Response(response.status_code, headers=response.headers, content=content, request=request)
    if "charset" in response.headers.get("content-type", "").lower():  # else it is UTF-8
        read.encoding = charset if (charset := (read.charset_encoding or "").lower()) in _CHARSETS else "utf-8"
    return read


def unpacked(body: bytes, coding: str, most: int) -> bytes:
    """The first `most` bytes of `body`, which is in an HTTP content coding (RFC 9110, section 8.4.1).

    Empty where the coding is another than gzip or deflate, where there are several, or where the bytes are not in it.
    """
    for window in _DEFLATED.get(coding, ()):
        try:
            return zlib.decompressobj(window).decompress(body, most)
        except zlib.error:
            continue
    return b""


def _reason(error: Exception) -> str:
    """What went wrong, in a line of bearable length: libraries put whole answers into what they say."""
    said, name = str(error), type(error).__name__
    return brief(f"{name}: {said}" if said else name)
