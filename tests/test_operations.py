"""What an operator does to a worker: backs it up, fills its disk, takes its folder, restores it, starts it as anybody."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from feeder.store import open_store, set_fact
from tests import fakes
from tests.chaos import bombs, crowd, traffic
from tests.worker import House, Worker

NEWSROOM = '[targets.newsroom]\nkind = "slack"\n' + fakes.LOOPBACK_TOML


@pytest.fixture
def slack():
    with fakes.serving(fakes.Slack()) as service:
        yield service


def newsroom(folder: Path, slack: fakes.Service, more: str = "") -> House:
    return House(folder, more + NEWSROOM, FEEDER_TARGETS__NEWSROOM__URL=slack.url + fakes.Slack.path)


# --- backup and restore -----------------------------------------------------------------------------------------------


def test_a_backup_is_taken_while_the_worker_runs_and_a_restore_sends_nothing_twice(tmp_path, slack):
    house = newsroom(tmp_path, slack)
    with house.worker() as worker:
        worker.wait_for("pass.done")
        house.write_article("before", "Before the backup")
        slack.ledger.wait_for(1)
        made = house.feeder("backup", "backup.db")
        assert (made.returncode, made.stdout) == (0, "backup.db holds what feeder remembers\n")
        assert (tmp_path / "backup.db").stat().st_mode & 0o077 == 0
        house.write_article("after", "After the backup")
        slack.ledger.wait_for(2)

    for file in (tmp_path / "var").iterdir():
        file.unlink()
    shutil.copy(tmp_path / "backup.db", tmp_path / "var" / "feeder.db")
    with house.worker() as worker:
        assert worker.wait_for("store.restored")["held"] == 0
        worker.wait_for("pass.done")
        house.write_article("new", "After the restore")
        slack.ledger.wait_for(3)

    titles = [message["text"] for message in slack.ledger.taken]
    assert titles == ["Before the backup", "After the backup", "After the restore"]


def test_what_waited_when_a_backup_was_made_is_held_after_a_restore(tmp_path, slack):
    house = newsroom(tmp_path, slack, "interval = 3600\n")
    house.config.write_text(house.config.read_text().replace("interval = 3600\n", "", 1))
    house.feeder("once")
    slack.next_answers = [fakes.Answer(status=503)]
    house.write_article("one", "Waits")
    house.feeder("once")
    house.feeder("backup", "backup.db")
    shutil.copy(tmp_path / "backup.db", tmp_path / "var" / "feeder.db")
    for each in ("-wal", "-shm"):
        Path(f"{tmp_path}/var/feeder.db{each}").unlink(missing_ok=True)

    house.feeder("once")

    (held,) = json.loads(house.feeder("deliveries", "--json").stdout)
    assert (held["state"], slack.ledger.taken) == ("unknown", [])
    assert held["last_error"].startswith("the database is a backup of 20")
    done = house.feeder("deliveries", "settle", held["id"][:10], "--resend")
    assert done.returncode == 0
    house.feeder("once")
    assert len(slack.ledger.taken) == 1


@pytest.mark.parametrize(
    ("path", "said"), [("there.db", "is there already"), ("no/such/folder.db", "cannot be written")]
)
def test_a_backup_that_cannot_be_written_says_why_and_leaves_nothing(tmp_path, path, said):
    house = House(tmp_path)
    house.feeder("once")
    (tmp_path / "there.db").write_text("mine")
    before = sorted(tmp_path.rglob("*.db*"))

    done = house.feeder("backup", path)

    assert done.returncode == 2
    assert said in done.stderr
    assert (tmp_path / "there.db").read_text() == "mine"
    assert sorted(tmp_path.rglob("*.db*")) == before


def test_without_a_database_there_is_nothing_to_back_up(tmp_path):
    assert "there is no database yet" in House(tmp_path).feeder("backup", "x.db").stderr


def test_an_unknown_delivery_is_settled_by_a_person(tmp_path, slack):
    house = newsroom(tmp_path, slack)
    house.feeder("once")
    house.write_article("one", "Maybe")
    slack.next_answers = [fakes.Answer(status=504)]
    assert house.feeder("once").returncode == 1
    (unknown,) = json.loads(house.feeder("deliveries", "--state", "unknown", "--json").stdout)

    assert "say --delivered" in house.feeder("deliveries", "settle", unknown["id"]).stderr
    asked = house.feeder("retry", unknown["id"])
    assert asked.returncode == 2
    assert f"feeder deliveries settle {unknown['id'][:12]} --delivered" in asked.stderr
    assert f"feeder retry {unknown['id'][:12]} --resend" in asked.stderr
    assert house.feeder("deliveries", "settle", unknown["id"], "--delivered").returncode == 0
    assert (
        "is delivered; only what is unknown" in house.feeder("deliveries", "settle", unknown["id"], "--resend").stderr
    )
    house.feeder("once")
    assert slack.ledger.taken == []


# --- what sends nothing -----------------------------------------------------------------------------------------------


def test_another_address_slug_folder_or_database_sends_nothing(tmp_path, slack):
    house = newsroom(tmp_path, slack)
    house.feeder("once")
    changes = [
        {"FEEDER_BASE_URL": "https://elsewhere.example/news"},
        {"FEEDER_TOPICS__AI__SLUG": "intelligence"},
        {"FEEDER_SOURCE": "moved"},
        {"FEEDER_DATABASE_URL": "sqlite:///elsewhere.db"},
        {"FEEDER_ID_AUTHORITY": "other.example,2025"},
    ]
    shutil.copytree(house.seeds, tmp_path / "moved" / "deeper")
    for change in changes:
        house.env |= change
        assert house.feeder("once").returncode == 0, change

    assert slack.ledger.taken == []


# --- a disk that is full, a folder that is gone, a database that is locked -----------------------------------------------------


def ready(worker: Worker, status: int) -> dict[str, str]:
    """What `/readyz` says, once it says it with this status."""
    deadline = threading.Event()
    for _ in range(int(fakes.LIMIT / 0.05)):
        answer = worker.get("readyz")
        if answer.status_code == status:
            return answer.json()
        deadline.wait(0.05)
    raise AssertionError(f"/readyz says {answer.status_code} {answer.text}")


def test_a_public_folder_that_cannot_be_written_to_is_said_and_healed_by_the_next_pass(tmp_path):
    house = House(tmp_path)
    with house.worker() as worker:
        worker.wait_for("pass.done")
        assert ready(worker, 200) == {"status": "ok"}
        shutil.rmtree(tmp_path / "public")
        (tmp_path / "public").write_text("in the way")
        house.write_article("one", "The first")
        assert "setting: public" in worker.wait_for("pass.failed")["reason"]
        assert "passes: " in ready(worker, 503)["reason"]
        assert worker.get("healthz").status_code == 200

        (tmp_path / "public").unlink()
        house.write_article("two", "The second")
        worker.wait_for("pass.done")
        assert ready(worker, 200) == {"status": "ok"}
        for title in ("The first", "The second"):
            assert title in worker.get("feeds/ai.rss").text
            assert title in (tmp_path / "public/feeds/ai.rss").read_text()


def test_a_locked_database_holds_everything_up_and_loses_nothing(tmp_path, slack):
    house = newsroom(tmp_path, slack)
    with house.worker() as worker:
        worker.wait_for("pass.done")
        with closing(sqlite3.connect(tmp_path / "var/feeder.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            house.write_article("one", "Held up")
            assert worker.get("feeds/ai.rss").status_code == 200
            assert slack.ledger.taken == []
            other.execute("ROLLBACK")
        slack.ledger.wait_for(1)
        assert worker.stop() == 0
    assert len(slack.ledger.taken) == 1


def test_a_web_server_alone_says_whether_a_worker_works(tmp_path):
    house = House(tmp_path)
    with house.worker("serve", "--port", "0") as web:
        assert "there is no database yet; start the worker" in ready(web, 503)["reason"]
        assert (web.get("healthz").status_code, web.get("feeds/ai.rss").status_code) == (503, 503)
        assert not (tmp_path / "var").exists()
        house.feeder("once")
        assert ready(web, 200) == {"status": "ok"}
        for ended, why in (
            ("2020-01-01T00:00:00+00:00", "; is a worker running?"),
            ("2120-01-01T00:00:00+00:00", ", by a clock that was ahead; is a worker running?"),
        ):
            told = json.dumps({"ended": ended, "files": 0, "documents": 0})
            with closing(sqlite3.connect(tmp_path / "var/feeder.db")) as store:
                store.execute("UPDATE facts SET value = ? WHERE name = 'last_pass'", (told,))
                store.commit()
            assert ready(web, 503)["reason"] == f"the last pass ended at {ended}{why}"


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_worker_whose_database_is_another_one_ends_and_says_so(tmp_path, slack, how):
    house = newsroom(tmp_path, slack)
    database = tmp_path / "var/feeder.db"
    with house.worker() as worker:
        worker.wait_for("pass.done")
        copy = shutil.copy(database, tmp_path / "copy.db")
        database.unlink()
        if how == "replaced":
            shutil.move(copy, database)
        house.write_article("one", "For nobody to remember")

        assert worker.process.wait(fakes.LIMIT) == 2
        worker.stop()
    assert f"{database}: was replaced or removed while it was in use" in "".join(worker.noise)
    assert "Traceback" not in "".join(worker.noise)
    assert slack.ledger.taken == []
    assert database.exists() is (how == "replaced")


def test_a_web_server_waits_for_a_database_and_for_its_tables(tmp_path):
    house = House(tmp_path)
    database = tmp_path / "var/feeder.db"
    database.parent.mkdir()
    with closing(sqlite3.connect(database)) as store:
        store.executescript((Path(__file__).parent / "stores" / "0001.sql").read_text())
    before = database.read_bytes()
    with house.worker("serve", "--port", "0") as web:
        assert "written by an older feeder (its tables are version 0001" in ready(web, 503)["reason"]
        assert web.get("feeds/ai.rss").status_code == 503
        assert database.read_bytes() == before

        house.feeder("once")
        assert ready(web, 200) == {"status": "ok"}
        assert web.get("feeds/ai.rss").status_code == 200


def test_a_database_in_a_folder_that_cannot_be_written_to_is_read(tmp_path):
    """By whoever is not root, while no worker works."""
    house = House(tmp_path)
    house.feeder("once")
    (tmp_path / "var").chmod(0o555)
    humble = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    asked = [*humble, sys.executable, "-m", "feeder", "status", "--json"]
    try:
        done = subprocess.run(asked, cwd=tmp_path, env=house.env, capture_output=True, text=True, check=False)
    finally:
        (tmp_path / "var").chmod(0o755)

    assert (done.returncode, json.loads(done.stdout)["articles"]["published"]) == (0, 5)


@pytest.mark.parametrize("command", [["once"], ["status"], ["backup", "x.db"]])
def test_a_database_that_breaks_under_a_command_is_told_in_a_line(tmp_path, command):
    house = House(tmp_path)
    house.feeder("once")
    with closing(sqlite3.connect(tmp_path / "var/feeder.db")) as store:
        store.execute("DROP TABLE facts")
        store.execute("DROP TABLE files")

    done = house.feeder(*command)

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "no such table" in done.stderr


@pytest.mark.system
def test_a_full_disk_sends_nothing_without_its_mark_and_heals_by_itself(tmp_path, slack):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=True)
    try:
        house = newsroom(tmp_path / "house", slack, f'database_url = "sqlite:///{disk}/feeder.db"\n')
        with house.worker() as worker:
            worker.wait_for("pass.done")
            filler = disk / "filler"
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while file.write(b"x" * 4096):
                    continue
            house.write_article("one", "Too much")
            worker.wait_for("pass.failed")
            assert "full" in ready(worker, 503)["reason"]
            assert slack.ledger.taken == []

            filler.unlink()
            house.write_article("two", "Room again")
            slack.ledger.wait_for(2)
            assert ready(worker, 200) == {"status": "ok"}
            assert (disk / "feeder.db-wal").stat().st_size <= 4 << 20
            assert worker.stop() == 0
        assert sorted(message["text"] for message in slack.ledger.taken) == ["Room again", "Too much"]
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.system
def test_a_log_that_fills_the_disk_is_emptied_and_makes_room_for_what_comes(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], check=True)
    try:
        store = open_store(f"sqlite:///{disk}/feeder.db")
        with store.write() as connection:
            set_fact(connection, "large", "0" * 100_000)
        assert store.checkpoint()  # as at a worker's start
        with suppress(OperationalError):
            for number in range(1_000):  # the same row again and again: the log grows, and the database does not
                with store.write() as connection:
                    set_fact(connection, "large", str(number % 10) * 100_000)
            raise AssertionError("the disk was never full")

        assert (disk / "feeder.db-wal").stat().st_size == 0
        with store.write() as connection:
            set_fact(connection, "small", "written")
        store.close()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


# --- who may do what --------------------------------------------------------------------------------------------------


@pytest.mark.system
def test_an_ordinary_process_with_one_writable_folder_is_enough(tmp_path):
    """Where the tests run as root, the worker runs without all that root may do more than others."""
    house = House(tmp_path)
    writable = tmp_path / "writable"
    writable.mkdir()
    humble = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"] if os.geteuid() == 0 else []
    for path in [tmp_path, *tmp_path.rglob("*")]:
        if path != writable:
            path.chmod(0o555 if path.is_dir() else 0o444)
    house.env |= {
        "FEEDER_PUBLIC": str(writable / "public"),
        "FEEDER_DATABASE_URL": f"sqlite:///{writable}/feeder.db",
        "HOME": "/nonexistent",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    process = subprocess.Popen(
        [*humble, sys.executable, "-m", "feeder", "run", "--serve", "--port", "0"],
        cwd=tmp_path,
        env=house.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    said = []
    for line in process.stderr:
        said.append(json.loads(line))
        if said[-1]["event"] == "pass.done":
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=fakes.LIMIT)

    assert process.returncode == 0
    assert said[-1]["documents"] == 21
    refused = subprocess.run([*humble, "touch", house.seeds / "x.md"], capture_output=True, check=False)
    assert refused.returncode != 0  # the rest was not writable, indeed
    assert (writable / "public/feeds/ai.rss").is_file()


def test_secrets_that_everyone_can_read_are_warned_of(tmp_path):
    house = House(tmp_path, '[targets.fedi]\nkind = "mastodon"\nurl = "https://m.example"\ntoken = "x"\n')
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "title").write_text("News")
    house.config.chmod(0o644)
    (secrets / "title").chmod(0o644)
    house.env["FEEDER_SECRETS_DIR"] = "secrets"
    as_root = ", and feeder runs as root: give it a user of its own" if os.geteuid() == 0 else ""

    told = house.feeder("check").stderr.splitlines()
    for file in ("config/feeder.toml", "secrets/title"):
        expected = (
            f"warning: {file}: holds a secret and everyone on this machine can read it{as_root}; chmod 600 {file}"
        )
        assert expected in told

    house.config.chmod(0o600)
    (secrets / "title").chmod(0o600)
    assert "can read it" not in house.feeder("check").stderr


def test_a_settings_file_without_secrets_may_be_read_by_everyone(tmp_path):
    house = House(
        tmp_path, '[targets.fedi]\nkind = "mastodon"\nurl = "https://m.example"\n', FEEDER_TARGETS__FEDI__TOKEN="x"
    )
    house.config.chmod(0o644)

    assert "can read it" not in house.feeder("check").stderr


# --- one poisoned article and one dead target -------------------------------------------------------------------------


def test_a_poisoned_article_and_a_dead_target_keep_nothing_from_the_others(tmp_path):
    found = crowd.run(tmp_path, targets=10, articles=20)

    assert found.missing == []
    assert found.doubled == []
    assert found.dead_letters == 1


def test_a_target_that_answers_with_bombs_costs_the_worker_no_memory_and_the_others_nothing(tmp_path):
    found = bombs.run(tmp_path, articles=len(bombs.sorts()), plain=False)

    assert found.doubled == 0
    assert found.bombs >= len(bombs.sorts())
    assert found.memory < 300_000_000  # half of it is Python; one of the bombs unpacks to a gigabyte
    assert found.delays[-1] < 10


def test_two_writers_and_eight_readers_never_find_the_database_locked(tmp_path):
    found = traffic.run(tmp_path, seconds=3)

    assert found.errors == []
    assert min(found.writes) > 0
    assert min(found.reads) > 10
