"""Articles and headlines for tests: plain ones with what a test cares about changed, and the shipped seeds."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from feeder.articles.parse import parse
from feeder.models import Article, Headline, Outcome, Provider, RelatedLink, Topic
from feeder.targets.base import Target

SEEDS = Path(__file__).parents[1] / "seeds"
PUBLISHED = datetime(2026, 10, 31, 12, 0, tzinfo=UTC)
KEY = "0123456789abcdef0123456789abcdef"


def article(**changes: Any) -> Article:
    plain = {
        "id": "a" * 32,
        "title": "A quiet day",
        "url": "https://news.example/2026/a-quiet-day",
        "published": PUBLISHED,
        "excerpt": "Nothing happened, and here is why.",
        "provider": Provider(name="The Daily", domain="news.example"),
        "topics": (Topic(label="AI Ethics", slug="ai-ethics"),),
    }
    return Article(**{**plain, **changes})


def related(**changes: Any) -> RelatedLink:
    plain = {
        "title": "The same day elsewhere",
        "url": "https://other.example/the-same-day",
        "provider": Provider(name="The Weekly", domain="other.example"),
    }
    return RelatedLink(**{**plain, **changes})


def headline(**changes: Any) -> Headline:
    """A headline; `article=` takes one of `article(...)`."""
    plain = {"article": article(), "related": (related(),), "hashtags": ("AIEthics",), "language": "en"}
    return Headline(**{**plain, **changes})


def seed(name_part: str) -> Article:
    """The one shipped article whose file name holds `name_part`."""
    (path,) = SEEDS.glob(f"*{name_part}*.md")
    return parse(path.read_bytes(), path.name).article


def requests_of(target: Target, told: Headline, *responses: httpx.Response, key: str = KEY) -> list[httpx.Request]:
    """What `target` asks for, unsigned, as long as there are responses, and what it asks for after the last."""
    return _driven(target, told, responses, key)[0]


def drive(target: Target, told: Headline, *responses: httpx.Response, key: str = KEY) -> Outcome:
    """The outcome of telling `told` to a service that answers with exactly these responses."""
    requests, outcome = _driven(target, told, responses, key)
    if outcome is None or len(requests) != len(responses):
        raise AssertionError(f"{len(requests)} requests for {len(responses)} responses: {outcome}")
    return outcome


def _driven(
    target: Target, told: Headline, responses: Iterable[httpx.Response], key: str
) -> tuple[list[httpx.Request], Outcome | None]:
    steps = target.deliver(told, key)
    requests = [next(steps)]
    for response in responses:
        try:
            requests.append(steps.send(response))
        except StopIteration as end:
            return requests, end.value
    return requests, None
