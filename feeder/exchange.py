"""One attempt: a target's requests sent, its answers handed back. The only place that talks HTTP to targets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Generator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime
from typing import Self, TypeVar

import httpx

from feeder import __version__
from feeder.addresses import Network
from feeder.models import Headline, Outcome, Ping
from feeder.redact import redact
from feeder.targets.base import Endpoint
from feeder.transport import GuardedTransport

TIMEOUT = 15.0  # seconds for one exchange, from the first byte to the last
CONNECT_TIMEOUT = 5.0
ANSWER = 20_000  # bytes of an answer that are read
USER_AGENT = f"feeder/{__version__}"

R = TypeVar("R")

# Nothing of the request can have arrived: a plain retry.
_BEFORE_THE_FIRST_BYTE = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
# The request itself cannot be sent, today or tomorrow.
_IMPOSSIBLE = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL)


class Clients:
    """HTTP clients, by the networks that may be reached. Requests to `console://` go to `terminal`."""

    def __init__(self, terminal: httpx.AsyncBaseTransport) -> None:
        self._terminal = terminal
        self._made: dict[tuple[frozenset[Network], bool], httpx.AsyncClient] = {}
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def of(self, endpoint: Endpoint) -> httpx.AsyncClient:
        """The client that may reach what `endpoint` may."""
        # A kept connection that a service drops leaves a message in doubt: not for those that do not know it again.
        key = frozenset(endpoint.networks), endpoint.replay is not None
        if key not in self._made:
            self._made[key] = await self._open.enter_async_context(self._client(*key))
        return self._made[key]

    def _client(self, allowed: Collection[Network], keep: bool) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            timeout=httpx.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT),
            transport=GuardedTransport(allowed=allowed, keep=keep),
            follow_redirects=False,
            trust_env=False,  # no proxy and no .netrc that nobody set here
            mounts={"console://": self._terminal},
        )


async def tell(
    http: httpx.AsyncClient, target: Endpoint, told: Headline | Ping, key: str, now: Callable[[], datetime]
) -> Outcome:
    """Tell `told` to `target`. Never raises for what a network, a service or an article can do."""
    return await _driven(http, target, lambda: target.deliver(told, key), now)


async def look(  # noqa: PLR0917 - like `tell`, with the time since when
    http: httpx.AsyncClient,
    target: Endpoint,
    told: Headline | Ping,
    key: str,
    since: datetime,
    now: Callable[[], datetime],
) -> Outcome | None:
    """Look whether `told` arrived at `target` after `since`: see `Endpoint.look`."""
    found = await _driven(http, target, lambda: target.look(told, key, since), now)
    return replace(found, kind="retry") if found is not None and found.kind == "unknown" else found


async def _driven(
    http: httpx.AsyncClient,
    target: Endpoint,
    start: Callable[[], Generator[httpx.Request, httpx.Response, R]],
    now: Callable[[], datetime],
) -> R | Outcome:
    """What a target's steps come to."""
    sent = 0
    outcome: R | Outcome
    try:
        steps = start()
        request = next(steps)
        while True:
            request.headers.setdefault("user-agent", USER_AGENT)
            target.sign(request, now())
            sent += 1
            request = steps.send(await _exchange(http, request))
    except StopIteration as end:
        outcome = end.value
    except _BEFORE_THE_FIRST_BYTE as error:
        outcome = Outcome(kind="retry", reason=_reason(error))
    except _IMPOSSIBLE as error:
        outcome = Outcome(kind="rejected", reason=_reason(error))
    except (httpx.HTTPError, httpx.StreamError, TimeoutError) as error:
        outcome = Outcome(kind="unknown", reason=_reason(error))
    except Exception as error:  # noqa: BLE001 - an article that breaks a target is a dead letter, and stops no other
        outcome = Outcome(kind="unknown" if sent else "rejected", reason=f"feeder failed at it: {_reason(error)}")
    if isinstance(outcome, Outcome):
        return replace(outcome, reason=redact(outcome.reason, target.secrets()))
    return outcome


async def _exchange(http: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    async with asyncio.timeout(TIMEOUT):
        response = await http.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) >= ANSWER:
                    break
        finally:
            await response.aclose()
    headers = [
        (name, value) for name, value in response.headers.items() if name not in ("content-encoding", "content-length")
    ]
    return httpx.Response(response.status_code, headers=headers, content=bytes(body[:ANSWER]), request=request)


def _reason(error: Exception) -> str:
    said = str(error)
    name = type(error).__name__
    return f"{name}: {said}" if said else name
