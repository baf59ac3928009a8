"""The store: what feeder remembers, in one SQLite database.

`open_store` opens it for a worker, makes it, brings its tables up to date and refuses one that is newer than this feeder;
`existing_store` opens it for everybody else and makes nothing. Everything else is functions over a connection: `catalog`
(files, articles, feeds), `search`, `documents`, `deliveries` (with the targets that they go to).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError, DisconnectionError

from feeder.errors import StoreError, StoreReplaced, StoreTooNew, StoreTooOld
from feeder.store import ownership, tables
from feeder.store.lock import database_path, record_of

SCHEMA = "0007"  # the newest migration
_MIGRATIONS = Path(__file__).parent / "migrations"
LAST_PASS = "last_pass"  # noqa: S105 - the rule takes "pass" for a password; it is a fact's name
SEEN_UNTIL = "seen_until"  # when the last pass planned: no moment that is remembered is later, if the clock is right
FAILED_PASS = "failed_pass"  # noqa: S105 - the same
_CLAIMS = "claims"  # how often something was sent out
BACKUP_OF = "backup_of"  # when a store was copied: what was sent since then it does not know
_BUSY_SECONDS = 30  # how long one writer waits for another
_LOG_BYTES = 4 << 20  # of the write-ahead log: what it is brought back to, a checkpoint at a time
_LONG_LOG_BYTES = 4 * _LOG_BYTES  # what it is cut from, though that makes writers wait for readers
_CHECKPOINT_SECONDS = 0.2  # how long that may take
_PAGE_BYTES = 16_384  # six articles on a page instead of one
_READING = ("cache_size=-32000",)  # KiB
_WRITING = (
    *_READING,
    "synchronous=FULL",
    "foreign_keys=ON",
    f"wal_autocheckpoint={_LOG_BYTES // _PAGE_BYTES}",
    f"journal_size_limit={_LOG_BYTES}",
)
_MAKING = (f"page_size={_PAGE_BYTES}", "journal_mode=WAL")
_DISK_ERRORS = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})


class Store:
    """An open database. Safe to use from several threads: each transaction has a connection of its own.

    StoreReplaced once its file is another one or gone: nobody would ever see what went into the old one.
    """

    def __init__(self, engine: sa.Engine, path: Path | None = None) -> None:
        """`path` is the database's file, if it has one."""
        self.note_claims: Callable[[int], None] = lambda _: None  # told of each number that `count_claim` gave
        self._engine, self._path = engine, path
        self._identity = ownership.identity(path) if path else ()
        self._watching: list[sqlite3.Connection] = []
        self._readers: list[sa.Engine] = []
        self._failed = False  # whether the last transaction that writes failed for want of room

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that sees the database as it was when it began."""
        with self._current().connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that writes: on the disk when the block ends, undone when it raises."""
        try:
            with (
                self._current().connect().execution_options(feeder_write=True) as connection,
                connection.begin(),
            ):
                yield connection
        except DatabaseError as error:
            if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _DISK_ERRORS:
                self._failed = True
                self.checkpoint()  # what is in the log already may fit into the database, and then the log is room
            raise
        self._current()  # or nothing that was done here may be acted upon
        if self._path and (self._failed or ownership.log_size(self._path) > _LONG_LOG_BYTES):
            self._failed = False
            self.checkpoint()

    def version(self) -> Callable[[], object]:
        """A function that tells whether anything was committed since it last said the same, in this process or another.

        It has a connection of its own and is for one thread; it costs microseconds. While the store cannot be read it says
        something else each time.
        """
        seen: tuple[int, ...] | None = None
        connection: sqlite3.Connection | None = None

        def found() -> object:
            nonlocal seen, connection
            try:
                self._current()
                if connection is None or seen != self._identity:
                    if connection is not None:
                        connection.close()
                        self._watching.remove(connection)
                    connection, seen = self._connect_to_read(), self._identity
                    self._watching.append(connection)
                return seen, connection.execute("PRAGMA data_version").fetchone()[0]
            except (StoreError, DatabaseError, sqlite3.Error):
                return object()

        return found

    def reader(self, connections: int) -> sa.Engine:
        """An engine for reading alone, with so many connections of its own: nobody else waits for them."""
        engine = sa.create_engine(
            "sqlite://", creator=self._connect_to_read, poolclass=sa.QueuePool, pool_size=connections
        )
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))

        @sa.event.listens_for(engine, "connect")
        def remember(_: Any, record: Any) -> None:
            record.info["identity"] = self._identity

        @sa.event.listens_for(engine, "checkout")
        def expect(_: Any, record: Any, __: object) -> None:
            self._current()
            if record.info["identity"] != self._identity:
                raise DisconnectionError  # which has another connection made, to the file that is there now

        self._readers.append(engine)
        return engine

    def _connect_to_read(self) -> sqlite3.Connection:
        self._current()
        address = ownership.reading_uri(cast(Path, self._path), lasting=True)
        return sqlite3.connect(address, uri=True, check_same_thread=False, timeout=_BUSY_SECONDS, isolation_level=None)

    def begin(self, generation: int, *, replaced: bool) -> bool:
        """Give the database a new generation (see `ownership`); whether its file has it now, and not the log alone.

        `replaced`: it took the place of another one, and is to be distrusted as a backup is.
        """
        if replaced:
            with self.write() as connection:
                if not fact(connection, BACKUP_OF):
                    set_fact(connection, BACKUP_OF, last_pass_of({LAST_PASS: fact(connection, LAST_PASS) or ""}))
        with self.write() as connection:
            connection.exec_driver_sql(f"PRAGMA user_version={generation}")
        return self.checkpoint()

    def tidy(self) -> None:
        """What a database wants now and then: fresh statistics, a short write-ahead log."""
        with self._current().connect() as connection:
            connection.exec_driver_sql("PRAGMA optimize")
        self.checkpoint()

    def checkpoint(self) -> bool:
        """Bring the write-ahead log into the database and empty it, unless somebody reads on; whether it is empty."""
        if self._path is None or not self.is_whole():
            return self._path is None
        try:
            address = ownership.writing_uri(self._path)
            with closing(sqlite3.connect(address, uri=True, timeout=_CHECKPOINT_SECONDS)) as connection:
                busy: int = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                return not busy
        except sqlite3.Error:  # the next commit says what is wrong
            return False

    def close(self) -> None:
        """Give all connections back."""
        for connection in self._watching:
            connection.close()
        for engine in (*self._readers, self._engine):
            engine.dispose()

    def is_whole(self) -> bool:
        """Whether the file at the store's path is still the one that was opened."""
        return self._path is None or ownership.identity(self._path) == self._identity

    def _current(self) -> sa.Engine:
        """What connections come from."""
        if not self.is_whole():
            raise StoreReplaced(
                f"{self._path}: was replaced or removed while it was in use: what was done since is not in it. "
                "Start the worker again"
            )
        return self._engine


