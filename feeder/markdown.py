"""A Markdown body to HTML that is safe in any reader. The only home of markdown-it-py."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from feeder import text
from feeder.models import Article
from feeder.safehtml import sanitise

if TYPE_CHECKING:
    from markdown_it import MarkdownIt


def content(article: Article) -> str:
    """What an article's body says, as `to_html` gives it."""
    return article.content or to_html(article.body, article.url)


def to_html(body: str, base: str) -> str:
    """The sanitised HTML of a Markdown `body`; raw HTML in it stays as far as it is harmless. Empty in, empty out.

    Relative links are resolved against `base`, the article's own URL.
    """
    if not body.strip():
        return ""
    return sanitise(_markdown().render(text.legal(body)), base)


@cache
def _markdown() -> MarkdownIt:
    from markdown_it import MarkdownIt  # noqa: PLC0415 - commands that ask have no use for it

    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
