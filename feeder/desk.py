"""What every command has at hand: the clock, and the store and endpoints of the settings. Imports little, to be there at once."""

from __future__ import annotations

import gc
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


def calm_collector() -> None:
    """Spare the garbage collector what is there when the work begins, and half of its visits: it stops everything else.

    Ten thousand targets are told half as fast again; what becomes garbage is mostly freed by its reference counts.
    """
    gc.enable()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
