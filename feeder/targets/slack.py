"""Slack, through an incoming webhook or a bot.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
https://docs.slack.dev/reference/methods/chat.postMessage
https://docs.slack.dev/messaging/formatting-message-text
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from feeder import text
from feeder.models import Article, Headline, Outcome, RelatedLink
from feeder.targets.base import (
    Looking,
    Secret,
    SecretUrl,
    Steps,
    Target,
    answer_of,
    checked_rate,
    not_before,
    outcome_of,
    request,
    said,
)

if TYPE_CHECKING:
    import httpx

API = "https://slack.com/api/chat.postMessage"

_SECTION = 3000  # characters of a section's text, counted after escaping
_ALT_TEXT = 2000
_IMAGE_URL = 3000
_EVENT = "feeder_headline"  # of the metadata that a bot's messages carry
_PAGES = 5  # of 200 messages that are looked through
_CLOCKS_DIFFER = 300.0  # seconds
_TITLE = 300  # and what is bearable of each
_NAME = 100
_CONTEXT = 1000
_EXCERPT = 600
_NO_BREAK = "\u200b"  # between two characters, it keeps Slack from reading them as formatting

# The words of a place that takes no message any more, or of a credential that opens nothing: the target is switched off.
_GONE = frozenset(
    "channel_is_archived channel_not_found no_active_hooks no_service no_team invalid_token action_prohibited "
    "invalid_auth not_authed account_inactive token_revoked token_expired missing_scope not_in_channel is_archived".split()
)
_RETRY = frozenset({"ratelimited", "rate_limited", "rollup_error", "service_unavailable"})
_UNKNOWN = frozenset({"internal_error", "fatal_error", "request_timeout"})
_BAD_IMAGE = re.compile(r"invalid_blocks|invalid_attachments|image", re.IGNORECASE)


class Slack(Target):
    """A channel: either `url`, an incoming webhook, or `token` and `channel`."""

    kind: Literal["slack"]
    url: SecretUrl | None = Field(None, description="The incoming webhook. Secret.")
    token: Secret | None = Field(None, description="A bot token, xoxb-…, with the scope chat:write. Secret.")
    channel: str | None = Field(None, description="The channel's id, C…; with a token.")
    api: SecretUrl = Field(SecretStr(API), description="The Web API's address; another one for tests and proxies.")

    @model_validator(mode="after")
    def _has_one_way_in(self) -> Self:
        if (self.url is None) == (self.token is None):
            raise ValueError("needs either url (an incoming webhook) or token and channel (a bot)")
        if self.token is not None and not self.channel:
            raise ValueError("needs channel (C…) beside token")
        return self

    rate: Annotated[str, AfterValidator(checked_rate)] = Field("10/10s", description="A channel takes no more.")

    @property
    def can_look(self) -> bool:
        """A bot can read what it wrote; an incoming webhook cannot."""
        return self.token is not None

    def deliver(self, headline: Headline, key: str) -> Steps:
        """One message; once more without its image if Slack refuses it for that."""
        response = yield self._request(headline, key, image=True)
        outcome = self._outcome(response)
        if outcome.kind == "rejected" and headline.article.images and _BAD_IMAGE.search(outcome.reason):
            response = yield self._request(headline, key, image=False)
            outcome = self._outcome(response)
        return outcome

    def sign(self, request: httpx.Request, now: datetime) -> None:
        """The bot's token; a webhook's address is proof enough."""
        if self.token is not None:
            request.headers["Authorization"] = f"Bearer {self.token.get_secret_value()}"

    def look(self, headline: Headline, key: str, since: datetime, now: datetime) -> Looking:
        """The channel's messages since then, by the metadata of ours; the bot needs the scope channels:history."""
        api = self.api.get_secret_value().rsplit("/", 1)[0] + "/conversations.history"
        cursor = ""
        for _ in range(_PAGES):
            asked = {"channel": self.channel, "oldest": f"{since.timestamp() - _CLOCKS_DIFFER:.6f}", "limit": "200"}
            form = {**asked, "include_all_metadata": "true", **({"cursor": cursor} if cursor else {})}
            response = yield request("POST", api, data=form)
            answer = answer_of(response)
            messages = answer.get("messages")
            if not response.is_success or answer.get("ok") is not True or not isinstance(messages, list):
                return _not_seen(response, str(answer.get("error", "")))
            for each in messages:
                if _metadata_of(each) == key:
                    return Outcome(kind="delivered", remote_id=str(each.get("ts", "")))
            following = answer.get("response_metadata")
            cursor = str(following.get("next_cursor", "")) if isinstance(following, dict) else ""
            if not cursor:
                return None
        return Outcome(kind="rejected", reason="too many messages since then to look through")

    def _request(self, headline: Headline, key: str, *, image: bool) -> httpx.Request:
        body = message(headline, image=image)
        if self.url is not None:
            return request("POST", self.url.get_secret_value(), json=body)
        metadata = {"event_type": _EVENT, "event_payload": {"delivery": key}}
        return request(
            "POST", self.api.get_secret_value(), json={"channel": self.channel, **body, "metadata": metadata}
        )

    def _outcome(self, response: httpx.Response) -> Outcome:
        """Slack says what was wrong in a word: the body of a webhook's answer, `error` in the Web API's, with status 200."""
        answer = answer_of(response)
        word = response.text.strip() if self.url is not None else str(answer.get("error", ""))
        reason = said(response, word)
        if response.status_code == 429 or word in _RETRY:
            return Outcome(kind="retry", reason=reason, not_before=not_before(response))
        if word in _GONE:
            return Outcome(kind="gone", reason=reason)
        if word in _UNKNOWN:
            return Outcome(kind="unknown", reason=reason)
        if response.is_success:
            return self._success(answer, word, reason)
        return outcome_of(response)

    def _success(self, answer: dict[str, Any], word: str, reason: str) -> Outcome:
        """A 200 is Slack's own only with `ok` in it; a proxy's page says nothing of the message."""
        if self.url is not None and word == "ok":
            return Outcome(kind="delivered", reason=reason)
        if self.url is None and answer.get("ok") is True:
            return Outcome(kind="delivered", remote_id=str(answer.get("ts", "")))
        if self.url is None and word:
            return Outcome(kind="rejected", reason=reason)
        return Outcome(kind="unknown", reason=f"{reason}: not an answer of Slack's")


