"""Questions that an operator asks of settings and articles: what is wrong, what would be sent. Changes nothing."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from msgspec import Struct

from feeder import outbox, selection
from feeder.articles import parse, scan
from feeder.articles.files import Files
from feeder.errors import ArticleError, Problem, UsageError
from feeder.models import ALL, Article, Channel, Entry, Feed, Headline, Provider, RelatedLink, Site
from feeder.pipeline import Progress
from feeder.redact import redact
from feeder.rendering import Unrenderable, render
from feeder.selection import Feeds
from feeder.targets.base import Target

_RENDERED_AT_ONCE = 50  # articles
_ANY_SITE = Site(title="Feeder", base_url="https://feeds.example", language="en", id_authority="feeder.example,2026")


class Inspected(Struct, frozen=True, kw_only=True):
    """What a look at every article gave."""

    articles: int
    topics: Mapping[str, str]  # labels by slug
    problems: tuple[Problem, ...]


def inspect_articles(
    source: Path, max_bytes: int, now: datetime, progress: Progress, feeds: Feeds, *, fast: bool = True
) -> Inspected:
    """Read every article and say all that is wrong or odd, each with file and line."""
    if not source.is_dir():
        missing = Problem(
            where=str(source), reason="there is no such folder of articles; make it, or set source to another"
        )
        return Inspected(articles=0, topics={}, problems=(missing,))
    changes = scan.compare(source, {})
    problems = [_within(source, problem) for problem in changes.problems]
    topics: dict[str, str] = {}
    articles: dict[str, str] = {}
    unrendered: list[tuple[Article, str]] = []
    with Files(source, max_bytes) as files:
        for done, path in enumerate(changes.changed):
            progress(done, len(changes.changed))
            try:
                parsed = parse.parse(files.read(path), str(source / path), feeds.topic, fast=fast)
            except ArticleError as error:
                problems.append(_within(source, error.problem))
                continue
            except FileNotFoundError:
                continue
            problems += [*parsed.warnings, *_oddities(parsed.article, str(source / path), articles, now)]
            topics |= {topic.slug: topic.label for topic in parsed.article.topics}
            unrendered.append((parsed.article, str(source / path)))
            if len(unrendered) == _RENDERED_AT_ONCE:
                problems += _unrenderable(unrendered)
                unrendered.clear()
    problems += _unrenderable(unrendered)
    progress(len(changes.changed), len(changes.changed))
    return Inspected(articles=len(articles), topics=topics, problems=tuple(problems))


def _within(source: Path, problem: Problem) -> Problem:
    where = problem.where if problem.where.startswith(str(source)) else str(source / problem.where)
    return Problem(where=where, line=problem.line, reason=problem.reason, warning=problem.warning)


def _unrenderable(articles: Sequence[tuple[Article, str]]) -> list[Problem]:
    """What keeps articles, each with its file, from being published."""
    entries = tuple(Entry(article=article, updated=article.published) for article, _ in articles)
    channel = Channel(name=ALL)
    try:
        render(Feed(channel=channel, entries=entries), channel, _ANY_SITE)
    except Unrenderable as error:
        return [Problem(where=where, reason=error.articles[it.id]) for it, where in articles if it.id in error.articles]
    return []


def _oddities(article: Article, where: str, seen: dict[str, str], now: datetime) -> Iterable[Problem]:
    first = seen.setdefault(article.id, where)
    if first != where:
        reason = f"is the same article as {first} (one id or link); the one with the newer publishedDateTime speaks"
        yield Problem(where=where, reason=reason, warning=True)
    if article.published > now:
        reason = f"publishedDateTime is in the future: the article comes out on {article.published.isoformat()}"
        yield Problem(where=where, reason=reason, warning=True)


def inspect_targets(targets: Mapping[str, Target], feeds: Feeds, topics: Mapping[str, str]) -> list[Problem]:
    """What is odd about targets and feeds: topics that no article has."""
    named = [(f"targets.{name}.topics", target.topics) for name, target in targets.items()]
    named += [(f"feeds.{rules.channel.name}.topics", rules.topics) for rules in feeds.configured]
    configured = {rules.channel.name for rules in feeds.configured}
    found = []
    for where, labels in named:
        for label in labels:
            slug = feeds.topic(label).slug
            if slug not in topics and not (where.startswith("targets.") and slug in configured):
                near = difflib.get_close_matches(label, topics.values(), n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                found.append(Problem(where=where, reason=f"no article has the topic {label!r}{hint}", warning=True))
    for name in configured & {*topics}:
        reason = f"stands in the place of the feed of the topic {topics[name]!r}; name it otherwise to keep both"
        found.append(Problem(where=f"feeds.{name}", reason=reason, warning=True))
    return found


# --- what would be sent -----------------------------------------------------------------------------------------------


def article_at(path: Path, max_bytes: int, feeds: Feeds, *, fast: bool = True) -> Article:
    """The article in a file. ArticleError or UsageError says why there is none."""
    try:
        with Files(path.parent, max_bytes) as files:
            return parse.parse(files.read(path.name), str(path), feeds.topic, fast=fast).article
    except FileNotFoundError as error:
        raise UsageError(f"{path}: there is no such file") from error


def payload(target: Target, name: str, article: Article, language: str) -> dict[str, Any]:
    """The first request that `target` would make, without what proves who sends it, secrets hidden."""
    headline = selection.headline(article, target.rules(name), language)
    request: httpx.Request = next(target.deliver(headline, outbox.delivery_id(article.id, name)))
    secrets = target.secrets()
    return {
        "method": request.method,
        "url": redact(str(request.url), secrets),
        "headers": {
            name: redact(value, secrets)
            for name, value in request.headers.items()
            if name not in ("host", "content-length")
        },
        "body": json.loads(redact(request.content.decode(), secrets)),
    }


def sample(now: datetime) -> Headline:
    """A headline that says of itself that it is a test."""
    article = Article(
        id="0" * 32,
        title="This is a test message from feeder",
        url="https://www.example.org/feeder-test",
        published=now.replace(microsecond=0),
        excerpt="If you can read this, headlines will arrive here.",
        provider=Provider(name="feeder"),
        related=(RelatedLink(title="A related link", url="https://www.example.org/feeder-test-related"),),
    )
    return Headline(article=article, related=article.related, language="en", is_test=True)
