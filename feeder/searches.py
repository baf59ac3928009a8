"""Searches as readers ask for them: words and a page's number in, a page out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from msgspec import Struct

from feeder import text
from feeder.feeds import pages
from feeder.models import Site
from feeder.store.search import Searcher

_ASKED = 200  # characters of it that are looked at
_DIGITS = 6  # of a page's number


class Searches(Struct, frozen=True, kw_only=True):
    """The pages of searches."""

    searcher: Searcher
    site: Site
    now: Callable[[], datetime]

    def page(self, asked: str, number: str) -> bytes | None:
        """The page `number` (empty: the first) of a search for `asked`; None when it has no such page.

        SearchTooLong when it takes longer than it may.
        """
        asked = text.line(text.legal(asked))[:_ASKED]
        if not (wanted := _page_number(number or "1")):
            return None
        results = self.searcher.find(text.query_terms(asked), wanted, self.now())
        return pages.search(asked, results, self.site) if wanted <= max(results.pages, 1) else None


def _page_number(written: str) -> int:
    """The number of a page as an address gives it, counted from 1; 0 when it is none."""
    return int(written) if written.isascii() and written.isdecimal() and len(written) <= _DIGITS else 0
