"""The bytes of a file → its front matter, its body, and the line of each key. The only home of python-frontmatter.

Front matter is YAML between two lines of three dashes, as Jekyll has it (https://jekyllrb.com/docs/front-matter/).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import frontmatter
import yaml
from frontmatter.default_handlers import YAMLHandler
from msgspec import Struct

from feeder import text
from feeder.errors import ArticleError, Problem

MAX_DEPTH = 100  # of values within values
_MAY_BE_DEEP = re.compile(r"^[ \t?:-]{100}", re.MULTILINE)  # a line that begins a hundred levels down
_LONGEST_SCALAR = 100  # characters of a date or number; YAML 1.1's numbers to base 60 cost the square of theirs
_LARGEST = 10**18  # what is larger is no number that anybody counts with
MAX_NODES = 100_000  # what a file may come to when its YAML aliases are written out

_PRINTABLE = re.compile(yaml.reader.Reader.NON_PRINTABLE.pattern.replace("[^", "["))
_BOUNDARY = re.compile(r"^-{3,}\s*$", re.MULTILINE)
KeyPath = tuple[str | int, ...]  # the way to a value: ("related", 0, "webUrl")


class Source(Struct, frozen=True, kw_only=True):
    """A file's front matter and Markdown body, and what it takes to say where something stands."""

    where: str  # the file as messages name it
    text: str
    metadata: Mapping[str, Any]
    body: str

    def lines(self, paths: Sequence[KeyPath]) -> list[int]:
        """The lines, from 1, on which the values at `paths` stand; the first line of the front matter for ()."""
        if not paths:
            return []
        yaml_text, _ = split(self.text.lstrip())  # python-frontmatter strips it too
        root = yaml.compose(yaml_text, Loader=yaml.CSafeLoader)
        return [_first_line(self.text) if not path else _yaml_line(self.text) + _mark(root, path) for path in paths]


def load(data: bytes, where: str, *, fast: bool = True) -> Source:
    """The front matter and body in the bytes of a file. `where` names it in messages. ArticleError says why there is none.

    `fast` says whether yaml-rs reads what is plain; otherwise PyYAML reads everything, and yaml-rs is not even loaded.
    """
    source = _decode(data, where)
    complain = _Complaints(where, source)
    if not source.strip():
        raise complain("the file is empty")
    if not _BOUNDARY.match(source.lstrip()):
        raise complain("no front matter; begin the file with a line of three dashes, then title: …")
    try:
        metadata, body = frontmatter.parse(source, handler=_handler(fast))
    except _Endless as error:
        raise complain("the front matter has no end; close it with a line of three dashes (half written?)") from error
    except yaml.YAMLError as error:
        raise complain.of_yaml(error) from error
    except (_Bomb, RecursionError) as error:
        raise complain("the front matter's aliases or nesting grow without bounds; write the values out") from error
    except (TypeError, ValueError) as error:  # a list as a key, a merge of what is no mapping
        raise complain(f"the front matter cannot be read: {text.line(str(error))}") from error
    if not metadata:
        raise complain("the front matter holds no keys; write title: …, publishedDateTime: …, webUrl: …")
    return Source(where=where, text=source, metadata=metadata, body=body)


def _decode(data: bytes, where: str) -> str:
    try:
        source = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ArticleError(
            Problem(
                where=where, line=line, reason=f"not UTF-8 (byte 0x{data[error.start]:02x}); save the file as UTF-8"
            )
        ) from error
    return source.replace("\r\n", "\n").replace("\r", "\n") if "\r" in source else source


class _Complaints:
    """Makes the errors of one file."""

    def __init__(self, where: str, source: str) -> None:
        self._where, self._source = where, source

    def __call__(self, reason: str, line: int | None = None) -> ArticleError:
        return ArticleError(Problem(where=self._where, line=line or _first_line(self._source), reason=reason))

    def of_yaml(self, error: yaml.YAMLError) -> ArticleError:
        if isinstance(error, yaml.reader.ReaderError):
            return self._of_character(error)
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = _yaml_line(self._source) + mark.line if mark is not None else None
        problem = getattr(error, "problem", None) or str(error)
        culprit = self._source.split("\n")[line - 1] if line else ""
        hint = "indent with spaces, not tabs" if "\t" in culprit else "quote text that holds : # or quotes"
        return self(f"the front matter is not YAML: {text.line(problem)}; {hint}", line)

    def _of_character(self, error: yaml.reader.ReaderError) -> ArticleError:
        char = next((char for char in self._source if not _PRINTABLE.fullmatch(char)), "")
        line = 1 + self._source[: self._source.find(char)].count("\n") if char else None
        shown = f"the control character U+{ord(char):04X}" if char else text.line(str(error))
        return self(f"the front matter is not YAML: it holds {shown}; take it out", line)


