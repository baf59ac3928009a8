"""Queries and deletions by many keys at once, in pieces that every database takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

_MANY = 500  # keys in one IN (…)


def chunks(keys: Iterable[Any]) -> Iterable[list[Any]]:
    """The different ones of `keys`, in order, in lists of bearable length."""
    ordered = sorted(set(keys))
    return (ordered[start : start + _MANY] for start in range(0, len(ordered), _MANY))


def among(connection: sa.Connection, query: sa.Select[Any], column: sa.Column[Any], keys: Iterable[Any]) -> list[Any]:
    """The rows of `query` whose `column` holds one of `keys`."""
    return [row for chunk in chunks(keys) for row in connection.execute(query.where(column.in_(chunk)))]


def delete(connection: sa.Connection, table: sa.Table, column: sa.Column[Any], keys: Iterable[Any]) -> None:
    """Delete the rows of `table` whose `column` holds one of `keys`."""
    for chunk in chunks(keys):
        connection.execute(sa.delete(table).where(column.in_(chunk)))
