from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from feeder.models import Headline, Provider
from feeder.targets import mastodon
from feeder.targets.mastodon import Mastodon
from tests.articles import KEY, article, drive, headline, related, requests_of, seed

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
OPTIONS = {"kind": "mastodon", "url": "https://mastodon.example", "token": "secret"}
ACCOUNT = Mastodon(**OPTIONS)
POSTED = httpx.Response(200, json={"id": "109", "url": "https://mastodon.example/@feeder/109"})
WEB = st.from_regex(r"\Ahttps://[a-z]{1,9}\.example/[a-z0-9/]{0,300}\Z")


def counted(status: str) -> int:
    """As an instance counts: graphemes, 23 for a link, and a mention without its host."""
    short = re.sub(r"https?://\S+", "x" * 23, status)
    return len(regex.findall(r"\X", re.sub(r"@(\w+)@[\w.-]+", r"@\1", short)))


def told_by(target: Mastodon, told: Headline) -> dict:
    (request,) = requests_of(target, told)
    return json.loads(request.content)


@pytest.mark.parametrize(
    ("status", "content", "kind", "reason"),
    [
        (200, {"id": "109"}, "delivered", "200"),
        (200, {}, "unknown", "200 an answer that is no status"),
        (401, {"error": "The access token is invalid"}, "gone", "401 The access token is invalid"),
        (403, {"error": "This action is not allowed"}, "gone", "403 This action is not allowed"),
        (403, {}, "gone", "403"),
        (404, {"error": "Record not found"}, "rejected", "404"),
        (410, {}, "gone", "410"),
        (422, {"error": "Validation failed: Text character limit of 500 exceeded"}, "rejected", "422"),
        (429, {"error": "Too many requests"}, "retry", "429"),
        (500, {"error": "Something went wrong"}, "retry", "500"),
        (502, {}, "unknown", "502"),
        (503, {"error": "Remote data could not be fetched"}, "retry", "503"),
        (504, {}, "unknown", "504"),
    ],
)
def test_an_answer_is_a_status_and_an_error(status, content, kind, reason):
    outcome = drive(ACCOUNT, headline(), httpx.Response(status, json=content))

    assert kind == outcome.kind
    assert outcome.reason.startswith(reason)
    assert content.get("error", "") in outcome.reason


@pytest.mark.parametrize("content", [b"", b"<html>welcome</html>", b"[1]", b'"id"', b"\xff"])
@pytest.mark.parametrize(("status", "kind"), [(200, "unknown"), (401, "gone"), (422, "rejected"), (429, "retry")])
def test_an_answer_that_is_no_json_object_is_read_by_its_status(content, status, kind):
    assert kind == drive(ACCOUNT, headline(), httpx.Response(status, content=content)).kind


def test_a_delivered_status_has_the_instances_id():
    assert drive(ACCOUNT, headline(), POSTED).remote_id == "109"


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"X-RateLimit-Reset": "2026-11-01T12:05:00.000000Z"}, datetime(2026, 11, 1, 12, 5, tzinfo=UTC)),
        ({"X-RateLimit-Reset": "2026-11-01T13:05:00+01:00"}, datetime(2026, 11, 1, 12, 5, tzinfo=UTC)),
        ({"X-RateLimit-Reset": "soon"}, timedelta(seconds=60)),
        ({"Retry-After": "90"}, timedelta(seconds=90)),
        ({}, timedelta(seconds=60)),
    ],
)
def test_a_rate_limit_ends_when_the_instance_says(headers, wait):
    outcome = drive(ACCOUNT, headline(), httpx.Response(429, headers=headers, json={"error": "Too many requests"}))

    assert (outcome.kind, outcome.not_before) == ("retry", wait)


def test_the_limit_that_every_answer_names_delays_nothing_else():
    busy = httpx.Response(503, headers={"X-RateLimit-Reset": "2026-11-01T12:05:00Z"})

    assert drive(ACCOUNT, headline(), busy).not_before is None


def test_a_status_is_posted_with_its_key():
    (request,) = requests_of(ACCOUNT, headline())

    assert (request.method, request.url) == ("POST", "https://mastodon.example/api/v1/statuses")
    assert request.headers["content-type"] == "application/json"
    assert KEY == request.headers["Idempotency-Key"]


def test_another_delivery_has_another_key():
    (request,) = requests_of(ACCOUNT, headline(), key="another")

    assert request.headers["Idempotency-Key"] == "another"


def test_an_address_may_end_in_a_slash():
    target = Mastodon(**{**OPTIONS, "url": "https://mastodon.example/"})

    (request,) = requests_of(target, headline())

    assert request.url == "https://mastodon.example/api/v1/statuses"


