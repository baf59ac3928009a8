"""What an operator asks of the store: what there is, what has been sent. Changes nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from feeder import websub
from feeder.errors import Problem, UsageError
from feeder.models import Delivery, Site, State
from feeder.store import FAILED_PASS, LAST_PASS, Store, catalog, deliveries, documents, fact, missing, news
from feeder.targets.base import Endpoint

_FIRST = 20  # of what may be much


def status(store: Store, targets: Mapping[str, Endpoint], now: datetime) -> dict[str, Any]:
    """Articles, feeds, deliveries by target and state, and the last pass, as plain data. `targets` holds hubs too."""
    with store.read() as connection:
        counted = deliveries.count(connection)
        met = deliveries.adopted(connection)
        held = missing.noted(connection)
        names = sorted({*counted, *targets})
        return {
            "articles": {
                **news.count(connection, now),
                "missing": held.as_data() if held else None,
                "bad": [_told(problem) for problem in catalog.problems(connection)],
            },
            "feeds": sorted(documents.feeds(connection)),
            "targets": {
                name: {
                    "kind": targets[name].kind if name in targets else None,
                    "off": met[name].off or None if name in met else None,
                    "deliveries": {state.value: counted.get(name, {}).get(state, 0) for state in State},
                }
                for name in names
            },
            "last_pass": json.loads(fact(connection, LAST_PASS) or "null"),
            "failed_pass": json.loads(fact(connection, FAILED_PASS) or "null"),  # since then
        }


def concerns(found: Mapping[str, Any], targets: Collection[str]) -> list[str]:
    """What of a `status` needs a person, each with the way out. `targets` are the names of those in the settings."""
    said = []
    if missing_ones := found["articles"]["missing"]:
        said.append(missing_ones["said"])
    if bad := found["articles"]["bad"]:
        said.append(f"{_counted(len(bad), 'file')} cannot be published as it is: feeder check")
    if failed := found["failed_pass"]:
        said.append(f"the last pass failed at {failed['at']}: {failed['reason']}")
    for name, target in found["targets"].items():
        if name not in targets:
            continue
        if target["off"]:
            said.append(off(name, target["off"]))
        waiting = target["deliveries"]
        if dead := waiting[State.DEAD.value]:
            said.append(f"{name}: {_counted(dead, 'dead letter')}: feeder deliveries --target {name} --state dead")
        if unknown := waiting[State.UNKNOWN.value]:
            held = f"{_counted(unknown, 'delivery', 'deliveries')} may have arrived"
            said.append(f"{name}: {held}: feeder deliveries --target {name} --state unknown")
    return said


def targets_off(store: Store, targets: Collection[str]) -> dict[str, str]:
    """Which of `targets` are switched off, and why."""
    with store.read() as connection:
        met = deliveries.adopted(connection)
    return {name: met[name].off for name in sorted(targets) if name in met and met[name].off}


def off(name: str, reason: str) -> str:
    """What an operator is told of a target that is switched off."""
    return f"{name} is off: {reason}; put it right, then: feeder target enable {name}"


def off_in_public(store: Store, targets: Collection[str]) -> list[str]:
    """What a stranger may know of those of `targets` that are switched off."""
    return [f"target {name} is off; the log and `feeder status` say why" for name in targets_off(store, targets)]


def _counted(number: int, one: str, several: str = "") -> str:
    return f"{number} {one if number == 1 else several or one + 's'}"


def stale_pass(store: Store, now: datetime, patience: timedelta) -> str:
    """Why what is served may be old: there was no pass for longer than `patience`, or articles are missing. Else empty.

    A pass that ended later than now ended by a clock that was ahead, and says nothing.
    """
    with store.read() as connection:
        last = json.loads(fact(connection, LAST_PASS) or "null")
        held = missing.noted(connection)
        failed = fact(connection, FAILED_PASS)
    if failed:
        return "the last pass failed; the log and `feeder status` say why"
    if last is None:
        return "no worker has made a pass yet"
    ended = datetime.fromisoformat(last["ended"])
    if ended - now > patience:
        return f"the last pass ended at {last['ended']}, by a clock that was ahead; is a worker running?"
    if now - ended > patience:
        return f"the last pass ended at {last['ended']}; is a worker running?"
    return str(held or "")


def _told(problem: Problem) -> dict[str, Any]:
    return {"file": problem.where, "line": problem.line, "reason": problem.reason}


def listing(
    store: Store, site: Site, *, states: Collection[State], target: str | None, limit: int | None
) -> list[dict[str, Any]]:
    """Deliveries as plain data, the newest article's first."""
    with store.read() as connection:
        found = deliveries.find(connection, states=states, target=target, limit=limit)
        return [_delivery(delivery, *_about(connection, delivery, site)) for delivery in found]


def _about(connection: sa.Connection, delivery: Delivery, site: Site) -> tuple[str, str]:
    """What a delivery tells of: its title and address."""
    if websub.is_about_document(delivery.subject):
        ping = websub.ping(delivery.subject, site)
        return ping.title, ping.url
    article = catalog.article(connection, delivery.subject)
    return (article.title, article.url) if article else ("", "")


def _delivery(delivery: Delivery, title: str, url: str) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "state": delivery.state.value,
        "target": delivery.target,
        "title": title,
        "url": url,
        "published": delivery.published.isoformat(),
        "attempts": delivery.attempts,
        "tried_at": delivery.next_at.isoformat() if delivery.attempts and delivery.state is not State.PENDING else None,
        "next_at": delivery.next_at.isoformat() if delivery.state is State.PENDING else None,
        "last_error": delivery.last_error,
        "remote_id": delivery.remote_id,
    }


class Known(Struct, frozen=True, kw_only=True):
    """What a store knows before the first pass over it."""

    unknown: frozenset[str]  # the deliveries whose end is unknown
    announced: frozenset[str]  # the articles that targets were told of


def known(store: Store) -> Known:
    """What a store knows now."""
    with store.read() as connection:
        return Known(unknown=deliveries.ids(connection, State.UNKNOWN), announced=news.announced(connection))


def restored(store: Store, before: Known) -> dict[str, Any]:
    """What the first pass over a restored store held and took for told, as plain data: how many, and the first of them."""
    now = known(store)
    held, adopted = now.unknown - before.unknown, now.announced - before.announced
    with store.read() as connection:
        first = deliveries.with_ids(connection, sorted(held)[:_FIRST])
        titles = catalog.articles_of(connection, {each.subject for each in first})
        newest = catalog.articles_of(connection, news.newest(connection, adopted, _FIRST))
    return {
        "held": {
            "number": len(held),
            "first": [
                {"id": each.id, "target": each.target, "title": titles[each.subject].title}
                for each in sorted(first, key=lambda each: (each.target, each.published, each.id))
            ],
        },
        "adopted": {"number": len(adopted), "first": [each.title for each in newest.values()]},
    }


def one_delivery(connection: sa.Connection, prefix: str) -> Delivery:
    """The delivery whose id begins with `prefix`. UsageError when there is none, or more than one."""
    found = deliveries.get(connection, prefix)
    if not found:
        raise UsageError(f"{prefix}: no delivery has an id that begins so; `feeder deliveries` lists them")
    if len(found) > 1:
        raise UsageError(
            f"{prefix}: several deliveries have ids that begin so; give more of it ({', '.join(each.id for each in found)})"
        )
    return found[0]
