"""Whether the files of a store belong together, and whether they are sound: looked at before SQLite takes them as they lie.

SQLite replays every file called ``feeder.db-wal`` that is whole in itself (https://sqlite.org/walformat.html): nothing in
it names its database. So each start of a worker gives the database a generation, a random number in its header, that
the lock file remembers as well. A write-ahead log that is not empty, beside a database of another generation, is not its own.

A database of the right generation may still be an older state of it: without its log, or a plain copy that was made since
the last start. So what is sent out is counted in both (`store.count_claim`), and one that knows of less is taken for a backup.

What cannot be told: that the database *and* the lock file were put back together (a snapshot of the whole folder).
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from feeder.errors import StoreError, StoreMissing
from feeder.store.lock import Record, record_of

_ROLLBACK = 1  # the header's file format version of a database without a write-ahead log
_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_VERSION_AT = 18  # bytes into the file
_GENERATION_AT = 60  # where SQLite keeps what it calls the user version: four bytes, the highest first


def logs_of(database: Path) -> tuple[Path, Path]:
    """What SQLite replays into a database: the write-ahead log, and the rollback journal of one that has none."""
    return database.with_name(f"{database.name}-wal"), database.with_name(f"{database.name}-journal")


def log_size(database: Path) -> int:
    """The bytes in a database's write-ahead log; 0 when there is none."""
    return _size(logs_of(database)[0])


def has_content(database: Path) -> bool:
    """Whether there is a database; one of no bytes is being made."""
    return _size(database) > 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def stamp(database: Path) -> tuple[int, ...]:
    """What tells whether a file was written to or replaced; empty when there is none."""
    try:
        found = database.stat()
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def identity(database: Path) -> tuple[int, ...]:
    """What tells a file from another one of its name; empty when there is none."""
    return stamp(database)[:2]


def writing_uri(database: Path) -> str:
    """How SQLite opens a database to write to it, without ever making one."""
    return f"{database.as_uri()}?mode=rw"


def reading_uri(database: Path, *, lasting: bool = False) -> str:
    """How SQLite opens a database to read it, without leaving anything behind.

    A reader of a database that nobody has open makes a log for itself, and fails where it may not: so SQLite is told that
    nobody writes. That holds for a moment; for a connection that is `lasting` it is a makeshift in a read-only folder.
    """
    is_alone = not any(log.exists() for log in logs_of(database))
    immutable = is_alone and not (lasting and os.access(database.parent, os.W_OK))
    return f"{database.as_uri()}?mode=ro{'&immutable=1' if immutable else ''}"


def generation(database: Path) -> int:
    """The generation in a database's header, as its file has it, whatever the log beside it says; 0 when it has none.

    StoreError when it is no database.
    """
    if not has_content(database):
        return 0
    try:
        # Through SQLite: to close a file of one's own would give back the locks that SQLite has on it (fcntl(2)).
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error as error:
        if (header := _header(database)) is None or not log_size(database):
            raise unusable(database, error) from error
        # A checkpoint that was broken off leaves a header that tells of pages which stand in the log alone, and SQLite
        # takes that for damage as long as it does not see the log.
        return int.from_bytes(header[_GENERATION_AT : _GENERATION_AT + 4])
    return found


def _header(database: Path) -> bytes | None:
    """The header of a database's file (https://sqlite.org/fileformat.html); None when it is no database."""
    with database.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    return header if len(header) == _HEADER_BYTES and header.startswith(_MAGIC) else None


def unusable(database: Path, error: BaseException) -> StoreError:
    """What is said of a file that SQLite does not take."""
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_CORRUPT:
        return _damaged(database, str(error))
    return StoreError(f"{database}: cannot be used as a database: {error} (setting: database_url)")


def _damaged(database: Path, reason: str) -> StoreError:
    return StoreError(
        f"{database}: is damaged: {reason}. Nothing was sent and nothing was changed. "
        "To put a backup in its place: feeder restore FILE. Without a backup: "
        f"mv {database} {database}.damaged, and the next start adopts what is in the folder and tells none of it"
    )


def missing(database: Path) -> StoreMissing:
    """What is said when there is no store."""
    return StoreMissing(
        f"{database}: there is no database yet; start the worker, or run `feeder once` (setting: database_url)"
    )


def refuse_foreign_log(database: Path, record: Record) -> None:
    """StoreError when the log beside a database is another one's, or a restore was broken off."""
    if record.restoring:
        raise StoreError(
            f"{database}: a restore was broken off, and nothing was sent; run it again: feeder restore FILE"
        )
    # Read twice: a worker that has just begun may have renewed what both say.
    if not is_own_log(database, record) and not is_own_log(database, record_of(database)):
        log = _log(database)
        raise StoreError(
            f"{database}: {log} beside it belongs to another database: the file was replaced after a crash. "
            "Nothing was sent and nothing was changed. To put a backup in its place: feeder restore FILE. "
            f"To keep the database without that log: mv {log} {log}.old"
        )


def is_own_log(database: Path, record: Record) -> bool:
    """Whether nothing lies beside a database that SQLite would replay into it, but for what is its own."""
    return _log(database) is None or not has_content(database) or _may_be(database, record)


def _log(database: Path) -> Path | None:
    return next((log for log in logs_of(database) if _size(log)), None)


def _may_be(database: Path, record: Record) -> bool:
    """Whether a database is of a generation that `record` knows. Without one, a log beside a backup tells the most of it."""
    if record.generations:
        return generation(database) in record.generations
    header = _header(database)
    return header is None or header[_VERSION_AT] != _ROLLBACK


def is_replaced(database: Path, record: Record) -> bool:
    """Whether a database is known to be another one than the one that the last worker left."""
    if not has_content(database):
        return False
    return record.replaced or bool(record.generations and generation(database) not in record.generations)


def refuse_damage(database: Path, record: Record) -> None:
    """StoreError when a database that somebody may have touched, or that a crash left, is damaged.

    It is looked through only if its file is not as the last worker left it and not older than the log beside it: a crash
    leaves the log as the last file that was written to, unless it came between a checkpoint and the next commit.
    """
    if not identity(database) or (record.stamp == stamp(database) and not record.replaced):
        return
    if record.generations and _log_is_newer(database) and not is_replaced(database, record):
        return
    if reason := damage(database):
        raise _damaged(database, reason)


def _log_is_newer(database: Path) -> bool:
    return log_size(database) > 0 and logs_of(database)[0].stat().st_mtime_ns >= database.stat().st_ctime_ns


def damage(database: Path) -> str:
    """What SQLite finds wrong in a database; empty when it is sound."""
    try:
        with closing(sqlite3.connect(reading_uri(database), uri=True)) as connection:
            found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        return str(error)
    return "" if found == "ok" else " ".join(found.split())
