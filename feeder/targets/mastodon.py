"""A Mastodon account.

https://docs.joinmastodon.org/methods/statuses/#create
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal
from urllib.parse import unquote

from pydantic import AfterValidator, Field

from feeder import text
from feeder.models import Headline, Outcome, RelatedLink
from feeder.targets import servers
from feeder.targets.base import (
    Hashtags,
    Looking,
    Secret,
    SecretUrl,
    Steps,
    Target,
    answer_of,
    checked_rate,
    list_of,
    moment,
    outcome_of,
    request,
    said,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    import httpx

_URL = re.compile(r"https?://[!-~]+")  # what is not ASCII ends a link
_COUNTED_SHORT = re.compile(
    r"https?://[^/?#\s]+\.([a-z]{2,}|xn--[a-z0-9-]+)(:\d+)?([/?#]|$)"
)  # what an instance takes for one
_TAG = re.compile(r"<[^>]*>")
_BREAK = re.compile(r"<(?:br|p|/p|div|/div|li)\b[^>]*>", re.IGNORECASE)
_LINK = re.compile(
    r"""<a\s[^>]{0,500}?href=["']([^"']*)["'][^>]{0,500}>(.{0,5000}?)</a>""", re.IGNORECASE | re.DOTALL
)  # with bounds, or what begins links and ends none costs the square of its length
_MARKUP = 8_000  # characters of HTML that a status may have beside its text, as far as the end of its first link
_FORMATTING = re.compile(r"[*_~`\u200b]")  # which a server that reads Markdown takes out of an address that is no link
_ACCOUNT = re.compile(r"@[\w.-]+@\w")
_MENTION = re.compile(r"@(?=\w)")
_TITLE = 80  # characters of a title that no link, however long, takes away
_RELATED = "Related:"  # before the related links
_PAGES = 5  # of statuses that are looked through
_PAGE = 40  # statuses: more no server gives at once
_LEAST_PAGE = 20  # statuses that a server gives at once where there are so many
_SPARE = timedelta(minutes=5)  # before a server forgets a key: clocks differ, and a message may wait for its turn
_NO_FURTHER = "cannot look whether it is there: the server gives the newest statuses alone"
_CLOCKS_DIFFER = timedelta(minutes=5)
_LABEL = 120  # characters of a related title


class Mastodon(Target):
    """An account on an instance. The server makes the preview card from the link."""

    looks: ClassVar[bool] = True

    kind: Literal["mastodon"]
    url: SecretUrl = Field(description="The instance: https://mastodon.example")
    token: Secret = Field(
        description="An access token with the scope write:statuses; with read:accounts and read:statuses too, what is "
        "in doubt is looked for where the server does not know it again. Secret."
    )
    rate: Annotated[str, AfterValidator(checked_rate)] = Field("300/3h", description="An instance takes no more.")
    visibility: Literal["public", "unlisted", "private", "direct"] = Field("public", description="Who sees the status.")
    max_characters: int = Field(500, ge=100, description="How many characters the instance takes in a status.")
    url_characters: int = Field(23, ge=1, description="How many of them the instance counts for a link, long or short.")
    hashtags: Hashtags = Field(True, description="true: the topics' own; or a list of its own.")
    key_minutes: float | None = Field(
        None,
        ge=0,
        le=525_600,
        description="For how many minutes the server knows a status again by its Idempotency-Key; 0: not at all. Where it "
        "is not set, what is known of the server's software counts.",
    )

    def deliver(self, headline: Headline, key: str) -> Steps:
        """One status. A server that knows the key answers with the first status (see `servers`)."""
        body = {"status": self.status(headline), "visibility": self.visibility}
        if re.fullmatch(r"[a-z]{2,3}", language := headline.language.split("-")[0].lower()):
            body["language"] = language
        address = f"{self.url.get_secret_value().rstrip('/')}/api/v1/statuses"
        response = yield request("POST", address, json=body, headers={"Idempotency-Key": key})
        return _outcome(response)

    def look(self, headline: Headline, key: str, since: datetime, now: datetime) -> Looking:
        """The account's statuses since then, by the link; unless the server is known to know the key again."""
        keeps = yield from self._keeps_keys()
        if isinstance(keeps, Outcome):
            return keeps
        if timedelta() <= now - since <= keeps - _SPARE:
            return None
        response = yield self._get("accounts/verify_credentials")
        account = str(answer_of(response).get("id", ""))
        if not response.is_success or not account:
            return _not_seen(response)
        return (yield from self._look_through(account, headline, since))

    def _look_through(self, account: str, headline: Headline, since: datetime) -> Looking:
        seen: set[str] = set()
        last = ""
        for _ in range(_PAGES):
            response = yield self._get(f"accounts/{account}/statuses?limit={_PAGE}&exclude_reblogs=true{last}")
            statuses = list_of(response)
            if not response.is_success or statuses is None:
                return _not_seen(response)
            new = [each for each in statuses if str(each.get("id", "")) not in seen]
            for status in new:
                if self._is_told(headline, status, since):
                    return Outcome(kind="delivered", remote_id=str(status.get("id", "")))
            # A page is looked through whole: `since` may be from a clock that was ahead.
            if not statuses or _written(statuses[-1]) < since - _CLOCKS_DIFFER:
                return None
            if not new:  # a server that knows no `max_id` gave the same once more: there is no further look
                return None if len(seen) < _LEAST_PAGE else Outcome(kind="rejected", reason=_NO_FURTHER)
            seen |= {str(each.get("id", "")) for each in new}
            last = f"&max_id={statuses[-1].get('id', '')}"
        return Outcome(kind="rejected", reason="too many statuses since then to look through")

    def _keeps_keys(self) -> Generator[httpx.Request, httpx.Response, timedelta | Outcome]:
        """How long the server knows a status again by its key."""
        if self.key_minutes is not None:
            return timedelta(minutes=self.key_minutes)
        found = yield from servers.software(self.url.get_secret_value().rstrip("/"))
        return found if isinstance(found, Outcome) else servers.KEEPS_KEYS.get(found, timedelta())

    def _is_told(self, headline: Headline, status: dict[str, Any], since: datetime) -> bool:
        """Whether a status tells of the headline's article: its own link leads there, and it is of the time in question.

        That is the last one before the related links. A status of another time has to begin as the headline does as well:
        an address may have been told of before.
        """
        content = str(status.get("content", ""))[: self.max_characters + _MARKUP]
        own = _links(_plain(content).partition(f" {_RELATED} ")[0])
        if status.get("reblog") or own[-1:] != [_page(headline.article.url)]:
            return False
        if _written(status) >= since - _CLOCKS_DIFFER:
            return True
        return _squeezed(_plain(content)).startswith(_squeezed(self._head(headline)))

    def _get(self, path: str) -> httpx.Request:
        return request("GET", f"{self.url.get_secret_value().rstrip('/')}/api/v1/{path}")

    def sign(self, request: httpx.Request, now: datetime) -> None:
        """The account's token."""
        request.headers["Authorization"] = f"Bearer {self.token.get_secret_value()}"

    def status(self, headline: Headline) -> str:
        """The text: title, link, as many related links as fit whole, and the hashtags."""
        tags, head = self._hashtags(headline.hashtags), self._head(headline)
        related = ""
        for item in headline.related:
            longer = f"{related or chr(10) * 2 + _RELATED}\n• {self._label(item)}\n{quiet(item.url)}"
            if self.count(head + longer + tags) > self.max_characters:
                break
            related = longer
        return head + related + tags

    def _head(self, headline: Headline) -> str:
        """What a status begins with."""
        url, tags = quiet(headline.article.url), self._hashtags(headline.hashtags)
        room = self.max_characters - self.count(f"\n\n{url}") - self.count(tags)
        return f"{self._shortened(headline.article.title, max(room, _TITLE))}\n\n{url}"

    def count(self, status: str) -> int:
        """The characters of `status` as an instance counts them: graphemes, each link as `url_characters`."""
        links = _URL.findall(status)
        counted = sum(
            self.url_characters if _COUNTED_SHORT.match(link) else max(self.url_characters, len(link)) for link in links
        )
        return text.graphemes(_URL.sub("", status)) + counted

    def _shortened(self, title: str, room: int) -> str:
        title = inert(title)
        shorter = title
        while self.count(shorter) > room and len(shorter) > 1:
            shorter = text.shorten(title, min(text.utf16_units(shorter) - 1, room))
        return shorter

    def _hashtags(self, tags: tuple[str, ...]) -> str:
        """As many hashtags as leave most of a status to the headline."""
        line = ""
        for tag in tags:
            longer = f"{line} #{tag}" if line else f"\n\n#{tag}"
            if self.count(longer) > self.max_characters // 4:
                break
            line = longer
        return line

    @staticmethod
    def _label(item: RelatedLink) -> str:
        provider = f" ({item.provider.name})" if item.provider else ""
        return inert(text.shorten(item.title, _LABEL) + provider)


