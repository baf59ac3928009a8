"""Documents as files under the public folder, so that any static server can serve them.

A reader of the folder never sees half a document: each is written beside its place, brought to the disk and renamed.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from feeder.errors import FolderError

PACKED = ".gz"  # what the name of a document's gzip ends in, as static servers look for it
_LEVEL = 6  # of gzip: 9 saves a hundredth more and takes twice as long
_AT_ONCE = 4  # documents that are compressed or written at a time
_PART = ".part"  # what a document that is being written ends in
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC  # a file of our own, behind no link
_INDEX = "index.html"
MARK = ".feeder"  # an empty file: the folder is feeder's to write to
_NOBODYS = "lost+found"  # what a file system of its own has at its root


class File(Struct, frozen=True, kw_only=True):
    """A document to be written. The file's time is the document's: it tells one version from another."""

    path: str
    body: bytes
    packed: bytes  # the body, compressed with gzip
    modified: datetime  # whole seconds


def packed(body: bytes) -> bytes:
    """`body` compressed with gzip, the same for the same body."""
    return gzip.compress(body, _LEVEL, mtime=0)


def threads() -> ThreadPoolExecutor:
    """Threads for what lets others work meanwhile: zlib, and the disk."""
    return ThreadPoolExecutor(_AT_ONCE)


def unpacked(body: bytes) -> bytes:
    """What `packed` was given."""
    return gzip.decompress(body)


def check(root: Path) -> None:
    """FolderError when documents could not be written below `root`. Writes nothing."""
    nearest = next(folder for folder in (root, *root.absolute().parents) if folder.exists() or folder.is_symlink())
    if not nearest.is_dir():
        raise FolderError(f"{nearest}: is no folder, so documents cannot be written to {root} (setting: public)")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise FolderError(
            f"{nearest}: this user may not write there, so documents cannot be written to {root} (setting: public)"
        )


def take(root: Path, ours: Collection[str], index: bytes | None) -> None:
    """Make the folder `root`, or take one that holds nothing of anybody else's, and mark it.

    `ours` are the names in it that were published there, `index` the first page. FolderError when it holds others: they
    may be somebody's site, and the mark alone hands it over.
    """
    try:
        check_foreign(root, ours, index)
        root.mkdir(parents=True, exist_ok=True)
        (root / MARK).touch()
    except OSError as error:
        raise FolderError(f"{root}: cannot be written to: {error.strerror} (setting: public)") from error


def check_foreign(root: Path, ours: Collection[str] = (), index: bytes | None = None) -> None:
    """FolderError when `root` has no mark and holds anything but what `take` is given. Writes nothing."""
    if not is_whole(root, ()) and (found := _foreign(root, ours, index)):
        raise FolderError(
            f"{root}: holds {', '.join(found[:3])}{' …' if len(found) > 3 else ''}, which feeder did not make; move that, "
            f"set public to another folder, or hand this one over with an empty file {root / MARK} (setting: public)"
        )


def _foreign(root: Path, ours: Collection[str], index: bytes | None) -> list[str]:
    """The names in `root` that feeder did not put there. Hidden ones stand in nobody's way."""
    if not root.exists():
        return []
    others = sorted(path for path in root.iterdir() if not path.name.startswith(".") and path.name != _NOBODYS)
    return [path.name for path in others if path.name.removesuffix(PACKED) not in ours or _differs(path, index)]


def _differs(path: Path, index: bytes | None) -> bool:
    return path.name == _INDEX and (index is None or path.read_bytes() != index)


def is_whole(root: Path, paths: Iterable[str]) -> bool:
    """Whether `root` has its mark, and files or folders at `paths`: what it costs little to look at."""
    return all(os.path.lexists(root / path) for path in (MARK, *paths))


def write(root: Path, documents: Iterable[File]) -> None:
    """Put documents at their paths below `root`, each in one step, with its time.

    All are on the disk when this returns. FolderError when the folder cannot be written to.
    """
    with threads() as several:  # the disk is waited for once, not once a file
        folders = set(several.map(lambda document: _write_both(root / document.path, document), documents))
    for folder in folders:
        _sync(folder)


def _write_both(target: Path, document: File) -> Path:
    """A document, then its gzip; their folder."""
    _write(target, document.body, document.modified)
    _write(target.with_name(f"{target.name}{PACKED}"), document.packed, document.modified)
    return target.parent


def _write(target: Path, body: bytes, modified: datetime) -> None:
    part = target.with_name(f".{target.name}{_PART}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)  # left by a crash, or laid there by somebody
        with os.fdopen(os.open(part, _NEW, 0o666), "wb") as file:
            file.write(body)
            file.flush()
            os.utime(file.fileno(), (modified.timestamp(), modified.timestamp()))
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        raise FolderError(f"{target}: cannot be written: {error.strerror} (setting: public)") from error


def remove(root: Path, paths: Iterable[str]) -> None:
    """Take documents away, and folders that are empty then; one that is gone already is as good."""
    for path in paths:
        target = root / path
        try:
            target.unlink(missing_ok=True)
            target.with_name(f"{target.name}{PACKED}").unlink(missing_ok=True)
        except OSError as error:
            raise FolderError(f"{target}: cannot be removed: {error.strerror} (setting: public)") from error
        with suppress(OSError):  # not empty
            for folder in target.parents:
                if folder == root:
                    break
                folder.rmdir()


def sweep(root: Path) -> dict[str, int]:
    """Remove what a crash left half written; which files are there, by their paths.

    Of a document's file it tells when it was modified, in seconds since 1970; of its gzip, written right after, nothing.
    """
    found: dict[str, int] = {}
    folders, base = [""], os.fspath(root)
    while folders:
        folder = folders.pop()
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(f"{base}/{folder}") as entries:
            for entry in entries:
                name = entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{folder}{name}/")
                elif name.endswith(PACKED):
                    found[folder + name] = 0
                elif name.startswith(".") and name.endswith(_PART):
                    Path(entry.path).unlink(missing_ok=True)
                else:
                    found[folder + name] = int(entry.stat(follow_symlinks=False).st_mtime)
    return found


def is_there(found: Mapping[str, int], path: str, modified: int) -> bool:
    """Whether `sweep` found the document at `path` as it was when it was modified last, and its gzip."""
    return found.get(path) == modified and f"{path}{PACKED}" in found


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
