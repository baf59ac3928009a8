"""The way out: httpx's requests over aiohttp's connections, to allowed addresses alone. The only home of aiohttp.

aiohttp stays fast at a hundred connections where httpx's own pool does not. What it cannot be asked is added here: every
socket is made by `GuardedTransport`, which looks at the very address that is connected to (after the name service has
answered, and for literal addresses too), and every failure says whether anything can have been sent.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import AbstractCookieJar, AbstractResolver, ResolveResult
from yarl import URL

from feeder.addresses import Network, is_allowed
from feeder.resolver import LOOKUP_TIMEOUT, NotLookedUp, Resolver

_KEPT = 30.0  # seconds that an idle connection is kept
_CHUNK = 16_384
_AT_ONCE = 4_096  # bytes that are read from a socket at a time, so that no event loop is held up by what is in them
_ANSWER = 524_288  # bytes of one answer on the wire: headers, framing, interim responses and all
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
_OWN = frozenset({"Accept", "Accept-Encoding", "User-Agent", "Content-Type"})  # headers that aiohttp would add


class BlockedAddress(OSError):
    """A connection to an address that is not allowed. No packet has gone there."""


class GuardedTransport(httpx.AsyncBaseTransport):
    """An httpx transport that reaches allowed addresses alone.

    It raises httpx.ConnectError, ConnectTimeout or PoolTimeout where no byte of the request can have left, and of these
    NotLookedUp where the host's name could not be looked up for now; anything else may have arrived.
    """

    def __init__(
        self, *, allowed: Collection[Network] = (), keep: bool = True, resolver: Resolver | None = None
    ) -> None:
        """`allowed` are networks that are not of the internet, and may be reached all the same.

        `keep` says whether a connection is used again; `resolver` looks names up, the system's where there is none.
        """
        self._allowed, self._keep = tuple(allowed), keep
        self._resolver = resolver or Resolver()
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it; the body of the answer comes as it is read."""
        timeout = request.extensions.get("timeout", {})
        connect = timeout.get("connect")
        with _failures():
            answer = await self._open().request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=[(name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers.raw],
                data=await request.aread() or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    connect=None if connect is None else LOOKUP_TIMEOUT + connect,
                    sock_connect=connect,
                    sock_read=timeout.get("read"),
                ),
            )
        return httpx.Response(answer.status, headers=list(answer.raw_headers), stream=_Body(answer), request=request)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=0,  # whoever sends says how much at once
                **({"keepalive_timeout": _KEPT} if self._keep else {"force_close": True}),
                ssl=ssl.create_default_context(),
                socket_factory=self._socket,
                resolver=_Lookups(self._resolver),
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=_no_cookies(),
                auto_decompress=False,
                skip_auto_headers=_OWN,
                trust_env=False,
            )
        return self._session

    def _socket(self, found: tuple[int, int, int, str, tuple[str | int, ...]]) -> socket.socket:
        family, kind, protocol, _, address = found
        if not is_allowed(str(address[0]), self._allowed):
            raise BlockedAddress(
                f'{address[0]} is no address of the internet; allow it, if you mean it: allow = ["{address[0]}"]'
            )
        return _BoundedSocket(family, kind, protocol)


class _Lookups(AbstractResolver):
    """A Resolver as aiohttp asks one."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            found = await self._resolver.addresses(host, family)
        except NotLookedUp as error:
            raise _LookupError(str(error)) from error
        except UnicodeError as error:
            raise OSError(f"{host}: no name of a host") from error
        return [
            ResolveResult(
                hostname=host, host=each.host, port=port, family=each.family, proto=each.protocol, flags=_NUMERIC
            )
            for each in found
        ]

    async def close(self) -> None:
        """Leave the resolver to those who share it."""


class _LookupError(OSError):
    """NotLookedUp, as aiohttp lets it through."""


class _BoundedSocket(socket.socket):
    """A socket that reads a little at a time, and breaks where an answer goes on and on.

    What aiohttp has no limit for ends here: interim responses (RFC 9110, section 15.2) and chunk extensions (RFC 9112,
    section 7.1.1) without end.
    """

    _read = 0  # bytes since something was last sent

    def send(self, *arguments: Any) -> int:
        """Send, and expect a new answer."""
        self._read = 0
        return super().send(*arguments)

    def sendmsg(self, *arguments: Any) -> int:
        """Send several pieces, likewise."""
        self._read = 0
        return super().sendmsg(*arguments)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive: from a connection without encryption."""
        found = super().recv(min(size, _AT_ONCE), flags)
        self._count(len(found))
        return found

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive: from an encrypted one."""
        found = super().recv_into(buffer, min(nbytes or len(buffer), _AT_ONCE), flags)
        self._count(found)
        return found

    def _count(self, number: int) -> None:
        self._read += number
        if self._read > _ANSWER:
            raise OSError(f"an answer of more than {_ANSWER} bytes")


def _no_cookies() -> AbstractCookieJar:
    return aiohttp.DummyCookieJar()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _failures():
            async for chunk in self._answer.content.iter_chunked(_CHUNK):
                yield chunk

    async def aclose(self) -> None:
        # One that was read to its end gave its connection back; of any other the rest is not wanted.
        self._answer.close() if not self._answer.content.at_eof() else self._answer.release()


@contextmanager
def _failures() -> Iterator[None]:
    """Aiohttp's errors as httpx's."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx.ConnectTimeout(_said(error)) from error
    except aiohttp.ClientConnectorError as error:  # refused, unknown host, TLS, or blocked
        kind = NotLookedUp if isinstance(error.os_error, _LookupError) else httpx.ConnectError
        raise kind(_said(error)) from error
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
        raise httpx.UnsupportedProtocol("not an address that a request can be sent to") from error
    except TimeoutError as error:
        raise httpx.ReadTimeout(_said(error)) from error
    except aiohttp.ClientPayloadError as error:
        raise httpx.ReadError(_said(error)) from error
    except (aiohttp.ClientError, OSError) as error:
        raise httpx.RemoteProtocolError(_said(error)) from error


def _said(error: Exception) -> str:
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return inner.strerror or str(inner) if isinstance(inner, OSError) else str(error)
