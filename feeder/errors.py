"""Every error that feeder raises on purpose.

    FeederError            what a person can act on; `str()` of it is the whole message, no traceback needed
    ├── SettingsError      one or more settings are missing or wrong; carries every Problem found
    ├── ArticleError       one file is not an article; carries its Problem
    ├── StoreError         the database cannot be used as it is
    │   ├── StoreTooNew    it was written by a newer feeder
    │   ├── StoreMissing   there is none yet
    │   ├── StoreTooOld    it was written by an older feeder, and only a worker may bring it up to date
    │   ├── StoreInUse     another worker holds it
    │   └── StoreReplaced  its file was replaced or removed while it was open
    ├── FolderError        a folder that a setting names cannot be read or written
    ├── SearchTooLong      a search took longer than it may
    ├── Busy               more is asked for at once than is done at once
    └── UsageError         a command was asked for something that is not there

A delivery that fails is no error: it is an Outcome (see models).
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from feeder.text import visible


class Problem(Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    """One thing that is wrong, said so that the reader can find it and put it right.

    Tagged, because processes hand it each other in place of a Record.
    """

    where: str  # the file as the user knows it, or the setting's source
    reason: str  # what is wrong, with the value, and the way out
    line: int | None = None  # counted from 1
    warning: bool = False  # True: worth saying, but the article or setting is used all the same
    transient: bool = False  # True: the operating system failed, which may pass without anybody touching the file

    def __str__(self) -> str:
        place = self.where if self.line is None else f"{self.where}:{self.line}"
        return visible(f"{place}: {self.reason}" if place else self.reason)


class FeederError(Exception):
    """The root of the tree."""


class SettingsError(FeederError):
    """Settings are missing or wrong. `problems` holds all of them, not only the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class ArticleError(FeederError):
    """A file is not an article."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


class StoreError(FeederError):
    """The database cannot be used as it is."""


class StoreMissing(StoreError):
    """There is no database yet."""


class StoreTooNew(StoreError):
    """The database was written by a newer feeder than this one."""


class StoreTooOld(StoreError):
    """The database was written by an older feeder than this one."""


class StoreInUse(StoreError):
    """Another worker holds the database."""


class StoreReplaced(StoreError):
    """The database's file was replaced or removed while it was open."""


class FolderError(FeederError):
    """A folder that a setting names cannot be read or written."""


class SearchTooLong(FeederError):
    """A search took longer than it may."""


class Busy(FeederError):
    """More is asked for at once than is done at once."""


class UsageError(FeederError):
    """A command was asked for something that is not there."""


def public_reason(error: Exception) -> str:
    """Why something failed, without a path: for whoever may ask the web server. The log says the whole.

    Of an error of the database, which carries its own as `orig`, it is that one's words.
    """
    if isinstance(error, FolderError):
        return "a folder cannot be read or written; the log says which"
    if isinstance(error, OSError):
        return f"{error.strerror or type(error).__name__}; the log says more"
    said = str(getattr(error, "orig", None) or "")
    if isinstance(error, StoreMissing | StoreTooOld | StoreTooNew):
        said = str(error).partition(": ")[2]  # what comes before it is the database's path
    if said and "/" not in said:
        return said
    return (
        "the database cannot be used; the log says why" if said or isinstance(error, StoreError) else "the log says why"
    )
