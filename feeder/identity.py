"""Which article is which: identities of links and ids, and when a file with another one still holds the same article.

Pure functions. An identity is 32 hex digits: what an article's `Article.id` was made from stays its own for good, and the
store remembers the others that it has had (`store.names`).
"""

from __future__ import annotations

import difflib
import hashlib
import re

from feeder import urls

_ALIKE = 0.9  # of the letters and digits of two titles
_NUMBER = re.compile(r"\d+")
_COMPARED = 500  # characters of a title: to compare two takes the square of their length


def of_id(explicit: str) -> str:
    """The identity that an explicit `id` gives."""
    return _hashed(f"id:{explicit}")


def of_link(url: str, source_url: str) -> str:
    """The identity that an article's links give: the page that it was found at, else the one that readers go to."""
    return _hashed(f"url:{urls.canonical(source_url or url)}")


def is_alike(before: str, after: str) -> bool:
    """Whether two titles differ in so little that a correction explains it: letters and digits, in any case.

    Titles with other numbers are never alike: "Briefing 11" is no correction of "Briefing 12".
    """
    first, second = _compared(before), _compared(after)
    if not first or not second or _NUMBER.findall(before) != _NUMBER.findall(after):
        return before == after
    return difflib.SequenceMatcher(None, first, second, autojunk=False).ratio() >= _ALIKE


def _compared(title: str) -> str:
    return "".join(filter(str.isalnum, title[:_COMPARED].casefold()))


def _hashed(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:32]
