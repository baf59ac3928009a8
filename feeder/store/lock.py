"""One worker a store: a lock that a second one meets at once, and that a dead one cannot keep."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from feeder.errors import StoreError, StoreInUse


@contextmanager
def only_worker(database_url: str) -> Iterator[None]:
    """Hold the lock of a store. StoreInUse, which says who holds it, when another process does.

    The lock is the operating system's (flock), on a file beside the database: it ends with the process, however that ends.
    """
    database = sa.make_url(database_url).database or ""
    path = Path(f"{database}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror} (setting: database_url)") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise StoreInUse(
                f"{database}: in use by {holder}; stop that worker first, or name another database_url"
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
