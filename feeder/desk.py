"""What every command has at hand: the clock, and the store and endpoints of the settings. Imports little, to be there at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from feeder.settings import Loaded
from feeder.store import Store, open_store
from feeder.targets.base import Target
from feeder.websub import Hub


def utc_now() -> datetime:
    """The clock."""
    return datetime.now(UTC)


@contextmanager
def opened(loaded: Loaded) -> Iterator[Store]:
    """The store of these settings."""
    store = open_store(loaded.settings.database_url)
    try:
        yield store
    finally:
        store.close()


def endpoints(loaded: Loaded) -> dict[str, Target | Hub]:
    """Whoever is told something: the targets, and the hubs by the names that they have among them."""
    return {**loaded.targets, **loaded.hubs}
