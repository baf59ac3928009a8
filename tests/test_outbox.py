from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from feeder import outbox
from feeder.models import Adoption, Delivery, News, Outcome, Rules, State
from feeder.outbox import RETRY_DELAYS, Care

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
SENT = NOW - timedelta(seconds=3)
HOLD, RESEND = Care(), Care(on_unknown="resend")
LOOKS = Care(looks=True)
REPLAY = Care(replay=timedelta(hours=1))
MOST_ATTEMPTS = 1 + len(RETRY_DELAYS)

TABLE = [
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
]


def pending(**changes) -> Delivery:
    plain = {"id": "d" * 32, "subject": "a", "target": "here", "published": NOW - timedelta(days=1), "next_at": SENT}
    return Delivery(**{**plain, **changes})


def sending(attempts: int = 1, **changes) -> Delivery:
    """A delivery that left at SENT, in its `attempts`-th try."""
    return pending(**{"state": State.SENDING, "attempts": attempts, **changes})


def news(article: str, *feeds: str) -> News:
    return News(article=article, published=NOW - timedelta(hours=1), feeds=frozenset({"all", *feeds}))


def adopted(*names: str) -> dict[str, Adoption]:
    return {name: Adoption(name=name, adopted_at=NOW) for name in names}


# plan and backfill


@pytest.mark.parametrize(
    ("rules", "planned"),
    [
        ([Rules(target="x")], [("1", "x"), ("2", "x"), ("3", "x")]),
        ([Rules(target="x", feeds=frozenset({"ai"}))], [("1", "x"), ("3", "x")]),
        ([Rules(target="x", feeds=frozenset({"ai", "law"}))], [("1", "x"), ("2", "x"), ("3", "x")]),
        ([Rules(target="x", feeds=frozenset({"sport"}))], []),
        ([Rules(target="new")], []),
        (
            [Rules(target="x", feeds=frozenset({"law"})), Rules(target="y"), Rules(target="new")],
            [("1", "y"), ("2", "x"), ("2", "y"), ("3", "y")],
        ),
        ([], []),
    ],
)
def test_news_are_planned_for_each_known_target_that_wants_one_of_their_feeds(rules, planned):
    items = [news("1", "ai"), news("2", "law"), news("3", "ai", "robots")]

    deliveries = outbox.plan(items, rules, adopted("x", "y", "z"), NOW)

    assert sorted(planned) == sorted((delivery.subject, delivery.target) for delivery in deliveries)


def test_a_planned_delivery_is_due_now_and_in_the_articles_place():
    (delivery,) = outbox.plan([news("1")], [Rules(target="x")], adopted("x"), NOW)

    assert delivery == Delivery(
        id=outbox.delivery_id("1", "x"),
        subject="1",
        target="x",
        published=NOW - timedelta(hours=1),
        state=State.PENDING,
        next_at=NOW,
        attempts=0,
    )


def test_a_target_that_is_switched_off_is_planned_for_like_all_others():
    off = {"x": Adoption(name="x", adopted_at=NOW, off="410")}

    assert len(outbox.plan([news("1")], [Rules(target="x")], off, NOW)) == 1


def test_a_new_target_is_told_what_it_is_handed_of_the_past():
    deliveries = outbox.backfill([news("2"), news("1")], Rules(target="new", backfill=2), NOW)

    assert [("2", "new", NOW), ("1", "new", NOW)] == [(each.subject, each.target, each.next_at) for each in deliveries]


def test_a_new_target_is_told_nothing_where_there_is_nothing():
    assert outbox.backfill([], Rules(target="new"), NOW) == []


def test_a_backfilled_delivery_is_the_same_duty_as_a_planned_one():
    (planned,) = outbox.plan([news("1")], [Rules(target="x")], adopted("x"), NOW)
    (backfilled,) = outbox.backfill([news("1")], Rules(target="x"), NOW)

    assert planned == backfilled


