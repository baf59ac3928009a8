from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import standardwebhooks
from pydantic import ValidationError

from feeder import inspection
from feeder.models import Image, Provider, Topic
from feeder.targets import webhook
from feeder.targets.webhook import Webhook
from tests.articles import KEY, PUBLISHED, article, drive, headline, related, requests_of, seed

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OPTIONS = {"kind": "webhook", "url": "https://receiver.example/hook", "secret": SECRET}
ENDPOINT = Webhook(**OPTIONS)


def signed(target: Webhook, now: datetime) -> httpx.Request:
    (request,) = requests_of(target, headline())
    target.sign(request, now)
    return request


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, "delivered"),
        (201, "delivered"),
        (202, "delivered"),
        (204, "delivered"),
        (299, "delivered"),
        (300, "rejected"),
        (304, "rejected"),
        (400, "rejected"),
        (401, "rejected"),
        (403, "rejected"),
        (404, "rejected"),
        (408, "retry"),
        (409, "rejected"),
        (410, "gone"),
        (422, "rejected"),
        (425, "retry"),
        (429, "retry"),
        (500, "retry"),
        (501, "retry"),
        (502, "unknown"),
        (503, "retry"),
        (504, "unknown"),
        (599, "retry"),
    ],
)
def test_an_answer_is_its_status(status, kind):
    assert kind == drive(ENDPOINT, headline(), httpx.Response(status)).kind


def test_a_redirect_says_what_to_do():
    outcome = drive(ENDPOINT, headline(), httpx.Response(301, headers={"location": "https://elsewhere.example/"}))

    assert outcome.reason == "301: redirects are not followed; set the address it leads to"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_throttled_endpoint_is_asked_when_it_says(status):
    outcome = drive(ENDPOINT, headline(), httpx.Response(status, headers={"Retry-After": "7200"}))

    assert outcome.not_before == timedelta(hours=2)


def test_the_signature_is_that_of_the_standards_own_example():
    headers = {"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek"}
    request = httpx.Request("POST", "https://receiver.example/", content=b'{"test": 2432232314}', headers=headers)

    ENDPOINT.sign(request, datetime.fromtimestamp(1614265330, UTC))

    assert request.headers["webhook-timestamp"] == "1614265330"
    assert request.headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_official_verifier_takes_what_is_sent():
    request = signed(ENDPOINT, datetime.now(UTC))

    assert json.loads(request.content) == standardwebhooks.Webhook(SECRET).verify(request.content, request.headers)


@pytest.mark.parametrize(
    ("age", "secret", "spoil"),
    [
        (timedelta(0), SECRET, b" "),
        (timedelta(0), "whsec_" + base64.b64encode(b"another" * 5).decode(), b""),
        (timedelta(minutes=10), SECRET, b""),
    ],
    ids=["changed body", "another secret", "old"],
)
def test_the_official_verifier_refuses_everything_else(age, secret, spoil):
    request = signed(ENDPOINT, datetime.now(UTC) - age)

    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(secret).verify(request.content + spoil, request.headers)


@pytest.mark.parametrize("title", ["Zürich – “quoted” \\ / \u2028 </script>", "日本語 👩🏽\u200d🚀", "\u202eabc"])
def test_what_is_signed_is_what_is_sent_whatever_the_title(title):
    (request,) = requests_of(ENDPOINT, headline(article=article(title=title)))
    ENDPOINT.sign(request, datetime.now(UTC))

    event = standardwebhooks.Webhook(SECRET).verify(request.content, request.headers)

    assert title == event["data"]["title"]


def test_each_attempt_has_the_same_id_and_body_at_a_new_time():
    first, second = signed(ENDPOINT, NOW), signed(ENDPOINT, NOW + timedelta(hours=5))

    assert first.headers["webhook-id"] == second.headers["webhook-id"] == f"msg_{KEY}"
    assert first.content == second.content
    assert [str(int(NOW.timestamp())), str(int(NOW.timestamp()) + 18_000)] == [
        request.headers["webhook-timestamp"] for request in (first, second)
    ]
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


def test_an_id_has_no_dot():
    (request,) = requests_of(ENDPOINT, headline())

    assert "." not in request.headers["webhook-id"]


def test_nothing_is_signed_before_it_is_sent():
    (request,) = requests_of(ENDPOINT, headline())

    assert {"webhook-id"} == {name for name in request.headers if name.startswith("webhook-")}


@pytest.mark.parametrize("length", [24, 32, 64])
@pytest.mark.parametrize("prefix", ["whsec_", ""])
def test_a_secret_is_24_to_64_bytes_in_base64(length, prefix):
    secret = prefix + base64.b64encode(bytes(range(length))).decode()

    request = signed(Webhook(**{**OPTIONS, "secret": secret}), datetime.now(UTC))

    assert standardwebhooks.Webhook(secret).verify(request.content, request.headers)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
        "whsec_not base64 at all, is it?????????",
        "whsec_" + "ä" * 40,
        "a passphrase that somebody typed in",
    ],
)
def test_a_secret_that_is_none_is_refused_and_not_shown(secret):
    with pytest.raises(ValidationError, match="is no signing secret") as refused:
        Webhook(**{**OPTIONS, "secret": secret})

    assert len(secret) < 7 or secret not in str(refused.value)