def open_store(url: str) -> Store:
    """The store at `url` (``sqlite:///path/to/file.db``), made for its owner alone or migrated as needed.

    StoreError says why it cannot be used; it is left as it was then. A worker holds the lock, and has looked whether the files
    are the store's own.
    """
    path = database_path(url)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{path.parent}: cannot be made: {error.strerror} (setting: database_url)") from error
    try:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise StoreError(f"{path}: cannot be made: {error.strerror} (setting: database_url)") from error
    engine = _engine(path, ownership.writing_uri(path), (*_MAKING, *_WRITING))
    try:
        _migrate(engine, str(path))
        return Store(engine, path)
    except DatabaseError as error:
        engine.dispose()
        raise ownership.unusable(path, error.orig or error) from error
    except BaseException:
        engine.dispose()
        raise


def existing_store(url: str, *, writes: bool = False) -> Store:
    """The store at `url`, as a worker left it or keeps it: nothing is made or migrated.

    StoreError when there is none, when it is not whole, or when its tables are not those of this feeder.
    """
    path = database_path(url)
    if writes:
        return Store(existing_engine(path, ownership.writing_uri(path), _WRITING), path)
    return Store(existing_engine(path, ownership.reading_uri(path)), path)


def existing_engine(path: Path, address: str, pragmas: tuple[str, ...] = _READING) -> sa.Engine:
    """Connections to the store whose file is at `path`, which SQLite opens as `address`. StoreError as above."""
    if not ownership.has_content(path):
        raise ownership.missing(path)
    ownership.refuse_foreign_log(path, record_of(path))
    engine = _engine(path, address, pragmas)
    try:
        with engine.connect() as connection, connection.begin():
            _expect_schema(_version(connection), path)
        return engine
    except DatabaseError as error:
        engine.dispose()
        raise ownership.unusable(path, error.orig or error) from error
    except BaseException:
        engine.dispose()
        raise


