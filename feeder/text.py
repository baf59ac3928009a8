"""Plain text, made fit for XML, for a line and for a service's limits. Pure functions."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import regex

# What XML 1.0 cannot hold (control characters, surrogates, noncharacters) and what no reader should meet
# inside a headline (C1 controls, byte order marks).
_ILLEGAL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff]|\p{Noncharacter_Code_Point}"
# What turns the direction of the text around it: overrides, embeddings and isolates (UAX 9). A headline stands beside
# other text. The marks U+200E and U+200F, which right-to-left languages need, turn nothing but themselves.
_TURNING = r"[\u202a-\u202e\u2066-\u2069]"
_JOINERS = "\u200c\u200d\u200e\u200f"  # invisible, and part of emoji and of many scripts
_NUMBER = re.compile(r"&#0*([0-9]+)")
_SPACE = r"\s+"
_WORD = r"[\p{L}\p{N}\p{M}]+"
_GRAPHEME = r"\X"
# Marks that a search looks past: accents and vowel points, but not nukta, kana's voicing and virama, which make other letters.
_ACCENT = r"[^\p{ccc=0}\p{ccc=7}\p{ccc=8}\p{ccc=9}]"
# A letter, with its marks, of those scripts that put no spaces between words, or few.
_UNSPACED = (
    r"[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Hangul}\p{scx=Bopomofo}"
    r"\p{scx=Thai}\p{scx=Lao}\p{scx=Khmer}\p{scx=Myanmar}]\p{M}*"
)
_RUN = rf"((?:{_UNSPACED})+)"

ELLIPSIS = "…"
LANGUAGE = r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*"  # a language tag of RFC 5646, as far as its form goes
_LANGUAGE = re.compile(LANGUAGE)
_PLAIN_WORD = re.compile("[a-z0-9]+")


@cache
def _compiled(pattern: str) -> regex.Pattern[str]:
    import regex  # noqa: PLC0415 - slow to import, and commands that ask have no use for it

    return regex.compile(pattern)


def legal(text: str) -> str:
    """`text` without the characters that XML 1.0 forbids or that nobody can see (XML 1.0, section 2.2)."""
    return str(_compiled(_ILLEGAL).sub("", text))


def unescape(text: str) -> str:
    """`text` with HTML's character references decoded once, as `html.unescape` does, whatever numbers they hold.

    That one raises ValueError for a number of more digits than Python reads.
    """
    return html.unescape(_NUMBER.sub(_bounded, text))


def _bounded(reference: re.Match[str]) -> str:
    """A reference with no more digits than a character needs; one to no character stays one (U+110000 is the first)."""
    return f"&#{reference[1] if len(reference[1]) < 8 else 0x110000}"


def line(text: str) -> str:
    """`text` as one clean line: entities decoded once, control characters removed, white space collapsed.

    Nothing in it turns the direction of what stands beside it.
    """
    if text.isprintable() and "&" not in text and "  " not in text and text[:1] != " " != text[-1:]:
        return text  # as most are: nothing to be done
    plain = str(_compiled(_TURNING).sub("", legal(unescape(text))))
    return str(_compiled(_SPACE).sub(" ", plain)).strip()


def visible(text: str) -> str:
    """`text` as a terminal or a log may show it: what cannot be seen, or would move the cursor, as Python escapes it.

    So a file's name can forge no line of a log and send no escape sequence to whoever reads it.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in _JOINERS else repr(char)[1:-1] for char in text)


def index_terms(text: str) -> list[str]:
    """The terms that `text` is found by, in its order: lower-case letters, digits and marks, and nothing else.

    A term is a word without accents and forms of one letter (UAX 15, NFKD). Where a script puts no spaces between words
    (Chinese, Japanese, Thai, …) it is each letter and each two neighbours, as in Lucene's CJKBigramFilter.
    """
    return _terms(text, lambda letters: [*letters, *_pairs(letters)])


def query_terms(text: str) -> list[str]:
    """The terms that must all be among the `index_terms` of what is searched with `text`, each once."""
    return list(dict.fromkeys(_terms(text, lambda letters: _pairs(letters) or letters)))


def _terms(text: str, divide: Callable[[list[str]], list[str]]) -> list[str]:
    if text.isascii():
        return _PLAIN_WORD.findall(text.lower())
    plain = str(_compiled(_ACCENT).sub("", unicodedata.normalize("NFKD", text)))
    found: list[str] = []
    for word in words(plain.casefold()):
        for run in filter(None, _compiled(_RUN).split(word)):
            letters = _compiled(_UNSPACED).findall(run)
            found += divide(letters) if letters else [run]
    return found


def _pairs(letters: Sequence[str]) -> list[str]:
    return [one + other for one, other in pairwise(letters)]


def is_language(tag: str) -> bool:
    """Whether `tag` has the form of a language tag (RFC 5646)."""
    return _LANGUAGE.fullmatch(tag) is not None


def words(text: str) -> list[str]:
    """The runs of letters, digits and the marks that belong to them."""
    return [match[0] for match in _compiled(_WORD).finditer(unicodedata.normalize("NFC", text))]


def graphemes(text: str) -> int:
    """How many user-perceived characters `text` has (UAX 29), as Mastodon and Bluesky count."""
    return sum(1 for _ in _compiled(_GRAPHEME).finditer(text))


def utf16_units(text: str) -> int:
    """How many UTF-16 code units `text` has: the safe count where a service does not say what a character is."""
    return len(text.encode("utf-16-le")) // 2


def shorten(text: str, limit: int) -> str:
    """`text`, or as much of its beginning as `limit` UTF-16 units hold together with an ellipsis.

    Cuts between graphemes, at a word's end where one is near.
    """
    if utf16_units(text) <= limit:
        return text
    if limit < 1:
        return ""
    room, end = limit - 1, 0
    for grapheme in _compiled(_GRAPHEME).finditer(text):
        room -= utf16_units(grapheme[0])
        if room < 0:
            break
        end = grapheme.end()
    head = text[:end]
    space = head.rfind(" ")
    if space > end * 2 // 3:
        head = head[:space]
    return head.rstrip(" ,;:.–-") + ELLIPSIS