def test_the_id_of_a_duty_never_changes():
    assert outbox.delivery_id("article", "target") == "f89687a6ef966e28cbd51c0b9d8a2cc8"


def test_each_article_and_target_have_an_id_of_their_own():
    pairs = [("1", "x"), ("1", "y"), ("2", "x"), ("x", "1"), ("1x", ""), ("", "1x")]

    assert len({outbox.delivery_id(*pair) for pair in pairs}) == len(pairs)


# begin


def test_a_delivery_that_begins_is_marked_before_it_leaves():
    begun = outbox.begin(pending(attempts=2, last_error="503"), NOW, HOLD)

    assert begun == pending(state=State.SENDING, attempts=3, next_at=NOW, last_error="503")


@pytest.mark.parametrize(
    ("care", "age", "state"),
    [
        (HOLD, timedelta(0), State.UNKNOWN),
        (RESEND, timedelta(0), State.SENDING),
        (RESEND, timedelta(days=30), State.SENDING),
        (REPLAY, timedelta(0), State.SENDING),
        (REPLAY, timedelta(minutes=59, seconds=59), State.SENDING),
        (REPLAY, timedelta(hours=1), State.UNKNOWN),
        (replace(REPLAY, on_unknown="resend"), timedelta(hours=1), State.SENDING),
    ],
)
def test_a_doubtful_delivery_begins_only_where_that_doubles_nothing(care, age, state):
    begun = outbox.begin(pending(attempts=1, doubtful_since=NOW - age), NOW, care)

    assert state == begun.state
    assert begun.attempts == (2 if state is State.SENDING else 1)
    assert begun.doubtful_since == NOW - age


# after


@pytest.mark.parametrize("care", [HOLD, RESEND, REPLAY])
@pytest.mark.parametrize("doubtful_since", [None, SENT])
def test_a_delivered_message_is_done(care, doubtful_since):
    done = outbox.after(
        sending(last_error="503", doubtful_since=doubtful_since),
        Outcome(kind="delivered", reason="200 ok", remote_id="109"),
        NOW,
        care,
        0,
    )

    assert done == sending(state=State.DELIVERED, remote_id="109")


@pytest.mark.parametrize("attempts", [1, MOST_ATTEMPTS])
@pytest.mark.parametrize("care", [HOLD, RESEND, REPLAY])
def test_a_rejected_message_is_a_dead_letter_at_once(attempts, care):
    done = outbox.after(sending(attempts), Outcome(kind="rejected", reason="422 too long"), NOW, care, 0)

    assert done == sending(attempts, state=State.DEAD, last_error="422 too long")


@pytest.mark.parametrize("attempts", [1, MOST_ATTEMPTS])
@pytest.mark.parametrize("doubtful_since", [None, SENT])
def test_a_target_that_is_gone_keeps_its_duty(attempts, doubtful_since):
    kept = outbox.after(
        sending(attempts, doubtful_since=doubtful_since), Outcome(kind="gone", reason="410"), NOW, HOLD, 0
    )

    assert kept == pending(attempts=attempts - 1, next_at=NOW, last_error="410", doubtful_since=doubtful_since)


def test_the_retry_table_is_the_one_that_is_promised():
    assert tuple(TABLE) == RETRY_DELAYS


@pytest.mark.parametrize(("attempt", "delay"), list(enumerate(TABLE, start=1)))
@pytest.mark.parametrize(("spread", "factor"), [(-1, 0.8), (-0.5, 0.9), (0, 1), (1, 1.2)])
def test_a_retry_waits_its_delay_spread_by_a_fifth(attempt, delay, spread, factor):
    later = outbox.after(sending(attempt), Outcome(kind="retry", reason="503"), NOW, HOLD, spread)

    assert later == sending(attempt, state=State.PENDING, next_at=NOW + delay * factor, last_error="503")