def test_an_endpoint_needs_address_and_secret():
    with pytest.raises(ValidationError, match=r"(?s)url.*secret"):
        Webhook(kind="webhook")


def test_an_event_is_what_the_article_says():
    told = headline(
        article=article(
            source_url="https://source.example/1",
            category="news",
            quality=39,
            images=(Image(url="https://news.example/a.jpg", width=2, height=1),),
        ),
        related=(related(published=PUBLISHED, excerpt="Elsewhere too."), related(provider=None)),
        language="de",
    )

    assert json.loads(webhook.body(told)) == {
        "type": "article.published",
        "timestamp": "2026-10-31T12:00:00Z",
        "data": {
            "id": "a" * 32,
            "title": "A quiet day",
            "url": "https://news.example/2026/a-quiet-day",
            "source_url": "https://source.example/1",
            "excerpt": "Nothing happened, and here is why.",
            "published": "2026-10-31T12:00:00Z",
            "type": "article",
            "category": "news",
            "quality": 39,
            "language": "de",
            "provider": {"name": "The Daily", "domain": "news.example"},
            "topics": [{"title": "AI Ethics", "slug": "ai-ethics"}],
            "hashtags": ["AIEthics"],
            "image": {"url": "https://news.example/a.jpg", "width": 2, "height": 1, "title": None},
            "related": [
                {
                    "title": "The same day elsewhere",
                    "url": "https://other.example/the-same-day",
                    "excerpt": "Elsewhere too.",
                    "published": "2026-10-31T12:00:00Z",
                    "provider": {"name": "The Weekly", "domain": "other.example"},
                },
                {
                    "title": "The same day elsewhere",
                    "url": "https://other.example/the-same-day",
                    "excerpt": None,
                    "published": None,
                    "provider": None,
                },
            ],
        },
    }


def test_what_an_article_lacks_is_null_and_its_key_stays():
    bare = headline(article=article(provider=None, excerpt="", topics=()), related=(), hashtags=(), language="")

    data = json.loads(webhook.body(bare))["data"]

    assert (data["provider"], data["image"], data["source_url"], data["language"], data["quality"]) == (None,) * 5
    assert (data["excerpt"], data["topics"], data["related"]) == ("", [], [])


def test_neither_heat_nor_state_of_an_article_is_told():
    seen = webhook.body(headline(article=article(heat=5, draft=True)))

    assert webhook.body(headline(article=article(heat=-1, draft=False))) == seen


def test_related_links_are_left_out_from_the_end_where_a_body_grows_too_large():
    links = tuple(related(title=f"{number} {'x' * 490}", excerpt="y" * 1_500) for number in range(20))

    encoded = webhook.body(headline(related=links))

    kept = json.loads(encoded)["data"]["related"]
    assert [link.title for link in links[: len(kept)]] == [link["title"] for link in kept]
    assert 20_000 - 2_200 < len(encoded) <= 20_000


@pytest.mark.parametrize(("over", "kept"), [(0, 2), (1, 1)])
def test_a_body_may_be_filled_to_its_limit(over, kept):
    address = "https://news.example.org/"
    empty = len(webhook.body(headline(article=article(url=address), related=(related(), related()))))
    told = headline(article=article(url=address + "x" * (20_000 - empty + over)), related=(related(), related()))

    assert kept == len(json.loads(webhook.body(told))["data"]["related"])


def test_a_body_is_measured_in_bytes():
    links = tuple(related(title="語" * 500, provider=Provider(name="👩🏽\u200d🚀" * 50)) for _ in range(20))

    encoded = webhook.body(headline(related=links))

    assert 0 < len(json.loads(encoded)["data"]["related"]) < 20
    assert len(encoded) <= 20_000


def test_all_related_links_go_along_where_they_fit():
    links = tuple(related(title=f"{number}") for number in range(20))

    assert len(json.loads(webhook.body(headline(related=links)))["data"]["related"]) == 20


def test_a_long_excerpt_is_cut():
    data = json.loads(webhook.body(headline(article=article(excerpt="word " * 1_000))))["data"]

    assert 1_900 < len(data["excerpt"]) <= 2_000
    assert data["excerpt"].endswith("word…")


def test_topics_keep_their_own_words():
    topics = (Topic(label="C++", slug="c-plus-plus-0a"), Topic(label="AI", slug="ai"))

    data = json.loads(webhook.body(headline(article=article(topics=topics))))["data"]

    assert data["topics"] == [{"title": "C++", "slug": "c-plus-plus-0a"}, {"title": "AI", "slug": "ai"}]


def test_a_seed_is_an_event_with_all_its_related_links():
    told = seed("as-actors-strike")

    data = json.loads(webhook.body(headline(article=told, related=told.related[:5], hashtags=("AIEthics", "AI"))))[
        "data"
    ]

    assert (told.id, told.title, told.url) == (data["id"], data["title"], data["url"])
    assert [link.url for link in told.related[:5]] == [link["url"] for link in data["related"]]


def test_a_test_message_is_no_article():
    (request,) = requests_of(ENDPOINT, inspection.sample(datetime.now(UTC)))

    assert json.loads(request.content)["type"] == "test"
