"""Many rows at once: queries and deletions by their keys, in pieces that every database takes, and insertions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

_MANY = 500  # keys in one IN (…)


def chunks(keys: Iterable[Any]) -> Iterable[list[Any]]:
    """The different ones of `keys`, in order, in lists of bearable length."""
    ordered = sorted(set(keys))
    return (ordered[start : start + _MANY] for start in range(0, len(ordered), _MANY))


def plain_rows(connection: sa.Connection, query: sa.Select[Any]) -> Iterator[tuple[Any, ...]]:
    """The rows of a query without parameters as the driver gives them (PEP 249): the fast way to very many."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(str(query.compile(dialect=connection.dialect)))
        yield from cursor.fetchall()
    finally:
        cursor.close()


def among(connection: sa.Connection, query: sa.Select[Any], column: sa.Column[Any], keys: Iterable[Any]) -> list[Any]:
    """The rows of `query` whose `column` holds one of `keys`."""
    statement = query.where(column.in_(sa.bindparam("keys", expanding=True)))
    return [row for chunk in chunks(keys) for row in connection.execute(statement, {"keys": chunk})]


def delete(connection: sa.Connection, table: sa.Table, column: sa.Column[Any], keys: Iterable[Any]) -> None:
    """Delete the rows of `table` whose `column` holds one of `keys`."""
    for chunk in chunks(keys):
        connection.execute(sa.delete(table).where(column.in_(chunk)))


def insert(connection: sa.Connection, table: sa.Table, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows with the values of the columns called `names`: as SQLAlchemy does, but a column at a time."""
    dialect = connection.dialect
    statement = sa.insert(table).compile(dialect=dialect, column_keys=list(names))
    columns = dict(zip(names, zip(*rows, strict=True), strict=False))
    for name, values in columns.items():
        if (convert := table.c[name].type.dialect_impl(dialect).bind_processor(dialect)) is not None:
            columns[name] = tuple(map(convert, values))
    if columns:
        connection.exec_driver_sql(
            str(statement), list(zip(*map(columns.get, statement.positiontup or ()), strict=True))
        )