@pytest.mark.parametrize("spread", [-1, 0, 1])
@pytest.mark.parametrize("kind", ["retry", "unknown"])
@pytest.mark.parametrize(
    ("asked", "due"),
    [
        (timedelta(minutes=1), NOW + timedelta(minutes=1)),
        (timedelta(days=1), NOW + timedelta(days=1)),
        (NOW + timedelta(minutes=10), NOW + timedelta(minutes=10)),
    ],
)
def test_a_service_is_never_asked_earlier_than_it_said(kind, spread, asked, due):
    later = outbox.after(sending(), Outcome(kind=kind, not_before=asked), NOW, RESEND, spread)

    assert (later.state, later.next_at) == (State.PENDING, due)


@pytest.mark.parametrize("asked", [None, timedelta(0), timedelta(seconds=4), NOW, NOW - timedelta(days=1)])
def test_a_service_that_asks_for_less_is_asked_when_the_table_says(asked):
    later = outbox.after(sending(), Outcome(kind="retry", not_before=asked), NOW, HOLD, 0)

    assert later.next_at == NOW + timedelta(seconds=5)


@pytest.mark.parametrize("not_before", [None, timedelta(minutes=1)])
def test_after_the_last_retry_there_is_a_dead_letter(not_before):
    outcome = Outcome(kind="retry", reason="503", not_before=not_before)

    last = outbox.after(sending(MOST_ATTEMPTS), outcome, NOW, HOLD, 0)

    assert last == sending(MOST_ATTEMPTS, state=State.DEAD, last_error="503")


@pytest.mark.parametrize("care", [RESEND, Care(replay=timedelta(days=365))])
@pytest.mark.parametrize("kind", ["retry", "unknown"])
def test_after_the_last_retry_a_doubtful_message_is_held_not_dead(care, kind):
    doubtful = sending(MOST_ATTEMPTS, doubtful_since=SENT - timedelta(days=3))

    assert outbox.after(doubtful, Outcome(kind=kind), NOW, care, 0).state == State.UNKNOWN


def test_a_message_nobody_knows_of_is_held():
    held = outbox.after(sending(), Outcome(kind="unknown", reason="timeout"), NOW, HOLD, 0)

    assert held == sending(state=State.UNKNOWN, doubtful_since=SENT, last_error="timeout")


@pytest.mark.parametrize("care", [RESEND, REPLAY])
def test_a_message_nobody_knows_of_goes_again_where_its_owner_or_its_service_allows(care):
    again = outbox.after(sending(), Outcome(kind="unknown", reason="timeout"), NOW, care, 0)

    assert again == pending(attempts=1, next_at=NOW + timedelta(seconds=5), doubtful_since=SENT, last_error="timeout")


@pytest.mark.parametrize(
    ("attempts", "since", "not_before", "state"),
    [
        (3, NOW - timedelta(minutes=29), None, State.PENDING),
        (3, NOW - timedelta(minutes=30), None, State.UNKNOWN),
        (4, NOW, None, State.UNKNOWN),
        (1, NOW, timedelta(minutes=59), State.PENDING),
        (1, NOW, timedelta(minutes=60), State.UNKNOWN),
    ],
)
@pytest.mark.parametrize("kind", ["retry", "unknown"])
def test_a_doubtful_message_goes_again_only_while_its_key_is_known(kind, attempts, since, not_before, state):
    doubtful = sending(attempts, doubtful_since=since)

    assert state == outbox.after(doubtful, Outcome(kind=kind, not_before=not_before), NOW, REPLAY, 0).state


def test_the_doubt_is_counted_from_the_first_message_that_may_have_arrived():
    first = NOW - timedelta(minutes=20)

    again = outbox.after(sending(2, doubtful_since=first), Outcome(kind="unknown"), NOW, REPLAY, 0)

    assert first == again.doubtful_since


# interrupted and retry_now


