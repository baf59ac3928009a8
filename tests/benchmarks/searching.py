"""Searches among all articles, in one process: what the answer takes, without the page around it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from datetime import UTC, datetime

from feeder import text
from feeder.store import open_store
from feeder.store.search import Searcher
from tests.benchmarks.house import House
from tests.benchmarks.table import Row, shown, timed, within

_RUNS = 100
_ASKED = 0.005  # seconds
_QUERIES = {
    "a word that every article holds": "topic",
    "a word that most articles hold": "actors",
    "two words that half of them hold": "actors strike",
    "a publisher": "paper 5",
    "a word that none holds": "zebra",
    "ten words, of which none holds the last": "actors strike for protections netflix lists job writers studios zebra",
    "ten words that most articles hold": "actors strike for protections netflix lists job writers studios machine",
}


def measure_search(house: House) -> Iterator[Row]:
    """The first page and the total. The last of the queries is there to be known: nothing is asked of it."""
    store = open_store(f"sqlite:///{house.folder}/var/feeder.db")
    try:
        searcher, now = Searcher(store.reader(1)), datetime.now(UTC)
        for name, asked in _QUERIES.items():
            terms = text.query_terms(asked)
            total = searcher.find(terms, 1, now).total
            seconds = sorted(timed(lambda terms=terms: searcher.find(terms, 1, now)) for _ in range(_RUNS))
            middle, slow = statistics.median(seconds), seconds[-1 - _RUNS // 100]
            verdict = {} if name.startswith("ten words that") else within(_ASKED, middle)
            ours = f"p50 {shown(middle)}, p99 {shown(slow)}"
            yield Row(number="12", work=f"search for {name}: {total:,} found", ours=ours, **verdict)
    finally:
        store.close()
