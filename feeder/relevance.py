"""How well articles answer a search: Okapi BM25 over columns of terms. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log

WEIGHTS = (10, 1, 4, 2)  # of a term in the title, the excerpt, the provider, the topics
_K1, _B = 1.2, 0.75  # the usual constants, which SQLite's own bm25() has as well


Columns = Sequence[Sequence[str]]  # the terms of an article, in the order of WEIGHTS


def rarity(holding: int, of: int) -> float:
    """The weight of a term that `holding` of `of` articles hold: the rarer, the more (inverse document frequency)."""
    return log(1 + (of - holding + 0.5) / (holding + 0.5))


def scores(found: Sequence[Columns], rarities: Mapping[str, float]) -> list[float]:
    """How well each of `found` answers a search for terms, given their rarities: the more, the better.

    The formula is that of https://sqlite.org/fts5.html#the_bm25_function.
    """
    lengths = [sum(map(len, columns)) for columns in found]
    average = sum(lengths) / len(lengths) if lengths else 0
    return [
        sum(weight * _share(columns, term, length / (average or 1)) for term, weight in rarities.items())
        for columns, length in zip(found, lengths, strict=True)
    ]


def _share(columns: Columns, term: str, length: float) -> float:
    """What one term adds to an article of `length` times the usual length."""
    frequency = sum(weight * column.count(term) for weight, column in zip(WEIGHTS, columns, strict=True))
    return frequency * (_K1 + 1) / (frequency + _K1 * (1 - _B + _B * length))
