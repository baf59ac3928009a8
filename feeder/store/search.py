"""Full-text search over the published articles. The only home of SQLite's FTS5 (https://sqlite.org/fts5.html).

The index holds the terms of an article's title, excerpt, provider and topics (`records.terms`), and neither its text
(`content=''`) nor where a term stands (`detail=none`). Those of the title are there as such too, which is quicker than a
column of their own: a search that no title answers is over at once. Its rows are numbered by publication, the newest first,
so that the newest that match are read without sorting, and what waits for its time is left out by where the reading begins.

The first articles, where they are many, wait in `search_numbers` until nothing else is to be done: then `fill` takes them into
the index, the newest first. How far it has come is a fact, so that of every number it is known whether the index has it.

`add`, `remove`, `fill`, `rebuild` and `merge` work within the caller's transaction; `Searcher` has connections of its own, for
reading.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.exc import OperationalError

from feeder import relevance
from feeder.errors import SearchTooLong
from feeder.models import Article, Results
from feeder.records import IN_TITLE, columns, from_text, terms
from feeder.store import fact, set_fact
from feeder.store.keys import among, delete, insert
from feeder.store.tables import articles, search_numbers

MOST = 10_000  # matches that are counted and can be paged through: a thousand are counted in 0.1 ms
PAGE = 20  # articles
TERMS = 20  # of a search that are looked for
SECONDS = 1.0  # that a search may take
_RANKED = 30  # the newest that match, and the newest whose title does, are ranked; the others follow by date
_COMMON = 1_000  # articles that hold a term; how many more do makes no difference to its weight
_STEPS = 1_000  # of SQLite's machine between two looks at the clock
_AT_ONCE = 5_000  # articles that a rebuild holds in memory
_MANY = 1_000  # articles that may wait: a first pass takes a quarter less without them
_FILLED_AT_ONCE = 1_000  # articles: some 40 ms
_FILLED = "search_filled"  # the last number that the index has, while further ones wait
_PIECES = 8  # that the index may be in; each that a search looks through takes its time
_PAGES = 200  # of 4 KB that are merged at once: some 30 ms

_BEGIN = datetime(1, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_LAST = 2**39 - 1  # a second after the year 9999, so that every number is positive and has 63 bits
_TIES = 2**24  # articles that one second has numbers for
_HIGHEST = 2**63 - 1

_ENTRY = (articles.c.id, articles.c.published, articles.c.record)
_ADD = "INSERT INTO search_index (rowid, terms) VALUES (?, ?)"
# An index without content is told what it has to forget.
_REMOVE = "INSERT INTO search_index (search_index, rowid, terms) VALUES ('delete', ?, ?)"
_MERGE = f"INSERT INTO search_index (search_index, rank) VALUES ('merge', {_PAGES})"
_CLEAR = "INSERT INTO search_index (search_index) VALUES ('delete-all')"
_MATCHES = "FROM search_index WHERE search_index MATCH :match AND rowid >= :first"
_COUNT = sa.text(f"SELECT count(*) FROM (SELECT 1 {_MATCHES} LIMIT :most)")
_NEWEST = sa.text(f"SELECT rowid {_MATCHES} ORDER BY rowid LIMIT :most")
_OTHERS = sa.text(
    f"SELECT rowid {_MATCHES} AND rowid NOT IN :ranked ORDER BY rowid LIMIT :most OFFSET :skip"
).bindparams(sa.bindparam("ranked", expanding=True))


# --- writing --------------------------------------------------------------------------------------------------------


class Entry(Struct, frozen=True, kw_only=True):
    """An article that a search is to find."""

    id: str
    published: datetime
    record: str  # the article as JSON

    @property
    def terms(self) -> str:
        """What it is found by."""
        return terms(from_text(self.record))


def add(connection: sa.Connection, new: Collection[Entry]) -> dict[str, int]:
    """Have articles found from their publication on; their numbers by id."""
    if len(new) >= _MANY and _is_empty(connection):
        set_fact(connection, _FILLED, "0")
    numbers, filled = _numbers(connection, {each.id: each.published for each in new}), _filled(connection)
    _put(connection, [(numbers[each.id], each) for each in new if numbers[each.id] <= filled])
    insert(connection, search_numbers, ("number", "article"), sorted((number, key) for key, number in numbers.items()))
    return numbers


def remove(connection: sa.Connection, old: Collection[tuple[int, Entry]]) -> None:
    """Have articles found no longer, given their numbers and what `add` was given of them."""
    if old:
        filled = _filled(connection)
        if rows := sorted((number, each.terms) for number, each in old if number <= filled):
            connection.exec_driver_sql(_REMOVE, rows)
        delete(connection, search_numbers, search_numbers.c.number, [number for number, _ in old])


def fill(connection: sa.Connection) -> bool:
    """Take in some of the articles that wait for it; False when there is none."""
    if not (written := fact(connection, _FILLED)):
        return False
    query = sa.select(search_numbers.c.number, *_ENTRY).join(articles, articles.c.id == search_numbers.c.article)
    query = query.where(search_numbers.c.number > int(written)).order_by(search_numbers.c.number).limit(_FILLED_AT_ONCE)
    rows = connection.execute(query).all()
    _put(connection, [(row.number, _entry(row)) for row in rows])
    set_fact(connection, _FILLED, str(rows[-1].number) if rows else "")
    return bool(rows)


def _filled(connection: sa.Connection) -> int:
    """The last number that the index has; further ones wait."""
    return int(fact(connection, _FILLED) or _HIGHEST)


def _is_empty(connection: sa.Connection) -> bool:
    return connection.execute(sa.select(search_numbers.c.number).limit(1)).first() is None


def _put(connection: sa.Connection, new: Collection[tuple[int, Entry]]) -> None:
    if rows := sorted((number, each.terms) for number, each in new):  # in order: no flush between two
        connection.exec_driver_sql(_ADD, rows)


def rebuild(connection: sa.Connection) -> None:
    """Fill the index anew from the articles."""
    connection.exec_driver_sql(_CLEAR)
    connection.execute(sa.delete(search_numbers))
    set_fact(connection, _FILLED, "")
    connection.execute(sa.update(articles).values(number=None))
    query = sa.select(*_ENTRY).where(articles.c.live)
    query = query.order_by(articles.c.id).limit(_AT_ONCE)
    place = sa.update(articles).where(articles.c.id == sa.bindparam("key")).values(number=sa.bindparam("place"))
    last = ""
    while rows := connection.execute(query.where(articles.c.id > last)).all():
        last = rows[-1].id
        numbers = add(connection, [_entry(row) for row in rows])
        connection.execute(place, [{"key": key, "place": number} for key, number in numbers.items()])


def _entry(row: Any) -> Entry:
    return Entry(id=row.id, published=row.published, record=row.record)


def merge(connection: sa.Connection) -> bool:
    """Join a part of the pieces that many additions left the index in; False when that is done."""
    pieces = connection.exec_driver_sql("SELECT count(DISTINCT segid) FROM search_index_idx").scalar_one()
    if pieces <= _PIECES:
        return False
    driver = cast(Any, connection.connection.driver_connection)
    before = driver.total_changes
    connection.exec_driver_sql(_MERGE)
    return bool(driver.total_changes - before > 1)  # what the documentation of FTS5's 'merge' says of its end


def _numbers(connection: sa.Connection, published: dict[str, datetime]) -> dict[str, int]:
    """A free number for each article: of its second, and as a rule its own whatever others there are."""
    wanted = {key: _first(moment) + _TIES - 1 - int(key[:6], 16) for key, moment in published.items()}
    query = sa.select(search_numbers.c.number)
    taken = {row.number for row in among(connection, query, search_numbers.c.number, wanted.values())}
    for key, number in wanted.items():
        while number in taken:
            number = number // _TIES * _TIES + (number + 1) % _TIES  # noqa: PLW2901 - the next one, round the second
            if connection.execute(query.where(search_numbers.c.number == number)).first():
                taken.add(number)
        taken.add(number)
        wanted[key] = number
    return wanted


def _first(moment: datetime) -> int:
    """The smallest number of what is published in the second that ends with `moment`: the later, the smaller."""
    return (_LAST + (_BEGIN - moment) // _SECOND) * _TIES


# --- reading --------------------------------------------------------------------------------------------------------


class Searcher:
    """Searches, with connections and a limit of time of their own. Safe to use from several threads."""

    def __init__(
        self, engine: sa.Engine, clock: Callable[[], float] = time.monotonic, seconds: float = SECONDS
    ) -> None:
        self._engine, self._clock, self._seconds = engine, clock, seconds

    def find(self, terms: Sequence[str], page: int, now: datetime) -> Results:
        """One page, counted from 1, of the articles published at `now` that hold all `terms` (of `text.query_terms`).

        The best come first: of those that match the newest, and the newest whose title does, by relevance; then the others
        by date. SearchTooLong when it takes longer than it may.
        """
        if not terms:
            return Results(page=page)
        with self._engine.connect() as connection, connection.begin(), self._bounded(connection):
            return _Search(connection, terms[:TERMS], now).results(page)

    @contextmanager
    def _bounded(self, connection: sa.Connection) -> Iterator[None]:
        """Break off what takes longer than it may."""
        until = self._clock() + self._seconds
        driver = cast(Any, connection.connection.driver_connection)
        driver.set_progress_handler(lambda: self._clock() > until, _STEPS)
        try:
            yield
        except OperationalError as error:
            if getattr(error.orig, "sqlite_errorname", "") != "SQLITE_INTERRUPT":
                raise
            raise SearchTooLong("This search takes too long; ask for fewer words, or for rarer ones.") from error
        finally:
            driver.set_progress_handler(None, 0)


class _Search:
    """One search within one transaction."""

    def __init__(self, connection: sa.Connection, terms: Sequence[str], now: datetime) -> None:
        self._connection, self._terms = connection, terms
        self._first = _first(now.replace(microsecond=0))  # nothing of a second that is not over
        self._match = _all_of(terms)

    def results(self, page: int) -> Results:
        total = self._count(self._match, MOST + 1)
        ranked = self._candidates() if total else []
        start = (page - 1) * PAGE
        shown = self._by_relevance(ranked)[start : start + PAGE] if start < len(ranked) else []
        if len(shown) < PAGE and page <= -(-min(total, MOST) // PAGE):
            others = self._others(ranked, PAGE - len(shown), max(0, start - len(ranked)))
            shown += [article for _, article in self._articles(others)]
        return Results(
            articles=tuple(shown),
            total=min(total, MOST),
            more=total > MOST,
            page=page,
            pages=-(-min(total, MOST) // PAGE),
        )

    def _count(self, match: str, most: int) -> int:
        asked = {"match": match, "first": self._first, "most": most}
        return cast(int, self._connection.execute(_COUNT, asked).scalar_one())

    def _candidates(self) -> list[int]:
        """The numbers of the articles that are ranked by relevance."""
        found: set[int] = set()
        for match in (self._match, _all_of(IN_TITLE + term for term in self._terms)):
            asked = {"match": match, "first": self._first, "most": _RANKED}
            found |= {*self._connection.execute(_NEWEST, asked).scalars()}
        return sorted(found)

    def _by_relevance(self, numbers: Sequence[int]) -> list[Article]:
        found = self._articles(numbers)
        rarities = dict.fromkeys(self._terms, 1.0)
        if len(rarities) > 1:
            held = {term: self._count(_all_of([term]), _COMMON) for term in self._terms}
            rarities = {term: relevance.rarity(number, _COMMON) for term, number in held.items()}
        scores = relevance.scores([columns(article) for _, article in found], rarities)
        best = sorted(zip(scores, found, strict=True), key=lambda each: (-each[0], each[1][0]))
        return [article for _, (_, article) in best]

    def _others(self, ranked: Sequence[int], most: int, skip: int) -> list[int]:
        asked = {"match": self._match, "first": self._first, "ranked": ranked, "most": most, "skip": skip}
        return [*self._connection.execute(_OTHERS, asked).scalars()]

    def _articles(self, numbers: Iterable[int]) -> list[tuple[int, Article]]:
        """The articles with these numbers; the newest first."""
        query = sa.select(search_numbers.c.number, articles.c.record).join(
            articles, articles.c.id == search_numbers.c.article
        )
        rows = among(self._connection, query, search_numbers.c.number, numbers)
        return [(row.number, from_text(row.record)) for row in sorted(rows, key=lambda row: row.number)]


def _all_of(terms: Iterable[str]) -> str:
    """A query for articles that hold all terms. A term has letters, digits and marks: nothing that means anything to FTS5."""
    return " AND ".join(f'"{term}"' for term in terms)