@pytest.mark.parametrize(
    ("care", "sent", "state", "next_at"),
    [
        (HOLD, SENT, State.UNKNOWN, SENT),
        (RESEND, SENT, State.PENDING, NOW),
        (REPLAY, SENT, State.PENDING, NOW),
        (REPLAY, NOW - timedelta(minutes=59), State.PENDING, NOW),
        (REPLAY, NOW - timedelta(minutes=60), State.UNKNOWN, NOW - timedelta(minutes=60)),
    ],
)
def test_what_a_crash_left_in_sending_is_in_doubt_since_it_left(care, sent, state, next_at):
    found = outbox.interrupted(sending(next_at=sent), NOW, care)

    assert found == sending(
        state=state, next_at=next_at, doubtful_since=sent, last_error="feeder stopped while it was sent"
    )


def test_a_crash_keeps_the_first_doubt():
    first = NOW - timedelta(minutes=59)

    assert outbox.interrupted(sending(2, doubtful_since=first), NOW, REPLAY).doubtful_since == first


@pytest.mark.parametrize("state", list(State))
def test_a_person_may_have_it_tried_from_the_beginning(state):
    tried = outbox.retry_now(
        sending(MOST_ATTEMPTS, state=state, doubtful_since=SENT, last_error="503", remote_id="109"), NOW
    )

    assert tried == pending(next_at=NOW, last_error="503", remote_id="109")
    assert outbox.begin(tried, NOW, HOLD).state == State.SENDING


# The whole life

CARES = st.builds(
    Care,
    replay=st.sampled_from([None, timedelta(hours=1), timedelta(days=365)]),
    looks=st.booleans(),
    on_unknown=st.sampled_from(["hold", "resend"]),
)
WAITS = st.one_of(
    st.none(),
    st.timedeltas(timedelta(0), timedelta(days=1)),
    st.datetimes(NOW.replace(tzinfo=None), NOW.replace(tzinfo=None) + timedelta(days=30), timezones=st.just(UTC)),
)
SPREADS = st.floats(-1, 1)


