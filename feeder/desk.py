"""What every command has at hand: the clock, and the store and endpoints of the settings. Imports little, to be there at once."""

from __future__ import annotations

import gc
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

from feeder.errors import Problem, StoreMissing
from feeder.settings import Loaded
from feeder.store import Store, claims, empty_store, existing_store, open_store, ownership
from feeder.store.lock import database_path, only_worker
from feeder.targets.base import Target
from feeder.websub import Hub


def utc_now() -> datetime:
    """The clock."""
    return datetime.now(UTC)


@contextmanager
def working(loaded: Loaded) -> Iterator[Store]:
    """The store of these settings for the one process that works on it: made or migrated as needed.

    StoreInUse when another one does; StoreError when its files do not belong together or are damaged: they stay as they are.
    """
    with only_worker(loaded.settings.database_url) as lock:
        database = lock.database
        ownership.refuse_foreign_log(database, lock.record)
        ownership.refuse_damage(database, lock.record)
        replaced, old, new = ownership.is_replaced(database, lock.record), ownership.generation(database), generation()
        lock.remember(generations=(old, new), stamp=(), replaced=replaced)
        is_new = not ownership.has_content(database)
        store = open_store(loaded.settings.database_url)
        try:
            with store.read() as connection:
                sent = claims(connection)
            if sent < lock.record.claims and not is_new:
                replaced = True
                lock.remember(replaced=True)
            begun = store.begin(new, replaced=replaced)
            generations = (new,) if begun else (old, new)
            lock.remember(generations=generations, stamp=ownership.stamp(database), replaced=False, claims=sent)
            store.note_claims = lock.note_claims
            yield store
        finally:
            whole = store.is_whole()
            store.checkpoint()
            store.close()
            if whole:
                lock.remember(stamp=ownership.stamp(database))


def generation() -> int:
    """A number that no earlier generation of a database has (see `store.ownership`)."""
    return 1 + secrets.randbelow(2**31 - 1)


@contextmanager
def asked(loaded: Loaded, say: Callable[[str], None]) -> Iterator[Store]:
    """The store of these settings as it is, for a command that only asks; an empty one, which it says, when there is none."""
    try:
        store = existing_store(loaded.settings.database_url)
    except StoreMissing as error:
        say(str(error))
        store = empty_store()
    with closing(store):
        yield store


@contextmanager
def changed(loaded: Loaded) -> Iterator[Store]:
    """The store of these settings for a command that changes what is in it. StoreError when there is none."""
    with closing(existing_store(loaded.settings.database_url, writes=True)) as store:
        yield store


def exposed_store(loaded: Loaded) -> list[Problem]:
    """A warning when everyone on this machine can read the database."""
    path = database_path(loaded.settings.database_url)
    if path.exists() and path.stat().st_mode & stat.S_IROTH:
        reason = f"everyone on this machine can read the database; chmod o= {path}*"
        return [Problem(where=str(path), reason=reason, warning=True)]
    return []


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
