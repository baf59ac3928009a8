"""Folders that vanish, are replaced or lie in each other, under a real worker."""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time

import pytest

from tests import fakes
from tests.worker import House


def ready(worker, status):
    """What `/readyz` says, once it says it with this status."""
    pause = threading.Event()
    for _ in range(int(fakes.LIMIT / 0.05)):
        answer = worker.get("readyz")
        if answer.status_code == status:
            return answer.json()
        pause.wait(0.05)
    raise AssertionError(f"/readyz says {answer.status_code} {answer.text}")


def test_an_emptied_folder_is_said_everywhere_and_its_return_settles_it(tmp_path):
    house = House(tmp_path)
    with house.worker() as worker:
        worker.wait_for("pass.done")
        ready(worker, 200)
        kept = tmp_path / "kept"
        shutil.copytree(house.seeds, kept)
        for path in house.seeds.iterdir():
            path.unlink()

        said = worker.wait_for("articles.missing")
        assert (said["level"], said["articles"], said["of"]) == ("error", 5, 5)
        reason = ready(worker, 503)["reason"]
        assert "articles: 5 of 5 articles have had no file since 20" in reason
        assert str(tmp_path) not in reason
        assert worker.get("feeds/ai.rss").text.count("<item>") == 5
        told = json.loads(house.feeder("status", "--json").stdout)["articles"]
        assert (told["published"], told["missing"]["articles"], told["missing"]["of"]) == (5, 5, 5)
        assert "5 of 5 articles have had no file since" in house.feeder("status").stdout
        with house.worker("serve", "--port", "0") as web:
            assert "5 of 5 articles have had no file" in ready(web, 503)["reason"]

        for path in kept.iterdir():
            shutil.copy(path, house.seeds)
        (house.seeds / "wake").mkdir()
        worker.house.write_article("new", "New")
        assert worker.wait_for("pass.done")


def test_a_person_accepts_deletions_with_and_without_a_worker(tmp_path):
    house = House(tmp_path, "")
    house.config.write_text(house.config.read_text().replace("interval = 3600", "interval = 1"))
    house.feeder("once")
    with house.worker() as worker:
        assert "there is nothing to accept" in house.feeder("once", "--accept-deletions").stderr
        for path in house.seeds.iterdir():
            path.unlink()
        worker.wait_for("articles.missing")
        done = house.feeder("once", "--accept-deletions")
        assert (done.returncode, done.stderr) == (
            0,
            "a worker runs: its next pass over the folder withdraws the 5 articles that have no file\n",
        )
        worker.wait_for("articles.settled")
        ready(worker, 200)
        assert worker.get("feeds/ai.rss").text.count("<item>") == 0

    for number in range(2):
        house.write_article(f"n-{number}", f"Number {number}")
    house.feeder("once")
    for path in house.seeds.iterdir():
        path.unlink()
    done = house.feeder("once", "--json")
    assert (done.returncode, json.loads(done.stdout)["missing"]["articles"]) == (1, 2)
    assert "2 of 2 articles have had no file" in house.feeder("once").stderr
    assert house.feeder("once", "--accept-deletions").returncode == 0
    assert json.loads(house.feeder("status", "--json").stdout)["articles"]["published"] == 0


def test_a_folder_that_is_not_there_is_told_to_strangers_without_its_path_and_to_the_operator_with_it(tmp_path):
    house = House(tmp_path)
    with house.worker() as worker:
        worker.wait_for("pass.done")
        house.seeds.rename(tmp_path / "away")
        assert "seeds: the folder of articles cannot be read" in worker.wait_for("pass.failed")["reason"]
        assert ready(worker, 503)["reason"] == "passes: a folder cannot be read or written; the log says which"
        assert "seeds: the folder of articles cannot be read" in house.feeder("status").stdout
        with house.worker("serve", "--port", "0") as web:
            assert ready(web, 503)["reason"] == "the last pass failed; the log and `feeder status` say why"

        (tmp_path / "away").rename(house.seeds)
        ready(worker, 200)
        assert json.loads(house.feeder("status", "--json").stdout)["failed_pass"] is None


def test_a_folder_that_is_replaced_is_watched_again(tmp_path):
    house = House(tmp_path)
    with house.worker() as worker:
        worker.wait_for("pass.done")
        release = tmp_path / "release-2"
        shutil.copytree(house.seeds, release)
        house.seeds.rename(tmp_path / "release-1")
        release.rename(house.seeds)
        worker.wait_for("watch.renewed")
        house.write_article("new", "After the release")
        while "After the release" not in worker.get("feeds/ai.rss").text:
            worker.wait_for("pass.done")


def test_a_worker_whose_own_files_lie_in_the_folder_of_articles_is_not_woken_by_them(tmp_path):
    house = House(tmp_path, 'source = "."\n')
    done = house.feeder("check")
    assert done.returncode == 1
    assert "public: lies in the folder of articles, .; set source or public to another" in done.stderr
    assert "var/feeder.db: lies in the folder of articles, .; set source or database_url to another" in done.stderr
    with house.worker() as worker:
        worker.wait_for("pass.done")
        before = json.loads(house.feeder("status", "--json").stdout)["last_pass"]
        house.write_article("new", "New")
        worker.wait_for("pass.done")
        assert worker.stop() == 0
        passes = [each for each in worker.events if each["event"] == "pass.done"]
        assert before is not None
        assert len(passes) <= 4  # the first, what was too young then, and the new one


def test_a_source_within_the_public_folder_is_refused_by_a_check(tmp_path):
    house = House(tmp_path, 'public = "."\n')

    assert "seeds: lies in the folder that is published, ." in house.feeder("check").stderr


def test_a_check_says_that_the_public_folder_is_somebody_elses(tmp_path):
    house = House(tmp_path)
    (tmp_path / "public").mkdir()
    (tmp_path / "public/index.html").write_text("theirs")

    for command in ("check", "once"):
        done = house.feeder(command)
        assert done.returncode == (1 if command == "check" else 2)
        assert "public: holds index.html, which feeder did not make" in done.stderr
    assert (tmp_path / "public/index.html").read_text() == "theirs"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_worker_whose_pass_hangs_ends_within_ten_seconds(tmp_path, number):
    house = House(tmp_path)
    house.program = ("-m", "tests.hanging")
    with house.worker() as worker:
        while json.loads(house.feeder("status", "--json").stdout)["articles"]["published"] < 5:
            continue
        began = time.monotonic()
        assert worker.stop(number) == 0
        assert time.monotonic() - began < 10
        assert [each["event"] for each in worker.events[-2:]] == ["pass.abandoned", "worker.stopped"]
    assert house.feeder("once").returncode == 0


def test_a_name_that_is_not_utf8_ends_neither_the_worker_nor_its_watch(tmp_path):
    house = House(tmp_path)
    with house.worker() as worker:
        worker.wait_until_ready()
        for number in range(3):
            with open(bytes(house.seeds) + b"/\xff", "w") as file:
                file.write(str(number))
            worker.wait_for("watch.renewed")
        house.write_article("new", "New")
        while b"New" not in worker.get("feeds/ai.rss").content:
            worker.wait_for("pass.done")


@pytest.mark.parametrize("command", ["check", "once"])
def test_the_database_is_never_where_it_would_be_published(tmp_path, command):
    house = House(tmp_path, FEEDER_DATABASE_URL="sqlite:///public/feeder.db")

    done = house.feeder(command)

    assert done.returncode == (1 if command == "check" else 2)
    assert "feeder.db: lies in the folder that is published, public; set database_url" in done.stderr
    assert not (tmp_path / "public").exists()
