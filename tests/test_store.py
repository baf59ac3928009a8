"""The store as a file: opening, migrating, refusing, locking."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import feedparser
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st

import feeder.store
from feeder.errors import StoreError, StoreInUse, StoreMissing, StoreReplaced, StoreTooNew, StoreTooOld
from feeder.models import Rules
from feeder.store import (
    SCHEMA,
    Store,
    copied_store,
    deliveries,
    documents,
    existing_store,
    fact,
    open_store,
    set_fact,
    tables,
)
from feeder.store.followed import FollowedStore
from feeder.store.lock import only_worker
from tests.house import House
from tests.test_search import titles_found

MIGRATIONS = Path(feeder.store.__file__).parent / "migrations" / "versions"


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/deep/feeder.db"


def is_of_the_index(name: str) -> bool:
    """Whether a table is FTS5's virtual one or one that it keeps its data in: SQLAlchemy knows no such tables."""
    return name == "search_index" or name.startswith("search_index_")


def test_a_new_store_is_made_with_its_folders_and_all_tables(url):
    store = open_store(url)

    with store.read() as connection:
        names = {name for name in sa.inspect(connection).get_table_names() if not is_of_the_index(name)}
        assert names == {*tables.metadata.tables, "alembic_version"}
    store.close()


def test_the_migrations_lead_to_the_tables_that_the_code_knows(url):
    store = open_store(url)

    with store.read() as connection:
        options = {
            "compare_type": True,
            "include_name": lambda name, kind, _: kind != "table" or not is_of_the_index(name),
        }
        assert compare_metadata(MigrationContext.configure(connection, opts=options), tables.metadata) == []
    store.close()


def test_the_schema_is_the_newest_migration():
    assert max(path.name.split("_")[0] for path in MIGRATIONS.glob("[0-9]*.py")) == feeder.store.SCHEMA


def test_what_is_written_is_there_after_opening_again(url):
    store = open_store(url)
    with store.write() as connection:
        set_fact(connection, "name", "one")
        set_fact(connection, "name", "two")
    store.close()

    again = open_store(url)
    with again.read() as connection:
        assert (fact(connection, "name"), fact(connection, "other")) == ("two", None)
    again.close()


def test_a_transaction_that_raises_leaves_nothing(url):
    store = open_store(url)

    def break_off() -> None:
        with store.write() as connection:
            set_fact(connection, "name", "one")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()

    with store.read() as connection:
        assert fact(connection, "name") is None
    store.close()


def test_every_commit_is_brought_to_the_disk(url):
    store = open_store(url)

    with store.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    store.close()


def test_a_store_of_a_newer_feeder_is_refused_and_left_as_it_is(url, tmp_path):
    open_store(url).close()
    path = tmp_path / "deep" / "feeder.db"
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    before = path.read_bytes()

    with pytest.raises(StoreTooNew, match=rf"written by a newer feeder.*version 9999.*knows {SCHEMA}.*database_url"):
        open_store(url)

    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "notes.db"
    path.write_text("these are my notes, not a database at all\n" * 50)

    with pytest.raises(
        StoreError, match=r"notes\.db: cannot be used as a database: file is not a database.*database_url"
    ):
        open_store(f"sqlite:///{path}")

    assert path.read_text().startswith("these are my notes")


def older_store_file(folder: Path) -> None:
    """stores/0001.sql is what the first feeder wrote: one article, and its delivery to a webhook that waits."""
    with sqlite3.connect(folder / "feeder.db") as connection:
        connection.executescript((Path(__file__).parent / "stores" / "0001.sql").read_text())
    connection.close()


def older_store(folder: Path) -> Store:
    older_store_file(folder)
    return open_store(f"sqlite:///{folder}/feeder.db")


def test_an_article_of_an_older_store_leaves_its_feeds_with_its_file(tmp_path):
    store = older_store(tmp_path)
    house = House(tmp_path, store)
    with store.read() as connection:
        assert documents.get(connection, "feeds/ai.rss") is not None

    house.run()

    with store.read() as connection:
        assert feedparser.parse(documents.get(connection, "feeds/ai.rss").body).entries == []
        assert documents.moved_to(connection, "feeds/ai.rss") is None
    assert feedparser.parse(house.document("feeds/all.rss")).entries == []
    store.close()


