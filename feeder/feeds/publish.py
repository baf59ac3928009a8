"""Documents as files under the public folder, so that any static server can serve them.

A reader of the folder never sees half a document: each is written beside its place, brought to the disk and renamed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from feeder.errors import FolderError

_PART = ".part"  # what a document that is being written ends in


def check(root: Path) -> None:
    """FolderError when documents could not be written below `root`. Writes nothing."""
    nearest = next(folder for folder in (root, *root.absolute().parents) if folder.exists() or folder.is_symlink())
    if not nearest.is_dir():
        raise FolderError(f"{nearest}: is no folder, so documents cannot be written to {root} (setting: public)")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise FolderError(
            f"{nearest}: this user may not write there, so documents cannot be written to {root} (setting: public)"
        )


def write(root: Path, path: str, body: bytes) -> None:
    """Put `body` at `path` below `root`, in one step. FolderError when the folder cannot be written to."""
    target = root / path
    part = target.with_name(f".{target.name}{_PART}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
        _sync(target.parent)
    except OSError as error:
        raise FolderError(f"{target}: cannot be written: {error.strerror} (setting: public)") from error


def remove(root: Path, paths: Iterable[str]) -> None:
    """Take documents away; one that is gone already is as good."""
    for path in paths:
        try:
            (root / path).unlink(missing_ok=True)
        except OSError as error:
            raise FolderError(f"{root / path}: cannot be removed: {error.strerror} (setting: public)") from error


def differs(root: Path, path: str, body: bytes) -> bool:
    """Whether the file at `path` is missing or holds other bytes."""
    try:
        return (root / path).read_bytes() != body
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
