"""Stand-ins for services that cannot run here: real HTTP servers on loopback that refuse what the real ones refuse.

Each keeps a ledger of what it took, a message once its whole body was read, and wakes whoever waits for it.
"""

from __future__ import annotations

import html
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import regex
from standardwebhooks import Webhook, WebhookVerificationError

LOOPBACK = {"allow": ("127.0.0.0/8",), "allow_http": True}  # the options of a target that is reached here
LOOPBACK_TOML = 'allow = ["127.0.0.0/8"]\nallow_http = true\n'
LIMIT = 60.0  # seconds that anything on loopback may take before a test gives up


@dataclass(frozen=True, kw_only=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int = 200
    body: str | bytes = ""
    headers: dict[str, str] = field(default_factory=dict)


def as_json(status: int, /, **content: Any) -> Answer:
    return Answer(status=status, body=json.dumps(content), headers={"content-type": "application/json"})


@dataclass
class Ledger:
    """What a receiver took, in order, and what it refused."""

    taken: list[Any] = field(default_factory=list)
    refused: list[tuple[Request, Answer]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, message: Any) -> None:
        with self.changed:
            self.taken.append(message)
            self.changed.notify_all()

    def refuse(self, request: Request, answer: Answer) -> None:
        with self.changed:
            self.refused.append((request, answer))
            self.changed.notify_all()

    def wait_for(self, number: int) -> list[Any]:
        """All that was taken, once it is at least `number` messages."""
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.taken) >= number, LIMIT):
                raise AssertionError(f"{len(self.taken)} of {number} messages came; refused: {self.refused}")
            return list(self.taken)


