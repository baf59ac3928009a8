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


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("https://social.example/@someone/1", "https://social.example/@someone/1"),
        ("https://social.example/@someone@other.example/1", "https://social.example/%40someone%40other.example/1"),
        ("https://news.example/?by=@a.b-c@d", "https://news.example/?by=%40a.b-c%40d"),
    ],
)
def test_an_account_of_another_host_in_an_address_is_not_called(url, written):
    told = headline(article=article(url=url), related=(related(url=url),))

    assert told_by(ACCOUNT, told)["status"].count(f"\n{written}\n") == 2


def test_an_address_that_is_written_otherwise_is_known_again():
    told = headline(article=article(url="https://social.example/@someone@other.example/1"))
    written = told_by(ACCOUNT, told)["status"].split("\n")[2]

    assert Server(statuses=[status(f"<p>A quiet day</p>{shown(written)}")]).looked_at_by(told=told)


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


# --- what is in doubt -------------------------------------------------------------------------------------------------

DOUBT = NOW - timedelta(hours=2)
URL = "https://news.example/2026/a-quiet-day"
TOLD = headline(related=(related(url=f"{URL}2"),))


class Server:
    """A server's answers, by what is asked for; what is asked for is in `asked`."""

    def __init__(self, software="", statuses=()):
        self.asked = []
        self.statuses = list(statuses)
        links = [
            {"rel": "http://nodeinfo.diaspora.software/ns/schema/2.1", "href": "https://mastodon.example/nodeinfo/2"}
        ]
        self.answers = {
            "/.well-known/nodeinfo": httpx.Response(200, json={"links": links}),
            "/nodeinfo/2": httpx.Response(200, json={"software": {"name": software}}),
            "/api/v1/accounts/verify_credentials": httpx.Response(200, json={"id": "7"}),
        }

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if request.url.path != "/api/v1/accounts/7/statuses":
            return self.answers.get(request.url.path, httpx.Response(404))
        return httpx.Response(200, json=self.page(request.url.params))

    def page(self, asked) -> list[dict]:
        """The newest statuses before `max_id`."""
        before = int(asked.get("max_id", 10**6))
        return [each for each in self.statuses if int(each["id"]) < before][: int(asked["limit"])]

    def looked_at_by(self, target=ACCOUNT, told=TOLD, since=DOUBT, now=NOW):
        steps = target.look(told, KEY, since, now)
        try:
            request = next(steps)
            while True:
                request = steps.send(self.answer(request))
        except StopIteration as end:
            return end.value


def status(content: str, number: int = 1, at: datetime = DOUBT, **more) -> dict:
    return {"id": str(number), "content": content, "created_at": at.isoformat(), **more}


def shown(url: str) -> str:
    """A link as Mastodon writes it (app/lib/text_formatter.rb)."""
    rest = url.removeprefix("https://")
    return (
        f'<a href="{url}" target="_blank" rel="nofollow noopener" translate="no"><span class="invisible">https://</span>'
        f'<span class="ellipsis">{rest[:30]}</span><span class="invisible">{rest[30:]}</span></a>'
    )


@pytest.mark.parametrize(
    ("content", "is_there"),
    [
        (f"<p>A quiet day</p><p>{shown(URL)}</p><p>Related:<br />• {shown(URL + '2')}</p>", True),
        (f"<p>A quiet day</p><p>{shown(URL + '2')}</p>", False),  # another address that begins alike
        (f"<p>A quiet day</p><p>{shown(URL[:-1])}</p>", False),
        (f"<p>Another one</p><p>{shown('https://news.example/other')}</p><p>Related:<br />• {shown(URL)}</p>", False),
        (f"<p>A quiet day, corrected</p><p>{shown(URL)}</p>", True),
        (f"<p>A quiet day<br><br>{URL}<br><br>Related:</p>", True),  # no link, but the address
        (f"<p>A <em>quiet</em> day<br><br><a href='{URL}'>news.example</a></p>", True),
        (
            f'<p><a href="https://mastodon.example/tags/AI" class="mention hashtag">#<span>AI</span></a></p>{shown(URL)}',
            True,
        ),
        (f'<p><a href="https://mastodon.example/@a" class="mention">@<span>a</span></a></p>{shown(URL)}', True),
        (f"<p>A quiet day</p><p>{shown(URL + '/')}</p>", True),
        ("<p>A quiet day</p>", False),
        ("", False),
        ("<a " * 100_000, False),
        ("<a href='https://x'>" * 20_000, False),
    ],
)
def test_a_status_is_known_by_its_first_link_to_the_end(content, is_there):
    found = Server(statuses=[status(content)]).looked_at_by()

    assert (found and (found.kind, found.remote_id)) == (("delivered", "1") if is_there else None)


def test_an_address_that_a_server_takes_for_markdown_is_known():
    told = headline(article=article(url="https://news.example/a_quiet_day_~x~*"))

    assert Server(statuses=[status("<p>https://news.example/a<em>quiet</em>day_x*</p>")]).looked_at_by(told=told)


def test_an_address_in_the_title_is_not_the_link():
    told = headline(article=article(title="See https://other.example now"))
    assert Server(statuses=[status(f"<p>See https://other.example now</p>{shown(URL)}")]).looked_at_by(told=told)
    assert not Server(statuses=[status(f"<p>See https://other.example</p>{shown(URL + '2')}")]).looked_at_by(told=told)


