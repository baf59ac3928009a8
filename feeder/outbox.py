"""The life of a delivery, as plain functions over records: no clock, no network, no database.

plan / backfill ──▶ pending ──(claim)──▶ sending ──after──▶ delivered
                      ▲  ▲                  │
                      │  └── retry at ──────┤
                      │                     ├──▶ unknown   may have arrived: held for a person
                      └── a person ─────────┴──▶ dead      a dead letter
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from feeder.models import Adoption, Delivery, News, Outcome, Rules, State

# Standard Webhooks' schedule (https://www.standardwebhooks.com), counted from the first attempt's end.
RETRY_DELAYS = tuple(
    timedelta(**delay)
    for delay in (
        {"seconds": 5},
        {"minutes": 5},
        {"minutes": 30},
        {"hours": 2},
        {"hours": 5},
        {"hours": 10},
        {"hours": 14},
        {"hours": 20},
        {"hours": 24},
    )
)
JITTER = 0.2  # each delay is spread by up to this part of itself, to both sides

OnUnknown = Literal["hold", "resend"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Care:
    """How a target's deliveries are to be taken care of when it is not known whether they arrived."""

    replay: timedelta | None = None  # how long the service recognises an idempotency key; None: not at all
    on_unknown: OnUnknown = "hold"


def delivery_id(article: str, target: str) -> str:
    """The id of the duty to bring `article` to `target`: 32 hex digits, the same after a lost database too."""
    return hashlib.sha256(f"{article}\n{target}".encode()).hexdigest()[:32]


def plan(
    news: Iterable[News], targets: Iterable[Rules], adopted: Mapping[str, Adoption], now: datetime
) -> list[Delivery]:
    """The deliveries of articles that became visible, to the targets that the store has met before."""
    known = [rules for rules in targets if rules.target in adopted]
    return [_delivery(item, rules.target, now) for item in news for rules in known if rules.feeds & item.feeds]


def backfill(newest: Sequence[News], rules: Rules, now: datetime) -> list[Delivery]:
    """The deliveries of the newest articles there are, to a target that is met for the first time."""
    return [_delivery(item, rules.target, now) for item in newest]


def _delivery(item: News, target: str, now: datetime) -> Delivery:
    return Delivery(
        id=delivery_id(item.article, target), article=item.article, target=target, published=item.published, next_at=now
    )


def begin(delivery: Delivery, now: datetime, care: Care) -> Delivery:
    """`delivery` as it is committed before its first byte leaves; held instead where sending it might double it."""
    if delivery.doubtful_since is not None and not _safe_to_repeat(delivery.doubtful_since, now, care):
        return replace(delivery, state=State.UNKNOWN)
    return replace(delivery, state=State.SENDING, attempts=delivery.attempts + 1, next_at=now)


def after(delivery: Delivery, outcome: Outcome, now: datetime, care: Care, spread: float) -> Delivery:
    """`delivery` after an attempt that ended in `outcome`.

    `spread` is a random number from -1 to 1 that moves a retry within its jitter. A service that said when to come back
    is never asked earlier.
    """
    told = replace(delivery, last_error="" if outcome.kind == "delivered" else outcome.reason)
    match outcome.kind:
        case "delivered":
            return replace(told, state=State.DELIVERED, remote_id=outcome.remote_id, doubtful_since=None)
        case "rejected":
            return replace(told, state=State.DEAD)
        case "gone":  # the target is switched off; the duty stays
            return replace(told, state=State.PENDING, next_at=now)
        case "unknown":
            told = replace(told, doubtful_since=told.doubtful_since or told.next_at)
    return _retry(told, outcome, now, care, spread)


def interrupted(delivery: Delivery, now: datetime, care: Care) -> Delivery:
    """`delivery`, which a crash left in `sending`: nobody knows whether it arrived."""
    doubtful = replace(
        delivery,
        doubtful_since=delivery.doubtful_since or delivery.next_at,
        last_error="feeder stopped while it was sent",
    )
    if not _safe_to_repeat(doubtful.doubtful_since or now, now, care):
        return replace(doubtful, state=State.UNKNOWN)
    return replace(doubtful, state=State.PENDING, next_at=now)


def retry_now(delivery: Delivery, now: datetime) -> Delivery:
    """`delivery`, as a person wants it tried again: from the beginning of the retry table, whatever is in doubt."""
    return replace(delivery, state=State.PENDING, next_at=now, attempts=0, doubtful_since=None)


def _retry(delivery: Delivery, outcome: Outcome, now: datetime, care: Care, spread: float) -> Delivery:
    if delivery.attempts > len(RETRY_DELAYS):
        return replace(delivery, state=State.UNKNOWN if delivery.doubtful_since else State.DEAD)
    delay = RETRY_DELAYS[max(delivery.attempts, 1) - 1] * (1 + JITTER * spread)
    due = max(now + delay, _asked_for(outcome, now))
    if delivery.doubtful_since is not None and not _safe_to_repeat(delivery.doubtful_since, due, care):
        return replace(delivery, state=State.UNKNOWN)
    return replace(delivery, state=State.PENDING, next_at=due)


def _asked_for(outcome: Outcome, now: datetime) -> datetime:
    if outcome.not_before is None:
        return now
    return outcome.not_before if isinstance(outcome.not_before, datetime) else now + outcome.not_before


def _safe_to_repeat(since: datetime, when: datetime, care: Care) -> bool:
    """Whether a message first sent at `since` may be sent once more at `when`.

    So it is where the service knows it again by its key, and where its owner said that twice is better than never.
    """
    return care.on_unknown == "resend" or (care.replay is not None and when - since < care.replay)
