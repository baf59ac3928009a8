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

import aiohttp
import httpx
from aiohttp.abc import AbstractCookieJar
from yarl import URL

from feeder.addresses import Network, is_allowed

_KEPT = 30.0  # seconds that an idle connection is kept
_CHUNK = 16_384
_OWN = frozenset({"Accept", "Accept-Encoding", "User-Agent", "Content-Type"})  # headers that aiohttp would add


class BlockedAddress(OSError):
    """A connection to an address that is not allowed. No packet has gone there."""


class GuardedTransport(httpx.AsyncBaseTransport):
    """An httpx transport that reaches allowed addresses alone.

    It raises httpx.ConnectError, ConnectTimeout or PoolTimeout where no byte of the request can have left; anything else
    may have arrived.
    """

    def __init__(self, *, allowed: Collection[Network] = (), keep: bool = True) -> None:
        """`allowed` are networks that are not of the internet, and may be reached all the same.

        `keep` says whether a connection is used again.
        """
        self._allowed, self._keep = tuple(allowed), keep
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it; the body of the answer comes as it is read."""
        timeout = request.extensions.get("timeout", {})
        with _failures():
            answer = await self._open().request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=[(name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers.raw],
                data=await request.aread() or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(connect=timeout.get("connect"), sock_read=timeout.get("read")),
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
        return socket.socket(family, kind, protocol)


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
        raise httpx.ConnectError(_said(error)) from error
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
