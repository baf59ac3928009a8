"""What every target has in common.

A target does no I/O. It is a frozen model of its own options (its section of the settings) with one generator, `deliver`,
which yields requests and is sent responses. So it is tested as a table of responses without a network, and a service that
needs several requests stays straight-line code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

import httpx
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from feeder import text
from feeder.models import Headline, Outcome, Rules
from feeder.outbox import Care
from feeder.selection import PLAIN_FEEDS, Feeds

Steps = Generator[httpx.Request, httpx.Response, Outcome]

_RATE_LIMITED_WAIT = timedelta(seconds=60)  # after a 429 that names no time
_FOREVER = 1e9  # seconds, about thirty years: as much as a date can be added to
_REASON_LENGTH = 300
_TRY_AGAIN = frozenset({408, 425, 429, 500, 503})
_NOBODY_KNOWS = frozenset({502, 504})  # a gateway gave up on a service that may have gone on


def _checked_url(value: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(value.get_secret_value())
        if (
            parts.scheme in ("http", "https")
            and parts.hostname
            and not any(char.isspace() for char in value.get_secret_value())
        ):
            return value
    except ValueError:
        pass
    raise ValueError("is not an http(s) address")


def _split(value: object) -> object:
    """A list as the environment writes it: "AI, Machine Learning", or as JSON."""
    if not isinstance(value, str) or value.strip().lower() in ("true", "false"):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [part.strip() for part in value.split(",") if part.strip()]


Labels = Annotated[tuple[str, ...], BeforeValidator(_split)]
Hashtags = Annotated[bool | tuple[str, ...], BeforeValidator(_split)]
Secret = Annotated[SecretStr, Field(min_length=1)]

SecretUrl = Annotated[SecretStr, AfterValidator(_checked_url)]
"""An address that is itself a credential, or may be."""


class Endpoint(BaseModel):
    """Whoever is told something over HTTP, with what the lanes need to know of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    replay: ClassVar[timedelta | None] = None
    """How long the service knows a message again by its idempotency key; None: not at all."""

    shows_itself: ClassVar[bool] = False
    """Whether a delivery is seen where the log is read, so that the log need not tell it again."""

    kind: str
    on_unknown: Literal["hold", "resend"] = Field(
        "hold", description="What becomes of a message that may have arrived: held for a person, or sent once more."
    )

    def deliver(self, told: Any, key: str, /) -> Steps:
        """Tell it: yield each request, get its response, return the Outcome.

        `key` is the idempotency key: the same for every attempt at this message.
        """
        raise NotImplementedError  # pragma: no cover - every kind has its own

    def sign(self, request: httpx.Request, now: datetime) -> None:
        """Add to `request` what proves who sends it, just before it leaves at `now`."""

    def care(self) -> Care:
        """What is done when nobody knows whether a message arrived."""
        return Care(replay=self.replay, on_unknown=self.on_unknown)

    def secrets(self) -> list[str]:
        """What must never be shown of it."""
        values = [value.get_secret_value() for value in dict(self).values() if isinstance(value, SecretStr)]
        return sorted(filter(None, values), key=len, reverse=True)


class Target(Endpoint):
    """A place headlines go, with the options that all kinds share."""

    topics: Labels = Field((), description="The topics it wants; all articles when empty.")
    related: int = Field(3, ge=0, le=20, description="How many related links go along with a headline.")
    backfill: int = Field(
        0, ge=0, description="How many of the articles that are there already it is told when it is new."
    )
    hashtags: Hashtags = Field(False, description="true: the topics' own; or a list of its own.")

    def deliver(self, headline: Headline, key: str, /) -> Steps:
        """Tell a headline."""
        raise NotImplementedError  # pragma: no cover - every kind has its own

    def rules(self, name: str, feeds: Feeds = PLAIN_FEEDS) -> Rules:
        """Which articles this target, called `name`, wants."""
        return Rules(
            target=name,
            feeds=feeds.names(self.topics),
            related=self.related,
            backfill=self.backfill,
            hashtags=self.hashtags,
        )


def outcome_of(response: httpx.Response, **changes: Any) -> Outcome:
    """What a response means for a service that says it with the HTTP status (RFC 9110), as most do."""
    status = response.status_code
    reason = said(response, response.text)
    if 200 <= status < 300:
        return Outcome(**{"kind": "delivered", "reason": reason, **changes})
    if status in _TRY_AGAIN or (status >= 500 and status not in _NOBODY_KNOWS):
        return Outcome(**{"kind": "retry", "reason": reason, "not_before": not_before(response), **changes})
    if status in _NOBODY_KNOWS:
        return Outcome(**{"kind": "unknown", "reason": reason, "not_before": not_before(response), **changes})
    if status == 410:
        return Outcome(**{"kind": "gone", "reason": reason, **changes})
    if 300 <= status < 400:
        reason = f"{reason}: redirects are not followed; set the address it leads to".strip()
    return Outcome(**{"kind": "rejected", "reason": reason, **changes})


def said(response: httpx.Response, words: str) -> str:
    """A reason: the status, and the service's own words in a line of bearable length."""
    return f"{response.status_code} {text.shorten(text.line(words), _REASON_LENGTH)}".strip()


def answer_of(response: httpx.Response) -> dict[str, Any]:
    """The JSON object in a response; empty when there is none."""
    try:
        answer = response.json()
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def not_before(response: httpx.Response) -> timedelta | datetime | None:
    """When the service wants to be asked again: its Retry-After (seconds or a date), or a minute after a bare 429."""
    asked = response.headers.get("retry-after", "").strip()
    try:
        return waiting(float(asked))
    except ValueError:
        pass
    bare = _RATE_LIMITED_WAIT if response.status_code == 429 else None
    return moment(parsedate_to_datetime, asked) or bare


def moment(read: Callable[[str], datetime], written: str) -> datetime | None:
    """The time that `read` finds in what a service wrote, in UTC where it names no zone; None when it finds none."""
    try:
        found = read(written)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def waiting(seconds: float) -> timedelta:
    """A wait that a service asked for; none where the number is none."""
    return timedelta(seconds=min(seconds, _FOREVER)) if seconds > 0 else timedelta()
