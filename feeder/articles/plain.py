"""Plain front matter, read fast: what YAML 1.1 and 1.2 read alike. The only home of yaml-rs.

PyYAML reads YAML 1.1, yaml-rs YAML 1.2 at ten times its speed. They differ in what a value means (`yes`, `012`, `1:30`,
`2026-01-31`, in quotes too), in what they refuse (a key twice, control characters) and in rare syntax (tags, anchors,
merges, flow collections, text over several lines). None of that is plain, so the grammar below has no word for it: what it
does not know is PyYAML's to read.
"""

from __future__ import annotations

import re
from typing import Any

import yaml_rs

_NOWHERE = r"\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff"  # control characters, and what breaks lines
_WORDS = r"[YyNnOoTtFf](?i:es|o|n|ff|rue|alse|ull)?+"  # yes, no, on, off, true, null, y, …: in one of the two no text
_KEY = rf"(?!{_WORDS}:)[A-Za-z][A-Za-z0-9_]*+:"
_LIKE_A_TIME = r"[0-9]++[-:][0-9TtZz:+.\x20-]*+"  # what yaml-rs takes for a time in quotes too
_DOUBLE_QUOTED = rf'(?!"{_LIKE_A_TIME}")"[^"\\{_NOWHERE}]*+(?:\\["\\][^"\\{_NOWHERE}]*+)*+"'
_SINGLE_QUOTED = rf"(?!'{_LIKE_A_TIME}')'[^'{_NOWHERE}]*+(?:''[^'{_NOWHERE}]*+)*+'"
_BARE = (  # begins with a letter; no colon before a space, no number sign behind one
    rf"(?!{_WORDS}\n)[A-Za-z][^:#\x20\xa0{_NOWHERE}]*+"
    rf"(?:(?:\x20++(?![#\n])|:(?![\x20\n])|(?<!\x20)#)[^:#\x20\xa0{_NOWHERE}]*+)*+"
)
_NUMBER = r"-?(?:0|[1-9][0-9]{0,14}+)(?:\.[0-9]{1,9}+)?+"
_TIME = r"[12][0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]Z"
_VALUE = rf"(?:{_DOUBLE_QUOTED}|{_SINGLE_QUOTED}|{_BARE}|{_NUMBER}|true|false|null|{_TIME})\n++"

# A line is `key:`, `key: value`, or one of them or a value behind a hyphen. What follows a value stands no deeper.
_PLAIN = re.compile(
    r"\n*+(?:"
    rf"(\x20{{0,40}}+){_KEY}(?:\n++|\x20{_VALUE}(?!\1\x20))"
    rf"|(\x20{{0,40}}+)-\x20(?:{_KEY}(?:\n++|\x20{_VALUE}(?!\2\x20{{3}}))|{_VALUE}(?!\2\x20))"
    r")++"
)


def load(front: str) -> dict[str, Any] | None:
    """The keys and values in plain front matter, as PyYAML's safe loader gives them; None when it is not plain.

    Of a time that there is not (2026-02-31T00:00:00Z) the text.
    """
    if not _PLAIN.fullmatch(front):
        return None
    try:
        found = yaml_rs.loads(front)
    except yaml_rs.YAMLDecodeError:  # PyYAML says why, or reads it: a key that stands there twice
        return None
    except BaseException as error:
        if type(error).__module__ == "pyo3_runtime":  # Rust panicked, which is a BaseException: PyYAML reads it
            return None
        raise
    return found if isinstance(found, dict) else None
