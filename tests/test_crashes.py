"""Once, whatever crashes: counted at the receiver, after real processes that really died."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests import fakes
from tests.chaos import kills, restores
from tests.crashing import CRASHED, Nursery
from tests.worker import House

POINTS = [
    ("before the plan's commit", 1),
    ("after the plan's commit", 1),
    ("before the commit", 1),  # of the mark `sending`
    ("after the commit", 1),
    ("before the message", 1),
    ("after the message", 1),
    ("before the commit", 2),  # of the outcome
    ("after the commit", 2),
]
KINDS = ["mastodon", "webhook", "slack bot", "slack hold", "slack resend"]
SOON = 100.0  # seconds; by then a service is asked what it has of what was in doubt
AN_HOUR_AND_MORE = 4000.0  # seconds; by then Mastodon has forgotten its keys


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


def settings_of(kind: str, service: fakes.Service) -> tuple[str, dict[str, str]]:
    """A target's section, and its secrets."""
    name, _, how = kind.partition(" ")
    section = f'[targets.it]\nkind = "{name}"\nbackfill = 1\n{fakes.LOOPBACK_TOML}'
    if name == "mastodon":
        return f'{section}url = "{service.url}"\n', {"FEEDER_TARGETS__IT__TOKEN": fakes.Mastodon.token}
    if name == "webhook":
        return f'{section}url = "{service.url}/hook"\n', {"FEEDER_TARGETS__IT__SECRET": fakes.SignedWebhook.secret}
    if how == "bot":
        section += f'channel = "C1"\napi = "{service.url}/api/chat.postMessage"\n'
        return section, {"FEEDER_TARGETS__IT__TOKEN": fakes.Slack.token}
    return f'{section}on_unknown = "{how}"\n', {"FEEDER_TARGETS__IT__URL": service.url + fakes.Slack.path}


def service_of(kind: str) -> fakes.Service:
    return {"mastodon": fakes.Mastodon, "webhook": fakes.SignedWebhook, "slack": fakes.Slack}[
        kind.split(maxsplit=1)[0]
    ]()


def states(house: House) -> list[str]:
    with closing(sqlite3.connect(house.folder / "var" / "feeder.db")) as store:
        return [state for (state,) in store.execute("SELECT state FROM deliveries")]


def copies_at(service: fakes.Service) -> int:
    """How many messages there are for whoever reads them: a receiver of webhooks knows an id that it has seen."""
    return len(set(service.ids)) if isinstance(service, fakes.SignedWebhook) else len(service.ledger.taken)


@pytest.mark.parametrize(
    ("kind", "later"),
    [*((kind, SOON) for kind in KINDS), ("mastodon", AN_HOUR_AND_MORE), ("slack bot", AN_HOUR_AND_MORE)],
)
def test_a_crash_at_any_point_loses_nothing_and_doubles_nothing(nursery, tmp_path_factory, kind, later):
    for point, nth in POINTS:
        with fakes.serving(service_of(kind)) as service:
            section, secrets = settings_of(kind, service)
            house = House(tmp_path_factory.mktemp("house"), section, **secrets)
            for path in sorted(house.seeds.iterdir())[1:]:
                path.unlink()

            code = nursery.once(house.folder, house.env, point=point, nth=nth)
            for _ in range(3):
                assert nursery.once(house.folder, house.env, later=later) == 0

            copies = copies_at(service)
            where = (kind, point, nth, states(house), copies)
            assert code == CRASHED, where
            assert kills.secrets_in(house.folder) == []
            if kind == "slack hold":
                assert copies <= 1, where
                assert copies == 1 or states(house) == ["unknown"], where
            elif kind == "slack resend":
                assert 1 <= copies <= 2, where
            else:
                assert (copies, states(house)) == (1, ["delivered"]), where


def test_a_worker_that_is_killed_thirty_times_loses_nothing_and_doubles_nothing(nursery, tmp_path):
    found = kills.run(nursery, tmp_path, kills=30, seed=7)

    assert found.kills == 30
    assert Counter(found.mastodon) == Counter(found.articles)
    assert Counter(found.webhook) == Counter(found.articles)
    held = Counter(found.hold)
    assert max(held.values()) == 1
    assert set(found.articles) - set(held) <= found.unknown["hold"]
    assert set(found.articles) - set(found.resend) <= found.unknown["resend"]
    assert sum(Counter(found.resend).values()) - len(found.articles) <= found.kills
    assert found.secrets_seen == []


def test_backups_in_the_place_of_what_kills_left_double_nothing_and_lose_nothing_unsaid(nursery, tmp_path):
    found = restores.run(nursery, tmp_path, rounds=6, seed=3)

    assert found.rounds == 6
    assert found.doubled == {"signed webhook": [], "Slack": []}
    assert found.lost == {"signed webhook": set(), "Slack": set()}
    assert found.refused == found.foreign > 0
    assert found.falsely_refused == []