def empty_store() -> Store:
    """A store in memory with nothing in it."""
    engine = _engine(None, ":memory:", _READING)
    tables.metadata.create_all(engine)
    return Store(engine)


def copied_store(url: str) -> Store:
    """A copy in memory of the store at `url`, to try things on; an empty one when there is none. Nothing of it is kept."""
    engine = _engine(None, ":memory:", _READING)
    path = database_path(url)
    try:
        if ownership.has_content(path):
            ownership.refuse_foreign_log(path, record_of(path))
            with closing(sqlite3.connect(ownership.reading_uri(path), uri=True)) as there, engine.connect() as here:
                there.backup(cast(sqlite3.Connection, here.connection.driver_connection))
        _migrate(engine, str(path))
    except (sqlite3.DatabaseError, DatabaseError) as error:
        raise ownership.unusable(path, getattr(error, "orig", None) or error) from error
    return Store(engine)


def _engine(path: Path | None, address: str, pragmas: tuple[str, ...]) -> sa.Engine:
    """Connections to `address`, which is SQLite's name for the file at `path`; None: one connection, in memory."""

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(address, uri=path is not None, check_same_thread=False, timeout=_BUSY_SECONDS)

    pool: dict[str, Any] = {"poolclass": sa.QueuePool if path else sa.StaticPool}
    engine = sa.create_engine(f"sqlite:///{path or ''}", creator=connect, **pool)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions begin where `begin` below says so, not where sqlite3 guesses
        for pragma in pragmas:
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
    if found is not None:
        refuse_newer(found, name)
    from alembic import command  # noqa: PLC0415 - slow to import, and needed once in a store's life
    from alembic.config import Config  # noqa: PLC0415 - slow to import, and needed once in a store's life

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    with engine.connect().execution_options(feeder_write=True) as connection, connection.begin():
        if _version(connection) != SCHEMA:  # another process may have been quicker
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def refuse_newer(version: str, name: object) -> None:
    """StoreTooNew when this feeder does not know the tables of a version."""
    if version not in {path.name.split("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*.py")}:
        raise StoreTooNew(
            f"{name}: written by a newer feeder (its tables are version {version}, this feeder knows {SCHEMA}); "
            "run that feeder, or name another database_url"
        )


def _expect_schema(version: str | None, path: Path) -> None:
    if version is None:
        raise ownership.missing(path)
    if version != SCHEMA:
        refuse_newer(version, path)
        raise StoreTooOld(
            f"{path}: written by an older feeder (its tables are version {version}, this feeder's {SCHEMA}); "
            "start the worker, or run `feeder once`: they bring it up to date"
        )


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


def claims(connection: sa.Connection) -> int:
    """How often something was sent out with what this store knows."""
    return int(fact(connection, _CLAIMS) or 0)


def count_claim(connection: sa.Connection) -> int:
    """Count what is about to be sent out; the new number.

    The lock file has it as well (`Store.note_claims`), so that a store is known which was set back to before that: by a lost
    write-ahead log, or by a copy.
    """
    number = claims(connection) + 1
    set_fact(connection, _CLAIMS, str(number))
    return number


def fact(connection: sa.Connection, name: str) -> str | None:
    """What was remembered under `name`."""
    found: str | None = connection.execute(sa.select(tables.facts.c.value).where(tables.facts.c.name == name)).scalar()
    return found


def last_pass_of(facts: Mapping[str, str]) -> str:
    """When the last pass ended, by the facts of a store: the latest time that a copy without a mark is known to be of."""
    told = msgspec.json.decode(facts.get(LAST_PASS) or "null", type=dict[str, Any] | None)
    return str(told["ended"]) if told else "an unknown time"
