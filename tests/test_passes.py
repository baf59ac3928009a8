"""Passes that are asked for, over a real folder and a real store, in a thread."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from msgspec.structs import replace
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from feeder.errors import FolderError, Problem, SettingsError, StoreError, public_reason
from feeder.passes import Passes
from feeder.store import open_store
from tests.fakes import LIMIT
from tests.house import House


@pytest.fixture
def house(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/feeder.db")
    yield House(tmp_path, store)
    store.close()


class Running:
    """Passes that run, with what they say of themselves."""

    def __init__(self, pipeline):
        self.reports, self.reasons = asyncio.Queue(), asyncio.Queue()
        self.passes = Passes(pipeline, after=self.reports.put_nowait, failing=self.reasons.put_nowait)

    async def report(self):
        return await asyncio.wait_for(self.reports.get(), LIMIT)

    async def reason(self):
        return await asyncio.wait_for(self.reasons.get(), LIMIT)


@asynccontextmanager
async def running(pipeline, source=None):
    stop, own = asyncio.Event(), Running(pipeline)
    with ThreadPoolExecutor(1) as threads:
        tasks = [asyncio.ensure_future(own.passes.run(stop, threads))]
        if source:
            tasks.append(asyncio.ensure_future(own.passes.watch(source, stop)))
        else:
            own.passes.want_all()
        yield own
        stop.set()
        own.passes.want_all()
        await asyncio.gather(*tasks)


def test_deletions_that_a_small_pass_saw_are_judged_by_a_pass_over_the_folder(house):
    for name in ("one", "two", "three"):
        house.write(name)

    async def look():
        async with running(house.pipeline()) as own:
            await own.report()
            for name in ("one", "two"):
                (house.source / f"{name}.md").unlink()
                own.passes.want(frozenset({f"{name}.md"}))
                report = await own.report()
                assert (report.gone, report.unjudged, len(house.titles())) == (0, True, 3)
            assert (await own.report()).gone == 2

    asyncio.run(look())
    assert house.titles() == ["Title of three"]


def test_an_emptied_folder_is_held_by_a_running_worker_and_said_once(house):
    for name in ("one", "two", "three"):
        house.write(name)

    async def look():
        async with running(house.pipeline()) as own:
            await own.report()
            house.source.rename(house.folder / "away")
            house.source.mkdir()
            for _ in range(2):
                own.passes.want_all()
                assert (await own.report()).missing.articles == 3
            house.source.rmdir()
            (house.folder / "away").rename(house.source)
            own.passes.want_all()
            assert (await own.report()).missing is None

    with capture_logs() as logs:
        asyncio.run(look())
    assert [each["event"] for each in logs if each["event"].startswith("articles.")] == [
        "articles.missing",
        "articles.settled",
    ]


def test_a_pass_that_hangs_is_said_after_a_while_and_one_that_gets_on_is_not(house):
    house.write("one")
    reached, release = threading.Event(), threading.Event()

    def hang(_: str) -> None:
        reached.set()
        assert release.wait(LIMIT)

    async def look():
        async with running(replace(house.pipeline(), passing=hang)) as own:
            assert await asyncio.to_thread(reached.wait, LIMIT)
            began = house.time
            house.time += timedelta(minutes=5)
            assert own.passes.stands_still(timedelta(minutes=5)) == ""
            house.time += timedelta(seconds=1)
            said = own.passes.stands_still(timedelta(minutes=5))
            assert said == f"the pass has stood still since {began.isoformat(timespec='seconds')}"
            assert own.passes.hangs
            release.set()
            await own.report()
            assert own.passes.stands_still(timedelta(0)) == ""

    asyncio.run(look())


def test_a_pass_that_reads_file_after_file_gets_on(house):
    for number in range(3):
        house.write(f"n-{number}")
    found = []

    async def look():
        own = Running(replace(house.pipeline(), stopped=lambda: found.append(own.passes.stands_still(week)) or step()))
        stop = asyncio.Event()
        own.passes.want_all()
        with ThreadPoolExecutor(1) as threads:
            task = asyncio.ensure_future(own.passes.run(stop, threads))
            await own.report()
            stop.set()
            own.passes.want_all()
            await task

    week = timedelta(weeks=1)

    def step():
        house.time += timedelta(days=6)
        return False

    asyncio.run(look())
    assert len(found) > 3
    assert set(found) == {""}


def test_why_a_pass_failed_is_told_to_strangers_without_a_path(house):
    house.source.rmdir()

    async def look():
        async with running(house.pipeline()) as own:
            assert await own.reason() == "a folder cannot be read or written; the log says which"

    with capture_logs() as logs:
        asyncio.run(look())
    (failed,) = [each for each in logs if each["event"] == "pass.failed"]
    assert str(house.source) in failed["reason"]


def test_a_source_that_leads_elsewhere_is_watched_again_by_the_next_pass(house):
    house.write("one")
    other = house.folder / "release-2"
    link = house.folder / "current"
    link.symlink_to(house.source)
    pipeline = replace(house.pipeline(), source=link)

    async def look():
        async with running(pipeline, link) as own:
            await own.report()
            other.mkdir()
            (other / "one.md").write_bytes((house.source / "one.md").read_bytes())
            link.unlink()
            link.symlink_to(other)
            own.passes.want_all()
            await own.report()
            assert (await own.report()).changed <= 1  # the watch is renewed, and what came meanwhile looked for
            house.source = other
            house.write("two")
            while "Title of two" not in house.titles():
                await own.report()

    with capture_logs() as logs:
        asyncio.run(look())
    (renewed,) = [each for each in logs if each["event"] == "watch.renewed"]
    assert renewed["folder"] == str(other)


def test_a_folder_that_cannot_be_watched_is_tried_again_after_each_pass(house):
    house.write("one")
    away = house.folder / "away"
    house.source.rename(away)

    async def look():
        async with running(house.pipeline(), house.source) as own:
            await own.reason()
            away.rename(house.source)
            own.passes.want_all()
            assert (await own.report()).changed == 1
            await own.report()
            house.write("two")
            while len(house.titles()) < 2:
                await own.report()

    with capture_logs() as logs:
        asyncio.run(look())
    assert [each["event"] for each in logs if each["event"].startswith("watch.")] == [
        "watch.unavailable",
        "watch.renewed",
    ]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FolderError("/srv/seeds: no"), "a folder cannot be read or written; the log says which"),
        (PermissionError(13, "Permission denied", "/srv/x"), "Permission denied; the log says more"),
        (StoreError("/srv/feeder.db: no"), "the database cannot be used; the log says why"),
        (
            OperationalError("SELECT", {}, ValueError("database or disk is full")),
            "database or disk is full",
        ),
        (
            OperationalError("SELECT", {}, ValueError("no such file /srv/feeder.db")),
            "the database cannot be used; the log says why",
        ),
        (SettingsError([Problem(where="/srv/x", reason="no")]), "the log says why"),
    ],
)
def test_no_reason_that_strangers_read_holds_a_path(error, said):
    assert public_reason(error) == said
