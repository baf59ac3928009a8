"""Names that are safe in a URL and a file name. The only home of python-slugify.

A slug is a function of the label alone, so it is the same after a lost database, on another host and whatever other
topics there are. Where the plain slug says all that the label says ("AI Ethics": ai-ethics) it stands alone; where
another label could have given it too ("AI/ML", "C++"), a piece of the label's hash keeps the two apart.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache

RESERVED = frozenset({"all", "index", "feeds"})  # names that feeder gives to documents of its own
_MAX_LENGTH = 60
_PLAIN = re.compile("[a-z0-9]+( [a-z0-9]+)*")
_SLUG = re.compile("[a-z0-9]+(-[a-z0-9]+)*")
_WORDS = [["+", " plus "], ["#", " sharp "], ["&", " and "], ["@", " at "], ["%", " percent "]]


@lru_cache(maxsize=4_000)  # many articles, few topics
def same(label: str) -> str:
    """What two labels have in common when they name one topic: letters' case and white space do not count."""
    return " ".join(unicodedata.normalize("NFKC", label).casefold().split())


def is_slug(name: str) -> bool:
    """Whether a person may choose `name` for a feed's slug."""
    return _SLUG.fullmatch(name) is not None and len(name) <= _MAX_LENGTH and name not in RESERVED


@lru_cache(maxsize=4_000)
def slug(label: str) -> str:
    """The slug of a topic's label: ``[a-z0-9-]``, at most 69 characters, one for each different label."""
    plain = same(label)
    name = plain.replace(" ", "-")
    if _PLAIN.fullmatch(plain) and len(name) <= _MAX_LENGTH and name not in RESERVED:
        return name
    digest = hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    from slugify import slugify  # noqa: PLC0415 - few labels want it

    readable = slugify(plain, replacements=_WORDS, max_length=_MAX_LENGTH, word_boundary=True)
    return f"{readable or 'topic'}-{digest}"
