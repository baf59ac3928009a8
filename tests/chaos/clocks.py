"""A worker whose clock is set while it runs, or between a kill -9 and the next start, and services that fail now and then."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from standardwebhooks import Webhook

from tests import fakes
from tests.worker import House

SHIFTS = [timedelta(hours=1), timedelta(hours=-1), timedelta(days=400), timedelta(days=-400)]
_QUIET_WITHIN = 150.0  # seconds: a look comes after thirty, and a retry after five
_NOTICED_WITHIN = 12.0  # seconds: the worker looks at its clock every five
_TARGETS = ("fedi", "site", "hold")


@dataclass(kw_only=True)
class Found:
    """What was counted, by target and title."""

    lost: list[str] = field(default_factory=list)  # neither taken nor listed for a person
    doubled: list[str] = field(default_factory=list)
    held: Counter[str] = field(default_factory=Counter)  # by target
    silent: float = 0.0  # seconds from a file to its message, at most, where the service took it at once
    quiet: float = 0.0  # seconds from the last time that the clock was set until nothing waited
    passes: bool = False  # whether they went on at last


class AnyTime(fakes.SignedWebhook):
    """A receiver that knows an id again, and checks everything but when it was signed: its clock is right."""

    def respond(self, request: fakes.Request) -> fakes.Answer:
        key, moment = request.headers["webhook-id"], int(request.headers["webhook-timestamp"])
        signed = Webhook(self.secret).sign(key, datetime.fromtimestamp(moment, UTC), request.body.decode())
        if signed != request.headers["webhook-signature"]:
            return fakes.Answer(status=401)
        if key not in self.ids:
            self.ids.append(key)
            self.ledger.take(request.json())
        return fakes.Answer(status=204)


def moody(kind: type[fakes.Service]) -> fakes.Service:
    """A service that fails at some messages when they first come: before it takes them, or after."""

    class Moody(kind):
        def __init__(self) -> None:
            super().__init__()
            self.came: dict[bytes, float] = {}
            self.failed: set[bytes] = set()

        def respond(self, request: fakes.Request) -> fakes.Answer:
            if request.method == "GET" or request.body in self.came:
                return super().respond(request)
            self.came[request.body] = time.monotonic()
            if len(self.came) % 7 == 3:
                self.failed.add(request.body)
                return fakes.Answer(status=503)
            answer = super().respond(request)
            if len(self.came) % 5 == 0:
                self.failed.add(request.body)
                return fakes.Answer(status=504)
            return answer

    return Moody()


def run(folder: Path, shift: timedelta, restarts: bool, *, articles: int) -> Found:
    """Tell so many articles by a right clock, by one that is set by `shift`, and by a right one again."""
    found, put, held_for = Found(), {}, threading.Event()
    shifted = folder / "shift"
    with ExitStack() as stack:
        services = [stack.enter_context(fakes.serving(moody(kind))) for kind in (fakes.Mastodon, AnyTime, fakes.Slack)]
        fedi, site, hold = services
        plain = f'rate = "6/6s"\n{fakes.LOOPBACK_TOML}'
        house = House(
            folder,
            f"""
[targets.fedi]
kind = "mastodon"
url = "{fedi.url}"
{plain}
[targets.site]
kind = "webhook"
url = "{site.url}/hook"
{plain}
[targets.hold]
kind = "slack"
{plain}
""",
            FEEDER_INTERVAL="2",
            FEEDER_TARGETS__FEDI__TOKEN=fakes.Mastodon.token,
            FEEDER_TARGETS__SITE__SECRET=fakes.SignedWebhook.secret,
            FEEDER_TARGETS__HOLD__URL=hold.url + fakes.Slack.path,
        )
        house.program = ("-m", "tests.chaos.shifted", str(shifted))
        for path in house.seeds.iterdir():
            path.unlink()
        shifted.write_text("0")
        house.feeder("once")
        worker = stack.enter_context(house.worker())
        for phase, ahead in enumerate((timedelta(), shift, timedelta())):
            if restarts and phase:
                worker.process.kill()
                worker.stop()
            _set(shifted, ahead)
            fedi.by_key.clear()  # an hour may have gone by
            started = time.monotonic()
            if restarts and phase:
                worker = stack.enter_context(house.worker())
            for number in range(articles):
                title = f"Number {phase}-{number}"
                put[title] = time.monotonic()
                house.write_article(f"n-{phase}-{number}", title)
            _wait_until_taken(services, len(put) * 2 // 3)
            if not restarts:
                held_for.wait(_NOTICED_WITHIN)
        database = folder / "var" / "feeder.db"
        found.quiet = _until_quiet(database, started)
        found.passes = _passes_go_on(database)
        worker.stop()
        listed = json.loads(house.feeder("deliveries", "--json", "-n", "100000").stdout)
    taken = {"fedi": [each["status"].split("\n", maxsplit=1)[0] for each in fedi.ledger.taken]}
    taken["site"] = [each["data"]["title"] for each in site.ledger.taken]
    taken["hold"] = [str(each["text"]).split(" – ")[0] for each in hold.ledger.taken]
    for name in _TARGETS:
        held = {each["title"] for each in listed if each["target"] == name and each["state"] == "unknown"}
        found.held[name] = len(held)
        found.lost += [f"{name} {title}" for title in set(put) - set(taken[name]) - held]
        found.doubled += [f"{name} {title}" for title, number in Counter(taken[name]).items() if number > 1]
    first = [(title, moment) for service in services for title, moment in _taken_at_once(service)]
    found.silent = max(moment - put[title] for title, moment in first)
    return found


def _set(shifted: Path, ahead: timedelta) -> None:
    part = shifted.with_suffix(".part")
    part.write_text(str(ahead.total_seconds()))
    part.rename(shifted)


def _wait_until_taken(services: list[fakes.Service], number: int) -> None:
    for service in services:
        service.ledger.wait_for(number)


def _taken_at_once(service: fakes.Service) -> list[tuple[str, float]]:
    """The titles that the service did not fail at, with when each came."""
    found = []
    for body, moment in service.came.items():
        message = json.loads(body)
        title = message.get("status") or message.get("text") or message["data"]["title"]
        found += [] if body in service.failed else [(title.split("\n")[0].split(" – ")[0], moment)]
    return found


def _until_quiet(database: Path, started: float) -> float:
    """Seconds from `started` until nothing is on its way and nothing waits; infinity if that does not come."""
    query = "SELECT count(*) FROM deliveries WHERE state IN ('pending', 'sending')"
    ended = threading.Event()
    with closing(sqlite3.connect(database)) as connection:
        while (seconds := time.monotonic() - started) < _QUIET_WITHIN:
            if not connection.execute(query).fetchone()[0]:
                return seconds
            ended.wait(0.1)
    return float("inf")


def _passes_go_on(database: Path) -> bool:
    query = "SELECT value FROM facts WHERE name = 'seen_until'"
    ended = threading.Event()
    with closing(sqlite3.connect(database)) as connection:
        first = connection.execute(query).fetchone()
        for _ in range(600):
            if connection.execute(query).fetchone() != first:
                return True
            ended.wait(0.1)
    return False
