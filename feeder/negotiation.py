"""What a client asks for in the headers of a request (RFC 9110, sections 12 and 13). Pure functions over header values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

PAGE_TYPES = ("text/html", "application/xhtml+xml")
_ANY = "*"
_UNASKED = 0.001  # the weight of sending a body as it is to a client that names other ways


def preferences(header: str) -> dict[str, float]:
    """What an `Accept` or `Accept-Encoding` header names, in lower case, with its weight from 0 to 1."""
    found: dict[str, float] = {}
    for part in header.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if name:
            found[name] = _weight(parameters)
    return found


def _weight(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0


def encoding(header: str, offered: Sequence[str]) -> str:
    """Which of the content encodings `offered`, the best first, a client wants; empty for the body as it is."""
    wanted = preferences(header)
    weights = {name: wanted.get(name, wanted.get(_ANY, 0.0)) for name in offered}
    weights[""] = wanted.get("identity", wanted.get(_ANY, _UNASKED))
    best = max(weights, key=lambda name: weights[name])  # of equals the first
    return best if weights[best] else ""


def media_type(header: str, pages: Sequence[str], feeds: Sequence[str]) -> str:
    """Which media type a client wants of an address that is a page to people and a feed to programs.

    A page only for those who ask for one by name and nothing better: who takes anything is a program.
    """
    wanted = preferences(header) or {"*/*": 1.0}
    page = max((wanted.get(name, 0.0) for name in pages), default=0.0)
    weights = {name: _weight_of(name, wanted) for name in feeds}
    best = max(weights, key=lambda name: weights[name], default="")
    named = max((wanted.get(name, 0.0) for name in feeds), default=0.0)
    return pages[0] if pages and page > 0 and page >= named else best


def _weight_of(name: str, wanted: Mapping[str, float]) -> float:
    """The weight of a media type: its own, else that of its kind, else that of any."""
    kind = name.partition("/")[0]
    for pattern in (name, f"{kind}/*", "*/*"):
        if pattern in wanted:
            return wanted[pattern]
    return 0.0


def holds(tags: str | None, since: str | None, *, held: Iterable[str], modified: datetime | None) -> bool:
    """Whether a client has what it asks for already.

    `tags` and `since` are its `If-None-Match`, a list that is compared weakly and goes first, and `If-Modified-Since`;
    `held` are the entity tags of all encodings of what is there, without quotes.
    """
    if tags is not None:
        theirs = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
        return _ANY in theirs or any(f'"{tag}"' in theirs for tag in held)
    if since is None or modified is None:
        return False
    try:
        moment = parsedate_to_datetime(since)
    except ValueError:
        return False
    return modified <= (moment if moment.tzinfo else moment.replace(tzinfo=UTC))
