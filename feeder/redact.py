"""Secrets out of texts, by value. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable

HIDDEN = "[secret]"


def redact(text: str, secrets: Iterable[str]) -> str:
    """`text` with every secret in it hidden."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text
