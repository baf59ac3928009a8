from __future__ import annotations

import asyncio
import io
import json
import re

import httpx
import pytest
from rich.console import Console

from feeder import terminal
from feeder.articles.parse import parse
from feeder.exchange import TerminalTransport
from feeder.models import Headline, Image
from feeder.targets.console import URL
from feeder.targets.console import Console as ConsoleTarget
from feeder.terminal import Terminal
from tests.articles import article, drive, headline, related, requests_of, seed

TARGET = ConsoleTarget(kind="console")
LONG_URL = "https://news.example/" + "a-long-way-to-go/" * 100
HOSTILE = r"""---
title: "\e[2J\e]0;owned\a Rise \x9b31m of\u200b \r\b\b\b [bold red]red[/] :fire:"
webUrl: https://news.example/1
publishedDateTime: 2026-10-31T12:00:00Z
excerpt: "\e[31mred\e[0m"
provider: "\e[1mThe Daily"
related:
  - title: "\e[5mblink"
    webUrl: https://other.example/1
    provider: "\e]8;;https://evil.example\e\\click"
---
"""


class BrokenPipe(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def card_of(told: Headline) -> dict:
    (request,) = requests_of(TARGET, told)
    return json.loads(request.content)


def drawn(told: Headline, **options) -> str:
    output = io.StringIO()
    terminal.draw(Console(file=output, **{"width": 40, **options}), card_of(told))
    return output.getvalue()


def sent(console: Console) -> httpx.Response:
    (request,) = requests_of(TARGET, headline())
    return asyncio.run(TerminalTransport(console).handle_async_request(request))


def test_a_card_is_drawn_plain_in_a_pipe():
    told = headline(
        related=(related(), related(title="Third", url="https://third.example/", provider=None)),
        hashtags=("AIEthics", "AI"),
    )

    assert drawn(told) == (
        "■ A quiet day\n"
        "  The Daily · 2026-10-31 12:00 · #AIEthics · #AI\n"
        "  https://news.example/2026/a-quiet-day\n"
        "  Nothing happened, and here is why.\n"
        "  ↳ The same day elsewhere (The Weekly)\n"
        "    https://other.example/the-same-day\n"
        "  ↳ Third\n"
        "    https://third.example/\n"
        "\n"
    )


def test_a_bare_article_is_three_lines():
    bare = Headline(article=article(provider=None, excerpt=""))

    assert drawn(bare) == "■ A quiet day\n  2026-10-31 12:00\n  https://news.example/2026/a-quiet-day\n\n"


def test_a_line_stays_whole_in_a_pipe_whatever_its_length():
    told = headline(
        article=article(title="word " * 100, url=LONG_URL, excerpt="text " * 200),
        related=(related(title="more " * 100, url=LONG_URL + "related"),),
    )

    lines = drawn(told).splitlines()

    assert [line.strip() for line in lines] == [
        f"■ {'word ' * 100}".strip(),
        "The Daily · 2026-10-31 12:00 · #AIEthics",
        LONG_URL,
        ("text " * 200).strip(),
        f"↳ {'more ' * 100} (The Weekly)",
        LONG_URL + "related",
        "",
    ]


def test_a_terminal_gets_colour_and_links():
    output = drawn(headline(), force_terminal=True, color_system="standard", width=200)

    assert "\x1b[1mA quiet day\x1b[0m" in output
    assert "\x1b[1;36m■ \x1b[0m" in output
    assert output.count("\x1b]8;id=") == 2
    assert ";https://news.example/2026/a-quiet-day\x1b\\" in output
    assert ";https://other.example/the-same-day\x1b\\" in output
    assert output.count("https://other.example/the-same-day") == 1


def test_an_address_is_whole_on_a_narrow_terminal_too():
    output = drawn(headline(article=article(url=LONG_URL)), force_terminal=True, color_system="standard")

    assert f"{LONG_URL}\x1b[0m" in output


def test_an_excerpt_is_set_within_a_terminal():
    told = headline(article=article(excerpt="word " * 40), related=(), hashtags=())

    lines = drawn(told, force_terminal=True, color_system=None).splitlines()

    excerpt = [line for line in lines if line.startswith("  word")]
    assert " ".join(excerpt).split() == ["word"] * 40
    assert len(excerpt) > 4
    assert max(map(len, excerpt)) <= 40


@pytest.mark.parametrize(
    "options", [{}, {"force_terminal": True, "color_system": "standard"}], ids=["pipe", "terminal"]
)
def test_nothing_an_article_says_reaches_the_terminal_as_a_control_sequence(options):
    told = parse(HOSTILE.encode(), "hostile.md").article

    text = drawn(headline(article=told, related=told.related), **options)

    own = r"\x1b\[[\d;]*m|\x1b\]8;id=\d+;https://(?:news|other)\.example/1\x1b\\|\x1b\]8;;\x1b\\"
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", re.sub(own, "", text) if options else text)
    assert not any(sequence in text for sequence in ("\x1b[2J", "\x1b[31m", "\x1b[5m"))


def test_nothing_an_article_says_is_markup():
    assert drawn(headline(article=article(title="[bold red]a[/] :fire: 100"))).startswith(
        "■ [bold red]a[/] :fire: 100\n"
    )


def test_a_card_says_what_the_headline_says():
    told = headline(
        article=article(images=(Image(url="https://news.example/a.jpg"),)), related=(related(provider=None),)
    )

    assert card_of(told) == {
        "title": "A quiet day",
        "url": "https://news.example/2026/a-quiet-day",
        "provider": "The Daily",
        "published": "2026-10-31T12:00:00+00:00",
        "excerpt": "Nothing happened, and here is why.",
        "hashtags": ["AIEthics"],
        "related": [{"title": "The same day elsewhere", "url": "https://other.example/the-same-day", "provider": ""}],
    }


def test_a_seed_is_shown_with_each_of_its_related_links():
    told = seed("as-actors-strike")

    lines = drawn(headline(article=told, related=told.related)).splitlines()

    assert f"■ {told.title}" == lines[0]
    assert [f"    {link.url}" for link in told.related] == [line for line in lines if line.startswith("    http")]


def test_the_terminal_is_a_place_that_requests_go():
    (request,) = requests_of(TARGET, headline())

    assert (request.method, str(request.url)) == ("POST", URL)


def test_it_shows_itself_and_tells_much():
    assert (TARGET.shows_itself, TARGET.related, TARGET.hashtags) == (True, 5, True)


def test_a_request_is_drawn_and_answered():
    output = io.StringIO()

    response = sent(Terminal(file=output, width=40))

    assert drive(TARGET, headline(), response).kind == "delivered"
    assert output.getvalue().startswith("■ A quiet day\n")


def test_a_terminal_that_is_gone_is_tried_again():
    response = sent(Terminal(file=BrokenPipe(), width=40))

    outcome = drive(TARGET, headline(), response)

    assert (outcome.kind, outcome.reason) == ("retry", "500 standard output: Broken pipe")