def test_a_store_of_an_older_feeder_goes_on_where_that_one_stopped(tmp_path):
    store = older_store(tmp_path)
    with store.read() as connection:
        before = {path: documents.get(connection, path) for path in documents.paths(connection)}
        (waiting,) = deliveries.find(connection)
    assert before["feeds/ai.json"].body.startswith(b'{\n "version": "https://jsonfeed.org/version/1.1"')
    assert (waiting.state, waiting.attempts, waiting.target) == ("pending", 1, "site")

    house = House(tmp_path, store, targets=[Rules(target="site")])
    path = house.source / "one.md"
    path.write_text(
        "---\ntitle: One\npublishedDateTime: 2025-06-01T10:00:00Z\nwebUrl: https://news.example.org/one\ntopics: [AI]\n---\n"
    )
    house.run()

    assert house.outbox() == [waiting]
    (entry,) = feedparser.parse(house.document("feeds/ai.atom")).entries
    assert (entry.title, entry.updated_parsed) == ("One", entry.published_parsed)
    with store.read() as connection:
        assert documents.get(connection, "feeds/ai.rss").modified > before["feeds/ai.rss"].modified
    assert titles_found(house, "one") == ["One"]
    store.close()


def test_an_article_of_an_older_store_is_found_before_its_file_is_read_again(tmp_path):
    store = older_store(tmp_path)
    house = House(tmp_path, store)

    assert titles_found(house, "one") == titles_found(house, "ai") == ["One"]

    house.write("one", title="Two")
    house.run()
    assert (titles_found(house, "one"), titles_found(house, "two")) == ([], ["Two"])
    store.close()


def test_another_programs_database_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    connection.close()

    with pytest.raises(StoreError, match=r"other\.db: holds another program's tables"):
        open_store(f"sqlite:///{tmp_path}/other.db")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match=r"file/deep: cannot be made: Not a directory \(setting: database_url\)"):
        open_store(f"sqlite:///{tmp_path}/file/deep/feeder.db")


def test_a_copy_holds_what_the_store_holds_and_gives_nothing_back(url):
    store = open_store(url)
    with store.write() as connection:
        set_fact(connection, "name", "here")

    copy = copied_store(url)
    with copy.write() as connection:
        assert fact(connection, "name") == "here"
        set_fact(connection, "name", "there")

    with store.read() as connection:
        assert fact(connection, "name") == "here"
    copy.close()
    store.close()


def test_a_copy_of_a_store_that_is_not_there_makes_none(url, tmp_path):
    copied_store(url).close()

    assert list(tmp_path.iterdir()) == []


def test_a_new_store_is_its_owners_alone_with_all_beside_it(url, tmp_path):
    before = os.umask(0)
    try:
        store = open_store(url)
        with store.write() as connection:
            set_fact(connection, "name", "one")
        modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "deep").iterdir()}
    finally:
        os.umask(before)
        store.close()

    assert modes == {"feeder.db": 0o600, "feeder.db-wal": 0o600, "feeder.db-shm": 0o600}


def test_a_store_that_is_there_keeps_its_mode(url, tmp_path):
    open_store(url).close()
    (tmp_path / "deep" / "feeder.db").chmod(0o640)

    open_store(url).close()

    assert (tmp_path / "deep" / "feeder.db").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("writes", [True, False])
def test_who_only_asks_makes_no_store_and_migrates_none(url, tmp_path, writes):
    with pytest.raises(StoreMissing, match="there is no database yet; start the worker, or run `feeder once`"):
        existing_store(url, writes=writes)
    assert list(tmp_path.iterdir()) == []

    older_store_file(tmp_path)
    before = (tmp_path / "feeder.db").read_bytes()
    with pytest.raises(StoreTooOld, match=r"older feeder.*version 0001.*start the worker, or run `feeder once`"):
        existing_store(f"sqlite:///{tmp_path}/feeder.db", writes=writes)
    assert (tmp_path / "feeder.db").read_bytes() == before


def test_who_only_asks_leaves_nothing_behind(url, tmp_path):
    open_store(url).close()

    for _ in range(2):
        store = existing_store(url)
        with store.read() as connection:
            assert fact(connection, "name") is None
        store.close()

    assert os.listdir(tmp_path / "deep") == ["feeder.db"]


def test_what_a_worker_has_not_brought_into_the_database_yet_is_seen(url):
    store = open_store(url)
    with store.write() as connection:
        set_fact(connection, "name", "one")

    asking = existing_store(url)
    with asking.read() as connection:
        assert fact(connection, "name") == "one"
    asking.close()
    store.close()


@pytest.mark.parametrize("what", ["removed", "replaced"])
def test_a_store_whose_file_is_another_one_takes_nothing_more(url, tmp_path, what):
    path = tmp_path / "deep" / "feeder.db"
    store = open_store(url)
    version = store.version()
    assert version() == version()
    if what == "removed":
        path.unlink()
    else:
        shutil.copy(path, tmp_path / "copy.db")
        (tmp_path / "copy.db").replace(path)

    for transaction in (store.read, store.write):
        with pytest.raises(StoreReplaced, match="was replaced or removed while it was in use"), transaction():
            pass
    assert version() != version()
    store.close()


