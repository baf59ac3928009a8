"""kill -9 of the whole worker at random moments, against receivers that keep ledgers."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from feeder.outbox import LOOK_AFTER
from tests import fakes
from tests.crashing import Nursery
from tests.worker import House

CANARIES = [fakes.Mastodon.token, fakes.SignedWebhook.secret, fakes.Slack.path, fakes.Slack.token]


@dataclass(kw_only=True)
class Found:
    """What was counted: titles."""

    kills: int = 0
    articles: list[str] = field(default_factory=list)
    mastodon: list[str] = field(default_factory=list)
    webhook: list[str] = field(default_factory=list)
    hold: list[str] = field(default_factory=list)
    resend: list[str] = field(default_factory=list)
    unknown: dict[str, set[str]] = field(default_factory=dict)  # held for a person, by target
    secrets_seen: list[str] = field(default_factory=list)  # files in which a secret stands


def slowly(kind: type[fakes.Service], chance: random.Random) -> fakes.Service:
    """A service that takes its time, now before it takes a message and now after."""

    class Slow(kind):
        def respond(self, request: fakes.Request) -> fakes.Answer:
            time.sleep(chance.uniform(0, 0.02))
            answer = super().respond(request)
            time.sleep(chance.uniform(0, 0.02))
            return answer

    return Slow()


def run(nursery: Nursery, folder: Path, *, kills: int, seed: int) -> Found:
    """Kill a worker so many times while articles come in; then let one work in peace, and count."""
    chance, found = random.Random(seed), Found()
    with ExitStack() as stack:
        mastodon, webhook, hold, resend = (
            stack.enter_context(fakes.serving(slowly(kind, chance)))
            for kind in (fakes.Mastodon, fakes.SignedWebhook, fakes.Slack, fakes.Slack)
        )
        plain = f'backfill = 0\nrate = ""\n{fakes.LOOPBACK_TOML}'
        house = House(
            folder,
            f"""
[targets.fedi]
kind = "mastodon"
url = "{mastodon.url}"
{plain}
[targets.site]
kind = "webhook"
url = "{webhook.url}/hook"
{plain}
[targets.hold]
kind = "slack"
{plain}
[targets.resend]
kind = "slack"
on_unknown = "resend"
{plain}
""",
            FEEDER_TARGETS__FEDI__TOKEN=fakes.Mastodon.token,
            FEEDER_TARGETS__SITE__SECRET=fakes.SignedWebhook.secret,
            FEEDER_TARGETS__HOLD__URL=hold.url + fakes.Slack.path,
            FEEDER_TARGETS__RESEND__URL=resend.url + fakes.Slack.path,
        )
        for path in house.seeds.iterdir():
            path.unlink()
        _expect(0, nursery.once(house.folder, house.env), house)  # all targets adopt the empty folder
        for number in range(kills):
            process = nursery.worker(house.folder, house.env)
            for each in range(chance.randint(1, 3)):
                title = f"Number {number}-{each}"
                found.articles.append(title)
                house.write_article(f"n-{number}-{each}", title)
                time.sleep(chance.uniform(0, 0.05))
            time.sleep(chance.uniform(0, 0.5))
            os.kill(process, signal.SIGKILL)
            _expect(-signal.SIGKILL, nursery.bury(process), house)
            found.kills += 1
        process = nursery.worker(house.folder, house.env, later=2 * LOOK_AFTER.total_seconds())
        _until_quiet(house.folder / "var" / "feeder.db")
        os.kill(process, signal.SIGTERM)
        _expect(0, nursery.bury(process), house)
        found.mastodon = [_title(each["status"]) for each in mastodon.ledger.taken]
        found.webhook = [event["data"]["title"] for event in _first_of_each(webhook)]
        found.hold = [_slack_title(each) for each in hold.ledger.taken]
        found.resend = [_slack_title(each) for each in resend.ledger.taken]
        listed = json.loads(house.feeder("deliveries", "--json", "-n", "100000", "--state", "unknown").stdout)
        found.unknown = {
            name: {each["title"] for each in listed if each["target"] == name} for name in ("hold", "resend")
        }
        found.secrets_seen = secrets_in(house.folder)
    return found


def _expect(code: int, found: int, house: House) -> None:
    if found != code:
        said = (house.folder / "said.log").read_text()[-3000:]
        raise AssertionError(f"a worker ended with {found} in place of {code}; it said: {said}")


def _title(status: str) -> str:
    return status.split("\n", maxsplit=1)[0]


def _slack_title(message: dict[str, object]) -> str:
    return str(message["text"]).split(" – ")[0]


def _first_of_each(webhook: fakes.SignedWebhook) -> list[dict[str, dict[str, str]]]:
    """The events as a receiver keeps them, which knows an id that it has seen."""
    return list(dict(zip(reversed(webhook.ids), reversed(webhook.ledger.taken), strict=True)).values())


def _until_quiet(database: Path) -> None:
    """Wait until nothing is on its way and nothing waits: as long as it gets fewer."""
    least, deadline = None, time.monotonic() + fakes.LIMIT
    ended = threading.Event()
    queries = (
        "SELECT count(*) FROM deliveries WHERE state IN ('pending', 'sending')",
        "SELECT count(*) FROM articles WHERE announced = 0",
    )
    with closing(sqlite3.connect(database)) as connection:
        while (
            left := sum(connection.execute(query).fetchone()[0] for query in queries)
        ) and time.monotonic() < deadline:
            if least is None or left < least:
                least, deadline = left, time.monotonic() + fakes.LIMIT
            ended.wait(0.1)
    if left:
        raise AssertionError(f"the worker did not come to rest: {left} are left")


def secrets_in(folder: Path) -> list[str]:
    """The files of a house, but for its settings, in which a secret stands."""
    return [
        f"{path.relative_to(folder)}: {secret}"
        for path in folder.rglob("*")
        if path.is_file()
        for secret in CANARIES
        if secret.encode() in path.read_bytes()
    ]