class Life(RuleBasedStateMachine):
    """One delivery in the hands of a worker that may crash, a person, and a clock that jumps both ways."""

    @initialize(care=CARES)
    def planned(self, care):
        self.care = care
        self.now = NOW
        self.delivery = pending(next_at=NOW)
        self.begun = 0  # since a person acted
        self.may_have_arrived = False
        self.copies = 0  # that the service took since a person acted
        self.must_look = False

    def at(self, *states):
        return self.delivery.state in states

    @rule(step=st.timedeltas(timedelta(days=-2), timedelta(days=2)))
    def jump(self, step):
        self.now += step

    @precondition(lambda self: self.at(State.PENDING))
    @rule()
    def wait_until_due(self):
        self.now = max(self.now, self.delivery.next_at)

    @precondition(lambda self: self.at(State.PENDING) and self.delivery.next_at <= self.now)
    @rule()
    def begin(self):
        self.must_look = outbox.must_look(self.delivery, self.now, self.care)
        self.delivery = outbox.begin(self.delivery, self.now, self.care)
        if self.at(State.SENDING):
            assert not self.may_have_arrived or self.care != HOLD
            assert self.delivery.next_at == self.now
            self.begun += 1
        else:
            assert self.at(State.UNKNOWN)
            assert self.may_have_arrived

    @precondition(lambda self: self.at(State.SENDING) and self.must_look and self.copies)
    @rule()
    def look_and_find_it(self):
        self.delivery = outbox.after(self.delivery, Outcome(kind="delivered"), self.now, self.care, 0)
        assert self.at(State.DELIVERED)

    @precondition(lambda self: self.may_send())
    @rule(spread=SPREADS, wait=WAITS, kind=st.sampled_from(["retry", "unknown"]), arrives=st.booleans())
    def fail(self, kind, wait, spread, arrives):
        self.may_have_arrived |= kind == "unknown"
        self.copies += kind == "unknown" and arrives
        self.delivery = outbox.after(
            self.delivery, Outcome(kind=kind, not_before=wait, reason=kind), self.now, self.care, spread
        )
        assert not self.at(State.SENDING, State.DELIVERED)
        if self.at(State.PENDING):
            asked = self.now + wait if isinstance(wait, timedelta) else wait
            asked = min(asked or self.now, self.now + outbox.LONGEST_WAIT)
            assert self.delivery.next_at >= max(self.now + RETRY_DELAYS[0] * 0.8, asked)
            assert self.delivery.next_at <= self.now + outbox.LONGEST_WAIT
            assert not self.may_have_arrived or self.care != HOLD

    @precondition(lambda self: self.may_send())
    @rule(spread=SPREADS, kind=st.sampled_from(["delivered", "rejected"]))
    def end(self, kind, spread):
        self.copies += kind == "delivered"
        self.delivery = outbox.after(self.delivery, Outcome(kind=kind), self.now, self.care, spread)
        assert self.at(State.DELIVERED if kind == "delivered" else State.DEAD)

    @precondition(lambda self: self.at(State.SENDING))
    @rule(spread=SPREADS)
    def find_it_gone(self, spread):
        self.delivery = outbox.after(self.delivery, Outcome(kind="gone"), self.now, self.care, spread)
        self.begun -= 1
        assert self.at(State.PENDING)

    @precondition(lambda self: self.at(State.SENDING))
    @rule(spread=SPREADS)
    def find_no_address(self, spread):
        outcome = Outcome(kind="retry", reason="no name server answers", asked=False)
        self.delivery = outbox.after(self.delivery, outcome, self.now, self.care, spread)
        self.begun -= 1
        assert self.at(State.PENDING) or (self.at(State.UNKNOWN) and self.may_have_arrived)
        if self.at(State.PENDING):
            assert timedelta(seconds=24) <= self.delivery.next_at - self.now <= timedelta(seconds=36)

    @precondition(lambda self: self.at(State.PENDING, State.SENDING))
    @rule(spread=SPREADS)
    def notice_that_the_clock_was_set_back(self, spread):
        self.delivery = outbox.rescheduled(self.delivery, self.now, spread)
        if self.at(State.PENDING):
            assert self.delivery.next_at <= self.now + RETRY_DELAYS[-1] * 1.2

    @precondition(lambda self: self.at(State.SENDING))
    @rule(arrives=st.booleans())
    def crash(self, arrives):
        self.may_have_arrived = True
        self.copies += arrives and self.may_send()
        self.delivery = outbox.interrupted(self.delivery, self.now, self.care)
        assert self.at(State.UNKNOWN) if self.care == HOLD else self.at(State.UNKNOWN, State.PENDING)

    @precondition(lambda self: not self.at(State.SENDING))
    @rule()
    def a_person_acts(self):
        self.delivery = outbox.retry_now(self.delivery, self.now)
        self.begun = 0
        self.may_have_arrived = False
        self.copies = 0

    def may_send(self):
        """A service that is asked first shows what it has."""
        return self.at(State.SENDING) and not (self.must_look and self.copies)

    @invariant()
    def no_more_copies_arrive_than_its_owner_bears(self):
        assert self.copies <= {HOLD: 1, LOOKS: 1, RESEND: 2}.get(self.care, MOST_ATTEMPTS)

    @invariant()
    def attempts_are_those_that_were_begun(self):
        assert self.begun == self.delivery.attempts

    @invariant()
    def attempts_never_exceed_the_table(self):
        assert self.delivery.attempts <= MOST_ATTEMPTS

    @invariant()
    def a_doubt_is_remembered_until_it_is_settled(self):
        if not self.at(State.DELIVERED):
            assert self.may_have_arrived == (self.delivery.doubtful_since is not None)

    @invariant()
    def what_may_have_arrived_is_never_called_dead_unless_the_service_said_so(self):
        if self.at(State.DEAD) and self.may_have_arrived:
            assert not self.delivery.last_error


Life.TestCase.settings = settings(max_examples=100, stateful_step_count=60)
TestLife = Life.TestCase


