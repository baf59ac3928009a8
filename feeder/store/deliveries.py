"""The outbox and the targets in the store. Every function works within the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from feeder.models import Adoption, Delivery, State
from feeder.store import fact, set_fact
from feeder.store.keys import among
from feeder.store.tables import articles, deliveries, targets

_FIELDS = Delivery.__struct_fields__
_MANY = 500
_FEW = 50  # targets that are asked for one by one


_CREDENTIALS = "refused_credentials:"  # the fact, with the target's name after it


def adopted(connection: sa.Connection) -> dict[str, Adoption]:
    """The targets that the store has met, by name."""
    rows = connection.execute(sa.select(targets.c.name, targets.c.adopted_at, targets.c.off))
    return {name: Adoption(name=name, adopted_at=adopted_at, off=off) for name, adopted_at, off in rows}


def adopt(connection: sa.Connection, name: str, now: datetime) -> None:
    """Remember a target that is met for the first time."""
    connection.execute(sa.insert(targets).values(name=name, adopted_at=now, off=""))


def switch(connection: sa.Connection, name: str, off: str, credentials: str = "") -> None:
    """Switch a target off for the reason `off`, or on again when that is empty. `credentials` are those that it had."""
    connection.execute(sa.update(targets).where(targets.c.name == name).values(off=off))
    set_fact(connection, f"{_CREDENTIALS}{name}", credentials)


def refused(connection: sa.Connection, name: str) -> str:
    """The credentials with which a target was switched off; empty where that is not known."""
    return fact(connection, f"{_CREDENTIALS}{name}") or ""


def off(connection: sa.Connection) -> set[str]:
    """The targets that are switched off."""
    return set(connection.execute(sa.select(targets.c.name).where(targets.c.off != "")).scalars())


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


def due(
    connection: sa.Connection, now: datetime, each: int, targets: Collection[str] | None = None
) -> list[tuple[str, str]]:
    """What is due at `now`: targets and ids, at most `each` of one target; those whose articles were published first, first.

    Only what is due to `targets` where few are named, one at least. Costs what it finds, however much waits: what was never
    tried is read in the order of publication, and of what is tried again that which has been due longest.
    """
    found: dict[str, list[Any]] = {}
    for kind, order in _KINDS:
        for row in connection.execute(_due(kind, order, now, each, targets)):
            found.setdefault(row.target, []).append(row)
    chosen = [row for rows in found.values() for row in sorted(rows, key=_place)[:each]]
    return [(row.target, row.id) for row in sorted(chosen, key=_place)]


def _place(row: Any) -> tuple[datetime, int, str]:
    # Of articles of one second the least tried: what ends the worker again and again is not always the first to go.
    return row.published, row.attempts, row.id


def _due(
    kind: Sequence[sa.ColumnElement[bool]],
    order: Sequence[sa.ColumnElement[Any]],
    now: datetime,
    each: int,
    targets: Collection[str] | None,
) -> sa.Select[Any]:
    """The first `each` deliveries of one kind that are due to each target, in `order`: a look into the index for each."""
    few = targets is not None and len(targets) <= _FEW
    names = (_listed(targets or ()) if few else _targets_of(kind)).subquery("waiting")
    first = (
        sa.select(deliveries.c.id)
        .outerjoin(articles, articles.c.id == deliveries.c.subject)
        .where(*kind, _IS_LIVE, deliveries.c.target == names.c.target, deliveries.c.next_at <= now)
        .order_by(*order)
        .limit(each)
        .correlate(names)
    )
    rows = deliveries.alias("found")
    return sa.select(rows.c.target, rows.c.id, rows.c.published, rows.c.attempts).select_from(
        names.join(rows, rows.c.id.in_(first))
    )


def _targets_of(kind: Sequence[sa.ColumnElement[bool]]) -> sa.Select[Any]:
    """The targets that deliveries of one kind wait for, each found from the one before: a loose index scan."""
    names = sa.select(sa.func.min(deliveries.c.target).label("target")).where(*kind).cte("names", recursive=True)
    following = sa.select(sa.func.min(deliveries.c.target)).where(*kind, deliveries.c.target > names.c.target)
    names = names.union_all(sa.select(following.correlate(names).scalar_subquery()).where(names.c.target.is_not(None)))
    return sa.select(names.c.target).where(names.c.target.is_not(None))


def _listed(targets: Collection[str]) -> sa.CompoundSelect[Any]:
    return sa.union_all(*(sa.select(sa.literal(name).label("target")) for name in targets))


def next_due(connection: sa.Connection, now: datetime) -> datetime | None:
    """When something that was tried will be due next, after `now`: a look into the index for each target."""
    names = _targets_of(_RETRIED).subquery("waiting")
    first = (
        sa.select(deliveries.c.next_at)
        .outerjoin(articles, articles.c.id == deliveries.c.subject)
        .where(*_RETRIED, _IS_LIVE, deliveries.c.target == names.c.target, deliveries.c.next_at > now)
        .order_by(deliveries.c.next_at)
        .limit(1)
        .correlate(names)
    )
    query = sa.select(sa.func.min(first.scalar_subquery(), type_=deliveries.c.next_at.type)).select_from(names)
    found: datetime | None = connection.execute(query).scalar()
    return found


_IN_ORDER = (deliveries.c.published, deliveries.c.id)
_IS_LIVE = sa.or_(articles.c.id.is_(None), articles.c.live)  # an article whose file was deleted waits until it is back

# As literals, so that SQLite knows that its partial indexes hold them.
_PENDING = deliveries.c.state == sa.literal_column(f"'{State.PENDING}'")
_FRESH = (_PENDING, deliveries.c.attempts == sa.literal_column("0"))
_RETRIED = (_PENDING, deliveries.c.attempts > sa.literal_column("0"))
_KINDS = ((_FRESH, _IN_ORDER), (_RETRIED, (deliveries.c.next_at,)))  # with the order of their indexes


def pending(connection: sa.Connection, ids: Collection[str], now: datetime) -> list[Delivery]:
    """Those of the deliveries with these ids that are pending and due still."""
    query = _select().where(deliveries.c.state == State.PENDING, deliveries.c.next_at <= now)
    return _read(among(connection, query, deliveries.c.id, ids))


def sent_between(connection: sa.Connection, start: datetime, end: datetime) -> list[tuple[str, datetime]]:
    """The targets that something was sent to after `start`, up to `end`, each time with when; the first, first."""
    query = sa.select(deliveries.c.target, deliveries.c.next_at).where(
        deliveries.c.state != State.PENDING,
        deliveries.c.attempts > 0,
        deliveries.c.next_at > start,
        deliveries.c.next_at <= end,
    )
    return [(row.target, row.next_at) for row in connection.execute(query.order_by(deliveries.c.next_at))]


def unended(connection: sa.Connection, moment: datetime) -> list[Delivery]:
    """The deliveries to come whose times tell of the clock: due later than `moment`, being sent, or in doubt."""
    query = _select().where(
        deliveries.c.state.in_([State.PENDING, State.SENDING]),
        sa.or_(
            deliveries.c.next_at > moment,
            deliveries.c.state == State.SENDING,
            deliveries.c.doubtful_since.is_not(None),
        ),
    )
    return _all(connection, query)


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


def hold_pending(connection: sa.Connection, reason: str) -> int:
    """Hold all that waits to be sent, or is being sent, to targets for a person; how many there were."""
    waits = deliveries.c.state.in_([State.PENDING, State.SENDING])
    of_articles = sa.exists().where(articles.c.id == deliveries.c.subject)
    values = {"state": State.UNKNOWN.value, "last_error": reason}
    return connection.execute(sa.update(deliveries).where(waits, of_articles).values(values)).rowcount


def save(connection: sa.Connection, delivery: Delivery) -> None:
    """Write how a delivery stands now."""
    connection.execute(sa.update(deliveries).where(deliveries.c.id == delivery.id).values(_values(delivery)))


def save_all(connection: sa.Connection, changed: Sequence[Delivery]) -> None:
    """Write how deliveries stand now."""
    if changed:
        columns: dict[str, Any] = {name: sa.bindparam(name) for name in _FIELDS if name != "id"}
        statement = sa.update(deliveries).where(deliveries.c.id == sa.bindparam("key")).values(columns)
        connection.execute(statement, [{"key": each.id, **_values(each)} for each in changed])


def get(connection: sa.Connection, prefix: str) -> list[Delivery]:
    """The deliveries whose ids begin with `prefix`; at most ten."""
    query = _select().where(deliveries.c.id.startswith(prefix, autoescape=True)).order_by(deliveries.c.id).limit(10)
    return _all(connection, query)


def ids(connection: sa.Connection, state: State) -> frozenset[str]:
    """The ids of all deliveries in a state."""
    return frozenset(connection.execute(sa.select(deliveries.c.id).where(deliveries.c.state == state)).scalars())


def with_ids(connection: sa.Connection, ids: Collection[str]) -> list[Delivery]:
    """The deliveries with these ids."""
    return _read(among(connection, _select(), deliveries.c.id, ids))


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


def _all(connection: sa.Connection, query: sa.Select[Any]) -> list[Delivery]:
    return _read(connection.execute(query))


def _read(rows: Iterable[Any]) -> list[Delivery]:
    return [Delivery(**{**dict(zip(_FIELDS, row, strict=True)), "state": State(row.state)}) for row in rows]
