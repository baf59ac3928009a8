"""Plain front matter means what PyYAML's safe loader says it means, to the types."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from feeder.articles import frontmatter, plain
from tests.benchmarks import corpus
from tests.worker import environment

SEEDS = sorted(Path("seeds").glob("*.md"))


def front_of(article: str) -> str:
    return frontmatter.split(article)[0]


def as_pyyaml(front: str) -> object:
    return yaml.load(front, Loader=yaml.CSafeLoader)


@pytest.mark.parametrize("path", SEEDS, ids=lambda path: path.stem)
def test_the_seeds_are_plain(path):
    front = front_of(path.read_text(encoding="utf-8"))
    assert repr(as_pyyaml(front)) == repr(plain.load(front))


def test_generated_articles_are_plain():
    chance = random.Random(7)
    for index in range(500):
        front = front_of(corpus.article(index, chance))
        assert repr(as_pyyaml(front)) == repr(plain.load(front))


@pytest.mark.parametrize(
    "front",
    [
        "a: 1\n",
        "a: -3.50\n",
        "a: 0\nb:\nc: null\nd: true\ne: false\n",
        "a: https://example.org/x?y=1#z\n",
        "a: it's 5% of $9, isn't it? [no]\n",
        "a: 'it''s # no comment: none'\n",
        'a: "a \\"quoted\\" \\\\ word: # this"\n',
        "\n\na: x\n\n\nb: z\n",
        "a: a,b; c-d_e é 漢字 😀\n",
        "a: 2026-01-31T12:00:00Z\n",
        "a:\n- 1\n- b: 2\n  c: 3\n- d\nb: 1\n",
        "a:\n  b:\n    c:\n      - d: 1\n        e:\n          - g\n",
        "a: 'yes'\nb: \"012\"\nc: yesterday\nd: nothing\n",
        "yesterday: 1\nNovember: 2\n",
    ],
)  # fmt: skip
def test_what_is_plain_is_read_alike(front):
    assert repr(as_pyyaml(front)) == repr(plain.load(front))


@pytest.mark.parametrize(
    "front",
    [
        "a: yes\n", "a: No\n", "a: ON\n", "a: off\n", "a: True\n", "a: NULL\n", "a: ~\n", "a: y\n",
        "yes: 1\n", "n: 1\n", "on: 1\n", "null: 1\n", "1: 2\n",
        "a: 012\n", "a: 1_000\n", "a: 1:30\n", "a: 0x1f\n", "a: 0o7\n", "a: +1\n", "a: 1e3\n", "a: .5\n", "a: 1.\n", "a: .inf\n",
        "a: 1234567890123456\n",
        "a: '2026-01-31'\n", 'a: "2026-01-31T12:00:00Z"\n', "a: '12:00:00'\n", '- "2026-01-31 12:00:00"\n',
        "a: 2026-01-31\n", "a: 2026-01-31 12:00:00\n", "a: 2026-01-31T12:00:00+02:00\n", "a: 2026-1-3T1:00:00Z\n",
        "a: !!str 1\n", "a: &x 1\n", "a: *x\n", "a: {b: 1}\n", "a: [1, 2]\n", "<<: 1\n", "? a\n: b\n", "%YAML 1.2\n",
        "a: |\n  b\n", "a: >-\n  b\n", "a: b\n  c\n", 'a: "b\n  c"\n', "a: b\n\n  c\n", "- b\n  c\n",
        "a: b # c\n", "a: # c\n", "# c\na: b\n", "a: b: c\n", "a: b:\n", "a: b \n", "a : b\n", "a:\tb\n", "\ta: b\n", "a: b\tc\n",
        'a: "\\x41"\n', 'a: "\\u0041"\n', "a: 'b\n", 'a: "b" c\n', "a: @b\n", "a: `b`\n", "a: =\n", "a: -\n", "a: - b\n",
        "a: b\x07\n", "a: 'b\x85c'\n", "a: 'b\u2028c'\n", "a: '\ufeff'\n", "a: b\n...\n", "--- a: b\n", "a: 'b\x00'\n",
        "a: b", "", "\n", "a: b\n c: d\n", "- a: b\n    c: d\n", "a: b\n  - c\n", "a: 1\na: 2\n", "a: 1\n b: 1\n", "a\n", "- a\n",
        "a: 'b'c\n", "a-b: 1\n", "a.b: 1\n", "a:b\n", "é: 1\n", "'a': 1\n", f"{' ' * 41}a: 1\n", "- - a\n",
        "a:\n   b: 1\n  c: 2\n",
    ],
)  # fmt: skip
def test_what_is_not_plain_is_left_to_pyyaml(front):
    assert plain.load(front) is None


@pytest.mark.parametrize("time", ["2026-02-31T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T25:00:00Z"])
def test_a_time_that_there_is_not_is_text(time):
    assert plain.load(f"a: {time}\n") == {"a": time}


words = st.sampled_from(
    [
        *r"""a b yes No null ~ true 1 012 1.5 -0 1e3 1:30 2026-01-31 2026-01-31T12:00:00Z 'x' 'it''s' "x" "\\" "\n" x: x# # : - --
    & * ! | > % @ ` [ ] { } , ? << = https://a.example/b#c é 漢 \ ' " 0 .. --- ...""".split(),
        "\xa0",
        "\x85",
        "\u2028",
        "\t",
        "",
    ]
) | st.text(max_size=4)
values = st.lists(words, max_size=3).map(" ".join)
keys = st.sampled_from("a b c title no x_1 A9 y".split())
lines = st.builds(
    lambda indent, dash, key, value: " " * indent + dash + (key + ":" if key else "") + (" " if key and value else "") + value,
    st.sampled_from([0, 0, 0, 1, 2, 2, 3, 4]),
    st.sampled_from(["", "", "", "- ", "-", "- - "]),
    keys | st.just(""),
    values,
)  # fmt: skip


@settings(max_examples=3_000)
@given(st.lists(lines, max_size=6).map("\n".join).map("{}\n".format))
def test_whatever_is_taken_for_plain_is_read_alike(front):
    found = plain.load(front)
    if found is not None:
        expected = frontmatter.load(f"---\n{front}---\n".encode(), "x.md").metadata if found else {}
        assert repr(yaml.load(front, Loader=frontmatter._Loader)) == repr(found)
        assert repr(expected) == repr(found)


plain_values = (
    st.from_regex(r"[a-zA-Z0-9'\"#:/.é -]{0,12}", fullmatch=True)
    | st.sampled_from(["1", "1.0", "true", "null", "2026-01-31T12:00:00Z"])
    | st.sampled_from(["'2026-01-31'", '"12:00:00"', '"a: \\"b\\" # c"', "'a: '' # b'"])
)  # fmt: skip


def written(tree: object, depth: int = 0) -> str:
    """A tree of mappings and lists as a person writes it."""
    if isinstance(tree, dict):
        return "".join(
            f"{'  ' * depth}{key}:" + (f" {value}\n" if isinstance(value, str) else f"\n{written(value, depth + 1)}")
            for key, value in tree.items()
        )
    items = [f"{each}\n" if isinstance(each, str) else written(each, depth + 1).lstrip(" ") for each in tree]
    return "".join(f"{'  ' * depth}- {item}" for item in items)


trees = st.deferred(
    lambda: (
        plain_values | st.dictionaries(keys, trees, min_size=1, max_size=3) | st.lists(trees, min_size=1, max_size=3)
    )
)


@settings(max_examples=2_000)
@given(st.dictionaries(keys, trees, min_size=1, max_size=4))
def test_whatever_a_person_writes_plainly_is_read_alike(tree):
    front = written(tree)
    found = plain.load(front)
    if found is not None:
        assert repr(yaml.load(front, Loader=frontmatter._Loader)) == repr(found)


@given(st.lists(st.sampled_from(["---", "----", "--", "--- ", "---x", "a", " ---", "", "\t", "- ---"]), max_size=9))
def test_a_text_is_split_where_the_pattern_says(pieces):
    source = "---\n" + "\n".join(pieces)
    parts = frontmatter._BOUNDARY.split(source, 2)
    if len(parts) < 3:
        with pytest.raises(frontmatter._Endless):
            frontmatter.split(source)
    else:
        assert (parts[1], parts[2]) == frontmatter.split(source)


def test_a_panic_of_native_code_leaves_the_file_to_pyyaml(monkeypatch):
    class PanicException(BaseException):
        __module__ = "pyo3_runtime"

    def panic(_: str) -> None:
        raise PanicException

    monkeypatch.setattr(plain.yaml_rs, "loads", panic)

    assert frontmatter.load(b"---\ntitle: a\n---\n", "a.md").metadata == {"title": "a"}


def test_an_interruption_is_no_panic(monkeypatch):
    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(plain.yaml_rs, "loads", interrupted)

    with pytest.raises(KeyboardInterrupt):
        plain.load("title: a\n")


def test_pyyaml_alone_reads_the_same_and_no_native_parser_is_loaded():
    script = (
        "import sys; from pathlib import Path; from feeder.articles.parse import parse\n"
        "files = sorted(Path(sys.argv[1]).glob('*.md'))\n"
        "alone = [parse(path.read_bytes(), path.name, fast=False) for path in files]\n"
        "assert 'yaml_rs' not in sys.modules\n"
        "assert alone == [parse(path.read_bytes(), path.name) for path in files]\n"
        "assert 'yaml_rs' in sys.modules\n"
        "print(len(alone))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "seeds"], capture_output=True, text=True, check=True, env=environment()
    )

    assert done.stdout == "5\n"
