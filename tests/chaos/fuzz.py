"""Fuzzing by atheris: bytes → every document, by the parts and by whole passes, and a service's answer → outcome.

Nothing but the errors that are meant may come out.

python -m tests.chaos.fuzz articles|passes|answers [libFuzzer's options]
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["feeder"]):
    from feeder import records
    from feeder.articles.parse import parse
    from feeder.errors import ArticleError, Problem
    from feeder.feeds import opml, pages
    from feeder.models import Article, Channel, Document, Entry, Feed, Outcome, Results, Site
    from feeder.pipeline import Pipeline
    from feeder.rendering import render
    from feeder.selection import PLAIN_FEEDS
    from feeder.store import catalog
    from feeder.store import documents as document_rows
    from feeder.targets import target_class

import httpx
from lxml import etree

from tests.articles import KEY, headline
from tests.house import in_memory

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


EVERYTHING = Channel(name="all")
_PASSES = itertools.count(1)


def articles(data: bytes) -> None:
    """An article, or the reason why there is none; every document of it, and what each target is told."""
    try:
        article = parse(data, "fuzzed.md").article
    except ArticleError as error:
        _expect(error.problem)
        return
    kept = records.from_text(records.record(article, PLAIN_FEEDS.of(article)).text)
    if kept != article:
        raise AssertionError("the store gives back another article than it was given")
    records.seen(article)
    for document in _documents(article):
        _check(document)
    for target in TARGETS:
        next(target.deliver(headline(article=article, related=article.related[:3]), KEY))


def _expect(problem: Problem) -> None:
    """Fail where a file made feeder fail, though that is only its own problem."""
    if "please report it" in problem.reason:
        raise AssertionError(str(problem))


def _documents(article: Article) -> list[Document]:
    entries = (Entry(article=article, updated=article.published),)
    everything = Feed(channel=EVERYTHING, entries=entries)
    named = [Channel(name=name, title=title) for name, title in PLAIN_FEEDS.of(article).items() if title]
    feeds = [Feed(channel=channel, entries=entries) for channel in named]
    found = [document for feed in (everything, *feeds) for document in render(feed, EVERYTHING, SITE)]
    found += [
        pages.index(everything, feeds, SITE),
        opml.document([EVERYTHING, *named], SITE),
        *pages.lists(named, SITE),
    ]
    pages.search(article.title, Results(articles=(article,), total=1, pages=1), SITE)
    return found


def _check(document: Document) -> None:
    """Have a parser that nobody here wrote read it."""
    if document.path.endswith((".rss", ".atom", ".opml")):
        etree.fromstring(document.body)
    elif document.path.endswith(".json"):
        json.loads(document.body)
    else:
        document.body.decode()


@cache
def _house() -> Pipeline:
    folder = Path(tempfile.mkdtemp(prefix="feeder-fuzz-"))
    clock = [NOW]

    def now() -> datetime:
        clock[0] += timedelta(minutes=1)
        return clock[0]

    house = Pipeline(store=in_memory(), site=SITE, source=folder, public=None, targets=[], now=now, include_drafts=True)
    house.prepare()
    return house


def passes(data: bytes) -> None:
    """A whole pass over a file of these bytes, through the store to all documents that changed."""
    if next(_PASSES) % 500 == 0:
        _house.cache_clear()  # every article and topic that ever was is remembered
    house = _house()
    (house.source / "fuzzed.md").write_bytes(data)
    report = house.run()
    for problem in report.problems:
        _expect(problem)
    while house.catch_up():
        continue
    with house.store.read() as connection:
        for path in report.documents:
            if (found := document_rows.get(connection, path)) is not None:
                _check(Document(path=path, content_type=found.content_type, body=found.body))
        unpublished = [problem for problem in catalog.problems(connection) if "cannot be published" in problem.reason]
    if any("characters of HTML" not in problem.reason for problem in unpublished):
        raise AssertionError(f"an article that nothing is wrong with is left out: {unpublished}")


def answers(data: bytes) -> None:
    """What every target makes of what a service says: an outcome, or another request."""
    given = atheris.FuzzedDataProvider(data)
    target = TARGETS[given.ConsumeIntInRange(0, len(TARGETS) - 1)]
    looks = target.can_look and given.ConsumeBool()
    steps = target.look(headline(), KEY, NOW, NOW) if looks else target.deliver(headline(), KEY)
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
    chosen: Callable[[bytes], None] = {"articles": articles, "passes": passes, "answers": answers}[sys.argv.pop(1)]
    atheris.Setup(sys.argv, chosen)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