def test_what_went_into_a_file_that_was_replaced_meanwhile_is_not_acted_upon(url, tmp_path):
    store = open_store(url)

    def write() -> None:
        with store.write() as connection:
            set_fact(connection, "name", "one")
            (tmp_path / "deep" / "feeder.db").rename(tmp_path / "moved.db")

    with pytest.raises(StoreReplaced):
        write()
    store.close()


def test_a_followed_store_is_whatever_lies_at_its_path(url, tmp_path):
    followed = FollowedStore(url)
    version = followed.version()
    with pytest.raises(StoreMissing), followed.read():
        pass
    assert version() != version()
    assert list(tmp_path.iterdir()) == []

    seen = []
    for name in ("one", "two"):
        store = open_store(f"sqlite:///{tmp_path}/{name}.db")
        with store.write() as connection:
            set_fact(connection, "name", name)
        store.close()
        (tmp_path / "deep").mkdir(exist_ok=True)
        (tmp_path / f"{name}.db").replace(tmp_path / "deep" / "feeder.db")
        with followed.read() as connection:
            assert fact(connection, "name") == name
        assert version() == version()
        seen.append(version())
    store = open_store(url)
    with store.write() as connection:
        set_fact(connection, "name", "three")
    with followed.read() as connection:
        assert fact(connection, "name") == "three"
    assert len({*seen, version()}) == 3
    store.close()
    followed.close()


def test_the_log_is_cut_back_after_much_was_written(url, tmp_path):
    log = tmp_path / "deep" / "feeder.db-wal"
    store = open_store(url)
    with store.write() as connection:
        for number in range(30):
            set_fact(connection, f"large {number}", "x" * 1_000_000)
    assert log.stat().st_size == 0  # far more than is borne: brought into the database at once

    for number in range(300):
        with store.write() as connection:
            set_fact(connection, "small", f"{number}" * 5_000)
        assert log.stat().st_size < 6 << 20
    store.close()


def test_a_reader_that_stays_keeps_no_writer_waiting_for_long(url, tmp_path):
    log = tmp_path / "deep" / "feeder.db-wal"
    store = open_store(url)
    with store.read() as reading:
        assert fact(reading, "large") is None
        with store.write() as connection:
            set_fact(connection, "large", "x" * 30_000_000)
        assert log.stat().st_size > 30_000_000
    with store.write() as connection:
        set_fact(connection, "small", "x")
    assert log.stat().st_size == 0
    store.close()


@pytest.mark.parametrize("spelling", ["relative", "deep/../deep", "link to the file", "link to the folder"])
def test_the_lock_is_the_files_whatever_it_is_called(url, tmp_path, monkeypatch, spelling):
    open_store(url).close()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.db").symlink_to("deep/feeder.db")
    (tmp_path / "folder").symlink_to("deep")
    other = {
        "relative": "deep/feeder.db",
        "deep/../deep": f"{tmp_path}/deep/../deep/feeder.db",
        "link to the file": "link.db",
        "link to the folder": "folder/feeder.db",
    }[spelling]

    with only_worker(url), pytest.raises(StoreInUse), only_worker(f"sqlite:///{other}"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "folder", "link.db"]


def hold(url, ready, release):
    with only_worker(url):
        ready.set()
        release.wait()


def test_a_second_worker_meets_the_lock_at_once_and_learns_who_holds_it(url):
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(url, ready, release))
    holder.start()
    ready.wait()

    with (
        pytest.raises(StoreInUse, match=rf"in use by process {holder.pid} on .*; stop that worker first"),
        only_worker(url),
    ):
        pass

    holder.kill()
    holder.join()
    with only_worker(url):
        assert str(os.getpid()) in Path(f"{sa.make_url(url).database}.lock").read_text()


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(9998, 1, 1)))  # noqa: DTZ001 - Hypothesis wants bounds without a zone
def test_a_moment_comes_back_as_it_went(moment):
    kind, aware = tables.Moment(), moment.replace(tzinfo=UTC)

    assert kind.result_processor(None, None)(kind.bind_processor(None)(aware)) == aware


def test_moments_sort_like_their_numbers():
    to_database, early = tables.Moment().bind_processor(None), datetime(1969, 12, 31, tzinfo=UTC)

    assert to_database(early) < to_database(early + timedelta(microseconds=1)) < 0
