"""The outbox and the targets in the store. Every function works within the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from feeder.models import Adoption, Delivery, State
from feeder.store.tables import articles, deliveries, targets

_FIELDS = [field.name for field in fields(Delivery)]
_MANY = 500


def adopted(connection: sa.Connection) -> dict[str, Adoption]:
    """The targets that the store has met, by name."""
    rows = connection.execute(sa.select(targets.c.name, targets.c.adopted_at, targets.c.off))
    return {name: Adoption(name=name, adopted_at=adopted_at, off=off) for name, adopted_at, off in rows}


def adopt(connection: sa.Connection, name: str, now: datetime) -> None:
    """Remember a target that is met for the first time."""
    connection.execute(sa.insert(targets).values(name=name, adopted_at=now, off=""))


def switch(connection: sa.Connection, name: str, off: str) -> None:
    """Switch a target off for the reason `off`, or on again when that is empty."""
    connection.execute(sa.update(targets).where(targets.c.name == name).values(off=off))


def is_off(connection: sa.Connection, name: str) -> bool:
    """Whether a target is switched off."""
    return bool(connection.execute(sa.select(targets.c.off).where(targets.c.name == name)).scalar())


def add(connection: sa.Connection, planned: Sequence[Delivery]) -> int:
    """Write deliveries; how many were new. One that is there already stays as it is."""
    there: set[str] = set()
    for start in range(0, len(planned), _MANY):
        ids = [delivery.id for delivery in planned[start : start + _MANY]]
        there.update(connection.execute(sa.select(deliveries.c.id).where(deliveries.c.id.in_(ids))).scalars())
    new = {delivery.id: _values(delivery) for delivery in planned if delivery.id not in there}
    if new:
        connection.execute(sa.insert(deliveries), list(new.values()))
    return len(new)


def next_pending(connection: sa.Connection, target: str, now: datetime) -> Delivery | None:
    """The delivery that a target is told next: of those due at `now`, the one whose article was published first."""
    query = (
        _select()
        .outerjoin(articles, articles.c.id == deliveries.c.subject)
        .where(*_waiting(target), deliveries.c.next_at <= now)
        .order_by(deliveries.c.published, deliveries.c.id)
        .limit(1)
    )
    return _one(connection, query)


def next_due(connection: sa.Connection, target: str) -> datetime | None:
    """When a target has something to be told next."""
    query = (
        sa.select(sa.func.min(deliveries.c.next_at, type_=deliveries.c.next_at.type))
        .outerjoin(articles, articles.c.id == deliveries.c.subject)
        .where(*_waiting(target))
    )
    due: datetime | None = connection.execute(query).scalar()
    return due


def _waiting(target: str) -> tuple[sa.ColumnElement[bool], ...]:
    """What waits for `target`; an article whose file was deleted waits until it is back."""
    there = sa.or_(articles.c.id.is_(None), articles.c.live)
    return (deliveries.c.target == target, deliveries.c.state == State.PENDING, there)


def waiting_about(connection: sa.Connection, prefix: str, target: str) -> datetime | None:
    """When `target` would be told of a subject that begins with `prefix`."""
    query = sa.select(sa.func.min(deliveries.c.next_at, type_=deliveries.c.next_at.type)).where(
        *_about(prefix, target), deliveries.c.state == State.PENDING
    )
    found: datetime | None = connection.execute(query).scalar()
    return found


def forget_about(connection: sa.Connection, prefix: str, target: str) -> None:
    """Drop all deliveries to `target` whose subjects begin with `prefix`, but for the one that is being sent."""
    connection.execute(sa.delete(deliveries).where(*_about(prefix, target), deliveries.c.state != State.SENDING))


def forget_others(connection: sa.Connection, part: str, targets: Collection[str]) -> None:
    """Drop all deliveries whose subjects hold `part` and that go to none of `targets`."""
    others = deliveries.c.target.not_in(targets)
    connection.execute(sa.delete(deliveries).where(deliveries.c.subject.contains(part, autoescape=True), others))


def _about(prefix: str, target: str) -> tuple[sa.ColumnElement[bool], ...]:
    end = prefix[:-1] + chr(ord(prefix[-1]) + 1)  # a range finds them in the index where LIKE may not
    return (deliveries.c.subject >= prefix, deliveries.c.subject < end, deliveries.c.target == target)


def save(connection: sa.Connection, delivery: Delivery) -> None:
    """Write how a delivery stands now."""
    connection.execute(sa.update(deliveries).where(deliveries.c.id == delivery.id).values(_values(delivery)))


def get(connection: sa.Connection, prefix: str) -> list[Delivery]:
    """The deliveries whose ids begin with `prefix`; at most ten."""
    query = _select().where(deliveries.c.id.startswith(prefix, autoescape=True)).order_by(deliveries.c.id).limit(10)
    return _all(connection, query)


def find(
    connection: sa.Connection, *, states: Collection[State] = (), target: str | None = None, limit: int | None = None
) -> list[Delivery]:
    """Deliveries in the given states (all, if none is named) and to the given target; the newest article's first."""
    query = _select().order_by(deliveries.c.published.desc(), deliveries.c.target, deliveries.c.id)
    if states:
        query = query.where(deliveries.c.state.in_(states))
    if target is not None:
        query = query.where(deliveries.c.target == target)
    return _all(connection, query if limit is None else query.limit(limit))


def count(connection: sa.Connection) -> dict[str, dict[str, int]]:
    """How many deliveries there are, by target and state."""
    query = sa.select(deliveries.c.target, deliveries.c.state, sa.func.count()).group_by(
        deliveries.c.target, deliveries.c.state
    )
    found: dict[str, dict[str, int]] = {}
    for target, state, number in connection.execute(query.order_by(deliveries.c.target, deliveries.c.state)):
        found.setdefault(target, {})[state] = number
    return found


def _select() -> sa.Select[Any]:
    return sa.select(*(deliveries.c[name] for name in _FIELDS))


def _values(delivery: Delivery) -> dict[str, Any]:
    return {name: getattr(delivery, name) for name in _FIELDS}


def _one(connection: sa.Connection, query: sa.Select[Any]) -> Delivery | None:
    return next(iter(_all(connection, query)), None)


def _all(connection: sa.Connection, query: sa.Select[Any]) -> list[Delivery]:
    rows = connection.execute(query).mappings()
    return [Delivery(**{**row, "state": State(row["state"])}) for row in rows]
