from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from feeder.models import Outcome
from feeder.pacing import FAILURES, PROBE_AFTER, Breaker, Rate

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def at(*seconds: float) -> list[datetime]:
    return [NOW + timedelta(seconds=each) for each in seconds]


@pytest.mark.parametrize(
    ("written", "number", "seconds"),
    [("1/s", 1, 1), ("10/10s", 10, 10), ("20/min", 20, 60), ("300/5min", 300, 300), ("300/3h", 300, 10_800)],
)
def test_a_rate_is_read(written, number, seconds):
    assert Rate.read(written) == Rate(number=number, period=timedelta(seconds=seconds))


def test_no_rate_is_none():
    assert Rate.read("") is None


@pytest.mark.parametrize("written", ["fast", "1", "1/", "/s", "0/s", "1/0s", "1/day", "-1/s", "1 / s", "1.5/s"])
def test_what_is_no_rate_is_refused(written):
    with pytest.raises(ValueError, match="is no rate: a number, a slash and a time, like 1/s, 20/min or 300/3h"):
        Rate.read(written)


@pytest.mark.parametrize(
    ("sent", "due"),
    [([], 0), ([-1], 0), ([-1, -0.5], 9), ([-11, -5], 0), ([-9, -8, -7], 2), ([-100, -10], 0), ([-9.5, -9], 0.5)],
)
def test_a_message_waits_until_it_fits_into_the_rate(sent, due):
    assert Rate(number=2, period=timedelta(seconds=10)).next_at(at(*sent), NOW) == NOW + timedelta(seconds=due)


@pytest.mark.parametrize(
    ("sent", "due"),
    [
        ([3_600, 3_601], 0),
        ([-5, 34_560_000], 0),
        ([-5, -4, 34_560_000], 5),
        ([-5, -4, 0.001], 5),
        ([-9, -5, -4, 3_600, 3_700], 5),
    ],
)
def test_what_a_clock_that_was_ahead_sent_does_not_count(sent, due):
    assert Rate(number=2, period=timedelta(seconds=10)).next_at(at(*sent), NOW) == NOW + timedelta(seconds=due)


@pytest.mark.parametrize(
    ("until", "free"), [(None, 0), (-1, 0), (0, 0), (10, 10), (30, 30), (31, 0), (3_600, 0), (34_560_000, 0)]
)
def test_a_breaker_that_a_clock_opened_that_was_ahead_is_closed(until, free):
    breaker = Breaker(failures=10, open_until=None if until is None else NOW + timedelta(seconds=until))

    assert breaker.free_at(NOW) == NOW + timedelta(seconds=free)


def after(*kinds: str) -> Breaker:
    breaker = Breaker()
    for kind in kinds:
        breaker = breaker.after(Outcome(kind=kind), NOW)
    return breaker


@pytest.mark.parametrize("kind", ["retry", "unknown"])
def test_a_breaker_opens_after_so_many_failures_in_a_row(kind):
    assert after(*[kind] * (FAILURES - 1)).open_until is None
    assert after(*[kind] * FAILURES).open_until == NOW + PROBE_AFTER
    assert after(*[kind] * (FAILURES + 1)).open_until == NOW + PROBE_AFTER


@pytest.mark.parametrize("kind", ["delivered", "rejected", "gone"])
def test_an_answer_closes_it_and_counts_from_the_beginning(kind):
    assert after(*["retry"] * FAILURES, kind) == Breaker()
    assert after(*["retry"] * (FAILURES - 1), kind, "retry") == Breaker(failures=1)
