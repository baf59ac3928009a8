"""Backups, and what `feeder restore` does with them. What it is refused beside: test_ownership."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from feeder.store import ownership
from feeder.store.lock import record_of
from tests import fakes
from tests.crashing import Nursery
from tests.test_ownership import Files, kill_a_worker_at_work, scribbled, torn
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


@pytest.fixture
def house(nursery, tmp_path, slack) -> House:
    house = House(tmp_path, NEWSROOM, FEEDER_TARGETS__NEWSROOM__URL=slack.url + fakes.Slack.path)
    assert nursery.once(house.folder, house.env) == 0
    return house


@pytest.fixture
def files(house) -> Files:
    return Files(house)


def texts(slack: fakes.Service) -> list[str]:
    return [message["text"] for message in slack.ledger.taken]


def test_a_restore_after_a_crash_says_what_is_held_and_what_is_taken_for_told_and_doubles_nothing(
    nursery, house, files, slack
):
    slack.next_answers = [fakes.Answer(status=429, headers={"retry-after": "3600"})]
    house.write_article("waits", "Waits")
    nursery.once(house.folder, house.env)
    copy = files.feeder_backup()
    made = copy.read_bytes()
    kill_a_worker_at_work(nursery, house, slack, "Came since")

    done = house.feeder("restore", str(copy), "--json")

    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert (found["restored"], found["kept"]) == (str(copy), f"{files.database}.replaced")
    assert found["held"]["number"] == found["adopted"]["number"] == 1
    assert (found["held"]["first"][0]["target"], found["held"]["first"][0]["title"]) == ("newsroom", "Waits")
    assert found["adopted"]["first"] == ["Came since"]
    assert copy.read_bytes() == made
    assert sorted(path.name for path in files.folder.iterdir()) == ["feeder.db", "feeder.db.lock", "feeder.db.replaced"]
    assert {path.stat().st_mode & 0o777 for path in files.folder.glob("feeder.db*[bd]")} == {0o600}

    assert nursery.once(house.folder, house.env) == 0
    (held,) = json.loads(house.feeder("deliveries", "--state", "unknown", "--json").stdout)
    assert (held["id"], held["last_error"][:29]) == (found["held"]["first"][0]["id"], "the database is a backup of 2")
    assert texts(slack) == ["Came since"]
    house.write_article("new", "New")
    assert nursery.once(house.folder, house.env) == 0
    assert texts(slack) == ["Came since", "New"]


def test_a_restore_tells_people_in_words(nursery, house, files, slack):
    copy = files.feeder_backup()
    for number in range(22):
        house.write_article(f"n-{number}", f"Number {number}")

    said = house.feeder("restore", str(copy)).stdout.splitlines()

    assert said[0].startswith(f"{copy} is the database now: what feeder remembered at 20")
    assert said[0].endswith(f"; the one before is {files.database}.replaced")
    assert said[1:3] == [
        "0 deliveries waited then and are held, because they may have been sent since",
        "22 articles came since and will be taken for told",
    ]
    assert (len(said), said[-1]) == (24, "  and 2 more")


def test_what_a_restore_takes_the_place_of_is_kept_whole(nursery, house, files, slack):
    copy = files.feeder_backup()
    kill_a_worker_at_work(nursery, house, slack, "told")

    house.feeder("restore", str(copy))

    with closing(sqlite3.connect(f"{files.database}.replaced")) as kept:
        titles = [json.loads(record)["title"] for (record,) in kept.execute("SELECT record FROM articles")]
        assert kept.execute("SELECT state FROM deliveries").fetchone()[0] in {"sending", "delivered"}
    assert "told" in titles


@pytest.mark.parametrize("kind", ["sqlite_backup", "raw_copy"])
def test_a_copy_without_a_mark_gets_one(nursery, house, files, slack, kind):
    copy = getattr(files, kind)()
    kill_a_worker_at_work(nursery, house, slack, "told")

    assert house.feeder("restore", str(copy)).returncode == 0
    assert "store.restored" in house.feeder("once").stderr
    assert texts(slack) == ["told"]


def test_a_copy_comes_with_the_log_beside_it(nursery, house, files, slack):
    kill_a_worker_at_work(nursery, house, slack, "told")
    copy = Path(shutil.copy(files.database, house.folder / "copy.db"))
    shutil.copy(files.wal, house.folder / "copy.db-wal")
    shutil.rmtree(files.folder)

    found = json.loads(house.feeder("restore", str(copy), "--json").stdout)

    assert found["kept"] is None
    assert found["adopted"]["number"] == 0
    states = json.loads(house.feeder("status", "--json").stdout)["targets"]["newsroom"]["deliveries"]
    assert states["delivered"] + states["sending"] == 1


def test_a_refused_store_is_put_right_by_a_restore(nursery, house, files, slack):
    copy = files.feeder_backup()
    kill_a_worker_at_work(nursery, house, slack, "told")
    shutil.copy(copy, files.database)
    assert house.feeder("once").returncode == 2

    assert house.feeder("restore", str(copy)).returncode == 0

    assert (files.folder / "feeder.db-wal.foreign").stat().st_size > 0
    assert nursery.once(house.folder, house.env) == 0
    assert texts(slack) == ["told"]


def _set_version(path: Path, version: str) -> None:
    with closing(sqlite3.connect(path)) as copy:
        copy.execute("UPDATE alembic_version SET version_num = ?", (version,))
        copy.commit()


def _another_programs(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as copy:
        copy.execute("CREATE TABLE songs (name TEXT)")


def test_a_second_restore_keeps_what_the_first_one_put_aside(nursery, house, files):
    original = files.feeder_backup()
    for number in range(3):
        house.write_article(f"later-{number}", f"Later {number}")
        nursery.once(house.folder, house.env)
        assert house.feeder("restore", str(original)).returncode == 0

    kept = sorted(path for path in files.folder.iterdir() if ".replaced" in path.name)
    assert [path.name for path in kept] == [f"feeder.db.replaced{end}" for end in ("", ".1", ".2")]
    for path, title in zip((kept[1], kept[2], kept[0]), ("Later 0", "Later 1", "Later 2"), strict=True):
        with closing(sqlite3.connect(path)) as there:
            assert there.execute("SELECT count(*) FROM articles WHERE record LIKE ?", (f"%{title}%",)).fetchone() == (
                1,
            )


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (torn, "is no sound database of feeder"),
        (scribbled, "damaged|no sound database"),
        (lambda path: path.write_text("notes " * 1000), "no sound database of feeder: file is not a database"),
        (lambda path: path.unlink(), "there is no such backup"),
        (lambda path: _set_version(path, "9999"), "written by a newer feeder"),
        (_another_programs, "no sound database of feeder: no such table"),
    ],
)
def test_what_is_no_sound_backup_is_refused_and_nothing_changes(nursery, house, files, spoil, said):
    copy = files.feeder_backup()
    spoil(copy)
    before, names = files.content(), sorted(os.listdir(files.folder))

    done = house.feeder("restore", str(copy))

    assert done.returncode == 2
    assert any(each in done.stderr for each in said.split("|"))
    assert str(copy) in done.stderr
    assert files.content() == before
    assert sorted(os.listdir(files.folder)) == names
    assert nursery.once(house.folder, house.env) == 0


def test_the_database_itself_is_no_backup_of_it(house, files):
    assert "is the database itself" in house.feeder("restore", str(files.database)).stderr


def test_a_restore_beside_a_worker_is_refused(house, files):
    copy = files.feeder_backup()
    with house.worker() as worker:
        done = house.feeder("restore", str(copy))
        assert done.returncode == 2
        assert f"in use by process {worker.process.pid} on" in done.stderr


@pytest.mark.parametrize("calls", range(1, 8))
def test_a_restore_that_is_broken_off_is_refused_until_it_is_run_again(nursery, house, files, slack, calls):
    """After each system call that changes the folder, one after the other."""
    house.write_article("told", "told")
    nursery.once(house.folder, house.env)
    copy = files.feeder_backup()
    before = files.content()["feeder.db"]
    killing = f"""
