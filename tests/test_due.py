"""What is due: in which order it is found, and that a backlog of any size is not looked through."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from feeder.models import Delivery, State
from feeder.store import deliveries, open_store
from tests.house import in_memory

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    opened = open_store(f"sqlite:///{tmp_path}/feeder.db")
    yield opened
    opened.close()


def delivery(
    number: int, target: str = "a", *, due: int = 0, attempts: int = 0, state: State = State.PENDING
) -> Delivery:
    """A delivery of an article that was published at minute `number`, due `due` minutes from now."""
    return Delivery(
        id=f"{target}{number:031x}"[:32],
        subject=f"{target}{number}",
        target=target,
        published=NOW + timedelta(minutes=number),
        next_at=NOW + timedelta(minutes=due),
        attempts=attempts,
        state=state,
    )


def found(store, *planned: Delivery, each: int = 20, targets: list[str] | None = None) -> list[tuple[str, int]]:
    with store.write() as connection:
        deliveries.add(connection, planned)
    with store.read() as connection:
        return [(target, int(id_[1:], 16)) for target, id_ in deliveries.due(connection, NOW, each, targets)]


def test_the_article_that_was_published_first_goes_first_whether_it_was_tried_or_not(store):
    assert found(store, delivery(3), delivery(1, attempts=2), delivery(2), delivery(4, attempts=1)) == [
        ("a", 1),
        ("a", 2),
        ("a", 3),
        ("a", 4),
    ]


def test_of_articles_of_one_second_the_least_tried_goes_first(store):
    tried = [replace(delivery(number), attempts=tries, published=NOW) for number, tries in ((1, 9), (2, 0), (3, 1))]

    assert found(store, *tried) == [("a", 2), ("a", 3), ("a", 1)]


def test_what_is_not_due_or_no_longer_waits_is_not_found(store):
    kept = [delivery(1, due=1), delivery(2, due=1, attempts=1)]
    ended = [delivery(number, state=state) for number, state in enumerate(State, 3) if state is not State.PENDING]

    assert found(store, *kept, *ended, delivery(9)) == [("a", 9)]


def test_each_target_gets_as_much_as_is_asked_for(store):
    planned = [delivery(number, target) for number in range(5) for target in "abc"]

    assert found(store, *planned, each=2) == [("a", 0), ("b", 0), ("c", 0), ("a", 1), ("b", 1), ("c", 1)]


@pytest.mark.parametrize("others", [0, 100])
def test_only_the_targets_that_are_named_are_looked_at_where_they_are_few(store, others):
    named = ["b", *(f"other{number}" for number in range(others))]
    result = found(store, delivery(1, "a"), delivery(2, "b"), targets=named)

    assert ("b", 2) in result
    assert (("a", 1) in result) == (others == 100)


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from("abc"), st.integers(-5, 5), st.integers(0, 2)),
        unique_by=lambda each: each[:2],
    )
)
def test_every_target_with_something_due_is_found(planned):
    store = in_memory()
    made = [delivery(number, target, due=due, attempts=attempts) for number, target, due, attempts in planned]

    result = found(store, *made, each=1_000)

    due = (each for each in made if each.next_at <= NOW)
    expected = sorted(due, key=lambda each: (each.published, each.attempts, each.id))
    assert result == [(each.target, int(each.id[1:], 16)) for each in expected]
    store.close()


@pytest.mark.parametrize("targets", [None, ["a", "b"]])
def test_no_backlog_is_looked_through(store, targets):
    """Every table is entered by an index at a place, and nothing is sorted: what waits behind costs nothing."""
    queries = [deliveries._due(kind, order, NOW, 20, targets) for kind, order in deliveries._KINDS]
    with store.read() as connection:
        steps = [step for query in queries for step in plan(connection, query)]

    assert not [step for step in steps if "SCAN" in step and "deliveries" in step]
    assert not [step for step in steps if "TEMP B-TREE" in step]
    assert [step for step in steps if "ix_deliveries_fresh" in step]
    assert [step for step in steps if "ix_deliveries_retried (target=? AND next_at<?)" in step]


def plan(connection: sa.Connection, query: sa.Select) -> list[str]:
    compiled = query.compile(connection)
    values = tuple(compiled.params[name] for name in compiled.positiontup)
    return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", tuple(map(_plain, values)))]


def _plain(value: object) -> object:
    return 0 if isinstance(value, datetime) else value


def test_the_next_moment_at_which_something_is_tried_again_is_found(store):
    planned = [
        delivery(1),
        delivery(2, due=9, attempts=2),
        delivery(3, due=5, attempts=1),
        delivery(4, due=-1, attempts=1),
    ]
    with store.write() as connection:
        deliveries.add(connection, [*planned, delivery(5, "b", due=7, attempts=1)])
    with store.read() as connection:
        assert deliveries.next_due(connection, NOW) == NOW + timedelta(minutes=5)
        assert deliveries.next_due(connection, NOW + timedelta(minutes=9)) is None
