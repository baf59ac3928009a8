"""kill -9 of the whole worker, and then a backup in the place of what it left: by `feeder restore` or by a plain copy."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import time
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from tests import fakes
from tests.chaos import kills
from tests.crashing import Nursery
from tests.worker import House


@dataclass(kw_only=True)
class Found:
    """What was counted: titles, unless it says something else."""

    rounds: int = 0
    articles: list[str] = field(default_factory=list)
    told: dict[str, list[str]] = field(default_factory=dict)  # by receiver
    listed: set[str] = field(default_factory=set)  # held or taken for told, as a restore or the worker's list says
    adopted: set[str] = field(default_factory=set)  # taken for told by the store in the end
    foreign: int = 0  # plain copies beside a log that was not theirs
    refused: int = 0  # of those
    falsely_refused: list[str] = field(default_factory=list)  # what was said when nothing was wrong

    @property
    def doubled(self) -> dict[str, list[str]]:
        """What a receiver got more than once."""
        return {name: [title for title, times in Counter(got).items() if times > 1] for name, got in self.told.items()}

    @property
    def lost(self) -> dict[str, set[str]]:
        """What a receiver never got, and that is neither listed nor taken for told."""
        there = self.listed | self.adopted
        return {name: set(self.articles) - set(got) - there for name, got in self.told.items()}


def run(nursery: Nursery, folder: Path, *, rounds: int, seed: int) -> Found:
    """In each round, make a backup, work, be killed, and put one of the backups back; then work in peace, and count."""
    chance, found = random.Random(seed), Found()
    with ExitStack() as stack:
        site, hold = (
            stack.enter_context(fakes.serving(kills.slowly(kind, chance)))
            for kind in (fakes.SignedWebhook, fakes.Slack)
        )
        house = _house(folder, site, hold)
        _expect(0, nursery.once(house.folder, house.env), house)
        for number in range(rounds):
            _round(nursery, house, found, chance, number, hold)
            found.rounds += 1
        _expect(0, nursery.once(house.folder, house.env), house)
        _list(house, found)
        found.adopted = _adopted(_database(house))
        # A receiver of webhooks knows an id that it has seen: what it takes twice is told under two of them.
        ids = dict(zip(reversed(site.ids), reversed(site.ledger.taken), strict=True))
        found.told = {
            "signed webhook": [event["data"]["title"] for event in ids.values()],
            "Slack": [str(message["text"]).split(" – ")[0] for message in hold.ledger.taken],
        }
    return found


def _house(folder: Path, site: fakes.Service, hold: fakes.Service) -> House:
    plain = f'backfill = 0\nrate = ""\n{fakes.LOOPBACK_TOML}'
    house = House(
        folder,
        f'[targets.site]\nkind = "webhook"\nurl = "{site.url}/hook"\n{plain}[targets.hold]\nkind = "slack"\n{plain}',
        FEEDER_TARGETS__SITE__SECRET=fakes.SignedWebhook.secret,
        FEEDER_TARGETS__HOLD__URL=hold.url + fakes.Slack.path,
    )
    for path in house.seeds.iterdir():
        path.unlink()
    return house


def _round(
    nursery: Nursery, house: House, found: Found, chance: random.Random, number: int, hold: fakes.Service
) -> None:
    how = ("copy", "restore", "none")[number % 3]
    copy = _backup(house, house.folder / f"backup-{number}.db", plain=chance.random() < 0.5)
    before = len(hold.ledger.taken)
    process = nursery.worker(house.folder, house.env)
    for each in range(chance.randint(1, 3)):
        time.sleep(chance.uniform(0, 0.1))
        title = f"Number {number}-{each}"
        found.articles.append(title)
        house.write_article(f"n-{number}-{each}", title)
    if how == "copy":
        hold.ledger.wait_for(before + 1)  # or there would be no log to replay
    time.sleep(chance.uniform(0, 0.7))
    os.kill(process, signal.SIGKILL)
    _expect(-signal.SIGKILL, nursery.bury(process), house)
    if how == "copy" and _put_back_plainly(nursery, house, found, copy):
        how = "restore"
    if how == "restore":
        done = house.feeder("restore", str(copy), "--json")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        found.listed |= {each["title"] for each in told["held"]["first"]} | {*told["adopted"]["first"]}
    if nursery.once(house.folder, house.env) != 0:
        found.falsely_refused.append(_said(house))
    _list(house, found)


def _backup(house: House, copy: Path, *, plain: bool) -> Path:
    if plain:
        shutil.copy(_database(house), copy)  # after an end in peace, all of it is in this file
        return copy
    done = house.feeder("backup", str(copy))
    assert done.returncode == 0, done.stderr
    return copy


def _put_back_plainly(nursery: Nursery, house: House, found: Found, copy: Path) -> bool:
    """Copy a backup over the database; whether a log that is not its own lies beside it."""
    log = _database(house).with_name("feeder.db-wal")
    shutil.copy(copy, _database(house))
    if not log.exists() or not log.stat().st_size:
        return False
    found.foreign += 1
    found.refused += nursery.once(house.folder, house.env) != 0
    return True


def _database(house: House) -> Path:
    return house.folder / "var" / "feeder.db"


def _list(house: House, found: Found) -> None:
    listed = json.loads(house.feeder("deliveries", "--json", "-n", "100000", "--state", "unknown").stdout)
    found.listed |= {each["title"] for each in listed}


def _adopted(database: Path) -> set[str]:
    query = "SELECT record FROM articles WHERE announced AND id NOT IN (SELECT subject FROM deliveries)"
    with closing(sqlite3.connect(database)) as store:
        return {json.loads(record)["title"] for (record,) in store.execute(query)}


def _expect(code: int, ended: int, house: House) -> None:
    if ended != code:
        raise AssertionError(f"a worker ended with {ended} in place of {code}; it said: {_said(house)}")


def _said(house: House) -> str:
    return (house.folder / "said.log").read_text()[-3000:]
