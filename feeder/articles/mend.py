"""Front matter that is not as the schema has it: what can be kept of it, and what there is to complain about.

What makes an article impossible (no title, no link, no date, a wrong type) raises ArticleError; what only makes it poorer
(a related link that is none, a key that is misspelt) is left out or read as something else, with a warning.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from typing import Any, NamedTuple

from feeder import text, urls
from feeder.articles.frontmatter import KeyPath, Source
from feeder.articles.schema import (
    KNOWN,
    LONGEST_EXCERPT,
    LONGEST_LABEL,
    LONGEST_LINE,
    MOST,
    MOST_IMAGES,
    MOST_RELATED,
    MOST_TOPICS,
    READ,
)
from feeder.errors import ArticleError, Problem
from feeder.models import TYPES

MOST_MARKS = 10_000  # what nests in Markdown or HTML costs the square of its depth
MOST_PIECES = 50_000  # of what a text is taken apart at: each piece takes some 2 KB for a while
_MOST_UNKNOWN = 20  # keys that are named
_LONGEST_KEY = 40  # characters of one that are looked at


def mended(source: Source) -> tuple[dict[str, Any], tuple[Problem, ...]]:
    """What the schema takes of a file's front matter, and the warnings. ArticleError when that is no article."""
    complaints = _Complaints(source)
    _look_for_misspelt(source.metadata, complaints)
    kept = _kept(source.metadata, _ARTICLE, (), complaints)
    for key, example in (("title", "…"), ("publishedDateTime", "2026-01-31T12:00:00Z")):
        if source.metadata.get(key) is None:
            complaints.wrong((key,) if key in source.metadata else (), f"no {key}; write {key}: {example}")
    if not source.metadata.get("originalUrl") and not source.metadata.get("webUrl"):
        complaints.wrong((), "no link; write webUrl: https://…")
    if is_endless(source.body):
        most = f"{MOST_MARKS:,} of < or [, {MOST_PIECES:,} of *, _, ~, `, & and \\, or {MOST_PIECES:,} lines and cells"
        complaints.wrong((), f"the body holds more than {most}; that is no text")
    return kept, complaints.warnings()


def is_endless(body: str) -> bool:
    """Whether a Markdown body may nest too deep, or fall into too many pieces, to be read."""
    pieces = max(sum(map(body.count, "*_~`&\\")), sum(map(body.count, "\n\r|")))
    return pieces > MOST_PIECES or any(body.count(mark) > MOST_MARKS for mark in "<[")