class Service:
    """A service on loopback: `respond` answers a request, `url` is its address."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.url = ""
        self.connections = 0  # that were made
        self.next_answers: list[Answer] = []  # given instead of what the service would say

    def respond(self, request: Request) -> Answer:
        raise NotImplementedError

    def answer(self, request: Request) -> Answer:
        answer = self.next_answers.pop(0) if self.next_answers else self.respond(request)
        if answer.status >= 300:
            self.ledger.refuse(request, answer)
        return answer


@contextmanager
def serving(service: Service) -> Iterator[Service]:
    """`service`, listening."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            service.connections += 1
            super().setup()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = service.answer(Request(method=self.command, path=self.path, headers=headers, body=body))
            content = answer.body.encode() if isinstance(answer.body, str) else answer.body
            self.send_response(answer.status)
            for name, value in {**answer.headers, "content-length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST  # noqa: N815 - the library's name

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 512

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that was killed hangs up."""
            if not isinstance(sys.exception(), OSError):
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Slack(Service):
    """An incoming webhook and chat.postMessage (see the Slack documentation named in feeder/targets/slack.py)."""

    path = "/services/T000/B000/XXXXXXXX"
    token = "xoxb-1-test"

    def __init__(self) -> None:
        super().__init__()
        self.scopes = {"chat:write", "channels:history"}

    def respond(self, request: Request) -> Answer:
        if request.path == self.path:
            fault = self.fault(request)
            return Answer(status=400, body=fault) if fault else self._take(request, Answer(body="ok"))
        if request.path == "/api/chat.postMessage":
            return self._web_api(request)
        if request.path == "/api/conversations.history":
            return self._history(request)
        return Answer(status=404, body="no_service")

    def _web_api(self, request: Request) -> Answer:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return as_json(200, ok=False, error="invalid_auth")
        if fault := self.fault(request):
            return as_json(200, ok=False, error=fault)
        if not request.json().get("channel"):
            return as_json(200, ok=False, error="channel_not_found")
        return self._take(request, as_json(200, ok=True, ts=f"1700000000.{len(self.ledger.taken):06}"))

    def _history(self, request: Request) -> Answer:
        """conversations.history, which gives metadata to those who ask for them."""
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return as_json(200, ok=False, error="invalid_auth")
        if "channels:history" not in self.scopes:
            return as_json(200, ok=False, error="missing_scope")
        asked = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if not asked.get("channel"):
            return as_json(200, ok=False, error="channel_not_found")
        start, size = int(asked.get("cursor", "0")), min(int(asked.get("limit", "100")), 3)  # pages are small here
        found = [{**each, "ts": f"1700000000.{place:06}"} for place, each in enumerate(self.ledger.taken)][::-1]
        if asked.get("include_all_metadata") != "true":
            found = [{name: value for name, value in each.items() if name != "metadata"} for each in found]
        more = str(start + size) if start + size < len(found) else ""
        messages = found[start : start + size]
        return as_json(200, ok=True, messages=messages, response_metadata={"next_cursor": more})

    def _take(self, request: Request, answer: Answer) -> Answer:
        self.ledger.take(request.json())
        return answer

    @staticmethod
    def fault(request: Request) -> str:
        """Why Slack would refuse the message; empty when it would not."""
        if not request.headers.get("content-type", "").startswith("application/json"):
            return "invalid_payload"
        try:
            message = request.json()
        except ValueError:
            return "invalid_payload"
        blocks = message.get("blocks", [])
        if not message.get("text") or len(message["text"]) > 40_000:
            return "no_text"
        if not 0 < len(blocks) <= 50 or any(_slack_block_fault(block) for block in blocks):
            return "invalid_blocks"
        return ""


def _slack_block_fault(block: dict[str, Any]) -> bool:
    if block["type"] == "section":
        image = block.get("accessory")
        bad_image = image and not (
            image["image_url"] and len(image["image_url"]) <= 3000 and 0 < len(image["alt_text"]) <= 2000
        )
        return bool(bad_image) or _slack_text_fault(block["text"]["text"])
    if block["type"] == "context":
        texts = [element["text"] for element in block["elements"]]
        return not 0 < len(texts) <= 10 or any(map(_slack_text_fault, texts))
    return True


def _slack_text_fault(text: str) -> bool:
    """Too long, or with a `<…>` that is no link, or an `&` that is no entity."""
    tokens = re.findall(r"<[^>]*>", text)
    plain = re.sub(r"<[^>]*>", "", text)
    return (
        not 0 < len(text.encode("utf-16-le")) // 2 <= 3000
        or any(not re.fullmatch(r"<https?://[^|<>\s]+\|[^|<>\n]+>", token) for token in tokens)
        or bool(re.search(r"[<>]|&(?!amp;|lt;|gt;)", plain))
    )


def linked(status: str) -> str:
    """A status as the instance shows it, in HTML."""
    words = [
        f'<a href="{html.escape(word)}">{html.escape(word)}</a>' if word.startswith("http") else html.escape(word)
        for word in status.split()
    ]
    return f"<p>{' '.join(words)}</p>"


class Mastodon(Service):
    """POST /api/v1/statuses (https://docs.joinmastodon.org/methods/statuses/#create), and what others make of it.

    `software` is what NodeInfo tells, and how keys are treated: as Mastodon does, which stores a key when the status is made
    (`working` is held open while it makes one); as GoToSocial, which answers a repeat without the status; or not at all.
    """

    token = "mastodon-test-token"

    def __init__(self, software: str = "mastodon") -> None:
        super().__init__()
        self.software = software
        self.by_key: dict[str, dict[str, Any]] = {}
        self.scopes = {"write:statuses", "read:accounts", "read:statuses"}
        self.working = threading.Event()  # set: statuses are made at once
        self.working.set()
        self.pages = True  # whether `limit` and `max_id` are heeded

    def respond(self, request: Request) -> Answer:
        return self._about(request) or self._api(request)

    def _about(self, request: Request) -> Answer | None:
        """NodeInfo (https://nodeinfo.diaspora.software/protocol), which everybody may read."""
        if request.path == "/.well-known/nodeinfo":
            links = [{"rel": "http://nodeinfo.diaspora.software/ns/schema/2.0", "href": f"{self.url}/nodeinfo/2.0"}]
            return as_json(200, links=links)
        if request.path == "/nodeinfo/2.0":
            return as_json(
                200, version="2.0", software={"name": self.software, "version": "1"}, protocols=["activitypub"]
            )
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return as_json(401, error="The access token is invalid")
        if request.method == "GET":
            return self._read(request)
        if (request.method, request.path) != ("POST", "/api/v1/statuses"):
            return as_json(404, error="Record not found")
        return self._post(request)

    def _post(self, request: Request) -> Answer:
        key = request.headers.get("idempotency-key", "")
        if key in self.by_key and self.software == "gotosocial":  # internal/api/client/statuses/statuscreate.go
            return as_json(200, status="request already handled")
        if key in self.by_key:
            return as_json(200, **self.by_key[key])
        body = request.json()
        if fault := self.fault(body):
            return as_json(422, error=f"Validation failed: {fault}")
        self.working.wait(LIMIT)
        status = self._status(body)
        self.ledger.take({**status, "key": key})
        if key and self.software in ("mastodon", "gotosocial"):
            self.by_key[key] = status
        return as_json(200, **status)

    def _status(self, body: dict[str, Any]) -> dict[str, Any]:
        """A status with all that a real one has: some 2,300 bytes (https://docs.joinmastodon.org/entities/Status/)."""
        number = str(len(self.ledger.taken) + 1)
        written = {"content": linked(body["status"]), "created_at": datetime.now(UTC).isoformat()}
        account = {
            "id": "1",
            "username": "feeder",
            "acct": "feeder",
            "display_name": "Headlines",
            "note": f"<p>{'What this account is about. ' * 12}</p>",
            "url": f"{self.url}/@feeder",
            "avatar": f"{self.url}/system/accounts/avatars/000/000/001/original/avatar.png",
            "header": f"{self.url}/system/accounts/headers/000/000/001/original/header.png",
            "fields": [
                {"name": "Site", "value": '<a href="https://news.example">news.example</a>', "verified_at": None}
            ]
            * 4,
            "emojis": [],
            "followers_count": 12345,
            "statuses_count": 6789,
        }
        card = {
            "url": "https://news.example/card",
            "title": "The title that the page has",
            "description": "What the page says of itself, at some length. " * 8,
            "type": "link",
            "image": f"{self.url}/system/cache/preview_cards/images/000/000/001/original/card.jpg",
            "blurhash": "UBL_:rOpGG-;~qRjWBay%MWBj[ofWBofayj[",
        }
        tags = [{"name": f"tag{each}", "url": f"{self.url}/tags/tag{each}"} for each in range(5)]
        others = {
            "account": account,
            "card": card,
            "tags": tags,
            "mentions": [],
            "media_attachments": [],
            "reblog": None,
        }
        return {"id": number, "url": f"{self.url}/@feeder/{number}", **others, **body, **written}

    def _read(self, request: Request) -> Answer:
        """GET /api/v1/accounts/verify_credentials and /api/v1/accounts/:id/statuses."""
        parts = urlsplit(request.path)
        needed = "read:accounts" if parts.path.endswith("verify_credentials") else "read:statuses"
        if needed not in self.scopes:
            return as_json(403, error="This action is outside the authorized scopes")
        if parts.path == "/api/v1/accounts/verify_credentials":
            return as_json(200, id="1", username="feeder")
        if parts.path != "/api/v1/accounts/1/statuses":
            return as_json(404, error="Record not found")
        asked = parse_qs(parts.query) if self.pages else {}
        before = int(asked.get("max_id", ["1000000"])[0])
        found = [each for each in reversed(self.ledger.taken) if int(each["id"]) < before]
        return Answer(body=json.dumps(found[: min(int(asked.get("limit", ["20"])[0]), 40)]))

    @staticmethod
    def fault(body: dict[str, Any]) -> str:
        status = body.get("status", "")
        counted = regex.sub(r"https?://\S+", "x" * 23, status)
        counted = regex.sub(r"@(\w+)@[\w.-]+", r"@\1", counted)
        if not status.strip():
            return "Text can't be blank"
        if len(regex.findall(r"\X", counted)) > 500:
            return "Text character limit of 500 exceeded"
        if body.get("visibility", "public") not in ("public", "unlisted", "private", "direct"):
            return "Visibility is not included in the list"
        if not re.fullmatch(r"[a-z]{2,3}", body.get("language", "en")):
            return "Language is invalid"
        return ""


class Hub(Service):
    """A WebSub hub that publishers tell of their changes, as hubs on the web have it."""

    path = "/publish"

    def respond(self, request: Request) -> Answer:
        if (request.method, request.path) != ("POST", self.path):
            return Answer(status=404, body="not a hub")
        if request.headers.get("content-type") != "application/x-www-form-urlencoded":
            return Answer(status=400, body="not a form")
        form = parse_qs(request.body.decode())
        urls = form.get("hub.url", [])
        if form.get("hub.mode") != ["publish"] or len(urls) != 1 or not urls[0].startswith("http"):
            return Answer(status=400, body="hub.mode must be publish, hub.url an address")
        self.ledger.take(urls[0])
        return Answer(status=204)


class SignedWebhook(Service):
    """A receiver of Standard Webhooks that checks the signature with the official verifier."""

    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []

    def respond(self, request: Request) -> Answer:
        try:
            event = Webhook(self.secret).verify(request.body, request.headers)
        except WebhookVerificationError as error:
            return Answer(status=401, body=str(error))
        if len(request.body) > 20_000 or event.get("type") != "article.published":
            return Answer(status=400, body="not an event of ours")
        self.ids.append(request.headers["webhook-id"])
        self.ledger.take(event)
        return Answer(status=204)
