"""Whatever bytes a file holds, a pass comes to its end, and every document that it publishes is one that a parser reads."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree

from feeder.store import catalog, documents
from tests.house import House, in_memory
from tests.worker import SEEDS

WHOLE = min(SEEDS.glob("*.md")).read_bytes()
KEYS = b"---\ntitle: t%s\npublishedDateTime: 2025-06-01T10:00:00Z\nwebUrl: https://x.example/a\ntopics: [AI]\n---\n"
CODES = (0, 1, 9, 31, 60, 62, 38, 127, 0x202E, 0xD800, 0xFDD0, 0xFFFE, 0x1FFFF, 0x110000)
HTML = [
    "<p ",
    "<b title='",
    "'>",
    '">',
    "</p>",
    "<script>",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<math><mi>",
    '<a href="//x',
]
MARKS = [
    "[r]: /u 'x'\n",
    "[r]",
    "![r][r]",
    "``",
    "> ",
    "\n- ",
    "|a|\n|-|\n|b|\n",
    "***",
    "~~",
    "\\",
    "\t",
    "\r",
    "\x00",
]
PIECES = [f"&#{code};" for code in CODES] + HTML + MARKS + ["\u2028", "é", "漢", "👩"]


def read(path: str, body: bytes) -> None:
    """Have a parser that nobody here wrote read a document."""
    if path.endswith((".rss", ".atom", ".opml")):
        etree.fromstring(body)
    elif path.endswith(".json"):
        json.loads(body)
    else:
        body.decode()


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    folder, numbers = tmp_path_factory.mktemp("whole"), count()

    def made() -> House:
        here = Path(folder / str(next(numbers)))
        here.mkdir()
        return House(here, in_memory())

    return made


def check(house: House, data: bytes) -> None:
    house.write("good", topics="[AI]")
    (house.source / "odd.md").write_bytes(data)

    house.run()

    assert "Title of good" in house.titles("ai")
    with house.store.read() as connection:
        for path in documents.paths(connection):
            found = documents.get(connection, path)
            read(path, found.body)
        reasons = [each.reason for each in catalog.problems(connection)]
        assert not [reason for reason in reasons if "cannot be published" in reason or "report it" in reason]
    house.store.close()


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=30), st.text("ab&#;<>\u202e\x7f x1FE", max_size=12)
)
@example(["<p>a", "&#1;", "b</p>"], "")
@example(['<p title="', "&#2;", '">b</p>'], "")
def test_any_title_and_body_are_published_or_named(make, body, title):
    written = json.dumps(f"t{title}").removeprefix('"').encode()
    front = KEYS.replace(b"t%s", b'"' + written)

    check(make(), front + "".join(body).encode("utf-8", "replace"))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE)), st.integers(0, 40), st.binary(max_size=6)), max_size=6))
def test_any_change_of_a_whole_article_is_published_or_named(make, changes):
    data = WHOLE
    for start, length, instead in changes:
        data = data[:start] + instead + data[start + length :]

    check(make(), data)
