"""A signed webhook, as Standard Webhooks has it.

https://www.standardwebhooks.com
"""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, SecretStr

from feeder import text
from feeder.models import Headline, Image, Provider, RelatedLink
from feeder.targets.base import Hashtags, SecretUrl, Steps, Target, outcome_of, request

if TYPE_CHECKING:
    import httpx

_BODY = 20_000  # bytes: what the standard asks senders to stay under
_EXCERPT = 2_000  # UTF-16 units, like those below
_TITLE = 500
_NAME = 200
_LABELS = 30  # how many topics and hashtags


def _checked_secret(value: SecretStr) -> SecretStr:
    try:
        key = base64.b64decode(value.get_secret_value().removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not 24 <= len(key) <= 64:
        raise ValueError("is no signing secret: whsec_ and the base64 of 24 to 64 random bytes")
    return value


class Webhook(Target):
    """An HTTP endpoint that verifies who calls. It may see a message twice and knows it by its `webhook-id`."""

    replay: ClassVar[timedelta | None] = timedelta(days=365)  # receivers keep the ids that they have seen

    kind: Literal["webhook"]
    url: SecretUrl = Field(description="Where to post.")
    secret: Annotated[SecretStr, AfterValidator(_checked_secret)] = Field(
        description="The signing secret, whsec_…. Secret."
    )
    hashtags: Hashtags = Field(True, description="true: the topics' own; or a list of its own.")

    def deliver(self, headline: Headline, key: str) -> Steps:
        """One event of type `article.published`; of type `test`, when a person tries the target."""
        headers = {"content-type": "application/json", "webhook-id": f"msg_{key}"}
        response = yield request("POST", self.url.get_secret_value(), content=body(headline), headers=headers)
        return outcome_of(response)

    def sign(self, request: httpx.Request, now: datetime) -> None:
        """The time of this attempt, and the signature over id, time and the very bytes that are sent."""
        from standardwebhooks import Webhook as Signer  # noqa: PLC0415 - brings httpx along: see `request`

        signature = Signer(self.secret.get_secret_value()).sign(
            request.headers["webhook-id"], now, request.content.decode()
        )
        request.headers["webhook-timestamp"] = str(int(now.timestamp()))
        request.headers["webhook-signature"] = signature


@lru_cache(maxsize=100)  # many targets are told the same
def body(headline: Headline) -> bytes:
    """The event as JSON; related links are left out from the end where it would grow too large."""
    related, excerpt = list(headline.related), _EXCERPT
    while len(encoded := _encode(_event(headline, related, excerpt))) > _BODY and (related or excerpt):
        if related:
            related.pop()
        else:
            excerpt //= 2
    return encoded


def _encode(event: dict[str, Any]) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def _event(headline: Headline, related: list[RelatedLink], excerpt: int) -> dict[str, Any]:
    article = headline.article
    return {
        "type": "test" if headline.is_test else "article.published",
        "timestamp": _moment(article.published),
        "data": {
            "id": article.id,
            "title": text.shorten(article.title, _TITLE),
            "url": article.url,
            "source_url": article.source_url or None,
            "excerpt": text.shorten(article.excerpt, excerpt),
            "published": _moment(article.published),
            "type": article.type,
            "category": text.shorten(article.category, _NAME) or None,
            "quality": article.quality,
            "language": headline.language or None,
            "provider": _provider(article.provider),
            "topics": [
                {"title": text.shorten(topic.label, _NAME), "slug": topic.slug} for topic in article.topics[:_LABELS]
            ],
            "hashtags": [text.shorten(tag, _NAME) for tag in headline.hashtags[:_LABELS]],
            "image": _image(article.images[0]) if article.images else None,
            "related": [_related(link) for link in related],
        },
    }


def _related(link: RelatedLink) -> dict[str, Any]:
    published = _moment(link.published) if link.published else None
    return {
        "title": text.shorten(link.title, _TITLE),
        "url": link.url,
        "excerpt": text.shorten(link.excerpt, _EXCERPT) or None,
        "published": published,
        "provider": _provider(link.provider),
    }


def _provider(provider: Provider | None) -> dict[str, str] | None:
    return (
        {"name": text.shorten(provider.name, _NAME), "domain": text.shorten(provider.domain, _NAME)}
        if provider
        else None
    )


def _image(image: Image) -> dict[str, Any]:
    return {
        "url": image.url,
        "width": image.width,
        "height": image.height,
        "title": text.shorten(image.title, _TITLE) or None,
    }


def _moment(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