def test_what_is_in_doubt_is_sent_once_more_and_not_twice_more_where_its_owner_asked_for_that():
    first = outbox.after(sending(), Outcome(kind="unknown", reason="timeout"), NOW, RESEND, 0)
    again = outbox.begin(first, first.next_at, RESEND)
    second = outbox.after(again, Outcome(kind="unknown", reason="timeout"), first.next_at, RESEND, 0)

    assert [first.state, again.state, second.state] == [State.PENDING, State.SENDING, State.UNKNOWN]


def floods(number: int, **rules: object) -> list[Delivery]:
    items = [
        News(article=f"{each}", published=NOW - timedelta(hours=each), feeds=frozenset({"all"}))
        for each in range(number)
    ]
    return outbox.plan(items, [Rules(target="x", **rules)], adopted("x"), NOW)


def test_of_a_flood_the_newest_go_out_and_the_others_are_held_for_a_person():
    planned = floods(5, max_per_pass=2)

    assert [each.subject for each in planned if each.state is State.PENDING] == ["1", "0"]
    assert [each.subject for each in planned if each.state is State.DEAD] == ["4", "3", "2"]
    assert {each.last_error for each in planned if each.state is State.DEAD} == {
        "one of 5 articles of one pass, more than max_per_pass = 2"
    }


@pytest.mark.parametrize("limit", [0, 5, 6])
def test_what_is_no_flood_goes_out_whole(limit):
    assert {each.state for each in floods(5, max_per_pass=limit)} == {State.PENDING}


def test_what_is_older_than_a_target_wants_is_never_planned():
    assert [each.subject for each in floods(5, max_age=timedelta(hours=2))] == ["0", "1", "2"]
    items = [News(article="old", published=NOW - timedelta(days=2), feeds=frozenset({"all"}))]
    assert outbox.backfill(items, Rules(target="x", max_age=timedelta(days=1)), NOW) == []


def test_a_message_that_a_person_saw_is_delivered():
    seen = outbox.settled(sending(doubtful_since=NOW, last_error="timeout"))

    assert (seen.state, seen.doubtful_since, seen.last_error) == (State.DELIVERED, None, "")


def test_an_article_that_crashes_the_worker_is_not_sent_for_ever():
    delivery, tries = pending(), 0
    while delivery.state is State.PENDING and tries < 50:
        delivery = outbox.interrupted(outbox.begin(delivery, NOW, REPLAY), NOW, REPLAY)
        tries += 1

    assert (tries, delivery.state) == (MOST_ATTEMPTS, State.UNKNOWN)


def test_a_service_that_asks_for_years_is_asked_after_a_month():
    for asked in (timedelta(days=10_000), NOW + timedelta(days=10_000)):
        done = outbox.after(sending(), Outcome(kind="retry", not_before=asked), NOW, HOLD, 0)
        assert done.next_at == NOW + timedelta(days=30)


# Names that cannot be looked up


@pytest.mark.parametrize("attempts", [1, 5, MOST_ATTEMPTS])
@pytest.mark.parametrize(("spread", "seconds"), [(-1, 24), (0, 30), (1, 36)])
def test_a_service_that_was_not_asked_is_asked_in_half_a_minute_and_no_attempt_is_counted(attempts, spread, seconds):
    outcome = Outcome(kind="retry", reason="no name server answers", asked=False)

    waits = outbox.after(sending(attempts), outcome, NOW, HOLD, spread)

    due = NOW + timedelta(seconds=seconds)
    assert waits == pending(attempts=attempts - 1, next_at=due, last_error="no name server answers")


# Clocks that are set

HOUR, YEAR = timedelta(hours=1), timedelta(days=400)
WEBHOOK = Care(replay=timedelta(days=365))
LOOKING = replace(REPLAY, looks=True)


@pytest.mark.parametrize(
    ("attempts", "ahead", "wait"),
    [
        (1, YEAR, TABLE[0]),
        (4, YEAR, TABLE[3]),
        (0, YEAR, TABLE[0]),
        (1, HOUR, TABLE[0]),
        (9, HOUR, HOUR),
        (2, timedelta(seconds=1), timedelta(seconds=1)),
        (2, -HOUR, -HOUR),
    ],
)
def test_after_a_set_back_nothing_waits_longer_than_the_table_says(attempts, ahead, wait):
    found = outbox.rescheduled(pending(attempts=attempts, next_at=NOW + ahead), NOW, 0)

    assert found == pending(attempts=attempts, next_at=NOW + wait)


