"""What every target has in common.

A target does no I/O. It is a frozen model of its own options (its section of the settings) with one generator, `deliver`,
which yields requests and is sent responses. So it is tested as a table of responses without a network, and a service that
needs several requests stays straight-line code.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from feeder import text
from feeder.addresses import Network, networks
from feeder.models import Headline, Outcome, Rules
from feeder.outbox import Care
from feeder.pacing import Rate
from feeder.selection import PLAIN_FEEDS, Feeds

if TYPE_CHECKING:  # whoever only reads settings does without
    import httpx

Steps = Generator["httpx.Request", "httpx.Response", Outcome]
Looking = Generator["httpx.Request", "httpx.Response", Outcome | None]

_RATE_LIMITED_WAIT = timedelta(seconds=60)  # after a 429 that names no time
_A_UNIX_TIME = 3e8  # seconds; no service asks for such a wait
_FOREVER = 1e9  # seconds, about thirty years: as much as a date can be added to
REASON_LENGTH = 300  # characters of what is said of a failure
_WORDS_READ = 4 * REASON_LENGTH  # characters of a service's words that a reason is made from
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


def _checked_networks(value: tuple[str, ...]) -> tuple[str, ...]:
    networks(value)
    return value


def checked_rate(value: str) -> str:
    """`value`, if it is a rate."""
    Rate.read(value)
    return value


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

    looks: ClassVar[bool] = False
    """Whether `look` can tell if a message arrived."""

    shows_itself: ClassVar[bool] = False
    """Whether a delivery is seen where the log is read, so that the log need not tell it again."""

    kind: str
    on_unknown: Literal["hold", "resend"] = Field(
        "hold", description="What becomes of a message that may have arrived: held for a person, or sent once more."
    )

    allow: Annotated[Labels, AfterValidator(_checked_networks)] = Field(
        (), description="Addresses and networks it may be reached at that are not of the internet: 10.0.0.0/8."
    )
    allow_http: bool = Field(False, description="Whether it may be told without encryption.")
    rate: Annotated[str, AfterValidator(checked_rate)] = Field(
        "", description="At most so many messages in a time: 1/s, 20/min, 300/3h."
    )

    @field_validator("url", "api", mode="after", check_fields=False)
    @classmethod
    def _is_encrypted(cls, value: Any, info: ValidationInfo) -> Any:
        written = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        if urlsplit(written).scheme == "http" and not info.data.get("allow_http"):
            raise ValueError("is http, so that anyone on the way can read it; use https, or set allow_http = true")
        return value

    def deliver(self, told: Any, key: str, /) -> Steps:
        """Tell it: yield each request, get its response, return the Outcome.

        `key` is the idempotency key: the same for every attempt at this message.
        """
        raise NotImplementedError  # every kind has its own

    def look(self, told: Any, key: str, since: datetime, now: datetime, /) -> Looking:
        """Find a message that may have arrived after `since`: yield each request, get its response.

        Return a delivered Outcome when it is there, None when it is to be sent: because it is not there, or because the
        service knows it again by `key`; a rejected one when it can never be told, and a retry or unknown one when it
        cannot be told now.
        """
        raise NotImplementedError  # asked only of kinds that say `looks`

    def sign(self, request: httpx.Request, now: datetime) -> None:
        """Add to `request` what proves who sends it, just before it leaves at `now`."""

    def care(self) -> Care:
        """What is done when nobody knows whether a message arrived."""
        return Care(replay=self.replay, looks=self.can_look, on_unknown=self.on_unknown)

    @property
    def can_look(self) -> bool:
        """Whether this one, with its options, can tell if a message arrived."""
        return self.looks

    @property
    def networks(self) -> tuple[Network, ...]:
        """What `allow` names."""
        return networks(self.allow)

    def credentials(self) -> str:
        """What tells these secrets from others, and tells nothing of them."""
        return hashlib.sha256("\n".join(self.secrets()).encode()).hexdigest()

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
    max_per_pass: int = Field(
        100, ge=0, description="Of more new articles at once the newest so many are told, the others held; 0: no limit."
    )
    max_age: float = Field(0, ge=0, le=36_500, description="Days; older articles are never told; 0: no limit.")

    def deliver(self, headline: Headline, key: str, /) -> Steps:
        """Tell a headline."""
        raise NotImplementedError  # every kind has its own

    def rules(self, name: str, feeds: Feeds = PLAIN_FEEDS) -> Rules:
        """Which articles this target, called `name`, wants."""
        return Rules(
            target=name,
            feeds=feeds.names(self.topics),
            related=self.related,
            backfill=self.backfill,
            hashtags=self.hashtags,
            max_per_pass=self.max_per_pass,
            max_age=timedelta(days=self.max_age) if self.max_age else None,
        )


def request(method: str, url: str, **parts: Any) -> httpx.Request:
    """A request for a target's steps to yield."""
    import httpx  # noqa: PLC0415 - slow to import, and commands that only ask make no request

    return httpx.Request(method, _address(url), **parts)


