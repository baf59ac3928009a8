"""What happens in the folder of articles, as it happens. The only home of watchfiles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from watchfiles import awatch

_GATHER_MS = 10  # changes that come this close together come as one
_GATHER_AT_MOST_MS = 200


async def changes(root: Path, stop: asyncio.Event) -> AsyncIterator[frozenset[str] | None]:
    """The files and folders that changed, relative to `root`; None when only a look through all of it will tell.

    `root` is a resolved path. The watch stands when this first waits, and ends when `stop` is set. Raises OSError or
    RuntimeError when the folder cannot be watched.
    """
    # No filter of watchfiles' own: it leaves out folders called node_modules or venv, which are as good as others here.
    watcher = awatch(
        root,
        stop_event=stop,
        watch_filter=None,
        step=_GATHER_MS,
        debounce=_GATHER_AT_MOST_MS,
        ignore_permission_denied=True,
    )
    async for found in watcher:
        paths = {Path(path).relative_to(root).as_posix() for _, path in found}
        if "." in paths:
            yield None  # the folder itself
        elif seen := frozenset(path for path in paths if not any(part.startswith(".") for part in path.split("/"))):
            yield seen
