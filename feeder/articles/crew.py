"""Many articles read at once, by as many processes as there are processors."""

from __future__ import annotations

import gc
import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Self

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


def read(files: Files, path: str, feeds: Feeds, *, fast: bool = True) -> Read:
    """The article in a file as the store keeps it, or why it is none."""
    try:
        article = parse.parse(files.read(path), path, feeds.topic, fast=fast).article
        return record(article, feeds.of(article))
    except ArticleError as error:
        return error.problem
    except FileNotFoundError:
        return None
    except Exception as error:  # noqa: BLE001 - whatever one article brings about must not end a pass over all
        return parse.unforeseen(path, error).problem


class Crew:
    """As many processes as there are processors, to read many files. A context manager; nothing starts before it is called."""

    def __init__(self, source: Path, max_bytes: int, feeds: Feeds, *, fast: bool = True) -> None:
        self._work = partial(_read, source, max_bytes, feeds, fast)
        self._number = os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def call(self) -> ProcessPoolExecutor:
        """Have the processes start, if they have not: that takes them a moment in which something else can be done."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self._number, mp_context=get_context("spawn"), initializer=_begin)
            for _ in range(self._number):  # a process starts with the first piece of work that it is wanted for
                self._pool.submit(_begin)
        return self._pool

    def read(self, paths: Sequence[str]) -> Iterator[Read]:
        """What `read` gives for each of `paths`, in their order. Processes read ahead of what is taken, but not far."""
        pool, ahead = self.call(), deque[Future[bytes]]()
        for start in range(0, len(paths), _FILES):
            ahead.append(pool.submit(self._work, paths[start : start + _FILES]))
            if len(ahead) > _AHEAD:
                yield from _unpacked(ahead.popleft().result())
        for future in ahead:
            yield from _unpacked(future.result())


def _begin() -> None:
    gc.disable()  # what is read here has no cycles, and the process is short-lived
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the worker, which ends its helpers


def _read(source: Path, max_bytes: int, feeds: Feeds, fast: bool, paths: Sequence[str]) -> bytes:
    with Files(source, max_bytes) as files:
        return _packed([read(files, path, feeds, fast=fast) for path in paths])
