"""One contract that every kind of target keeps. A new kind gets a row here, and a test of its own for what only it does."""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, TypeAdapter, ValidationError
from rich.console import Console

from feeder import terminal
from feeder.models import Headline, Image, Outcome, Provider, Topic
from feeder.outbox import Care
from feeder.targets import kinds, target_class
from feeder.targets.base import Target, not_before
from tests import fakes
from tests.articles import KEY, article, drive, headline, related, requests_of, seed

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
UNKIND = "<!channel> @everyone @user [x](javascript:alert(1)) *b* <b> & |"

LONG_TITLES = {
    "latin": ("A headline of many words, " * 200)[:5_000],
    "one word": "x" * 5_000,
    "right to left": ("\u200fعنوان طويل جدا " * 400)[:5_000],
    "astronauts": "👩🏽\u200d🚀" * 1_250,
    "accents": "e\u0301" * 2_500,
    "mentions": "@all " * 1_000,
    "to be escaped": "&<*_" * 1_250,
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the contract has to know about a kind, once for each way to use it."""

    options: dict[str, Any]
    fault: Callable[[httpx.Request], str]  # why the service would refuse the request; empty when it would not
    texts: Callable[[httpx.Request], str]  # all that the service shows of the request, as it is written there
    active: str  # what in these texts would call somebody, format or run something
    secrets: tuple[str, ...] = ()
    in_url: str = ""  # the secret that the request's own address is
    content: dict[str, Any] = field(default_factory=dict)  # what the service answers when it took a message
    network: bool = True

    @property
    def target(self) -> Target:
        return target_class(self.options["kind"])(**self.options)

    @property
    def taken(self) -> httpx.Response:
        return httpx.Response(200, json=self.content) if self.content else httpx.Response(200, text="ok")


def as_fake(request: httpx.Request) -> fakes.Request:
    headers = {name.lower(): value for name, value in request.headers.items()}
    return fakes.Request(method=request.method, path=request.url.path, headers=headers, body=request.content)


def slack_fault(request: httpx.Request) -> str:
    return fakes.Slack.fault(as_fake(request))


def slack_texts(request: httpx.Request) -> str:
    """With the labels alone of links to web pages."""
    message = json.loads(request.content)
    blocks = [
        part["text"]
        for block in message["blocks"]
        for part in (block["elements"] if "elements" in block else [block["text"]])
    ]
    return re.sub(r"<https?://[^|<>\s]+\|([^|<>\n]*)>", r"\1", "\n".join([message["text"], *blocks]))


def mastodon_fault(request: httpx.Request) -> str:
    return fakes.Mastodon.fault(json.loads(request.content))


def mastodon_texts(request: httpx.Request) -> str:
    return json.loads(request.content)["status"]


def webhook_fault(request: httpx.Request) -> str:
    event = json.loads(request.content)
    if request.headers["content-type"] != "application/json" or event.keys() != {"type", "timestamp", "data"}:
        return "no event"
    return "too large" if len(request.content) > 20_000 else ""


def webhook_texts(request: httpx.Request) -> str:
    data = json.loads(request.content)["data"]
    return "\n".join([data["title"], *(link["title"] for link in data["related"])])


def console_fault(request: httpx.Request) -> str:
    return "" if console_texts(request).startswith("■ ") else "nothing to see"


def console_texts(request: httpx.Request) -> str:
    output = io.StringIO()
    terminal.draw(Console(file=output, width=40), json.loads(request.content))
    return output.getvalue()


WEBHOOK_URL = "https://hooks.slack.com/services/T0/B0/slacksecret"
ENDPOINT = "https://receiver.example/hook?key=endpointsecret"
ROWS = {
    "console": Row(
        options={"kind": "console"}, fault=console_fault, texts=console_texts, active=r"\x1b", network=False
    ),
    "mastodon": Row(
        options={"kind": "mastodon", "url": "https://mastodon.example", "token": "mastodonsecret"},
        fault=mastodon_fault,
        texts=mastodon_texts,
        active=r"@\w",
        secrets=("https://mastodon.example", "mastodonsecret"),
        in_url="https://mastodon.example",
        content={"id": "111"},
    ),
    "slack": Row(
        options={"kind": "slack", "url": WEBHOOK_URL},
        fault=slack_fault,
        texts=slack_texts,
        active=r"<|\*b\*",
        secrets=(WEBHOOK_URL,),
        in_url=WEBHOOK_URL,
    ),
    "slack bot": Row(
        options={"kind": "slack", "token": "xoxb-slacksecret", "channel": "C0"},
        fault=slack_fault,
        texts=slack_texts,
        active=r"<|\*b\*",
        secrets=("xoxb-slacksecret",),
        content={"ok": True, "ts": "1.2"},
    ),
    "webhook": Row(
        options={"kind": "webhook", "url": ENDPOINT, "secret": fakes.SignedWebhook.secret},
        fault=webhook_fault,
        texts=webhook_texts,
        active=r"[\x00-\x09\x0b-\x1f]",
        secrets=(ENDPOINT, fakes.SignedWebhook.secret),
        in_url=ENDPOINT,
    ),
}
every_target = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
every_service = pytest.mark.parametrize(
    "row", [row for row in ROWS.values() if row.network], ids=[name for name, row in ROWS.items() if row.network]
)


def test_every_kind_has_a_row_here():
    assert set(kinds()) == {row.options["kind"] for row in ROWS.values()}


@pytest.mark.parametrize("kind", kinds())
def test_a_kind_is_the_name_of_its_module_and_of_its_setting(kind):
    found = target_class(kind)

    assert f"feeder.targets.{kind}" == found.__module__
    TypeAdapter(found.model_fields["kind"].annotation).validate_python(kind)
    with pytest.raises(ValidationError):
        TypeAdapter(found.model_fields["kind"].annotation).validate_python("another")


@pytest.mark.parametrize("kind", ["base", "discourse", "", "slack.Slack"])
def test_a_kind_that_there_is_not_is_a_key_error(kind):
    with pytest.raises(KeyError):
        target_class(kind)


@every_target
def test_it_yields_a_request_and_returns_an_outcome(row):
    steps = row.target.deliver(headline(), KEY)

    assert isinstance(next(steps), httpx.Request)
    with pytest.raises(StopIteration) as end:
        steps.send(row.taken)
    assert isinstance(end.value.value, Outcome)


@every_target
@pytest.mark.parametrize("told", [headline(), headline(article=seed("as-actors-strike"))], ids=["plain", "seed"])
def test_the_same_headline_and_key_give_the_same_bytes(row, told):
    (first,), (again,) = requests_of(row.target, told), requests_of(row.target, told)

    assert (first.method, first.url, first.headers, first.content) == (
        again.method,
        again.url,
        again.headers,
        again.content,
    )


@every_target
def test_a_message_that_the_service_took_is_delivered(row):
    assert drive(row.target, headline(), row.taken).kind == "delivered"


@every_target
@pytest.mark.parametrize(
    ("status", "kinds_of_outcome"),
    [
        (301, {"rejected"}),
        (302, {"rejected"}),
        (307, {"rejected"}),
        (308, {"rejected"}),
        (400, {"rejected"}),
        (404, {"rejected", "gone"}),
        (408, {"retry"}),
        (410, {"gone"}),
        (413, {"rejected"}),
        (429, {"retry"}),
        (500, {"retry"}),
        (502, {"unknown"}),
        (503, {"retry"}),
        (504, {"unknown"}),
    ],
)
def test_an_http_status_means_the_same_everywhere(row, status, kinds_of_outcome):
    response = httpx.Response(status, headers={"location": "https://elsewhere.example/"} if status < 400 else {})

    assert drive(row.target, headline(), response).kind in kinds_of_outcome


@every_target
def test_what_the_service_said_is_the_reason(row):
    said = "the\r\nflux   capacitor is down"

    assert "503 the flux capacitor is down" in drive(row.target, headline(), httpx.Response(503, text=said)).reason


@every_target
def test_a_page_for_an_answer_is_a_short_reason(row):
    outcome = drive(row.target, headline(), httpx.Response(500, text="<html>\n" + "x" * 20_000))

    assert len(outcome.reason) <= 310


@every_service
@pytest.mark.parametrize(
    ("asked", "wait"),
    [
        ("0", timedelta(0)),
        ("120", timedelta(minutes=2)),
        ("64.57", timedelta(seconds=64.57)),
        ("Sun, 01 Nov 2026 13:00:00 GMT", datetime(2026, 11, 1, 13, 0, tzinfo=UTC)),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_service_that_says_when_to_come_back_is_asked_then(row, status, asked, wait):
    outcome = drive(row.target, headline(), httpx.Response(status, headers={"Retry-After": asked}))

    assert (outcome.kind, outcome.not_before) == ("retry", wait)


@every_service
@pytest.mark.parametrize("asked", [None, "", "soon", "Sun, 99 Nov 2026 13:00:00 GMT"])
def test_a_rate_limit_that_names_no_time_waits_a_minute(row, asked):
    response = httpx.Response(429, headers={} if asked is None else {"Retry-After": asked})

    outcome = drive(row.target, headline(), response)

    assert (outcome.kind, outcome.not_before) == ("retry", timedelta(seconds=60))


@every_service
@pytest.mark.parametrize("asked", ["-5", "nan", "-inf"])
def test_a_wait_that_is_none_is_no_wait(row, asked):
    outcome = drive(row.target, headline(), httpx.Response(429, headers={"Retry-After": asked}))

    assert (outcome.kind, outcome.not_before) == ("retry", timedelta(0))


@every_target
def test_its_secrets_are_all_of_its_secret_options(row):
    target = row.target
    secret_options = {value.get_secret_value() for value in dict(target).values() if isinstance(value, SecretStr)}

    assert set(row.secrets) <= secret_options
    assert set(target.secrets()) == secret_options
    assert sorted(target.secrets(), key=len, reverse=True) == target.secrets()


@every_target
def test_no_secret_is_seen_of_it(row):
    target = row.target

    assert [secret for secret in row.secrets if secret in f"{target!r} {target} {target.model_dump()}"] == []


@every_target
def test_no_secret_is_in_an_unsigned_request_but_its_own_address(row):
    (request,) = requests_of(row.target, headline())
    shown = f"{request.url} {request.headers!r} {request.headers.raw!r} {request.content!r}"

    assert str(request.url).startswith(row.in_url)
    assert [secret for secret in row.secrets if secret in shown and secret != row.in_url] == []


@every_target
def test_signing_leaves_address_and_body_alone(row):
    (request,) = requests_of(row.target, headline())
    before = (request.method, request.url, request.content)

    row.target.sign(request, NOW)

    assert before == (request.method, request.url, request.content)


@every_target
def test_a_secret_that_is_not_right_is_not_shown(row):
    wrong = {name: "wrong secret" if value in row.secrets else value for name, value in row.options.items()}

    with pytest.raises(ValidationError) as refused:
        target_class(row.options["kind"])(**wrong, no_such_option=True)

    assert "no_such_option" in str(refused.value)
    assert "wrong secret" not in str(refused.value)


@every_service
@pytest.mark.parametrize(
    "address", ["hooks.example", "ftp://hooks.example/", "https://", "https://a b.example/", "https://[x"]
)
def test_an_address_that_is_none_is_refused(row, address):
    with pytest.raises(ValidationError, match=r"is not an http\(s\) address"):
        target_class(row.options["kind"])(**{**row.options, "api" if not row.in_url else "url": address})


@every_target
def test_it_is_frozen(row):
    with pytest.raises(ValidationError, match="frozen"):
        row.target.related = 4


@every_target
def test_its_rules_are_its_options(row):
    target = target_class(row.options["kind"])(
        **row.options, topics="AI Ethics, AI", related=2, backfill=7, hashtags=("own",)
    )

    rules = target.rules("here")

    assert ("here", {"ai-ethics", "ai"}, 2, 7, ("own",)) == (
        rules.target,
        rules.feeds,
        rules.related,
        rules.backfill,
        rules.hashtags,
    )


@every_target
def test_it_wants_all_articles_where_no_topics_are_set_and_tells_none_of_the_past(row):
    assert ({"all"}, 0) == (row.target.rules("here").feeds, row.target.rules("here").backfill)


@every_target
@pytest.mark.parametrize("on_unknown", ["hold", "resend"])
def test_it_says_what_becomes_of_a_message_in_doubt(row, on_unknown):
    target = target_class(row.options["kind"])(**row.options, on_unknown=on_unknown)

    assert Care(replay=target.replay, looks=target.can_look, on_unknown=on_unknown) == target.care()


@every_target
def test_a_message_in_doubt_is_held_unless_its_owner_says_otherwise(row):
    assert row.target.care().on_unknown == "hold"


@pytest.mark.parametrize(
    ("kind", "replay"),
    [("console", None), ("slack", None), ("mastodon", None), ("webhook", timedelta(days=365))],
)
def test_only_a_service_that_knows_a_key_again_is_sent_a_message_twice(kind, replay):
    assert replay == target_class(kind).replay


@every_target
@pytest.mark.parametrize(
    "name",
    [
        "as-actors-strike",
        "bad-timing",
        "invests-more-than",
        "lists-ai-job-worth",
        "hypocrisy",
    ],
)
def test_every_seed_is_a_message_that_the_service_takes(row, name):
    told = seed(name)

    (request,) = requests_of(row.target, headline(article=told, related=told.related[:20], hashtags=("AI", "Ethics")))

    assert not row.fault(request)


@every_target
@pytest.mark.parametrize(
    "told",
    [
        Headline(article=article(excerpt="", provider=None, topics=())),
        headline(related=(related(provider=None),)),
        headline(article=article(images=(Image(url="https://news.example/a.jpg"),))),
    ],
    ids=["bare", "no provider", "image without title"],
)
def test_what_an_article_lacks_is_left_out(row, told):
    (request,) = requests_of(row.target, told)

    assert not row.fault(request)


def longest(title: str) -> Headline:
    """A headline of which everything is as much as can be imagined."""
    page = "https://news.example/"
    provider = Provider(name=title[:1_000], domain="news.example")
    links = tuple(
        related(title=title, url=f"{page}{number:x<2000}", excerpt=title, provider=provider) for number in range(20)
    )
    topics = tuple(Topic(label=f"A rather long topic {number}", slug=f"topic-{number}") for number in range(50))
    return Headline(
        article=article(
            title=title,
            url=page + "u" * (2_048 - len(page)),
            excerpt=title,
            provider=provider,
            topics=topics,
            images=(Image(url=page + "i" * (2_048 - len(page)), title=title[:500]),),
            related=links,
        ),
        related=links,
        hashtags=tuple(f"ARatherLongTopic{number}" for number in range(50)),
        language="en",
    )


@pytest.mark.parametrize(
    ("row", "title"),
    [
        pytest.param(row, title, id=f"{name}-{kind}")
        for name, row in ROWS.items()
        for kind, title in LONG_TITLES.items()
    ],
)
def test_the_longest_headline_is_a_message_that_the_service_takes(row, title):
    assert len(title) == 5_000

    (request,) = requests_of(row.target, longest(title))

    assert not row.fault(request)


@every_target
@pytest.mark.parametrize(
    "told",
    [
        headline(article=article(title=UNKIND)),
        headline(related=(related(title=UNKIND),)),
        headline(related=(related(provider=Provider(name=UNKIND)),)),
        headline(article=article(provider=Provider(name=UNKIND))),
    ],
    ids=["title", "related title", "related provider", "provider"],
)
def test_what_an_article_says_calls_nobody_and_runs_nothing(row, told):
    (request,) = requests_of(row.target, told)

    assert not re.search(row.active, row.texts(request))
    assert not row.fault(request)


@every_target
def test_a_title_is_shown_as_it_is_written(row):
    (request,) = requests_of(row.target, headline(article=article(title=UNKIND)))

    assert UNKIND in html.unescape(row.texts(request)).replace("\u200b", "")


@pytest.mark.parametrize(
    ("asked", "when"),
    [
        ("Wed, 21 Oct 2026 07:28:00 GMT", datetime(2026, 10, 21, 7, 28, tzinfo=UTC)),
        ("Wed, 21 Oct 2026 07:28:00 -0000", datetime(2026, 10, 21, 7, 28, tzinfo=UTC)),
        ("Wed, 21 Oct 2026 07:28:00 +99999999999999999", None),
        ("soon", None),
        ("inf", timedelta(seconds=1e9)),
        ("nan", timedelta()),
        ("-5", timedelta()),
    ],
)
def test_a_time_to_wait_is_understood_or_left_out(asked, when):
    assert not_before(httpx.Response(503, headers={"retry-after": asked})) == when


@pytest.mark.parametrize(
    ("headers", "body", "wait"),
    [
        ({}, "", 60),
        ({"retry-after": "120"}, "", 120),
        ({"retry-after": "2.5"}, "", 2.5),
        ({"retry-after": "0"}, "", 0),
        ({}, '{"message": "You are being rate limited.", "retry_after": 64.57, "global": false}', 64.57),
        ({"retry-after": "65"}, '{"retry_after": 64.57}', 65),
        ({}, '{"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 2000}', 2),
        ({}, '{"ok": false, "parameters": {"retry_after": 35}}', 35),
        ({}, '{"code": "RATE_LIMIT_HIT", "retry-after": 28.706807374954224}', 28.706807374954224),
        ({"x-ratelimit-reset-after": "1.25"}, "", 1.25),
        ({"ratelimit-reset": "300"}, "", 300),
        ({"x-ratelimit-reset": "1e17"}, "", 1_000_000_000),
        ({"x-ratelimit-reset": "nonsense"}, '{"retry_after": "soon"}', 60),
        ({}, f'{{"retry_after": 1{"0" * 400}}}', 1_000_000_000),
        ({}, f'{{"retry_after": -1{"0" * 400}}}', 0),
        ({}, f'{{"retry_after": 1{"0" * 5_000}}}', 60),
        ({}, f'{{"parameters": {{"retry_after_ms": 1{"0" * 400}}}}}', 1_000_000_000),
        ({"retry-after": "9" * 400}, "", 1_000_000_000),
        ({"x-ratelimit-reset": "9" * 400}, "", 1_000_000_000),
        ({}, "[" * 20_000, 60),
        ({}, '{"retry_after": ' * 3_000, 60),
        ({}, "[1, 2]", 60),
        ({}, '{"parameters": []}', 60),
        ({"retry-after": "-5"}, "", 0),
    ],
)
def test_a_429_waits_as_long_as_the_service_says_in_whatever_way_it_says_it(headers, body, wait):
    assert not_before(httpx.Response(429, headers=headers, text=body)) == timedelta(seconds=wait)


@pytest.mark.parametrize(
    ("reset", "moment"),
    [
        ("2026-11-21T12:00:00.123456Z", datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)),
        ("2026-11-21T12:00:00", datetime(2026, 11, 21, 12, tzinfo=UTC)),
        ("1795262400", datetime(2026, 11, 21, 12, tzinfo=UTC)),
    ],
)
def test_a_429_waits_until_the_rate_limit_ends(reset, moment):
    assert not_before(httpx.Response(429, headers={"x-ratelimit-reset": reset})) == moment


@pytest.mark.parametrize("status", [500, 503])
def test_the_end_of_a_rate_limit_is_of_no_matter_to_other_failures(status):
    assert not_before(httpx.Response(status, headers={"x-ratelimit-reset": "2026-11-21T12:00:00Z"})) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(10**300, 10**500) | st.floats() | st.text(max_size=20),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=5), parts, max_size=3),
    max_leaves=8,
)
WAITS = st.fixed_dictionaries({}, optional=dict.fromkeys(("retry_after", "retry-after", "retry_after_ms"), JSON))
DATES = st.text("Wed, 21Oct2026:+-0GMTZ.e_", max_size=40)
NUMBERS = st.floats().map(str) | st.integers(-(10**400), 10**400).map(str) | st.from_regex(r"[-+]?[\d_]{1,30}(e\d+)?")
HEADERS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("retry-after", "x-ratelimit-reset", "x-ratelimit-reset-after"), NUMBERS | DATES)
)


@given(st.sampled_from([429, 500, 503]), HEADERS, WAITS, WAITS | JSON)
def test_whatever_a_service_asks_for_is_a_wait_a_time_or_nothing(status, headers, body, parameters):
    text = json.dumps({**body, "parameters": parameters})
    encoded = [(name, value.encode("utf-8", "surrogatepass")) for name, value in headers.items()]

    asked = not_before(httpx.Response(status, headers=encoded, text=text))

    assert asked is not None or status != 429
    assert asked is None or (timedelta() <= asked if isinstance(asked, timedelta) else asked.utcoffset() == timedelta())
