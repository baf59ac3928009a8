"""The bytes of one article's file. What is behind a symbolic link that leaves the folder is never read."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from feeder.errors import ArticleError, Problem

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # NONBLOCK: a named pipe must not hold the pass up


class Files:
    """The files below a folder. Keeps the folder that it read from last open, since the next file is most likely beside it."""

    def __init__(self, root: Path, limit: int) -> None:
        """`limit` is how many bytes an article may have."""
        self._root, self._limit = root, limit
        self._folder: tuple[str, int] | None = None  # that is open: its path, its descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def read(self, path: str) -> bytes:
        """The bytes of the file at `path`. FileNotFoundError when it has gone meanwhile; ArticleError for all else."""

        def wrong(reason: str, *, transient: bool = False) -> ArticleError:
            return ArticleError(Problem(where=path, reason=reason, transient=transient))

        try:
            descriptor = self._open(path)
            try:
                about = os.fstat(descriptor)
                if not stat.S_ISREG(about.st_mode):
                    raise wrong("not a regular file")
                if about.st_size > self._limit:
                    raise wrong(f"{about.st_size:,} bytes; an article has at most {self._limit:,} (max_article_bytes)")
                data = _all(descriptor, about.st_size, self._limit)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            if (self._root / path).is_symlink():
                raise wrong("a symbolic link to nothing") from None
            raise
        except Outside as error:
            raise wrong("a symbolic link out of the folder; copy the file here instead") from error
        except OSError as error:
            raise wrong(f"cannot be read: {error.strerror}", transient=True) from error
        if len(data) > self._limit:
            raise wrong(f"grew past {self._limit:,} bytes while it was read (max_article_bytes)")
        return data

    def _open(self, path: str) -> int:
        """The file at `path`, reached through no linked folder, and itself no link that leaves the root."""
        folder, _, name = path.rpartition("/")
        if name in ("", "..") or path.startswith("/"):
            raise Outside
        if self._folder is None or self._folder[0] != folder:
            self._leave()
            self._folder = folder, _open_folder(self._root, folder)
        try:
            return os.open(name, _FILE, dir_fd=self._folder[1])
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.EMLINK):
                raise
            return os.open(inside(self._root, self._root / path), _FILE)

    def _leave(self) -> None:
        if self._folder is not None:
            os.close(self._folder[1])
            self._folder = None


def _all(descriptor: int, size: int, limit: int) -> bytes:
    """What a file holds; a byte more than `limit` of it at most."""
    data = os.read(descriptor, size + 1)
    while len(data) <= limit and (more := os.read(descriptor, limit + 1 - len(data))):
        data += more
    return data


def _open_folder(root: Path, path: str) -> int:
    """The folder at `path` below `root`, reached through no link."""
    names = path.split("/") if path else []
    if "" in names or ".." in names:
        raise Outside
    here = os.open(root, _FOLDER)
    for name in names:
        above = here
        try:
            here = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=above)
        except OSError as error:
            if stat.S_ISLNK(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
                raise Outside from error
            raise
        finally:
            os.close(above)
    return here


class Outside(Exception):
    """A symbolic link leads out of the folder."""


def inside(root: Path, link: Path) -> Path:
    """Where `link` leads. Outside when that is not below `root`."""
    if leaves(root, link):
        raise Outside
    return Path(os.path.realpath(link))


def leaves(root: Path, link: Path) -> bool:
    """Whether `link` leads out of `root`."""
    return not Path(os.path.realpath(link)).is_relative_to(os.path.realpath(root))
