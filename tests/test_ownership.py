"""What a worker does with database files that somebody has put there, and with what a crash leaves."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from feeder.store import ownership
from feeder.store.lock import Record, record_of
from tests import fakes
from tests.crashing import CRASHED, Nursery
from tests.worker import House

NEWSROOM = '[targets.newsroom]\nkind = "slack"\n' + fakes.LOOPBACK_TOML


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


@pytest.fixture
def slack():
    with fakes.serving(fakes.Slack()) as service:
        yield service


class Files:
    """The files of a house's database, and copies of it."""

    def __init__(self, house: House) -> None:
        self.house, self.folder = house, house.folder / "var"
        self.database, self.wal = self.folder / "feeder.db", self.folder / "feeder.db-wal"

    def content(self) -> dict[str, bytes]:
        """What must not change when a store is refused."""
        return {path.name: path.read_bytes() for path in (self.database, self.wal) if path.exists()}

    def feeder_backup(self) -> Path:
        assert self.house.feeder("backup", "backup.db").returncode == 0
        return self.house.folder / "backup.db"

    def sqlite_backup(self) -> Path:
        path = self.house.folder / "sqlite.db"
        with closing(sqlite3.connect(self.database)) as there, closing(sqlite3.connect(path)) as here:
            there.backup(here)
        return path

    def raw_copy(self) -> Path:
        return Path(shutil.copy(self.database, self.house.folder / "raw.db"))


@pytest.fixture
def house(nursery, tmp_path, slack) -> House:
    """A house whose target has met what is there."""
    house = House(tmp_path, NEWSROOM, FEEDER_TARGETS__NEWSROOM__URL=slack.url + fakes.Slack.path)
    assert nursery.once(house.folder, house.env) == 0
    return house


@pytest.fixture
def files(house) -> Files:
    return Files(house)


def kill_a_worker_at_work(nursery: Nursery, house: House, slack: fakes.Service, title: str) -> None:
    """What was told since the last checkpoint stands in the write-ahead log alone."""
    before = len(slack.ledger.taken)
    process = nursery.worker(house.folder, house.env)
    house.write_article(title, title)
    slack.ledger.wait_for(before + 1)
    os.kill(process, signal.SIGKILL)
    assert nursery.bury(process) == -signal.SIGKILL
    assert (house.folder / "var" / "feeder.db-wal").stat().st_size > 0