def _not_seen(response: httpx.Response, word: str) -> Outcome:
    """Why the channel could not be looked at; a bot without the scope for that never can, and says so in a word.

    What is cut off, or no answer of Slack's, says nothing.
    """
    reason = said(response, f"cannot look whether it is there: {word}")
    if response.status_code == 429 or not word or word in _RETRY or response.status_code >= 500:
        return Outcome(kind="retry", reason=reason, not_before=not_before(response))
    return Outcome(kind="rejected", reason=reason)


def _metadata_of(message: Any) -> str:
    """The delivery that a message of ours names."""
    try:
        found = message["metadata"]
        return str(found["event_payload"]["delivery"]) if found["event_type"] == _EVENT else ""
    except (KeyError, TypeError):
        return ""


def message(headline: Headline, *, image: bool) -> dict[str, Any]:
    """The message as Block Kit, with a text for notifications."""
    article = headline.article
    blocks = [_lead(article, image=image)]
    if context := _context(headline):
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": context}]})
    if related := _related(headline.related):
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": related}})
    provider = f" – {text.shorten(article.provider.name, _NAME)}" if article.provider else ""
    notice = escape(f"{text.shorten(article.title, _TITLE)}{provider}")
    return {"text": notice, "unfurl_links": False, "unfurl_media": False, "blocks": blocks}


def _lead(article: Article, *, image: bool) -> dict[str, Any]:
    lead = f"*{_fitting(article.title, _TITLE, lambda title: link(article.url, title), _SECTION - 2)}*"
    if article.excerpt:
        room = _SECTION - text.utf16_units(lead) - 1
        lead = f"{lead}\n{_fitting(article.excerpt, _EXCERPT, escape, room)}".rstrip()
    block: dict[str, Any] = {"type": "section", "text": {"type": "mrkdwn", "text": lead}}
    if image and article.images and len(article.images[0].url) <= _IMAGE_URL:
        alt = text.shorten(article.images[0].title or article.title, _ALT_TEXT)
        block["accessory"] = {"type": "image", "image_url": article.images[0].url, "alt_text": alt}
    return block


def _fitting(plain: str, limit: int, write: Callable[[str], str], room: int) -> str:
    """`plain`, shortened to `limit` and further until what `write` makes of it fits into `room`: escaping makes longer."""
    written = write(text.shorten(plain, limit))
    while (excess := text.utf16_units(written) - room) > 0 and limit > 0:
        limit -= max(1, excess // 10)
        written = write(text.shorten(plain, max(limit, 0)))
    return written


def _context(headline: Headline) -> str:
    """The provider and as many hashtags as there is room for."""
    provider = headline.article.provider
    line = escape(text.shorten(provider.name, _NAME)) if provider else ""
    for tag in headline.hashtags:
        longer = f"{line} · #{tag}" if line else f"#{tag}"
        if text.utf16_units(longer) > _CONTEXT:
            break
        line = longer
    return line


def _related(related: tuple[RelatedLink, ...]) -> str:
    """As many whole lines as a section holds."""
    lines: list[str] = []
    for item in related:
        line = f"• {link(item.url, text.shorten(item.title, _TITLE))}"
        if item.provider:
            line += f" ({escape(text.shorten(item.provider.name, _NAME))})"
        if text.utf16_units("\n".join([*lines, line])) > _SECTION:
            break
        lines.append(line)
    return "\n".join(lines)


def link(url: str, label: str) -> str:
    """A link in mrkdwn. What would end it early is taken out of the label and encoded in the address."""
    for char in "|<>":
        url = url.replace(char, f"%{ord(char):02X}")
    plain = re.sub(r"[|<>\n]", " ", label)
    return f"<{url}|{escape(plain)}>"


def escape(plain: str) -> str:
    """`plain` as text that Slack shows as it is.

    `&`, `<` and `>` become entities, which also disarms <!channel> and <@U…>; the characters of formatting, which
    cannot be escaped, are held apart from their neighbours.
    """
    entities = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([*_~`])", rf"{_NO_BREAK}\1{_NO_BREAK}", entities)