@pytest.mark.parametrize(
    ("ahead", "overdue"), [(timedelta(days=30), False), (timedelta(days=30, seconds=1), True), (YEAR, True)]
)
def test_nothing_waits_longer_than_a_month_whatever_said_so(ahead, overdue):
    assert outbox.is_overdue(pending(next_at=NOW + ahead), NOW) == overdue


def in_doubt(care: Care, noticed: datetime, *, how: str) -> Delivery:
    """A delivery of which it is not known whether it arrived at NOW, as it stands when a set-back is noticed."""
    sent = outbox.begin(pending(next_at=NOW), NOW, care)
    if how == "crashed":
        return outbox.interrupted(outbox.rescheduled(sent, noticed, 0), noticed, care)
    if how == "crashed unnoticed":
        return outbox.interrupted(sent, noticed, care)
    if how == "answered later":
        return outbox.after(outbox.of_another_clock(sent, noticed), Outcome(kind="unknown"), noticed, care, 0)
    if how == "answered later, unnoticed":
        return outbox.after(sent, Outcome(kind="unknown"), noticed, care, 0)
    waiting = outbox.after(sent, Outcome(kind="unknown"), NOW, care, 0)
    return outbox.rescheduled(waiting, noticed, 0) if waiting.state is State.PENDING else waiting


HOW = ["crashed", "crashed unnoticed", "answered later", "answered later, unnoticed", "waiting"]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("back", [timedelta(minutes=6), HOUR, YEAR])
@pytest.mark.parametrize("later", [timedelta(minutes=each) for each in (0, 4, 30, 59, 61, 180)])
@pytest.mark.parametrize(
    ("care", "states", "looks"),
    [
        (HOLD, {State.UNKNOWN}, False),
        (REPLAY, {State.UNKNOWN}, False),
        (LOOKS, {State.SENDING}, True),
        (LOOKING, {State.SENDING}, True),
        (WEBHOOK, {State.SENDING}, False),
        (RESEND, {State.SENDING}, False),
    ],
)
def test_after_a_set_back_no_key_is_relied_on_that_a_service_may_have_forgotten(how, back, later, care, states, looks):
    found = in_doubt(care, NOW - back, how=how)
    if found.state is State.PENDING:
        when = max(NOW - back + later, found.next_at)
        assert when <= NOW - back + max(later, timedelta(seconds=36))
        assert outbox.must_look(found, when, care) == looks
        found = outbox.begin(found, when, care)

    assert {found.state} == states


@pytest.mark.parametrize("ahead", [HOUR, YEAR])
@pytest.mark.parametrize(
    ("care", "states"),
    [
        (HOLD, {State.UNKNOWN}),
        (REPLAY, {State.UNKNOWN}),
        (LOOKING, {State.SENDING}),
        (WEBHOOK, {State.SENDING, State.UNKNOWN}),  # it keeps keys for a year
    ],
)
def test_a_clock_that_goes_ahead_makes_keys_old_and_doubles_nothing(ahead, care, states):
    found = outbox.after(sending(next_at=NOW), Outcome(kind="unknown"), NOW, care, 0)
    if found.state is State.PENDING:
        found = outbox.begin(found, NOW + ahead, care)

    assert found.state in states
    assert found.state is State.UNKNOWN or care == WEBHOOK or outbox.must_look(found, NOW + ahead, care)


def test_a_look_begins_long_ago_where_a_clock_that_was_ahead_said_since_when():
    begun = outbox.begin(pending(attempts=1, doubtful_since=NOW + YEAR), NOW, LOOKING)

    assert begun.doubtful_since == NOW - timedelta(days=180)