@lru_cache(maxsize=10_000)  # a target is told again and again, and to take an address apart is half of making a request
def _address(url: str) -> httpx.URL:
    import httpx  # noqa: PLC0415 - the same

    return httpx.URL(url)


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
    return f"{response.status_code} {brief(words)}".strip()


def brief(words: str) -> str:
    """The words of a service or a library in a line of bearable length."""
    return text.shorten(text.line(words[:_WORDS_READ]), REASON_LENGTH)


def answer_of(response: httpx.Response) -> dict[str, Any]:
    """The JSON object in a response; empty when there is none."""
    answer = _json_of(response)
    return answer if isinstance(answer, dict) else {}


def list_of(response: httpx.Response) -> list[dict[str, Any]] | None:
    """The JSON objects in a response that is a list; None when it is none, which says nothing of what is in the list."""
    answer = _json_of(response)
    return [each for each in answer if isinstance(each, dict)] if isinstance(answer, list) else None


def _json_of(response: httpx.Response) -> Any:
    """The JSON in a response; None when it is none, or nested too deep to be read."""
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def not_before(response: httpx.Response) -> timedelta | datetime | None:
    """When the service wants to be asked again; a minute after a 429 that does not say.

    Services say it in Retry-After (seconds or a date), in the body (`retry_after` in seconds, `retry_after_ms`, and so
    below `parameters`), or in the time at which their rate limit ends. Of several the longest counts.
    """
    headers, answer = response.headers, answer_of(response)
    parameters = answer.get("parameters")
    bodies = [answer, parameters if isinstance(parameters, dict) else {}]
    asked = [headers.get("retry-after")] + [
        body.get(name) for body in bodies for name in ("retry_after", "retry-after")
    ]
    waits = [_seconds(each) for each in asked] + [_seconds(body.get("retry_after_ms"), 1000) for body in bodies]
    if found := [each for each in waits if each is not None]:
        return max(found)
    if (date := moment(parsedate_to_datetime, headers.get("retry-after", ""))) is not None:
        return date
    return _end_of_limit(headers) if response.status_code == 429 else None


def _end_of_limit(headers: httpx.Headers) -> timedelta | datetime:
    """When a rate limit ends: a time, a Unix time, or so many seconds; a minute where no header says."""
    for name in ("x-ratelimit-reset-after", "ratelimit-reset", "x-ratelimit-reset"):
        written = headers.get(name, "")
        if (wait := _seconds(written)) is not None:
            return moment(_unix_time, written) or wait
        if (end := moment(datetime.fromisoformat, written)) is not None:
            return end
    return _RATE_LIMITED_WAIT


def _unix_time(written: str) -> datetime:
    """The time that a number of seconds since 1970 stands for. ValueError when it is no such time but a wait."""
    if (seconds := float(written)) < _A_UNIX_TIME:
        raise ValueError
    return datetime.fromtimestamp(seconds, UTC)


def _seconds(written: Any, unit: float = 1) -> timedelta | None:
    """A wait of so many seconds, or other units of which `unit` make one; None where it is no number."""
    try:
        return waiting(float(written) / unit)
    except (TypeError, ValueError):
        return None
    except OverflowError:  # JSON's integers have no end
        return waiting(math.inf if written > 0 else 0)


def moment(read: Callable[[str], datetime], written: str) -> datetime | None:
    """The time that `read` finds in what a service wrote, in UTC where it names no zone; None when it finds none."""
    try:
        found = read(written)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError, OSError):  # all of them say of a number that it is no time
        return None


def waiting(seconds: float) -> timedelta:
    """A wait that a service asked for; none where the number is none."""
    return (
        timedelta(seconds=min(seconds, _FOREVER)) if seconds > 0 else timedelta()
    )  # and not if it is no number at all
