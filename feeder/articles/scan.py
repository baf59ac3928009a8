"""Which files of a folder are new, changed or gone.

A file's stamp (size, modification and status-change time) tells whether it may have changed, so an unchanged file
costs one stat.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from feeder.articles.files import Outside, inside, leaves
from feeder.errors import FolderError, Problem

SUFFIXES = (".md", ".markdown", ".txt")
_RACY_NS = 2_000_000_000  # a file changed this lately may change again within the same tick of the file system's clock


class Stamp(NamedTuple):
    """What `stat` says of a file. Equal stamps: the same bytes."""

    size: int
    mtime_ns: int
    ctime_ns: int

    def settled(self, now_ns: int) -> Stamp:
        """This stamp, or one that equals no other where the file is too young for its times to tell a rewrite."""
        if now_ns - self.ctime_ns > _RACY_NS:  # unlike mtime, nobody can set it
            return self
        return self.doubtful()

    def doubtful(self) -> Stamp:
        """This stamp as one that equals no other: the file is read again by the next pass."""
        return self._replace(size=-1)


Known = Mapping[str, tuple[int, int, int]]  # stamps by path


class Changes(Struct, frozen=True, kw_only=True):
    """What differs between a folder and what is known of it. Paths are relative to the folder, with '/'."""

    changed: Mapping[str, Stamp]  # new files too
    gone: frozenset[str]
    problems: tuple[Problem, ...] = ()  # what could not be looked at


def compare(
    root: Path,
    known: Known,
    counting: Callable[[int], object] = lambda _: None,
    entering: Callable[[], object] = lambda: None,
) -> Changes:
    """Look through the whole folder; `counting` is told how many differ so far, `entering` called for each folder in it.

    FolderError when the folder is not there: nothing is taken for gone then.
    """
    look = _Look(root, known, entering)
    changed = {}
    for path, stamp in look.below(""):
        changed[path] = stamp
        counting(len(changed))
    missing = set(known).difference(look.seen) if changed or len(look.seen) < len(known) else set()
    return look.changes(changed, missing)


def compare_some(root: Path, known: Known, paths: Iterable[str]) -> Changes:
    """Look at some files and folders only. `known` need hold no others than those, and what is in them.

    FolderError when the whole folder is not there, as in `compare`.
    """
    look = _Look(root, known)
    look.listing("")
    changed = {each: stamp for path in paths for each, stamp in look.at(path)}
    asked = {each for path in paths for each in ([path] if is_article(path) else _within(path, known))}
    return look.changes(changed, asked.intersection(known).difference(look.seen))


def _within(folder: str, known: Known) -> list[str]:
    return [path for path in known if path.startswith(f"{folder}/")]


def _is_link(root: Path, parts: list[str]) -> bool:
    return root.joinpath(*parts).is_symlink()


def is_article(path: str) -> bool:
    """Whether a file of this name, relative to the folder, is taken for an article: by suffix, and not hidden."""
    return path.lower().endswith(SUFFIXES) and not any(part.startswith(".") for part in path.split("/"))


def _stamp(root: Path, full: Path) -> Stamp:
    about = full.lstat()
    if stat.S_ISLNK(about.st_mode):
        with suppress(Outside, OSError):  # the link's own stamp then; reading it says what is wrong
            about = inside(root, full).stat()
    return Stamp(about.st_size, about.st_mtime_ns, about.st_ctime_ns)


class _Look:
    """One look at a folder: what differs from what is known of it, what is there at all, and what is wrong."""

    def __init__(self, root: Path, known: Known, entering: Callable[[], object] = lambda: None) -> None:
        self.seen: list[str] = []  # the paths of all articles that are there
        self._root, self._known, self._entering = root, known, entering
        self._unread: list[str] = []  # files and folders that could not be looked at
        self._problems: list[Problem] = []

    def changes(self, changed: Mapping[str, Stamp], missing: Iterable[str]) -> Changes:
        """What came of it. Of what is missing nothing is gone that stands in a folder that could not be read."""
        gone = frozenset(path for path in missing if not any(path.startswith(folder) for folder in self._unread))
        return Changes(changed=changed, gone=gone, problems=tuple(self._problems))

    def at(self, path: str) -> Iterator[tuple[str, Stamp]]:
        """The file at `path`, or those in the folder there; nothing when it is gone, hidden or behind a linked folder."""
        parts = path.split("/")
        links = (_is_link(self._root, parts[:end]) for end in range(1, len(parts)))
        if any(part.startswith(".") for part in parts) or any(links):
            return
        full = self._root / path
        try:
            if not full.is_symlink() and full.is_dir():
                yield from self.below(f"{path}/")
            elif path.lower().endswith(SUFFIXES) or full.is_symlink():
                yield from self._differing(path, _stamp(self._root, full))
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self._wrong(path, f"cannot be looked at: {error.strerror}")

    def below(self, start: str) -> Iterator[tuple[str, Stamp]]:
        """The files in the folder `start`, which is empty or ends with a slash, each folder in order of its names."""
        folders = [start]
        while folders:
            folder = folders.pop()
            for entry in sorted(self._strange(folder), key=lambda entry: entry.name):
                path = folder + entry.name
                if not _is_utf8(path):
                    self._problems.append(Problem(where=ascii(path), reason="the file's name is not UTF-8; rename it"))
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(f"{path}/")
                else:
                    yield from self._file(path, entry)

    def listing(self, folder: str) -> list[os.DirEntry[str]]:
        """What is in a folder."""
        self._entering()
        try:
            with os.scandir(self._root / folder) as entries:
                return list(entries)
        except OSError as error:
            if not folder:
                reason = f"the folder of articles cannot be read: {error.strerror} (setting: source)"
                raise FolderError(f"{self._root}: {reason}") from error
            self._wrong(folder, f"the folder cannot be read: {error.strerror}")
            return []

    def _strange(self, folder: str) -> Iterator[os.DirEntry[str]]:
        """What is in a folder, is not hidden, and is no file that is as it was. Most are, so this is what a pass costs."""
        known, seen = self._known.get, self.seen.append
        for entry in self.listing(folder):
            with suppress(OSError):  # `_file` says so
                about = entry.stat(follow_symlinks=False)
                if known(path := folder + entry.name) == (about.st_size, about.st_mtime_ns, about.st_ctime_ns):
                    seen(path)
                    continue
            if not entry.name.startswith("."):
                yield entry

    def _file(self, path: str, entry: os.DirEntry[str]) -> Iterator[tuple[str, Stamp]]:
        is_article = path.lower().endswith(SUFFIXES)
        try:
            if entry.is_symlink():
                # To an article, or to a folder elsewhere: that one is not followed, but reported when it is read.
                full = self._root / path
                leads_to_folder = full.is_dir()
                if is_article or (leads_to_folder and leaves(self._root, full)):
                    yield from self._differing(path, _stamp(self._root, full))
            elif is_article:
                about = entry.stat(follow_symlinks=False)
                yield from self._differing(path, Stamp(about.st_size, about.st_mtime_ns, about.st_ctime_ns))
        except FileNotFoundError:
            return
        except OSError as error:
            self._wrong(path, f"cannot be looked at: {error.strerror}")

    def _differing(self, path: str, stamp: Stamp) -> Iterator[tuple[str, Stamp]]:
        self.seen.append(path)
        if self._known.get(path) != stamp:
            yield path, stamp

    def _wrong(self, path: str, reason: str) -> None:
        self._unread.append(path)
        self._problems.append(Problem(where=path, reason=reason))


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