def test_only_signing_adds_the_token():
    (request,) = requests_of(ACCOUNT, headline())

    assert "Authorization" not in request.headers
    ACCOUNT.sign(request, NOW)
    assert request.headers["Authorization"] == "Bearer secret"


@pytest.mark.parametrize("visibility", ["public", "unlisted", "private", "direct"])
def test_a_status_is_seen_by_whom_the_owner_chose(visibility):
    assert visibility == told_by(Mastodon(**OPTIONS, visibility=visibility), headline())["visibility"]


def test_a_visibility_that_there_is_not_is_refused():
    with pytest.raises(ValidationError, match="visibility"):
        Mastodon(**OPTIONS, visibility="friends")


@pytest.mark.parametrize(
    ("language", "sent"),
    [("en", "en"), ("de-AT", "de"), ("EN", "en"), ("zh-Hant-TW", "zh"), ("", None), ("x", None), ("english", None)],
)
def test_a_language_is_sent_as_iso_639_has_it(language, sent):
    assert sent == told_by(ACCOUNT, headline(language=language)).get("language")


def test_a_status_is_title_link_related_links_and_hashtags():
    told = headline(
        related=(related(), related(title="Third", url="https://third.example/", provider=None)),
        hashtags=("AIEthics", "AI"),
    )

    assert told_by(ACCOUNT, told)["status"] == (
        "A quiet day\n\n"
        "https://news.example/2026/a-quiet-day\n\n"
        "Related:\n"
        "• The same day elsewhere (The Weekly)\n"
        "https://other.example/the-same-day\n"
        "• Third\n"
        "https://third.example/\n\n"
        "#AIEthics #AI"
    )


def test_a_bare_status_is_title_and_link():
    told = headline(related=(), hashtags=())

    assert told_by(ACCOUNT, told)["status"] == "A quiet day\n\nhttps://news.example/2026/a-quiet-day"


@pytest.mark.parametrize(
    ("status", "characters"),
    [
        ("", 0),
        ("abc", 3),
        ("👩🏽\u200d🚀👩🏽\u200d🚀", 2),
        ("e\u0301", 1),
        ("🇦🇹🇩🇪", 2),
        ("日本語", 3),
        ("https://e.org", 23),
        ("https://news.example/" + "x" * 500, 23),
        ("http://news.example:8080/?q=1#top", 23),
        ("see https://e.org/a and https://e.org/b", 4 + 23 + 5 + 23),
        ("https://e.org/a\nhttps://e.org/b", 47),
        ("e.org/without-a-scheme", 22),
        ("#hashtag", 8),
    ],
)
def test_characters_are_counted_as_an_instance_counts_them(status, characters):
    assert characters == ACCOUNT.count(status)


def test_a_link_that_an_instance_may_not_know_counts_in_full():
    assert ACCOUNT.count("http://localhost/" + "x" * 100) == 117


def test_an_instance_may_count_links_its_own_way():
    assert Mastodon(**OPTIONS, url_characters=40).count("https://e.org/") == 40


def test_as_many_whole_related_links_as_fit_go_along():
    links = tuple(related(title=f"{number} {'word ' * 15}", url=f"https://e.org/{number}") for number in range(20))

    status = told_by(ACCOUNT, headline(related=links))["status"]

    shown = re.findall(r"https://e\.org/\d+", status)
    assert [link.url for link in links[: len(shown)]] == shown
    assert 0 < len(shown) < 20
    assert status.count("•") == len(shown)
    assert status.endswith("\n\n#AIEthics")
    following = f"\n• {links[len(shown)].title}(The Weekly)\n{links[len(shown)].url}"
    assert counted(status) <= 500 < counted(status + following)


@pytest.mark.parametrize(("over", "shown"), [(0, 1), (1, 0)])
def test_a_related_link_that_fills_a_status_goes_along_and_one_that_does_not_fit_stays(over, shown):
    link = related(title="y", url="https://other.example/1", provider=None)
    around = counted(f"\n\nhttps://news.example/1\n\nRelated:\n• y\n{link.url}")
    told = article(title="x" * (500 - around + over), url="https://news.example/1")

    status = told_by(ACCOUNT, headline(article=told, related=(link,), hashtags=()))["status"]

    assert shown == status.count("•")
    assert status.startswith(f"{told.title}\n")


def test_a_status_of_exactly_the_limit_keeps_its_title_whole():
    title = "x" * (500 - 2 - 23)
    told = headline(article=article(title=title), related=(), hashtags=())

    status = told_by(ACCOUNT, told)["status"]

    assert status.startswith(f"{title}\n")
    assert counted(status) == 500


