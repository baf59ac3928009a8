"""Many articles read at once, by as many processes as there are processors."""

from __future__ import annotations

import gc
import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from msgspec import msgpack

from feeder.articles import parse
from feeder.articles.files import Files
from feeder.errors import ArticleError, Problem
from feeder.records import Record, record
from feeder.selection import Feeds

_FILES = 200  # that a process is given at once
_AHEAD = 30  # times as many may be read before they are taken

Read = Record | Problem | None  # None: the file has gone meanwhile

_packed = msgpack.Encoder().encode  # what one process hands another: in a third of the time that pickle takes
_unpacked = msgpack.Decoder(list[Read]).decode


def read(files: Files, path: str, feeds: Feeds) -> Read:
    """The article in a file as the store keeps it, or why it is none."""
    try:
        article = parse.parse(files.read(path), path, feeds.topic).article
        return record(article, feeds.of(article))
    except ArticleError as error:
        return error.problem
    except FileNotFoundError:
        return None


def read_all(source: Path, paths: Sequence[str], max_bytes: int, feeds: Feeds) -> Iterator[Read]:
    """What `read` gives for each of `paths`, in their order. Processes read ahead of what is taken, but not far."""
    crew = os.cpu_count() or 1
    chunks = (list(paths[start : start + _FILES]) for start in range(0, len(paths), _FILES))
    with ProcessPoolExecutor(crew, mp_context=get_context("spawn"), initializer=_begin) as pool:
        ahead: deque[Future[bytes]] = deque()
        try:
            for chunk in chunks:
                ahead.append(pool.submit(_read, source, chunk, max_bytes, feeds))
                if len(ahead) > _AHEAD:
                    yield from _unpacked(ahead.popleft().result())
            for future in ahead:
                yield from _unpacked(future.result())
        finally:
            pool.shutdown(cancel_futures=True)


def _begin() -> None:
    gc.disable()  # what is read here has no cycles, and the process is short-lived
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the worker, which ends its helpers


def _read(source: Path, paths: Sequence[str], max_bytes: int, feeds: Feeds) -> bytes:
    with Files(source, max_bytes) as files:
        return _packed([read(files, path, feeds) for path in paths])