class _Complaints:
    """What was wrong with the values of one file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._wrong: list[tuple[KeyPath, str]] = []
        self._poor: list[tuple[KeyPath, str]] = []

    def wrong(self, path: KeyPath, reason: str) -> None:
        """The file is no article because of this."""
        self._wrong.append((path, reason))

    def poor(self, path: KeyPath, reason: str) -> None:
        """The article does without this."""
        self._poor.append((path, reason))

    def warnings(self) -> tuple[Problem, ...]:
        """What the article does without. ArticleError when it is none: all that is wrong, at the line of the first."""
        where = self._source.where
        if self._wrong:
            line = self._source.lines([path for path, _ in self._wrong])[0]
            raise ArticleError(
                Problem(where=where, line=line, reason="; ".join(_told(*found) for found in self._wrong))
            )
        lines = self._source.lines([path for path, _ in self._poor])
        return tuple(
            Problem(where=where, line=line, reason=_told(*found), warning=True)
            for line, found in zip(lines, self._poor, strict=True)
        )


def _told(path: KeyPath, reason: str) -> str:
    name = ""
    for step in path:
        name += f"[{step}]" if isinstance(step, int) else (f".{step}" if name else step)
    return f"{name}: {reason}" if name else reason


class _Key(NamedTuple):
    """One key of the schema."""

    keep: Callable[..., Any]  # a value → what is kept of it; of one that nests, with its path and the complaints
    needed: bool = False  # whether there is no article when nothing is
    nests: bool = False


class _Unfit(Exception):
    """A value of which nothing is kept, but `instead` where that is not None."""

    def __init__(self, reason: str, instead: object = None) -> None:
        super().__init__(reason)
        self.reason, self.instead = reason, instead


def _kept(meta: Mapping[Any, Any], keys: Mapping[Any, _Key], path: KeyPath, complaints: _Complaints) -> dict[str, Any]:
    """What is kept of a mapping at `path`."""
    kept = {}
    for name, value in meta.items():
        key = keys.get(name)
        if value is None or key is None:
            continue
        within = (*path, name)
        try:
            kept[name] = key.keep(value, within, complaints) if key.nests else key.keep(value)
        except _Unfit as unfit:
            complain = complaints.wrong if key.needed and unfit.instead is None else complaints.poor
            complain(within, unfit.reason)
            if unfit.instead is not None:
                kept[name] = unfit.instead
    return kept


def _look_for_misspelt(meta: Mapping[str, Any], complaints: _Complaints) -> None:
    unknown = [key for key in meta if key not in KNOWN]
    for key in unknown[:_MOST_UNKNOWN]:
        near = difflib.get_close_matches(str(key)[:_LONGEST_KEY], READ, n=1, cutoff=0.7)
        complaints.poor((str(key),), f"unknown key, not read{f'; did you mean {near[0]}?' if near else ''}")
    if len(unknown) > _MOST_UNKNOWN:
        complaints.poor((), f"{len(unknown) - _MOST_UNKNOWN:,} more unknown keys, not read")


# --- values ---------------------------------------------------------------------------------------------------------


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Unfit(f"{_shown(value)} is not text; put it in quotes")
    reason = f"is read as the number {value}; put it in quotes to keep it as it is written"
    raise _Unfit(reason, instead=str(value))


def _at_most(longest: int) -> Callable[[object], str]:
    """What keeps of a text its first `longest` characters."""

    def kept(value: object) -> str:
        written = _text(value)
        if len(written) > longest:
            raise _Unfit(
                f"holds {len(written):,} characters; the first {longest:,} are read", instead=written[:longest]
            )
        return written

    return kept


_line = _at_most(LONGEST_LINE)


def _title(value: object) -> str:
    if not text.line(_text(value)[:LONGEST_LINE]):
        raise _Unfit("is empty; write title: …")
    return _line(value)


def _language(value: object) -> str:
    tag = "" if type(value) in (int, float) else _text(value)
    if text.is_language(text.line(tag)) or (isinstance(value, str) and not text.line(tag)):
        return tag
    raise _Unfit(f"{_shown(value)} is not a language tag like en or pt-BR (RFC 5646); left out")


def _date(value: object) -> datetime:
    moment = _moment(value)
    if moment is None:
        raise _Unfit(f"{_shown(value)} is not a date; write it like 2026-01-31T12:00:00Z")
    if moment.tzinfo is None:
        reason = f"{_shown(value)} has no time zone and is read as UTC; write it like 2026-01-31T12:00:00Z"
        raise _Unfit(reason, instead=moment.replace(tzinfo=UTC))
    return moment


def _soft_date(value: object) -> datetime:
    if (moment := _moment(value)) is not None:
        return moment
    raise _Unfit(f"{_shown(value)} is not a date; left out")


def _moment(value: object) -> datetime | None:
    """The datetime in a front matter value, naive where it names no zone; None when there is none."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    return value if isinstance(value, datetime) and is_bearable(value) else None


def is_bearable(moment: datetime) -> bool:
    """Whether a time is one that everybody can count with, in any zone."""
    return 1900 <= moment.year <= 9998


def _link(value: object) -> str:
    if not isinstance(value, str):
        raise _Unfit(f"{_shown(value)} is not text; put it in quotes")
    try:
        if value:
            urls.http_url(value)
    except ValueError as error:
        raise _Unfit(f"{_shown(value)} {error}") from error
    return value


def _soft_link(value: object) -> str:
    """A link that an article can do without."""
    try:
        return _link(value)
    except _Unfit as unfit:
        raise _Unfit(f"{unfit.reason}; left out") from unfit


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise _Unfit(f"{_shown(value)} is neither true nor false")