def torn(copy: Path) -> Path:
    os.truncate(copy, copy.stat().st_size // 2 // 512 * 512)
    return copy


def scribbled(copy: Path) -> Path:
    """Random bytes in the middle."""
    with copy.open("r+b") as file:
        file.seek(copy.stat().st_size // 4)
        file.write(random.Random(1).randbytes(copy.stat().st_size // 2))
    return copy


COPIES = {
    "feeder backup": Files.feeder_backup,
    "sqlite3 .backup": Files.sqlite_backup,
    "plain copy": Files.raw_copy,
    "torn backup": lambda files: torn(files.feeder_backup()),
    "torn copy": lambda files: torn(files.raw_copy()),
    "scribbled copy": lambda files: scribbled(files.raw_copy()),
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_over_what_a_crash_left_is_refused_and_nothing_is_sent(nursery, house, files, slack, kind):
    copy = COPIES[kind](files)
    kill_a_worker_at_work(nursery, house, slack, "told")
    shutil.copy(copy, files.database)
    house.write_article("later", "Later")
    before = files.content()

    for command in (["once"], ["once", "--dry-run"], ["run"], ["status"], ["retry", "x"], ["backup", "x.db"]):
        done = house.feeder(*command)

        assert done.returncode == 2, command
        assert "feeder restore FILE" in done.stderr
        if not kind.startswith("torn"):  # of those nobody knows what they are of
            assert f"{files.database}: {files.wal} beside it belongs to another database" in done.stderr
            assert f"mv {files.wal} {files.wal}.old" in done.stderr
    assert files.content() == before
    assert len(slack.ledger.taken) == 1


@pytest.mark.parametrize("kind", ["feeder backup", "sqlite3 .backup", "plain copy"])
def test_without_the_log_a_copy_is_taken_for_the_backup_that_it_is(nursery, house, files, slack, kind):
    slack.next_answers = [fakes.Answer(status=429, headers={"retry-after": "3600"})]
    house.write_article("waits", "Waits")
    nursery.once(house.folder, house.env)
    copy = COPIES[kind](files)
    kill_a_worker_at_work(nursery, house, slack, "told")
    shutil.copy(copy, files.database)
    files.wal.rename(f"{files.wal}.old")

    done = house.feeder("once")

    assert "store.restored" in done.stderr
    assert [message["text"] for message in slack.ledger.taken] == ["told"]
    (held,) = json.loads(house.feeder("deliveries", "--json").stdout)
    assert (held["title"], held["state"]) == ("Waits", "unknown")
    house.write_article("new", "New")
    assert nursery.once(house.folder, house.env) == 0
    assert [message["text"] for message in slack.ledger.taken] == ["told", "New"]


def lose_the_log(files: Files, copy: Path) -> None:
    files.wal.unlink()


def put_the_copy_back(files: Files, copy: Path) -> None:
    shutil.copy(copy, files.database)
    files.wal.unlink()


@pytest.mark.parametrize("lose", [lose_the_log, put_the_copy_back])
def test_a_store_that_was_set_back_to_before_something_was_told_tells_it_to_nobody(nursery, house, files, slack, lose):
    """It is of the same start, so that no generation gives it away."""
    process = nursery.worker(house.folder, house.env)
    copy = files.raw_copy()
    house.write_article("told", "told")
    slack.ledger.wait_for(1)
    os.kill(process, signal.SIGKILL)
    nursery.bury(process)
    lose(files, copy)

    done = house.feeder("once")

    assert "store.restored" in done.stderr
    assert [message["text"] for message in slack.ledger.taken] == ["told"]
    house.write_article("new", "New")
    assert "store.restored" not in house.feeder("once").stderr
    assert [message["text"] for message in slack.ledger.taken] == ["told", "New"]


@pytest.mark.parametrize("damage", [torn, scribbled])
@pytest.mark.parametrize("crash", [True, False])
def test_a_damaged_database_is_refused_and_nothing_is_sent(nursery, house, files, slack, damage, crash):
    if crash:
        kill_a_worker_at_work(nursery, house, slack, "told")
    damage(files.database)
    house.write_article("later", "Later")
    before, told = files.content(), list(slack.ledger.taken)

    done = house.feeder("once")

    assert done.returncode == 2
    assert f"{files.database}: is damaged: " in done.stderr
    assert "feeder restore FILE" in done.stderr
    assert files.content() == before
    assert slack.ledger.taken == told


def test_a_checkpoint_that_was_broken_off_is_no_damage(nursery, house, files, slack):
    """Its first page is brought in before those that it tells of: SQLite finds them in the log, and so does feeder."""
    house.env["FEEDER_TARGETS__NEWSROOM__RATE"] = "1000/s"
    for number in range(60):
        house.write_article(f"grows-{number}", "Grows", excerpt=json.dumps("long " * 3_000))
    kill_a_worker_at_work(nursery, house, slack, "told")
    whole = Path(shutil.copy(files.database, house.folder / "whole.db"))
    shutil.copy(files.wal, house.folder / "whole.db-wal")
    with closing(sqlite3.connect(whole)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert whole.stat().st_size > files.database.stat().st_size
    with files.database.open("r+b") as database, whole.open("rb") as checkpointed:
        database.write(checkpointed.read(4_096 * 4))
    address = f"{files.database.as_uri()}?immutable=1"
    with closing(sqlite3.connect(address, uri=True)) as alone, pytest.raises(sqlite3.DatabaseError, match="malformed"):
        alone.execute("SELECT * FROM facts").fetchall()
    told = len(slack.ledger.taken)

    for command in ("status", "deliveries", "once"):
        assert house.feeder(command).returncode == 0, command
    assert house.feeder("backup", "after.db").returncode == 0
    house.write_article("later", "Later")
    house.feeder("once")
    slack.ledger.wait_for(told + 1)


def test_a_sound_plain_copy_of_the_same_start_goes_on(nursery, house, files, slack):
    """It cannot be told from the database itself; its log brings it up to date."""
    process = nursery.worker(house.folder, house.env)
    house.write_article("told", "told")
    slack.ledger.wait_for(1)
    copy = files.raw_copy()
    os.kill(process, signal.SIGKILL)
    nursery.bury(process)
    shutil.copy(copy, files.database)

    assert nursery.once(house.folder, house.env) == 0

    assert len(slack.ledger.taken) == 1


@pytest.mark.parametrize("damaged", ["is damaged", ""])
def test_a_database_is_looked_through_only_when_somebody_may_have_touched_it(house, files, damaged):
    """Damage tells whether it was looked at."""
    record = record_of(files.database)
    seen = files.database.stat()
    scribbled(files.database)
    assert ownership.damage(files.database) != ""
    if not damaged:
        record = Record(generations=record.generations, stamp=ownership.stamp(files.database))
    assert seen.st_size == files.database.stat().st_size

    if damaged:
        with pytest.raises(ownership.StoreError, match=damaged):
            ownership.refuse_damage(files.database, record)
    else:
        ownership.refuse_damage(files.database, record)


def test_a_start_after_an_end_or_a_crash_refuses_nothing(nursery, house, files):
    for point in ["before the plan's commit", "after the plan's commit", "before the commit", "after the commit"]:
        house.write_article(point.replace(" ", "-"), point)
        assert nursery.once(house.folder, house.env, point=point) == CRASHED
        (generation,) = record_of(files.database).generations
        assert ownership.generation(files.database) == generation
        assert house.feeder("status").returncode == 0
        assert nursery.once(house.folder, house.env) == 0
        assert record_of(files.database).generations != (generation,)


@pytest.mark.parametrize("reached", [1, 2, 3])
def test_a_start_that_is_killed_between_the_two_memories_refuses_nothing_afterwards(
    nursery, house, files, slack, reached
):
    """The lock file is written first, then the log, then the database, then the lock file again."""
    kill_a_worker_at_work(nursery, house, slack, "told")
    (old,) = record_of(files.database).generations
    lock = files.folder / "feeder.db.lock"
    both = {**json.loads(lock.read_text()), "generations": [old, 77], "stamp": []}
    lock.write_text(json.dumps(both).ljust(1024))
    if reached > 1:
        keeping_the_log = sqlite3.connect(files.database, isolation_level=None)
        with closing(keeping_the_log) as store, closing(sqlite3.connect(files.database)) as reader:
            store.execute("PRAGMA user_version=77")
            if reached > 2:
                store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                store.execute("INSERT INTO facts VALUES ('one', 'two')")
            reader.execute("SELECT count(*) FROM facts").fetchone()
            copies = {path: path.read_bytes() for path in (files.database, files.wal)}
        for path, content in copies.items():
            path.write_bytes(content)
    assert ownership.generation(files.database) == (77 if reached > 2 else old)
    assert files.wal.stat().st_size > 0

    assert nursery.once(house.folder, house.env) == 0
    assert len(slack.ledger.taken) == 1


@pytest.mark.parametrize("calls", [1, 2])
def test_a_start_over_a_copy_that_is_killed_distrusts_it_all_the_same(nursery, house, files, slack, calls):
    copy = files.raw_copy()
    house.write_article("told", "told")
    assert nursery.once(house.folder, house.env) == 0
    shutil.copy(copy, files.database)
    killing = f"""
import os, sys
from feeder import cli
from feeder.store.lock import Lock
remember, left = Lock.remember, {calls}
def dying(*args, **changes):
    global left
    remember(*args, **changes)
    left -= 1
    if left == 0:
        os._exit(137)
Lock.remember = dying
sys.argv = ["feeder", "once"]
cli.main()
"""
    asked = [sys.executable, "-c", killing]
    assert subprocess.run(asked, cwd=house.folder, env=house.env, capture_output=True, check=False).returncode == 137

    assert "store.restored" in house.feeder("once").stderr
    assert len(slack.ledger.taken) == 1


def test_a_backup_beside_a_log_is_refused_though_the_lock_file_is_gone(nursery, house, files, slack):
    copy = files.feeder_backup()
    kill_a_worker_at_work(nursery, house, slack, "told")
    shutil.copy(copy, files.database)
    (files.folder / "feeder.db.lock").unlink()

    assert "belongs to another database" in house.feeder("once").stderr


def test_a_crash_without_a_lock_file_goes_on(nursery, house, files, slack):
    kill_a_worker_at_work(nursery, house, slack, "told")
    (files.folder / "feeder.db.lock").write_text("process 7 on an older feeder's host")

    assert nursery.once(house.folder, house.env) == 0
    assert len(slack.ledger.taken) == 1