def inert(plain: str) -> str:
    """`plain` without a word that would call somebody."""
    return _MENTION.sub("@\u200b", plain)


def quiet(url: str) -> str:
    """`url` without an account that would be called: an instance takes @name@host for one in the middle of an address too."""
    return url.replace("@", "%40") if _ACCOUNT.search(url) else url


def _plain(content: str) -> str:
    """The HTML of a status as text, with the addresses of links instead of what servers show of them."""

    def written(link: re.Match[str]) -> str:
        words = _TAG.sub("", link[2])
        return words if words.startswith(("#", "@")) else f" {link[1]} "

    return " ".join(text.unescape(_TAG.sub("", _BREAK.sub(" ", _LINK.sub(written, content)))).split())


def _links(plain: str) -> list[str]:
    """The pages that a text leads to, in order."""
    return [_page(word) for word in plain.split() if word.startswith(("http://", "https://"))]


def _page(address: str) -> str:
    """What servers leave of an address, however they write it: none of what they take for formatting, or for its end."""
    return _FORMATTING.sub("", unquote(address)).rstrip("/).,;:!?'\"").lower()


def _squeezed(plain: str) -> str:
    """`plain` without spaces, which an instance's HTML does not keep."""
    return "".join(plain.replace("\u200b", "").split())


def _written(status: dict[str, Any]) -> datetime:
    """When a status was written; later than anything where it does not say."""
    return moment(datetime.fromisoformat, str(status.get("created_at", ""))) or datetime.max.replace(tzinfo=UTC)


def _not_seen(response: httpx.Response) -> Outcome:
    """Why the account's statuses could not be looked at; a token without the scopes for that never can."""
    answer = answer_of(response)
    reason = said(response, f"cannot look whether it is there: {answer.get('error', '')}")
    return Outcome(kind="rejected" if response.status_code in (401, 403, 404) else "retry", reason=reason)


def _outcome(response: httpx.Response) -> Outcome:
    answer = answer_of(response)
    if response.status_code in (401, 403):
        return Outcome(kind="gone", reason=said(response, str(answer.get("error", ""))))
    if response.is_success and "id" not in answer:
        return Outcome(kind="unknown", reason=said(response, "an answer that is no status"))
    return outcome_of(response, **({"remote_id": str(answer["id"])} if response.is_success else {}))
