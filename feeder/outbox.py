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
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

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
# After an attempt began: a minute after the longest has ended, so that a service which was still at it is done.
LOOK_AFTER = timedelta(seconds=90)
LOOK_UP_AGAIN = timedelta(seconds=30)  # after a name server that did not answer
LONGEST_WAIT = timedelta(days=30)  # a service that asks for more is asked then all the same
CLOCKS_DIFFER = timedelta(minutes=5)
_LONG_AGO = timedelta(days=180)
JITTER = 0.2  # each delay is spread by up to this part of itself, to both sides

OnUnknown = Literal["hold", "resend"]


class Care(Struct, frozen=True, kw_only=True):
    """How a target's deliveries are to be taken care of when it is not known whether they arrived."""

    replay: timedelta | None = None  # how long the service recognises an idempotency key; None: not at all
    looks: bool = False  # whether it can be asked if a message is there
    on_unknown: OnUnknown = "hold"


def delivery_id(subject: str, target: str) -> str:
    """The id of the duty to bring `subject` to `target`: 32 hex digits, the same after a lost database too."""
    return hashlib.sha256(f"{subject}\n{target}".encode()).hexdigest()[:32]


def plan(
    news: Sequence[News], targets: Iterable[Rules], adopted: Mapping[str, Adoption], now: datetime
) -> list[Delivery]:
    """The deliveries of articles that became visible, to the targets that the store has met before.

    Of more than `max_per_pass` the newest go out; the others are dead letters, which a person may have sent.
    """
    return [
        delivery
        for rules in targets
        if rules.target in adopted
        for delivery in _at_most(
            rules, [_delivery(item, rules.target, now) for item in news if _wants(rules, item, now)]
        )
    ]


def _wants(rules: Rules, item: News, now: datetime) -> bool:
    too_old = rules.max_age is not None and item.published < now - rules.max_age
    return bool(rules.feeds & item.feeds) and not too_old


def _at_most(rules: Rules, planned: list[Delivery]) -> list[Delivery]:
    if not rules.max_per_pass or len(planned) <= rules.max_per_pass:
        return planned
    ordered = sorted(planned, key=lambda each: (each.published, each.id))
    reason = f"one of {len(planned)} articles of one pass, more than max_per_pass = {rules.max_per_pass}"
    over = [replace(each, state=State.DEAD, last_error=reason) for each in ordered[: -rules.max_per_pass]]
    return [*over, *ordered[-rules.max_per_pass :]]


def backfill(newest: Sequence[News], rules: Rules, now: datetime) -> list[Delivery]:
    """The deliveries of the newest articles there are, to a target that is met for the first time."""
    return [_delivery(item, rules.target, now) for item in newest if _wants(rules, item, now)]


def _delivery(item: News, target: str, now: datetime) -> Delivery:
    return Delivery(
        id=delivery_id(item.article, target), subject=item.article, target=target, published=item.published, next_at=now
    )


def must_look(delivery: Delivery, now: datetime, care: Care) -> bool:
    """Whether the service has to be asked if the message is there, before it is sent again."""
    return delivery.doubtful_since is not None and care.looks and not _known_again(delivery, now, care)


def unseen(delivery: Delivery, care: Care) -> bool:
    """Whether a message in doubt may be sent though the service cannot be asked: once more, where its owner wants that."""
    return care.on_unknown == "resend" and delivery.attempts == 2


def begin(delivery: Delivery, now: datetime, care: Care) -> Delivery:
    """`delivery` as it is committed before its first byte leaves; held instead where sending it might double it."""
    delivery = _of_this_clock(delivery, now)
    if delivery.doubtful_since is not None and not _may_repeat(delivery, now, care):
        return replace(delivery, state=State.UNKNOWN)
    return replace(delivery, state=State.SENDING, attempts=delivery.attempts + 1, next_at=now)


def after(delivery: Delivery, outcome: Outcome, now: datetime, care: Care, spread: float) -> Delivery:
    """`delivery` after an attempt that ended in `outcome`.

    `spread` is a random number from -1 to 1 that moves a retry within its jitter. A service that said when to come back
    is never asked earlier. A service that was not asked at all, because its name could not be looked up, is no reason to
    count an attempt, nor to wait by the table.
    """
    delivery = _of_this_clock(delivery, now)
    told = replace(delivery, last_error="" if outcome.kind == "delivered" else outcome.reason)
    match outcome.kind:
        case "delivered":
            return replace(told, state=State.DELIVERED, remote_id=outcome.remote_id, doubtful_since=None)
        case "rejected":
            return replace(told, state=State.DEAD)
        case "gone":  # the target is switched off; the duty stays, and this was no try at it
            return replace(told, state=State.PENDING, next_at=now, attempts=max(told.attempts - 1, 0))
        case "unknown":
            return _doubtful(told, _due(told, outcome, now, spread), care)
    if not outcome.asked:
        untried = replace(told, attempts=max(told.attempts - 1, 0))
        return _retry(untried, now + LOOK_UP_AGAIN * (1 + JITTER * spread), care)
    return _retry(told, _due(told, outcome, now, spread), care)


