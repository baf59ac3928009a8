"""Documents as files under the public folder, so that any static server can serve them.

A reader of the folder never sees half a document: each is written beside its place, brought to the disk and renamed.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from feeder.errors import FolderError

PACKED = ".gz"  # what the name of a document's gzip ends in, as static servers look for it
_LEVEL = 6  # of gzip: 9 saves a hundredth more and takes twice as long
_PART = ".part"  # what a document that is being written ends in


def packed(body: bytes) -> bytes:
    """`body` compressed with gzip, the same for the same body."""
    return gzip.compress(body, _LEVEL, mtime=0)


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


def write(root: Path, documents: Iterable[tuple[str, bytes, bytes]]) -> None:
    """Put documents (path, body, the body's gzip) at their paths below `root`, each in one step.

    All are on the disk when this returns. FolderError when the folder cannot be written to.
    """
    folders = set()
    for path, body, gzipped in documents:
        _write(root / path, body)
        _write(root / f"{path}{PACKED}", gzipped)
        folders.add((root / path).parent)
    for folder in folders:
        _sync(folder)


def _write(target: Path, body: bytes) -> None:
    part = target.with_name(f".{target.name}{_PART}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(body)
            file.flush()
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


def differs(root: Path, path: str, body: bytes) -> bool:
    """Whether the file at `path` or its gzip is missing, or the file holds other bytes."""
    try:
        return (root / path).read_bytes() != body or not (root / f"{path}{PACKED}").is_file()
    except OSError:
        return True


def sweep(root: Path) -> None:
    """Remove what a crash left half written."""
    for part in root.rglob(f".*{_PART}"):
        part.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
