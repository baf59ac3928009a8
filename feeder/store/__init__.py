"""The store: what feeder remembers, in one SQLite database.

`open_store` opens it, brings its tables up to date and refuses one that is newer than this feeder. Everything else is
functions over a connection: `catalog` (files, articles, feeds), `search`, `documents`, `deliveries` (with the targets that they
go to).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from feeder.errors import StoreError, StoreTooNew
from feeder.store import tables

SCHEMA = "0006"  # the newest migration
_MIGRATIONS = Path(__file__).parent / "migrations"
LAST_PASS = "last_pass"  # noqa: S105 - the rule takes "pass" for a password; it is a fact's name
SEEN_UNTIL = "seen_until"  # when the last pass planned: no moment that is remembered is later, if the clock is right
FAILED_PASS = "failed_pass"  # noqa: S105 - the same
BACKUP_OF = "backup_of"  # when a store was copied: what was sent since then it does not know
_PAGES = ("page_size=16384", "cache_size=-32000")  # bytes, KiB: six articles on a page instead of one
_BUSY_SECONDS = 30  # how long one writer waits for another


class Store:
    """An open database. Safe to use from several threads: each transaction has a connection of its own."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._watching: list[sqlite3.Connection] = []
        self._readers: list[sa.Engine] = []

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that sees the database as it was when it began."""
        with self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that writes: on the disk when the block ends, undone when it raises."""
        with self._engine.connect().execution_options(feeder_write=True) as connection, connection.begin():
            yield connection

    def version(self) -> Callable[[], object]:
        """A function that tells whether anything was committed since it last said the same, in this process or another.

        It has a connection of its own and is for one thread; it costs microseconds. While the database cannot be read
        it says something else each time.
        """
        connection = self._connect_to_read()
        self._watching.append(connection)

        def found() -> object:
            try:
                return connection.execute("PRAGMA data_version").fetchone()[0]
            except sqlite3.Error:
                return object()  # equal to no other

        return found

    def reader(self, connections: int) -> sa.Engine:
        """An engine for reading alone, with so many connections of its own: nobody else waits for them."""
        engine = sa.create_engine(
            "sqlite://", creator=self._connect_to_read, poolclass=sa.QueuePool, pool_size=connections
        )
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        self._readers.append(engine)
        return engine

    def _connect_to_read(self) -> sqlite3.Connection:
        path = Path(self._engine.url.database or "").absolute().as_uri()
        return sqlite3.connect(
            f"{path}?mode=ro", uri=True, check_same_thread=False, timeout=_BUSY_SECONDS, isolation_level=None
        )

    def tidy(self) -> None:
        """What a database wants now and then: fresh statistics, a short write-ahead log."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA optimize")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Give all connections back."""
        for connection in self._watching:
            connection.close()
        for engine in (*self._readers, self._engine):
            engine.dispose()


def open_store(url: str) -> Store:
    """The store at `url` (``sqlite:///path/to/file.db``; ``sqlite://`` in memory), made or migrated as needed.

    StoreError says why it cannot be used; it is left as it was then.
    """
    database = sa.make_url(url).database
    if database:
        try:
            Path(database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"{Path(database).parent}: cannot be made: {error.strerror} (setting: database_url)"
            ) from error
    engine = _engine(url)
    try:
        _migrate(engine, database or url)
    except DatabaseError as error:
        engine.dispose()
        raise StoreError(
            f"{database or url}: cannot be used as a database: {error.orig} (setting: database_url)"
        ) from error
    except BaseException:
        engine.dispose()
        raise
    return Store(engine)


def database_path(url: str) -> Path:
    """The file of the store at `url`."""
    return Path(sa.make_url(url).database or "")


def copied_store(url: str) -> Store:
    """A copy in memory of the store at `url`, to try things on; an empty one when there is none. Nothing of it is kept."""
    engine = _engine("sqlite://")
    path = Path(sa.make_url(url).database or "")
    try:
        if path.is_file():
            with (
                closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as there,
                engine.connect() as here,
            ):
                there.backup(cast(sqlite3.Connection, here.connection.driver_connection))
        _migrate(engine, str(path))
    except (sqlite3.DatabaseError, DatabaseError) as error:
        raise StoreError(
            f"{path}: cannot be used as a database: {getattr(error, 'orig', error)} (setting: database_url)"
        ) from error
    return Store(engine)


def backup(url: str, path: Path, now: datetime) -> None:
    """Copy the store at `url` into a new file at `path`, whole, while others write (SQLite's online backup).

    StoreError when there is no store, or the file is there or cannot be written.
    """
    there = Path(sa.make_url(url).database or "")
    if not there.is_file():
        raise StoreError(f"{there}: there is no database yet (setting: database_url)")
    part = path.with_name(f".{path.name}.part")
    try:
        path.touch(exist_ok=False)
        part.unlink(missing_ok=True)
        with (
            closing(sqlite3.connect(f"{there.absolute().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(part)) as copy,
        ):
            source.backup(copy)
            copy.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (BACKUP_OF, now.isoformat()))
            copy.commit()
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, with nothing beside it
        part.chmod(0o600)
        part.replace(path)
    except FileExistsError as error:
        raise StoreError(f"{path}: is there already; name another file") from error
    except (sqlite3.Error, OSError) as error:
        for each in (part, path):
            with suppress(OSError):
                each.unlink(missing_ok=True)
        raise StoreError(f"{path}: cannot be written: {error}") from error


def _engine(url: str) -> sa.Engine:
    pool: dict[str, Any] = {"poolclass": sa.StaticPool} if url == "sqlite://" else {}
    engine = sa.create_engine(url, connect_args={"check_same_thread": False, "timeout": _BUSY_SECONDS}, **pool)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions begin where `begin` below says so, not where sqlite3 guesses
        for pragma in (*_PAGES, "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # IMMEDIATE: a writer waits for the lock at its start, instead of failing when it finds that its view is old.
        writes = connection.get_execution_options().get("feeder_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _migrate(engine: sa.Engine, name: str) -> None:
    with engine.connect() as connection, connection.begin():
        if (found := _version(connection)) == SCHEMA:
            return
    known = {path.name.split("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*.py")}
    if found is not None and found not in known:
        raise StoreTooNew(
            f"{name}: written by a newer feeder (its tables are version {found}, this feeder knows {SCHEMA}); "
            "run that feeder, or name another database_url"
        )
    from alembic import command  # noqa: PLC0415 - slow to import, and needed once in a store's life
    from alembic.config import Config  # noqa: PLC0415 - slow to import, and needed once in a store's life

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    with engine.connect().execution_options(feeder_write=True) as connection, connection.begin():
        if _version(connection) != SCHEMA:  # another process may have been quicker
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _version(connection: sa.Connection) -> str | None:
    names = set(sa.inspect(connection).get_table_names())
    if "alembic_version" not in names:
        if names:
            raise StoreError(
                f"{connection.engine.url.database}: holds another program's tables; name another database_url"
            )
        return None
    version: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return version


def set_fact(connection: sa.Connection, name: str, value: str) -> None:
    """Remember one fact about the store."""
    connection.execute(sa.delete(tables.facts).where(tables.facts.c.name == name))
    connection.execute(sa.insert(tables.facts).values(name=name, value=value))


def fact(connection: sa.Connection, name: str) -> str | None:
    """What was remembered under `name`."""
    found: str | None = connection.execute(sa.select(tables.facts.c.value).where(tables.facts.c.name == name)).scalar()
    return found
