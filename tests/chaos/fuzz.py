"""Fuzzing by atheris: bytes → article, and a service's answer → outcome. Nothing but the errors that are meant may come out.

python -m tests.chaos.fuzz articles|answers [libFuzzer's options]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime

import atheris

with atheris.instrument_imports(include=["feeder"]):
    from feeder.articles.parse import parse
    from feeder.errors import ArticleError
    from feeder.feeds import documents, jsonfeed
    from feeder.models import Channel, Entry, Feed, Outcome, Site
    from feeder.targets import target_class

import httpx

from tests.articles import KEY, headline

SITE = Site(title="Feeder", base_url="https://feeds.example.org", language="en", id_authority="example.org,2026")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TARGETS = [
    target_class(options["kind"])(**options)
    for options in (
        {"kind": "slack", "url": "https://hooks.slack.example/services/T/B/X"},
        {"kind": "slack", "token": "xoxb-1-2", "channel": "C1"},
        {"kind": "mastodon", "url": "https://m.example", "token": "token-token"},
        {"kind": "webhook", "url": "https://x.example/hook", "secret": SIGNING},
        {"kind": "console"},
    )
]
HEADERS = ["retry-after", "x-ratelimit-reset", "x-ratelimit-reset-after", "ratelimit-reset", "content-type", "location"]


def articles(data: bytes) -> None:
    """An article, or the reason why there is none; and documents of it."""
    try:
        article = parse(data, "fuzzed.md").article
    except ArticleError:
        return
    feed = Feed(channel=Channel(name="all"), entries=(Entry(article=article, updated=article.published),))
    list(documents.documents(feed, SITE))
    jsonfeed.document(feed, SITE)


def answers(data: bytes) -> None:
    """What every target makes of what a service says: an outcome, or another request."""
    given = atheris.FuzzedDataProvider(data)
    target = TARGETS[given.ConsumeIntInRange(0, len(TARGETS) - 1)]
    looks = target.can_look and given.ConsumeBool()
    steps = target.look(headline(), KEY, NOW) if looks else target.deliver(headline(), KEY)
    request = next(steps)
    try:
        for _ in range(12):
            request = steps.send(_answer(given, request))
    except StopIteration as end:
        if not isinstance(end.value, Outcome) and not (looks and end.value is None):
            raise TypeError(f"{end.value!r} is no outcome") from end


def _answer(given: atheris.FuzzedDataProvider, request: httpx.Request) -> httpx.Response:
    status = given.PickValueInList([200, 202, 204, 301, 400, 401, 403, 404, 408, 410, 422, 429, 500, 502, 503, 504])
    headers = {
        name: given.ConsumeUnicodeNoSurrogates(20)
        .encode("ascii", "ignore")
        .decode()
        .replace("\n", " ")
        .replace("\r", " ")
        for name in HEADERS
        if given.ConsumeBool()
    }
    return httpx.Response(
        status, headers=headers, content=given.ConsumeBytes(given.ConsumeIntInRange(0, 400)), request=request
    )


def main() -> None:
    """Fuzz what the first argument names."""
    chosen: Callable[[bytes], None] = {"articles": articles, "answers": answers}[sys.argv.pop(1)]
    atheris.Setup(sys.argv, chosen)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