def _whole(value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < MOST:
        return value
    raise _Unfit(f"{_shown(value)} is not a whole number; left out")


def _type(value: object) -> object:
    if value in TYPES:
        return value
    raise _Unfit(f"{_shown(value)} is not one of {', '.join(TYPES)}; read as {TYPES[0]}")


# --- values within values -------------------------------------------------------------------------------------------


def _list(value: object, path: KeyPath, most: int, complaints: _Complaints) -> list[Any]:
    """A list, but no more of it than the first `most`."""
    if not isinstance(value, list):
        raise _Unfit(f"{_shown(value)} is not a list; write {path[-1]}: with one line “- …” for each")
    if len(value) > most:
        complaints.poor(path, f"lists {len(value):,}; the first {most} are read")
    return value[:most]


def _topics(value: object, path: KeyPath, complaints: _Complaints) -> list[str]:
    topics = []
    for index, each in enumerate(_list(value, path, MOST_TOPICS, complaints)):
        if isinstance(each, bool) or not isinstance(each, str | int | float):
            complaints.wrong((*path, index), f"{_shown(each)} is not text; put it in quotes")
        elif len(str(each)) > LONGEST_LABEL:
            complaints.poor((*path, index), f"{_shown(each)} is longer than {LONGEST_LABEL} characters; left out")
        else:
            topics.append(str(each))
    return topics


def _provider(value: object, path: KeyPath, complaints: _Complaints) -> object:
    if isinstance(value, str):
        return _line(value)
    if isinstance(value, Mapping):
        return _kept(value, _PROVIDER, path, complaints)
    raise _Unfit(f"{_shown(value)} has no name; left out")


def _images(value: object, path: KeyPath, complaints: _Complaints) -> list[dict[str, Any]]:
    images = []
    for index, each in enumerate(_list(value, path, MOST_IMAGES, complaints)):
        if not isinstance(each, Mapping):
            complaints.poor((*path, index), f"{_shown(each)} is not an image; write - url: https://…")
        elif (kept := _kept(each, _IMAGE, (*path, index), complaints)).get("url"):
            images.append(kept)
    return images


def _related(value: object, path: KeyPath, complaints: _Complaints) -> list[dict[str, Any]]:
    links = []
    for index, each in enumerate(_list(value, path, MOST_RELATED, complaints)):
        within = (*path, index)
        if not isinstance(each, Mapping):
            reason = f"{_shown(each)} is not a related article; write - title: … and webUrl: …; left out"
            complaints.poor(within, reason)
            continue
        kept = _kept(each, _RELATED, within, complaints)
        if not kept.get("webUrl"):
            kept |= _kept(each, _INSTEAD, within, complaints)
        has_link = kept.get("webUrl") or kept.get("originalUrl")
        if has_link and text.line(kept.get("title", "")):
            links.append(kept)
        else:
            missing = "no title" if has_link else "no link"
            complaints.poor(within, f"a related article needs a title and a webUrl; {missing}, left out")
    return links


def _shown(value: object) -> str:
    return repr(text.shorten(str(value), 60))


# --- keys -----------------------------------------------------------------------------------------------------------

_IMAGE = {
    "url": _Key(_soft_link),
    "width": _Key(_whole),
    "height": _Key(_whole),
    "title": _Key(_line),
    "isCached": _Key(lambda value: value is True),
}
_PROVIDER = {"name": _Key(_line), "domain": _Key(_line), "images": _Key(_images, nests=True)}
_ANY = {  # of an article and of a related one
    "excerpt": _Key(_at_most(LONGEST_EXCERPT)),
    "type": _Key(_type),
    "quality": _Key(_whole),
    "ampWebUrl": _Key(_soft_link),
    "cdnAmpWebUrl": _Key(_soft_link),
    "provider": _Key(_provider, nests=True),
    "images": _Key(_images, nests=True),
}
_RELATED = {
    **_ANY,
    "title": _Key(_line),
    "publishedDateTime": _Key(_soft_date),
    "webUrl": _Key(_soft_link),
}
_INSTEAD = {"originalUrl": _Key(_soft_link)}  # of a webUrl
_ARTICLE = {
    **_ANY,
    "id": _Key(_text),
    "title": _Key(_title, needed=True),
    "publishedDateTime": _Key(_date, needed=True),
    "originalUrl": _Key(_link, needed=True),
    "webUrl": _Key(_link, needed=True),
    "category": _Key(_line),
    "language": _Key(_language),
    "heat": _Key(_whole),
    "published": _Key(_flag, needed=True),
    "topics": _Key(_topics, needed=True, nests=True),
    "related": _Key(_related, nests=True),
}
