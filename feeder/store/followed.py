"""The store as a web server reads it: whatever database lies at its path now."""

from __future__ import annotations

from threading import Lock

import sqlalchemy as sa

from feeder.store import Store, existing_engine, ownership
from feeder.store.lock import database_path


class FollowedStore(Store):
    """A store that a worker makes, migrates and writes to, and that may be replaced by a restore: then it is opened anew.

    Nothing is made or written here. StoreError as long as there is no store that can be read.
    """

    def __init__(self, url: str) -> None:
        path = database_path(url)
        super().__init__(sa.create_engine("sqlite://"), path)
        self._identity = ()  # nothing is open yet
        self._file = path
        self._opening = Lock()

    def _current(self) -> sa.Engine:
        # In a read-only folder SQLite was told that nobody writes when there was no log: with one that holds no more.
        there = (*ownership.identity(self._file), ownership.logs_of(self._file)[0].exists())
        if there != self._identity:
            with self._opening:
                if there != self._identity:
                    self._reopen(there)
        return self._engine

    def _reopen(self, there: tuple[int, ...]) -> None:
        self._engine.dispose()
        self._identity = ()
        self._engine = existing_engine(self._file, ownership.reading_uri(self._file, lasting=True))
        self._identity = there
