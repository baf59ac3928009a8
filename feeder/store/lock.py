"""One worker a store: a lock that a second one meets at once.

The lock's file outlives every process, so in it a worker finds what the last one knew of the database: see `ownership`.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace

from feeder.errors import StoreError, StoreInUse

_SIZE = 1024  # bytes of a record at least, so that a shorter one covers a longer one in a single write


class Record(Struct, frozen=True, kw_only=True):
    """What a lock file says."""

    holder: str = ""  # the process that holds the lock, or held it last
    generations: tuple[
        int, ...
    ] = ()  # that the database may be of; two while one takes the other's place; none: unknown
    stamp: tuple[int, ...] = ()  # of the database's file when nobody had written to it since; see `ownership.stamp`
    replaced: bool = False  # whether the file is another one than the last worker's, and the store does not say so yet
    restoring: bool = False  # whether a restore has begun and not ended
    claims: int = 0  # how often something was sent out with what this store knows: see `store.count_claim`


class Lock:
    """The lock of a store, held."""

    def __init__(self, database: Path, descriptor: int, record: Record) -> None:
        self.database, self.record = database, record
        self._descriptor = descriptor

    def remember(self, **changes: object) -> None:
        """Change the record, on the disk when this returns. A crash leaves the old one or the new one."""
        self._write(**changes)
        os.fsync(self._descriptor)

    def note_claims(self, number: int) -> None:
        """Remember how often something was sent out, without waiting for the disk: a crash of this process keeps it."""
        with suppress(OSError):  # without it a store that was set back is not known for one
            self._write(claims=number)

    def _write(self, **changes: object) -> None:
        self.record = replace(self.record, **changes)
        os.pwrite(self._descriptor, msgspec.json.encode(self.record).ljust(_SIZE), 0)


def database_path(url: str) -> Path:
    """The database's file, whatever it is called in `url`: absolute, and no symbolic link."""
    return Path(os.path.realpath(sa.make_url(url).database or ""))


def record_of(database: Path) -> Record:
    """What the lock file of a database says, without its lock; an empty record when there is none that can be read."""
    try:
        return _decoded(_lock_file(database).read_bytes())
    except OSError:
        return Record()


@contextmanager
def only_worker(database_url: str) -> Iterator[Lock]:
    """Hold the lock of a store. StoreInUse, which says who holds it, when another process does.

    The lock is the operating system's (flock), on a file beside the database: it ends with the process, however that ends.
    """
    database = database_path(database_url)
    path = _lock_file(database)
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror} (setting: database_url)") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = record_of(database).holder or "another process"
            raise StoreInUse(
                f"{database}: in use by {holder}; stop that worker first, or name another database_url"
            ) from error
        lock = Lock(database, descriptor, record_of(database))
        try:
            lock.remember(holder=f"process {os.getpid()} on {socket.gethostname()}")
        except OSError as error:
            raise StoreError(f"{path}: cannot be written: {error.strerror} (setting: database_url)") from error
        yield lock
    finally:
        os.close(descriptor)


def _lock_file(database: Path) -> Path:
    return database.with_name(f"{database.name}.lock")


def _decoded(written: bytes) -> Record:
    try:
        return msgspec.json.decode(written, type=Record)
    except msgspec.MsgspecError:
        return Record(holder=written.decode(errors="replace").strip("\0 \n"))  # an older feeder's: the holder alone