def _first_line(source: str) -> int:
    return 1 + source[: len(source) - len(source.lstrip())].count("\n") if source.strip() else 1


def _yaml_line(source: str) -> int:
    """The file's line on which the YAML text begins (the boundary swallows the empty lines after it)."""
    stripped = source.lstrip()
    boundary = _BOUNDARY.search(stripped)
    return _first_line(source) + stripped[: boundary.end() if boundary else 0].count("\n")


def _mark(node: yaml.Node | None, path: KeyPath) -> int:
    """The line, from 0, of the deepest node on the way along `path`."""
    line = 0
    for step in path:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in reversed(node.value) if getattr(pair[0], "value", None) == step), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line
    return line


class _Loader(yaml.CSafeLoader):
    """YAML 1.1 as PyYAML's safe loader reads it, but a date or number that is none stays the text that it was."""


def _or_text(construct: Callable[[Any, yaml.ScalarNode], Any]) -> Callable[[Any, yaml.ScalarNode], Any]:
    def constructor(loader: Any, node: yaml.ScalarNode) -> Any:
        if len(node.value) > _LONGEST_SCALAR:
            return node.value
        try:
            value = construct(loader, node)
        except (ValueError, KeyError, IndexError, AttributeError):  # a 13th month, 5,000 digits, !!bool maybe
            return node.value
        return node.value if type(value) is int and abs(value) > _LARGEST else value

    return constructor


for _tag in ("timestamp", "int", "float", "bool"):
    _Loader.add_constructor(
        f"tag:yaml.org,2002:{_tag}", _or_text(getattr(yaml.constructor.SafeConstructor, f"construct_yaml_{_tag}"))
    )


def _as_mapping(loader: Any, node: yaml.MappingNode) -> Any:
    return loader.construct_mapping(node)


_Loader.add_constructor("tag:yaml.org,2002:set", _as_mapping)  # a set has no order, and is no list


class _Endless(Exception):
    """The front matter begins and does not end."""


def split(source: str) -> tuple[str, str]:
    """The front matter and the rest of a text that begins with a boundary. What _BOUNDARY.split gives, without a search."""
    first = _BOUNDARY.match(source)
    start = first.end() if first else 0
    at = start - 1
    while (at := source.find("\n---", at)) >= 0:
        if boundary := _BOUNDARY.match(source, at + 1):
            return source[start : at + 1], source[boundary.end() :]
        at += 1
    raise _Endless


class _Handler(YAMLHandler):
    """python-frontmatter's YAML handler with fast parsers behind it and a guard against aliases that multiply."""

    FM_BOUNDARY = _BOUNDARY

    def __init__(self, load_plain: Callable[[str], dict[str, Any] | None]) -> None:
        super().__init__()
        self._load_plain = load_plain

    def split(self, text: str) -> tuple[str, str]:
        return split(text)

    def load(self, fm: str, **_: object) -> Any:
        if (found := self._load_plain(fm)) is not None:
            return found
        if _MAY_BE_DEEP.search(fm) or fm.count("[") + fm.count("{") > MAX_DEPTH:
            _refuse_depth(fm)
        loader = _Loader(fm)
        try:
            node = loader.get_single_node()
            if node is None:
                return {}
            if "&" in fm and "*" in fm:
                _expanded(node, {}, set())
            return loader.construct_document(node)
        finally:
            loader.dispose()


@cache
def _handler(fast: bool) -> _Handler:
    if not fast:
        return _Handler(lambda _: None)
    from feeder.articles import plain  # noqa: PLC0415 - native code, which is not loaded where a setting keeps it out

    return _Handler(plain.load)


def _refuse_depth(fm: str) -> None:
    """_Bomb where values nest too deep: libyaml and the constructor both recurse."""
    depth, loader = 0, _Loader(fm)
    try:
        while event := loader.get_event():
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise _Bomb
    finally:
        loader.dispose()


class _Bomb(Exception):
    pass


def _expanded(node: yaml.Node, sizes: dict[int, int], above: set[int]) -> int:
    """How many nodes `node` comes to with its aliases written out; _Bomb when that is too many or has no end."""
    known = sizes.get(id(node))
    if known is not None:
        return known
    if id(node) in above:
        raise _Bomb
    above.add(id(node))
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        children = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    size = 1 + sum(_expanded(child, sizes, above) for child in children)
    if size > MAX_NODES:
        raise _Bomb
    above.discard(id(node))
    sizes[id(node)] = size
    return size