import os, sys
from feeder.store import backups
from feeder.store.lock import Lock
left = {calls}
def dying(work):
    def worked(*args, **more):
        global left
        done = work(*args, **more)
        left -= 1
        if left == 0:
            os._exit(137)
        return done
    return worked
for name in ("_empty_log", "_link", "_sync"):
    setattr(backups, name, dying(getattr(backups, name)))
for owner, name in ((Lock, "remember"), (backups.Path, "replace")):
    setattr(owner, name, dying(getattr(owner, name)))
sys.argv = ["feeder", "restore", {str(copy)!r}]
from feeder import cli
cli.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", killing], cwd=house.folder, env=house.env, capture_output=True, check=False
    )
    assert done.returncode == 137, done.stderr

    begun = record_of(files.database).restoring
    assert begun is (3 <= calls <= 6)
    assert house.feeder("once").returncode == (2 if begun else 0)
    if begun:
        assert "a restore was broken off, and nothing was sent; run it again" in house.feeder("status").stderr
    assert house.feeder("restore", str(copy)).returncode == 0
    if begun:
        assert (files.folder / "feeder.db.replaced").read_bytes() == before
    assert nursery.once(house.folder, house.env) == 0
    assert texts(slack) == ["told"]


def test_a_web_server_serves_what_was_restored_at_once(nursery, house, files):
    copy = files.feeder_backup()
    house.write_article("later", "Comes later")
    nursery.once(house.folder, house.env)
    with house.worker("serve", "--port", "0") as web:
        assert "Comes later" in web.get("feeds/ai.rss").text

        assert house.feeder("restore", str(copy)).returncode == 0
        assert "Comes later" not in web.get("feeds/ai.rss").text

        house.write_article("last", "Comes last")
        nursery.once(house.folder, house.env)
        assert "Comes last" in web.get("feeds/ai.rss").text
        assert web.stop() == 0


def test_a_backup_is_of_no_generation_of_its_store(house, files):
    assert ownership.generation(files.database) != 0
    assert ownership.generation(files.feeder_backup()) == 0