def test_a_title_that_is_too_long_is_shortened_and_its_link_and_hashtags_stay():
    told = headline(article=article(title="word " * 200), related=())

    status = told_by(ACCOUNT, told)["status"]

    assert re.search(r"word…\n\nhttps://news\.example/2026/a-quiet-day\n\n#AIEthics$", status)
    assert 450 < counted(status) <= 500


def test_a_long_related_title_is_shortened_and_its_provider_stays():
    told = headline(related=(related(title="word " * 50),))

    status = told_by(ACCOUNT, told)["status"]

    assert re.search(r"• (word ){20,}word… \(The Weekly\)\nhttps://other", status)


def test_hashtags_take_at_most_a_quarter_of_a_status():
    told = headline(hashtags=tuple(f"Hashtag{number:03}" for number in range(50)))

    tags = re.findall(r"#\w+", told_by(ACCOUNT, told)["status"])

    assert [f"#{tag}" for tag in told.hashtags[: len(tags)]] == tags
    assert counted("\n\n" + " ".join(tags)) <= 125 < counted("\n\n" + " ".join([*tags, "#Hashtag000"]))


def test_an_instance_may_take_more_characters():
    target = Mastodon(**OPTIONS, max_characters=5_000)
    told = headline(article=article(title="x" * 4_000), related=())

    assert "x" * 4_000 in told_by(target, told)["status"]


@pytest.mark.parametrize(
    ("plain", "inert"),
    [
        ("@user", "@\u200buser"),
        ("@user@host.example", "@\u200buser@\u200bhost.example"),
        ("mail a@b.example", "mail a@\u200bb.example"),
        ("@@user", "@@\u200buser"),
        ("@_x", "@\u200b_x"),
        ("@юзер", "@\u200bюзер"),
        ("five @ six", "five @ six"),
        ("@", "@"),
    ],
)
def test_a_word_that_would_call_somebody_does_not(plain, inert):
    assert inert == mastodon.inert(plain)


def test_nobody_is_called_by_title_or_related_link():
    told = headline(
        article=article(title="@all"), related=(related(title="by @someone", provider=Provider(name="@press")),)
    )

    assert not re.search(r"@\w", told_by(ACCOUNT, told)["status"])


def test_an_account_in_an_address_stays_as_it_is():
    address = "https://social.example/@someone/1"

    assert f"\n{address}\n" in told_by(ACCOUNT, headline(article=article(url=address)))["status"]


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
def test_a_seed_fits_with_its_title_whole(name):
    told = seed(name)

    status = told_by(ACCOUNT, headline(article=told, related=told.related[:3], hashtags=("AI",)))["status"]

    assert status.startswith(f"{told.title}\n\n{told.url}\n\nRelated:\n• ")
    assert counted(status) <= 500


@given(
    title=st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")) | st.just(" "), min_size=1, max_size=900),
    urls=st.lists(WEB, max_size=6),
    tags=st.lists(st.text("abcä日", min_size=1, max_size=30), max_size=20),
    limit=st.integers(100, 600),
)
def test_no_headline_is_longer_than_an_instance_takes(title, urls, tags, limit):
    told = headline(
        article=article(title=title.replace("://", ": //")),
        related=tuple(related(title="x" * (10 * number), url=url) for number, url in enumerate(urls)),
        hashtags=tuple(tags),
    )

    assert counted(told_by(Mastodon(**OPTIONS, max_characters=limit), told)["status"]) <= limit


@pytest.mark.parametrize("reset", ["2026-11-01T12:05:00", "2026-11-01T12:05:00Z", "2026-11-01T13:05:00+01:00"])
def test_the_end_of_the_rate_limit_is_a_time_with_a_zone(reset):
    outcome = drive(ACCOUNT, headline(), httpx.Response(429, headers={"x-ratelimit-reset": reset}))

    assert outcome.not_before == datetime(2026, 11, 1, 12, 5, tzinfo=UTC)


def test_a_title_is_not_lost_to_a_link_that_counts_in_full():
    status = ACCOUNT.status(headline(article=article(title="Заголовок", url="http://intranet/" + "x" * 900)))

    assert status.startswith("Заголовок\n")


@pytest.mark.parametrize("cut_off", ["", "[", "{}", '[{"id": "1"'])
def test_statuses_that_cannot_be_read_say_nothing_of_what_is_there(cut_off):
    looking = ACCOUNT.look(headline(), KEY, NOW)
    next(looking)
    looking.send(httpx.Response(200, json={"id": "1"}))

    with pytest.raises(StopIteration) as ended:
        looking.send(httpx.Response(200, text=cut_off))

    assert ended.value.value.kind == "retry"
