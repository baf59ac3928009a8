"""Headlines on a terminal, as cards. The only home of Rich outside the commands."""

from __future__ import annotations

import errno
import os
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

_READABLE = 100  # columns of running text


class Terminal(Console):
    """A Rich console that says when its reader has gone, instead of ending the process."""

    def on_broken_pipe(self) -> None:
        """Called by Rich in place of the BrokenPipeError that it met: whoever printed is told of it."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def draw(console: Console, card: dict[str, Any]) -> None:
    """One headline with its related links. In a pipe each line stays whole, whatever its length."""
    console.print(Text.assemble(("■ ", "bold cyan"), (card["title"], "bold")), soft_wrap=True)
    console.print(_indented(_source(card), "green"), soft_wrap=True)
    console.print(_indented(card["url"], f"blue underline link {card['url']}"), soft_wrap=True)
    if card["excerpt"]:
        _draw_excerpt(console, card["excerpt"])
    for related in card["related"]:
        _draw_related(console, related)
    console.print()


def _source(card: dict[str, Any]) -> str:
    published = card["published"][:16].replace("T", " ")
    return " · ".join(filter(None, (card["provider"], published, *(f"#{tag}" for tag in card["hashtags"]))))


def _draw_excerpt(console: Console, excerpt: str) -> None:
    if console.is_terminal:
        console.print(Padding(Text(excerpt), (0, 0, 0, 2)), width=min(console.width, _READABLE))
    else:
        console.print(_indented(excerpt), soft_wrap=True)


def _draw_related(console: Console, related: dict[str, str]) -> None:
    provider = f" ({related['provider']})" if related["provider"] else ""
    console.print(
        Text.assemble(("  ↳ ", "dim"), (related["title"], f"link {related['url']}"), (provider, "dim")), soft_wrap=True
    )
    if not console.is_terminal:  # where a title cannot be a link
        console.print(_indented(f"  {related['url']}"), soft_wrap=True)


def _indented(line: str, style: str = "") -> Text:
    return Text.assemble("  ", (line, style))
