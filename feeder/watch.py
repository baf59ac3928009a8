"""What happens in the folder of articles, as it happens. The only home of watchfiles."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import suppress
from pathlib import Path

import structlog
from watchfiles import Change, awatch

from feeder.articles.scan import SUFFIXES

_GATHER_MS = 10  # changes that come this close together come as one
_GATHER_AT_MOST_MS = 200
_BESIDE_DATABASE = ("", "-wal", "-shm", "-journal", ".lock")  # what the names of its files end in
_PART = ".part"  # what the name of a file that is being written ends in

Identity = tuple[int, int]

log = structlog.get_logger()


def identity(root: Path) -> Identity | None:
    """Which folder `root` leads to now (device and inode); None when there is none."""
    try:
        about = root.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino


def own_files(public: Path, database: Path) -> frozenset[Path]:
    """What feeder itself writes: the public folder, the database's files."""
    beside = {database.with_name(f"{database.name}{ending}") for ending in _BESIDE_DATABASE}
    return frozenset(Path(os.path.realpath(path)) for path in (public, *beside))


class WatchBroken(RuntimeError):
    """The watch has ended, at an event that it cannot tell of: another one can be had at once."""


async def changes(
    root: Path,
    stop: asyncio.Event,
    own: Collection[Path] = (),
    standing: Callable[[], None] = lambda: None,
) -> AsyncIterator[frozenset[str] | None]:
    """The files and folders that changed, relative to `root`; None when only a look through all of it will tell.

    `root` is a resolved path. The watch stands when `standing` is called, and ends when `stop` is set. Files that cannot be
    articles are passed over, and what is at or below the paths in `own`. Raises OSError or RuntimeError when the folder
    cannot be watched, WatchBroken when the watch ends by itself, say at a name that is not UTF-8.
    """
    watcher = _events(root, stop, lenient=False)
    coming = asyncio.ensure_future(anext(watcher, None))
    await asyncio.sleep(0)  # it is registered when it first waits
    if coming.done() and isinstance(coming.exception(), (PermissionError, FileNotFoundError)):
        watcher = _events(root, stop, lenient=True)
        coming = asyncio.ensure_future(anext(watcher, None))
        await asyncio.sleep(0)
    try:
        if not coming.done():
            standing()
        while (found := await coming) is not None:
            coming = asyncio.ensure_future(anext(watcher, None))
            paths = {path for _, path in found}
            if str(root) in paths:
                yield None  # the folder itself
            elif seen := frozenset(_relative(path, root) for path in paths if _may_matter(Path(path), root, own)):
                yield seen
    except ExceptionGroup as group:  # how watchfiles hands on what its native part fails at
        raise WatchBroken(str(group.exceptions[0])) from group
    finally:
        coming.cancel()
        with suppress(asyncio.CancelledError, ExceptionGroup):
            await coming
        await watcher.aclose()


def _events(root: Path, stop: asyncio.Event, *, lenient: bool) -> AsyncGenerator[set[tuple[Change, str]], None]:
    """What the operating system tells. A lenient watch leaves out folders that it may not look into or that vanish.

    It leaves out those too for which no watch is left to be had, so it is for those folders alone.
    """
    # No filter of watchfiles' own: it leaves out folders called node_modules or venv, which are as good as others here.
    return awatch(
        root,
        stop_event=stop,
        watch_filter=None,
        step=_GATHER_MS,
        debounce=_GATHER_AT_MOST_MS,
        ignore_permission_denied=lenient,
    )


def _relative(path: str, root: Path) -> str:
    return Path(path).relative_to(root).as_posix()


def _may_matter(path: Path, root: Path, own: Collection[Path]) -> bool:
    """Whether what happened at `path` may concern articles: they, folders, and what is no longer there."""
    if any(part.startswith(".") for part in path.relative_to(root).parts):
        return False
    if path.name.endswith(_PART) or path in own or any(above in own for above in path.parents):
        return False
    return path.name.lower().endswith(SUFFIXES) or path.is_dir() or not os.path.lexists(path)


class Watcher:
    """Whether the watch hears what it should: what it is on, and what it told.

    It asks for a pass over the whole folder whenever it stands, and once when it cannot.
    """

    def __init__(self, want_all: Callable[[], None]) -> None:
        self._want_all = want_all
        self._end: asyncio.Event | None = None  # ends the watch that there is
        self._on: Identity | None = None  # the folder that is watched; None: none is
        self._told: set[str] = set()  # since the last pass over the whole folder began
        self._number = 0  # of watches that stood so far
        self._covering = 0  # the number of the one that stood when the last such pass began
        self._covered = 0  # the same of the last one that ended well
        self._lost = False  # whether there was a watch, or should have been one, before the one that comes
        self._unavailable: str | None = None  # why there is none, as it was said

    async def changes(
        self, source: Path, end: asyncio.Event, own: Collection[Path]
    ) -> AsyncIterator[frozenset[str] | None]:
        """What `changes` tells of the folder that `source` leads to now."""
        self._end, self._on = end, None
        root, about = _led_to(source)

        def standing() -> None:
            self._on, self._unavailable = about, None
            self._number += 1
            lost, self._lost = self._lost, False
            if lost:
                log.info("watch.renewed", folder=str(root))
            self._want_all()  # after it stands: what lands during the pass is seen by one of the two

        async for paths in changes(root, end, own, standing):
            self._told |= paths or frozenset()
            yield paths
        self._on = None

    def failed(self, error: Exception) -> None:
        """There is no watch; said once for each reason. After a pass over the whole folder there is another try."""
        self._on, self._lost, reason = None, True, str(error)
        if isinstance(error, WatchBroken) or (not self._number and self._unavailable is None):
            self._want_all()
        if reason != self._unavailable:
            log.warning("watch.unavailable", reason=reason, way_out="new files wait for the next interval")
            self._unavailable = reason

    def take(self) -> frozenset[str]:
        """What was told before the pass over the whole folder that begins now."""
        told, self._told = frozenset(self._told), set()
        self._covering = self._number
        return told

    def give_back(self, told: frozenset[str]) -> None:
        """The pass failed that `take` was for."""
        self._told |= told

    def compare(self, source: Identity | None, settled: Collection[str], told: frozenset[str]) -> None:
        """End the watch, so that another begins, when a pass over `source` shows that it does not hear everything.

        `settled` are the files that it should have told of.
        """
        heard = told | self._told
        deaf = self._covered == self._number and any(not _is_told(path, heard) for path in settled)
        self._covered = self._covering
        if self._end is not None and (source != self._on or deaf):
            self._lost = True
            self._end.set()


def _led_to(source: Path) -> tuple[Path, Identity]:
    """The folder that `source` leads to. OSError when there is none: watchfiles would wait there for ever."""
    root = source.resolve()
    about = root.stat()
    return root, (about.st_dev, about.st_ino)


def _is_told(path: str, told: Collection[str]) -> bool:
    """Whether `path`, or a folder that it is in, is among `told`."""
    parts = path.split("/")
    return any("/".join(parts[:end]) in told for end in range(1, len(parts) + 1))
