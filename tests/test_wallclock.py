"""Clocks that were wrong, and the store that they leave."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from feeder.lanes import Lane
from feeder.models import Delivery, State
from feeder.store import SEEN_UNTIL, deliveries, fact, open_store, set_fact
from feeder.targets.webhook import Webhook
from feeder.wallclock import Steps, reschedule
from tests import fakes

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
HOUR, YEAR = timedelta(hours=1), timedelta(days=400)
LONG_AGO = NOW - timedelta(days=180)


@pytest.fixture
def store(tmp_path):
    made = open_store(f"sqlite:///{tmp_path}/feeder.db")
    yield made
    made.close()


def delivery(name: str, **changes: object) -> Delivery:
    return Delivery(**{"id": name, "subject": name, "target": "here", "published": NOW, "next_at": NOW, **changes})


def rescheduled(store, *found: Delivery, seen: datetime | None, **options: bool) -> tuple[dict[str, Delivery], list]:
    """What becomes of deliveries at NOW, in a store whose last pass was at `seen`; and what is said of it."""
    with store.write() as connection:
        deliveries.add(connection, found)
        if seen is not None:
            set_fact(connection, SEEN_UNTIL, seen.isoformat())
    with capture_logs() as said:
        reschedule(store, NOW, 0, **options)
    with store.read() as connection:
        return {each.id: each for each in deliveries.find(connection)}, said


@pytest.mark.parametrize("ahead", [timedelta(minutes=5, seconds=1), HOUR, YEAR])
def test_what_a_clock_that_was_ahead_put_off_is_brought_forward_and_said_once(store, ahead):
    retry = delivery("retry", attempts=2, next_at=NOW + ahead)
    doubt = delivery("doubt", attempts=1, next_at=NOW + ahead, doubtful_since=NOW + ahead)
    flying = delivery("flying", attempts=1, state=State.SENDING, next_at=NOW + ahead)
    past = delivery("past", next_at=NOW - HOUR)
    done = delivery("done", attempts=1, state=State.DELIVERED, next_at=NOW + ahead)

    found, said = rescheduled(store, retry, doubt, flying, past, done, seen=NOW + ahead)

    assert found["retry"].next_at == NOW + min(timedelta(minutes=5), ahead)
    assert (found["doubt"].next_at, found["doubt"].doubtful_since) == (NOW + timedelta(seconds=5), LONG_AGO)
    assert (found["flying"].next_at, found["flying"].state) == (LONG_AGO, State.SENDING)
    assert (found["past"], found["done"]) == (past, done)
    assert [(each["event"], each["deliveries"]) for each in said] == [("clock.set_back", 3)]
    assert rescheduled(store, seen=None)[1] == []


@pytest.mark.parametrize("seen", [None, NOW, NOW - YEAR, NOW + timedelta(minutes=5)])
def test_a_clock_that_is_right_leaves_everything_as_it_is(store, seen):
    asked = delivery("asked", attempts=1, next_at=NOW + timedelta(days=30))
    doubt = delivery("doubt", attempts=1, next_at=NOW + HOUR, doubtful_since=NOW - HOUR)

    found, said = rescheduled(store, asked, doubt, seen=seen)

    assert (found, said) == ({"asked": asked, "doubt": doubt}, [])
    with store.read() as connection:
        assert fact(connection, SEEN_UNTIL) == (seen and seen.isoformat())


def test_nothing_waits_for_longer_than_a_month_though_nobody_saw_the_clock_go_back(store):
    found, said = rescheduled(store, delivery("late", attempts=3, next_at=NOW + YEAR), seen=NOW - HOUR)

    assert found["late"].next_at == NOW + timedelta(minutes=30)
    assert [each["deliveries"] for each in said] == [1]


def test_a_set_back_that_was_seen_needs_no_proof(store):
    found, _ = rescheduled(store, delivery("retry", attempts=1, next_at=NOW + HOUR), seen=NOW, set_back=True)

    assert found["retry"].next_at == NOW + timedelta(seconds=5)


@pytest.mark.parametrize("ahead", [HOUR, YEAR])
def test_a_paced_target_is_not_silent_for_as_long_as_a_clock_was_ahead(store, ahead):
    sent = [delivery(f"{n}", attempts=1, state=State.DELIVERED, next_at=NOW + ahead) for n in range(3)]
    sent.append(delivery("before", attempts=1, state=State.DELIVERED, next_at=NOW - timedelta(minutes=1)))
    lane = Lane("here", Webhook(kind="webhook", url="https://x.example", secret=fakes.SignedWebhook.secret, rate="2/h"))
    with store.write() as connection:
        deliveries.add(connection, sent)
    with store.read() as connection:
        found = deliveries.sent_between(connection, NOW - HOUR, NOW)

    for moment in (moment for _, moment in found):
        lane.has_sent(moment)

    assert found == [("here", NOW - timedelta(minutes=1))]
    assert lane.free_at(NOW) == NOW
    lane.has_sent(NOW)
    assert lane.free_at(NOW) == NOW + timedelta(minutes=59)


def test_a_lane_forgets_what_it_sent_by_a_clock_that_was_ahead():
    lane = Lane("here", Webhook(kind="webhook", url="https://x.example", secret=fakes.SignedWebhook.secret, rate="2/h"))
    for moment in (NOW + HOUR, NOW + HOUR, NOW):
        lane.has_sent(moment)

    assert lane.free_at(NOW + HOUR) == NOW + HOUR
    lane.has_sent(NOW + timedelta(minutes=30))
    assert lane.free_at(NOW + timedelta(minutes=30)) == NOW + HOUR


@pytest.mark.parametrize("step", [timedelta(), HOUR, -HOUR, YEAR, -YEAR, timedelta(seconds=0.5)])
def test_a_step_is_what_the_clock_went_on_more_than_time_did(step):
    clock, seconds = [NOW, NOW + timedelta(seconds=5) + step, NOW + timedelta(seconds=8) + step], [100.0, 105.0, 108.0]

    steps = Steps(lambda: clock.pop(0), lambda: seconds.pop(0))

    assert [steps.look(), steps.look()] == [step, timedelta()]
