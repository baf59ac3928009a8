"""Secrets out of texts, by value and in the forms that other programs give them. Pure functions."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from functools import lru_cache
from urllib.parse import quote, quote_plus, unquote, urlsplit

from feeder.text import ELLIPSIS

HIDDEN = "[secret]"
_BEGINNING = 4  # characters of a secret that tell something of it
_SHORTEST = 8  # characters of a part of a secret address that is a secret itself


def redact(text: str, secrets: Iterable[str]) -> str:
    """`text` with every secret in it hidden: as it is, URL-encoded, in JSON, in base64, and the path of a secret address.

    So is the beginning of one that `text` was shortened in.
    """
    hidden = frozenset(filter(None, secrets))
    if len(text) < min((len(secret) for secret in hidden), default=0) and len(text) < _SHORTEST:
        return text  # "204", which is said most of the time
    for form in _forms(hidden):
        text = text.replace(form, HIDDEN)
    return _without_a_cut_secret(text, hidden) if text.endswith(ELLIPSIS) else text


def _without_a_cut_secret(text: str, secrets: frozenset[str]) -> str:
    said = text.removesuffix(ELLIPSIS)
    for form in _forms(secrets):
        for length in range(min(len(form), len(said)), _BEGINNING - 1, -1):
            if said.endswith(form[:length]):
                return said[:-length] + HIDDEN + ELLIPSIS
    return text


@lru_cache(maxsize=256)
def _forms(secrets: frozenset[str]) -> tuple[str, ...]:
    """What is hidden, the longest first."""
    found = {form for secret in secrets for part in _parts(secret) for form in _written(part)}
    return tuple(sorted(found, key=lambda form: (-len(form), form)))


def _parts(secret: str) -> set[str]:
    """A secret, and what of an address opens the door without the rest of it."""
    found = {secret}
    if "://" in secret:
        parts = urlsplit(secret)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        found |= {each for each in (target, parts.path, parts.query, parts.password or "") if len(each) >= _SHORTEST}
    return found


def _written(part: str) -> set[str]:
    """The forms in which `part` may turn up in what a program says."""
    found = {part, quote(part), quote(part, safe=""), quote_plus(part), unquote(part), json.dumps(part)[1:-1]}
    raw = part.encode()
    if len(raw) >= _SHORTEST:
        found |= {each for encode in (base64.b64encode, base64.urlsafe_b64encode) for each in _in_base64(raw, encode)}
    return {form for form in found if form}


def _in_base64(raw: bytes, encode: Callable[[bytes], bytes]) -> set[str]:
    """What base64 makes of `raw`, wherever in a longer text it stands: without the characters that its neighbours share."""
    found = set()
    for before in range(3):
        text = encode(bytes(before) + raw).decode().rstrip("=")
        first = (before * 8 + 5) // 6
        last = (before + len(raw)) * 8 // 6
        found.add(text[first:last])
    return found
