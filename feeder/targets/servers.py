"""What servers remember of what they were sent, by their software: one table, with where each row is from.

Those with Mastodon's API are not all like Mastodon. Software that is not in the table is known for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from feeder.models import Outcome
from feeder.targets.base import answer_of, not_before, request, said

if TYPE_CHECKING:
    from collections.abc import Generator

    import httpx

# How long a server knows a status again by its Idempotency-Key, by the name that NodeInfo gives its software.
KEEPS_KEYS: Mapping[str, timedelta] = MappingProxyType(
    {
        # https://docs.joinmastodon.org/methods/statuses/#create: "stored for up to 1 hour". The key is stored when the
        # status is made, so a repeat in the same moment makes another (app/services/post_status_service.rb).
        "mastodon": timedelta(hours=1),
        # A fork that leaves this as it is: https://github.com/hometown-fork/hometown
        "hometown": timedelta(hours=1),
        # Of the same account, token and User-Agent: https://github.com/superseriousbusiness/gotosocial/issues/2723
        "gotosocial": timedelta(minutes=5),
        # https://codeberg.org/grunfink/snac2: 2.75 and 2.95 make a second status
        "snac": timedelta(),
        # https://github.com/pixelfed/pixelfed/issues/3581
        "pixelfed": timedelta(),
    }
)
_SCHEMA = "http://nodeinfo.diaspora.software/ns/schema/2."


def software(base: str) -> Generator[httpx.Request, httpx.Response, str | Outcome]:
    """The name of the software of the server at `base`; empty where it does not say; an Outcome where it cannot say now.

    By NodeInfo (https://nodeinfo.diaspora.software/protocol): yields its requests, is sent the responses.
    """
    response = yield request("GET", f"{base}/.well-known/nodeinfo")
    address = _address(base, answer_of(response)) if response.is_success else ""
    if address:
        response = yield request("GET", address)
        if response.is_success:
            about = answer_of(response).get("software")
            return str(about.get("name", "")).lower() if isinstance(about, dict) else ""
    if response.status_code == 429 or response.status_code >= 500:
        reason = said(response, "cannot ask what software it is")
        return Outcome(kind="retry", reason=reason, not_before=not_before(response))
    return ""


def _address(base: str, answer: dict[str, Any]) -> str:
    """Where a server tells of its software: at its own origin, for the request carries its token."""
    links = answer.get("links")
    for link in links if isinstance(links, list) else []:
        if isinstance(link, dict) and str(link.get("rel", "")).startswith(_SCHEMA):
            address = str(link.get("href", ""))
            if _origin(address) == _origin(base):
                return address
    return ""


def _origin(address: str) -> tuple[str, str]:
    try:
        parts = urlsplit(address)
        return parts.scheme.lower(), parts.netloc.lower()
    except ValueError:
        return "", ""
