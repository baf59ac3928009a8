"""The store as a file: opening, migrating, refusing, locking."""

from __future__ import annotations

import multiprocessing
import os
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
from feeder.errors import StoreError, StoreInUse, StoreTooNew
from feeder.models import Rules
from feeder.store import SCHEMA, Store, copied_store, deliveries, documents, fact, open_store, set_fact, tables
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


def older_store(folder: Path) -> Store:
    """stores/0001.sql is what the first feeder wrote: one article, and its delivery to a webhook that waits."""
    with sqlite3.connect(folder / "feeder.db") as connection:
        connection.executescript((Path(__file__).parent / "stores" / "0001.sql").read_text())
    connection.close()
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