@pytest.mark.parametrize(
    ("title", "at", "is_there"),
    [
        ("Something else", DOUBT - timedelta(days=1), False),  # a former article at this address
        ("A quiet day", DOUBT - timedelta(days=1), True),  # the clock was ahead when it was sent
        ("Something else", DOUBT - timedelta(minutes=4), True),  # clocks differ
    ],
)
def test_a_status_of_another_time_has_to_begin_as_the_headline_does(title, at, is_there):
    found = Server(statuses=[status(f"<p>{title}</p><p>{shown(URL)}</p>", at=at)]).looked_at_by()

    assert (found is not None) is is_there


def test_what_others_wrote_is_not_ours():
    assert Server(statuses=[status(shown(URL), reblog={"id": "5"})]).looked_at_by() is None


def test_a_status_is_looked_for_on_several_pages():
    others = [status(f"<p>{shown(f'https://other.example/{number}')}</p>", number) for number in range(100, 1, -1)]
    server = Server(statuses=[*others, status(shown(URL))])

    assert server.looked_at_by().remote_id == "1"
    assert server.asked.count("/api/v1/accounts/7/statuses") == 3


@pytest.mark.parametrize(("number", "kind"), [(19, None), (20, "rejected")])
def test_a_server_that_gives_the_same_page_again_is_asked_no_further(number, kind):
    """snac 2.75 heeds neither `limit` nor `max_id`."""
    server = Server(statuses=[status("<p>else</p>", each) for each in range(number, 0, -1)])
    server.page = lambda _: server.statuses

    found = server.looked_at_by()

    assert (found and found.kind) == kind
    assert server.asked.count("/api/v1/accounts/7/statuses") == 2


@pytest.mark.parametrize(
    ("software", "minutes", "looks"),
    [
        ("mastodon", 2, False),
        ("Mastodon", 54, False),
        ("mastodon", 56, True),  # it forgets within the hour, and clocks differ
        ("mastodon", -1, True),  # the clock was set back
        ("hometown", 54, False),
        ("gotosocial", 2, True),
        ("snac", 2, True),
        ("pixelfed", 2, True),
        ("something new", 2, True),
        ("", 2, True),
    ],
)
def test_what_a_server_knows_again_is_known_by_its_software(software, minutes, looks):
    server = Server(software)

    assert server.looked_at_by(since=NOW - timedelta(minutes=minutes)) is None
    assert ("/api/v1/accounts/7/statuses" in server.asked) is looks


@pytest.mark.parametrize(("minutes", "looks"), [(0, True), (6, True), (8, False), (600, False)])
def test_a_setting_says_it_better_than_the_software(minutes, looks):
    server = Server("mastodon")
    target = Mastodon(**OPTIONS, key_minutes=minutes)

    assert server.looked_at_by(target, since=NOW - timedelta(minutes=2)) is None
    assert server.asked == (["/api/v1/accounts/verify_credentials", "/api/v1/accounts/7/statuses"] if looks else [])


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(404),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"links": {"href": "x"}}),
        httpx.Response(
            200, json={"links": ["x", {"rel": 1}, {"rel": "http://nodeinfo.diaspora.software/ns/schema/2.0"}]}
        ),
        httpx.Response(
            200,
            json={
                "links": [
                    {
                        "rel": "http://nodeinfo.diaspora.software/ns/schema/2.0",
                        "href": "https://evil.example/nodeinfo/2",
                    }
                ]
            },
        ),
        httpx.Response(
            200,
            json={
                "links": [{"rel": "http://nodeinfo.diaspora.software/ns/schema/2.0", "href": "https://[/nodeinfo/2"}]
            },
        ),
    ],
)
def test_a_server_that_does_not_say_what_it_is_is_looked_at_and_no_other_is_asked(answer):
    server = Server("mastodon")
    server.answers["/.well-known/nodeinfo"] = answer

    assert server.looked_at_by(since=NOW - timedelta(minutes=2)) is None
    assert server.asked == [
        "/.well-known/nodeinfo",
        "/api/v1/accounts/verify_credentials",
        "/api/v1/accounts/7/statuses",
    ]


@pytest.mark.parametrize("path", ["/.well-known/nodeinfo", "/nodeinfo/2"])
@pytest.mark.parametrize("answer", [httpx.Response(503), httpx.Response(429, headers={"retry-after": "7"})])
def test_a_server_that_cannot_say_now_what_it_is_is_asked_later(path, answer):
    server = Server("mastodon")
    server.answers[path] = answer

    found = server.looked_at_by()

    assert found.kind == "retry"
    assert found.not_before == (timedelta(seconds=7) if answer.status_code == 429 else None)


@pytest.mark.parametrize("cut_off", ["", "[", "{}", '[{"id": "1"'])
def test_statuses_that_cannot_be_read_say_nothing_of_what_is_there(cut_off):
    server = Server(statuses=[])
    server.answers["/api/v1/accounts/verify_credentials"] = httpx.Response(200, json={"id": "8"})
    server.answers["/api/v1/accounts/8/statuses"] = httpx.Response(200, text=cut_off)

    assert server.looked_at_by().kind == "retry"