def interrupted(delivery: Delivery, now: datetime, care: Care) -> Delivery:
    """`delivery`, which a crash left in `sending`: nobody knows whether it arrived."""
    delivery = _of_this_clock(delivery, now)
    return _doubtful(replace(delivery, last_error="feeder stopped while it was sent"), now, care)


def rescheduled(delivery: Delivery, now: datetime, spread: float) -> Delivery:
    """`delivery` after the clock was set back: if it is pending, due no later than by the retry table."""
    due = min(delivery.next_at, now + _delay(delivery, spread))
    moved = of_another_clock(delivery, now)
    return replace(moved, next_at=due) if delivery.state is State.PENDING else moved


def is_overdue(delivery: Delivery, now: datetime) -> bool:
    """Whether `delivery` waits for longer than anything does: a clock that was ahead said until when."""
    return delivery.next_at > now + LONGEST_WAIT


def of_another_clock(delivery: Delivery, now: datetime) -> Delivery:
    """`delivery`, whose attempts began by a clock that was set back since: nobody knows how long ago.

    They are taken to be so old that a service which forgets keys within hours has forgotten this one, and one that keeps
    them for a year has not.
    """
    doubted, long_ago = delivery.doubtful_since, now - _LONG_AGO
    return replace(delivery, next_at=min(delivery.next_at, long_ago), doubtful_since=doubted and min(doubted, long_ago))


def _of_this_clock(delivery: Delivery, now: datetime) -> Delivery:
    """`delivery`, whose attempts began before `now`, whatever the clock said then."""
    newest = max(delivery.next_at, delivery.doubtful_since or delivery.next_at)
    return delivery if newest <= now + CLOCKS_DIFFER else of_another_clock(delivery, now)


def retry_now(delivery: Delivery, now: datetime) -> Delivery:
    """`delivery`, as a person wants it tried again: from the beginning of the retry table, whatever is in doubt."""
    return replace(delivery, state=State.PENDING, next_at=now, attempts=0, doubtful_since=None)


def settled(delivery: Delivery) -> Delivery:
    """`delivery`, of which a person has seen that it arrived."""
    return replace(delivery, state=State.DELIVERED, doubtful_since=None, last_error="")


def _doubtful(delivery: Delivery, due: datetime, care: Care) -> Delivery:
    """`delivery`, of which it is not known whether it arrived: again at `due`, or held."""
    doubted_before = delivery.doubtful_since is not None
    told = replace(delivery, doubtful_since=delivery.doubtful_since or delivery.next_at)
    if _known_again(told, due, care):
        return _retry(told, due, care)
    if care.looks:
        return _retry(told, max(due, told.next_at + LOOK_AFTER), care)
    if care.on_unknown == "resend" and not doubted_before:
        return _retry(told, due, care)
    return replace(told, state=State.UNKNOWN)


def _retry(delivery: Delivery, due: datetime, care: Care) -> Delivery:
    """`delivery`, tried again at `due`, unless that is one time too many or might double what is in doubt."""
    if delivery.attempts > len(RETRY_DELAYS):
        return replace(delivery, state=State.UNKNOWN if delivery.doubtful_since else State.DEAD)
    if delivery.doubtful_since is not None and not _may_repeat(delivery, due, care):
        return replace(delivery, state=State.UNKNOWN)
    return replace(delivery, state=State.PENDING, next_at=due)


def _due(delivery: Delivery, outcome: Outcome, now: datetime, spread: float) -> datetime:
    """When a delivery is tried again: by the table, and never earlier than the service asked."""
    asked = outcome.not_before or now
    asked = asked if isinstance(asked, datetime) else now + asked
    return max(now + _delay(delivery, spread), min(asked, now + LONGEST_WAIT))


def _delay(delivery: Delivery, spread: float) -> timedelta:
    """How long `delivery` waits by the retry table."""
    return RETRY_DELAYS[min(max(delivery.attempts, 1), len(RETRY_DELAYS)) - 1] * (1 + JITTER * spread)


def _may_repeat(delivery: Delivery, when: datetime, care: Care) -> bool:
    """Whether a message in doubt may be sent again at `when`.

    Its service knows it again, or can be asked if it is there, or its owner wants it sent once more.
    """
    return care.looks or care.on_unknown == "resend" or _known_again(delivery, when, care)


def _known_again(delivery: Delivery, when: datetime, care: Care) -> bool:
    """Whether the service will still know at `when` the key of a message that it may have got.

    A clock that was set back far makes the message's age unknown.
    """
    if care.replay is None or delivery.doubtful_since is None:
        return False
    return -CLOCKS_DIFFER < when - delivery.doubtful_since < care.replay
