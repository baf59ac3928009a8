"""Copies of the store: made while a worker works, and put back in its place."""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from feeder.errors import StoreError, UsageError
from feeder.store import BACKUP_OF, last_pass_of, ownership, refuse_newer
from feeder.store.lock import Lock, database_path, record_of


class Replaced(Struct, frozen=True, kw_only=True):
    """What a restore put in the place of what."""

    backup_of: str  # when the copy was made, as it says itself or as its last pass does
    kept: Path | None  # where the database that it took the place of is now; None: there was none


def backup(url: str, path: Path, now: datetime) -> None:
    """Copy the store at `url` into a new file at `path`, whole, while others write (SQLite's online backup).

    StoreError when there is no store, or the file is there or cannot be written.
    """
    database = database_path(url)
    if not ownership.has_content(database):
        raise ownership.missing(database)
    ownership.refuse_foreign_log(database, record_of(database))
    part = path.with_name(f".{path.name}.part")
    try:
        path.touch(mode=0o600, exist_ok=False)
        _copy(database, part)
        with closing(sqlite3.connect(part)) as copy:
            _mark(copy, now.isoformat(), generation=0)
        part.replace(path)
    except FileExistsError as error:
        raise StoreError(f"{path}: is there already; name another file") from error
    except (sqlite3.Error, OSError) as error:
        for each in (part, path):
            with suppress(OSError):
                each.unlink(missing_ok=True)
        raise StoreError(f"{path}: cannot be written: {error}") from error


def restore(lock: Lock, copy: Path, generation: int) -> Replaced:
    """Put a copy of a store in its place: a feeder backup, or any other copy that is whole.

    The copy stays where it is. What it takes the place of is kept beside it, as ``feeder.db.replaced``, and what an earlier
    one took the place of under a number. Should this be broken off, the store is refused until it is run again.
    `generation`: see `ownership`.

    StoreError, and nothing was changed, when `copy` is no sound store of this feeder or an older one.
    """
    database, part = lock.database, lock.database.with_name(f".{lock.database.name}.part")
    if not ownership.has_content(copy):
        raise UsageError(f"{copy}: there is no such backup")
    if ownership.identity(copy) == ownership.identity(database):
        raise UsageError(f"{copy}: is the database itself; name a copy of it")
    try:
        _copy(copy, part)
        backup_of = _prepared(part, generation, copy)
        kept = _set_aside(lock)
        part.replace(database)
        _sync(database.parent)
        lock.remember(generations=(generation,), stamp=ownership.stamp(database), replaced=False, restoring=False)
    except (sqlite3.Error, OSError) as error:
        if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise _unsound(copy, error) from error
        raise StoreError(f"{copy}: cannot be put in the place of {database}: {error}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return Replaced(backup_of=backup_of, kept=kept)


def _copy(source: Path, part: Path) -> None:
    """Copy a database, with the log beside it, into a file that its owner alone may read."""
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with (
        closing(sqlite3.connect(ownership.reading_uri(source.absolute()), uri=True)) as there,
        closing(sqlite3.connect(part)) as here,
    ):
        there.backup(here)


def _mark(copy: sqlite3.Connection, backup_of: str, generation: int) -> None:
    """Have a copy say that it is one. It becomes one file with nothing beside it, of another generation than its store."""
    copy.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (BACKUP_OF, backup_of))
    copy.execute(f"PRAGMA user_version={generation}")
    copy.commit()
    copy.execute("PRAGMA journal_mode=DELETE")


def _prepared(part: Path, generation: int, name: Path) -> str:
    """Make a copy ready for its place, if it is sound; when it was made."""
    try:
        with closing(sqlite3.connect(part)) as copy:
            if (found := copy.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
                raise StoreError(f"{name}: is damaged: {' '.join(found.split())}; nothing was changed")
            facts = dict(copy.execute("SELECT name, value FROM facts"))
            (version,) = copy.execute("SELECT version_num FROM alembic_version").fetchone()
            refuse_newer(version, name)
            backup_of = facts.get(BACKUP_OF) or last_pass_of(facts)
            _mark(copy, backup_of, generation)
    except (sqlite3.Error, TypeError) as error:
        raise _unsound(name, error) from error
    with part.open("rb") as file:
        os.fsync(file.fileno())
    return backup_of


def _unsound(name: Path, error: Exception) -> StoreError:
    return StoreError(f"{name}: is no sound database of feeder: {error}; nothing was changed")


def _set_aside(lock: Lock) -> Path | None:
    """Keep the database under another name, with what its log holds, and leave nothing that the next one might take for its own.

    From here on the store is refused until the restore has ended.
    """
    database, kept = lock.database, lock.database.with_name(f"{lock.database.name}.replaced")
    is_own = ownership.is_own_log(database, lock.record)
    if not lock.record.restoring:
        _number(kept)
        if is_own:
            _empty_log(database)
        lock.remember(restoring=True)
    if database.exists() and not kept.exists():
        _link(database, kept)
    for log, place in zip(ownership.logs_of(database), ownership.logs_of(kept), strict=True):
        if log.exists() and log.stat().st_size:
            log.replace(place if is_own else f"{log}.foreign")
        log.unlink(missing_ok=True)
    database.with_name(f"{database.name}-shm").unlink(missing_ok=True)
    return kept if kept.exists() else None


def _number(kept: Path) -> None:
    """Keep what an earlier restore put aside under a number of its own."""
    numbered = (kept.with_name(f"{kept.name}.{number}") for number in itertools.count(1))
    earlier = next(path for path in numbered if not path.exists())
    for path, place in zip((kept, *ownership.logs_of(kept)), (earlier, *ownership.logs_of(earlier)), strict=True):
        if path.exists():
            path.rename(place)


def _empty_log(database: Path) -> None:
    """Bring the log into the database, if that works: else the log is kept beside it."""
    if ownership.log_size(database):
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(ownership.writing_uri(database), uri=True)) as connection,
        ):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _link(database: Path, kept: Path) -> None:
    try:
        kept.hardlink_to(database)
    except OSError:  # a file system without hard links
        shutil.copy2(database, kept)
    kept.chmod(0o600)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
