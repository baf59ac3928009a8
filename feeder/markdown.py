"""A Markdown body to HTML that is safe in any reader. The only home of markdown-it-py."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from feeder import text
from feeder.models import Article
from feeder.safehtml import sanitise

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

LARGEST = 2_000_000  # characters of HTML that an article's body comes to at most


def content(article: Article) -> str:
    """What an article's body says, as `to_html` gives it."""
    return article.content or to_html(article.body, article.url)


def to_html(body: str, base: str) -> str:
    """The sanitised HTML of a Markdown `body`; raw HTML in it stays as far as it is harmless. Empty in, empty out.

    Relative links are resolved against `base`, the article's own URL. ValueError when it comes to more than LARGEST, which
    a link reference can bring about that is long and used often.
    """
    if not body.strip():
        return ""
    markdown = _markdown()
    tokens = markdown.parse(text.legal(body))
    _check_size(_size_of_attributes(tokens))
    html = sanitise(markdown.renderer.render(tokens, markdown.options, {}), base)
    _check_size(len(html))
    return html


def _check_size(size: int) -> None:
    if size > LARGEST:
        raise ValueError(f"its body comes to {size:,} characters of HTML; at most {LARGEST:,} are published")


def _size_of_attributes(tokens: Iterable[Token]) -> int:
    """The characters of all addresses and titles: all that rendering writes more than once."""
    return sum(
        sum(len(str(value)) for value in token.attrs.values()) + _size_of_attributes(token.children or ())
        for token in tokens
    )


@cache
def _markdown() -> MarkdownIt:
    from markdown_it import MarkdownIt  # noqa: PLC0415 - commands that ask have no use for it

    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
