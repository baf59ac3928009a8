from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from pydantic import ValidationError

from feeder.models import Image, Provider
from feeder.targets import slack
from feeder.targets.slack import Slack
from tests import fakes
from tests.articles import KEY, article, drive, headline, related, requests_of, seed

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
WEBHOOK = Slack(kind="slack", url="https://hooks.slack.com/services/T0/B0/X0")
BOT = Slack(kind="slack", token="xoxb-1", channel="C0123")
IMAGE = Image(url="https://news.example/a.jpg", title="A picture")
PICTURED = headline(article=article(images=(IMAGE,)))


def refused(word: str) -> httpx.Response:
    return httpx.Response(200, json={"ok": False, "error": word})


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def lead(message: dict) -> str:
    return message["blocks"][0]["text"]["text"]


@pytest.mark.parametrize(
    ("status", "word", "kind"),
    [
        (200, "ok", "delivered"),
        (400, "invalid_payload", "rejected"),
        (400, "user_not_found", "rejected"),
        (400, "invalid_blocks", "rejected"),
        (400, "no_text", "rejected"),
        (403, "action_prohibited", "gone"),
        (403, "invalid_token", "gone"),
        (404, "channel_not_found", "gone"),
        (404, "no_service", "gone"),
        (404, "no_team", "gone"),
        (404, "no_active_hooks", "gone"),
        (404, "", "rejected"),
        (410, "channel_is_archived", "gone"),
        (410, "", "gone"),
        (500, "rollup_error", "retry"),
        (500, "", "retry"),
        (503, "service_unavailable", "retry"),
        (504, "", "unknown"),
    ],
)
def test_a_webhooks_answer_is_a_status_and_a_word(status, word, kind):
    outcome = drive(WEBHOOK, headline(), httpx.Response(status, text=word))

    assert (kind, f"{status} {word}".strip()) == (outcome.kind, outcome.reason)


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("ratelimited", "retry"),
        ("rate_limited", "retry"),
        ("internal_error", "unknown"),
        ("fatal_error", "unknown"),
        ("invalid_auth", "gone"),
        ("account_inactive", "gone"),
        ("token_revoked", "gone"),
        ("missing_scope", "gone"),
        ("not_in_channel", "gone"),
        ("channel_not_found", "gone"),
        ("is_archived", "gone"),
        ("invalid_blocks", "rejected"),
        ("msg_too_long", "rejected"),
        ("an_error_of_tomorrow", "rejected"),
    ],
)
def test_the_web_api_says_its_errors_with_status_200(word, kind):
    outcome = drive(BOT, headline(), refused(word))

    assert (kind, f"200 {word}") == (outcome.kind, outcome.reason)


def test_a_bots_message_has_the_name_that_slack_gives_it():
    outcome = drive(BOT, headline(), httpx.Response(200, json={"ok": True, "ts": "1700000000.000100"}))

    assert (outcome.kind, outcome.remote_id) == ("delivered", "1700000000.000100")


@pytest.mark.parametrize("content", [b"ok", b"{}", b"[]", b'{"ok": false}', b'{"ok": "true"}', b"\xff"])
def test_an_answer_that_does_not_say_ok_is_no_delivery_of_a_bot(content):
    assert drive(BOT, headline(), httpx.Response(200, content=content)).kind != "delivered"


@pytest.mark.parametrize("target", [WEBHOOK, BOT])
def test_a_rate_limit_is_waited_for(target):
    limited = httpx.Response(429, headers={"Retry-After": "30"}, json={"ok": False, "error": "ratelimited"})

    outcome = drive(target, headline(), limited)

    assert (outcome.kind, outcome.not_before) == ("retry", timedelta(seconds=30))


@pytest.mark.parametrize(
    ("target", "refusal"),
    [
        (WEBHOOK, httpx.Response(400, text="invalid_blocks")),
        (WEBHOOK, httpx.Response(400, text="invalid_attachments")),
        (BOT, refused("invalid_blocks")),
        (BOT, refused("failed_to_fetch_image")),
    ],
    ids=["webhook blocks", "webhook attachments", "bot blocks", "bot image"],
)
def test_a_message_that_is_refused_for_its_image_goes_once_more_without_it(target, refusal):
    taken = httpx.Response(200, json={"ok": True, "ts": "1.2"}) if target is BOT else httpx.Response(200, text="ok")

    first, second = (json.loads(request.content) for request in requests_of(target, PICTURED, refusal))

    assert first["blocks"][0].pop("accessory") == {
        "type": "image",
        "image_url": "https://news.example/a.jpg",
        "alt_text": "A picture",
    }
    assert first == second
    assert drive(target, PICTURED, refusal, taken).kind == "delivered"


def test_a_message_that_is_refused_without_its_image_too_is_rejected():
    assert drive(BOT, PICTURED, refused("invalid_blocks"), refused("invalid_blocks")).kind == "rejected"


@pytest.mark.parametrize(
    ("told", "response"),
    [
        (headline(), refused("invalid_blocks")),
        (PICTURED, refused("msg_too_long")),
        (PICTURED, refused("channel_not_found")),
        (PICTURED, httpx.Response(503)),
        (PICTURED, httpx.Response(502)),
        (PICTURED, httpx.Response(429)),
    ],
    ids=["no image", "too long", "gone", "503", "502", "429"],
)
def test_a_message_goes_no_second_time_for_another_reason(told, response):
    assert len(requests_of(BOT, told, response)) == 1


def test_only_signing_adds_the_bots_token():
    (request,) = requests_of(BOT, headline())

    assert "Authorization" not in request.headers
    BOT.sign(request, NOW)
    assert request.headers["Authorization"] == "Bearer xoxb-1"


def test_a_webhooks_address_is_all_the_proof_it_gives():
    (request,) = requests_of(WEBHOOK, headline())

    WEBHOOK.sign(request, NOW)

    assert "Authorization" not in request.headers
    assert request.url == "https://hooks.slack.com/services/T0/B0/X0"


def test_a_bot_names_its_channel_and_a_webhook_none():
    (bots,), (webhooks,) = requests_of(BOT, headline()), requests_of(WEBHOOK, headline())

    assert bots.url == "https://slack.com/api/chat.postMessage"
    metadata = {"event_type": "feeder_headline", "event_payload": {"delivery": KEY}}
    assert json.loads(bots.content) == {"channel": "C0123", **json.loads(webhooks.content), "metadata": metadata}


def test_the_web_api_may_be_elsewhere():
    target = Slack(kind="slack", token="xoxb-1", channel="C0", api="https://proxy.example/api/chat.postMessage")

    (request,) = requests_of(target, headline())

    assert request.url == "https://proxy.example/api/chat.postMessage"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "needs either url"),
        ({"url": "https://hooks.slack.com/x", "token": "xoxb-1"}, "needs either url"),
        ({"token": "xoxb-1"}, "needs channel"),
        ({"channel": "C0"}, "needs either url"),
    ],
)
def test_a_target_has_exactly_one_way_in(options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Slack(kind="slack", **options)


def test_a_message_is_blocks_with_a_text_for_notifications():
    told = headline(
        article=article(images=(IMAGE,)),
        related=(related(), related(title="Third", url="https://third.example/", provider=None)),
        hashtags=("AIEthics", "AI"),
    )

    assert slack.message(told, image=True) == {
        "text": "A quiet day – The Daily",
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [
            {
                "type": "section",
                "text": {
                    "type": "mrkdwn",
                    "text": "*<https://news.example/2026/a-quiet-day|A quiet day>*\nNothing happened, and here is why.",
                },
                "accessory": {
                    "type": "image",
                    "image_url": "https://news.example/a.jpg",
                    "alt_text": "A picture",
                },
            },
            {
                "type": "context",
                "elements": [{"type": "mrkdwn", "text": "The Daily · #AIEthics · #AI"}],
            },
            {
                "type": "section",
                "text": {
                    "type": "mrkdwn",
                    "text": "• <https://other.example/the-same-day|The same day elsewhere> (The Weekly)\n"
                    "• <https://third.example/|Third>",
                },
            },
        ],
    }


def test_a_bare_article_is_one_block():
    bare = headline(article=article(provider=None, excerpt=""), related=(), hashtags=())

    message = slack.message(bare, image=True)

    assert (message["text"], len(message["blocks"])) == ("A quiet day", 1)
    assert lead(message) == "*<https://news.example/2026/a-quiet-day|A quiet day>*"


def test_an_image_without_a_title_is_described_by_the_articles():
    message = slack.message(headline(article=article(images=(Image(url=IMAGE.url),))), image=True)

    assert message["blocks"][0]["accessory"]["alt_text"] == "A quiet day"


def test_a_long_description_of_an_image_is_cut_to_its_limit():
    message = slack.message(headline(article=article(images=(Image(url=IMAGE.url, title="x" * 3_000),))), image=True)

    assert units(message["blocks"][0]["accessory"]["alt_text"]) == 2_000


@pytest.mark.parametrize(("length", "shown"), [(3_000, True), (3_001, False)])
def test_an_image_whose_address_is_too_long_stays_away(length, shown):
    address = "https://news.example/" + "i" * (length - 21)

    message = slack.message(headline(article=article(images=(Image(url=address),))), image=True)

    assert shown == ("accessory" in message["blocks"][0])


def test_related_links_stay_whole_and_within_a_section():
    links = tuple(related(title=f"{number}", url=f"https://other.example/{'x' * 500}/{number}") for number in range(20))

    block = slack.message(headline(related=links), image=False)["blocks"][-1]["text"]["text"]

    lines = block.split("\n")
    assert [f"• <{link.url}|{link.title}> (The Weekly)" for link in links[: len(lines)]] == lines
    assert units(block) <= 3_000 < units(f"{block}\n{lines[-1]}")


@pytest.mark.parametrize(("second", "length"), [(1_499, 3_000), (1_500, 1_500)])
def test_a_section_is_filled_to_its_limit(second, length):
    links = tuple(
        related(title="x", url="https://e.org/".ljust(line - len("• <|x>"), "x"), provider=None)
        for line in (1_500, second)
    )

    block = slack.message(headline(related=links), image=False)["blocks"][-1]["text"]["text"]

    assert length == units(block)


@pytest.mark.parametrize(
    ("plain", "written"),
    [
        ("a & b", "a &amp; b"),
        ("&amp;", "&amp;amp;"),
        ("<!channel>", "&lt;!channel&gt;"),
        ("<@U012>", "&lt;@U012&gt;"),
        ("*b*", "\u200b*\u200bb\u200b*\u200b"),
        ("snake_case", "snake\u200b_\u200bcase"),
        ("~no~", "\u200b~\u200bno\u200b~\u200b"),
        ("`code`", "\u200b`\u200bcode\u200b`\u200b"),
        ("“plain” 100 %", "“plain” 100 %"),
    ],
)
def test_text_is_escaped_to_be_shown_as_it_is(plain, written):
    assert written == slack.escape(plain)


@pytest.mark.parametrize(
    ("url", "label", "written"),
    [
        ("https://e.org/", "plain", "<https://e.org/|plain>"),
        ("https://e.org/?a=1&b=2", "plain", "<https://e.org/?a=1&b=2|plain>"),
        ("https://e.org/a|b>c<d", "plain", "<https://e.org/a%7Cb%3Ec%3Cd|plain>"),
        ("https://e.org/", "a|b>c<d\ne", "<https://e.org/|a b c d e>"),
        ("https://e.org/", "Q & A", "<https://e.org/|Q &amp; A>"),
        ("https://e.org/", "x> <https://evil.example|y", "<https://e.org/|x   https://evil.example y>"),
    ],
)
def test_nothing_in_a_link_ends_it_early(url, label, written):
    assert written == slack.link(url, label)


def test_the_notification_text_is_escaped_too():
    told = headline(article=article(title="<!here> A & B", provider=Provider(name="<!channel>")))

    assert slack.message(told, image=False)["text"] == "&lt;!here&gt; A &amp; B – &lt;!channel&gt;"


def test_a_seed_looks_like_this():
    told = seed("bad-timing")

    message = slack.message(headline(article=told, related=told.related[:1], hashtags=("AI",)), image=False)

    assert lead(message).startswith(f"*<{told.url}|Bad Timing: Netflix Lists $900,000 AI Job Amidst Writers Strike>*\n")
    assert message["blocks"][1]["elements"][0]["text"] == "TheStreet.com · #AI"
    assert message["blocks"][2]["text"]["text"].startswith(f"• <{told.related[0].url}|")


@pytest.mark.parametrize("target", [WEBHOOK, BOT])
def test_a_request_is_json(target):
    (request,) = requests_of(target, headline())

    assert (request.method, request.headers["content-type"]) == ("POST", "application/json")


def test_the_stand_in_refuses_what_slack_refuses():
    (request,) = requests_of(WEBHOOK, headline(article=article(title="x")))
    spoiled = request.content.replace(b"|x>", b"|<!channel>>")

    assert fakes.Slack.fault(fakes.Request(method="POST", path="", headers=dict(request.headers), body=spoiled))


@pytest.mark.parametrize("target", [WEBHOOK, BOT])
def test_a_200_that_is_not_slacks_own_says_nothing_of_the_message(target):
    outcome = drive(target, headline(), httpx.Response(200, text="<html>log in to the network\n</html>" * 100))

    assert outcome.kind == "unknown"
    assert len(outcome.reason) < 400
    assert "\n" not in outcome.reason


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text='{"ok": true, "messages": [{"ts": "1"'),  # cut off
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"ok": True}),
        httpx.Response(200, json={"ok": True, "messages": {}}),
    ],
)
def test_a_history_that_cannot_be_read_says_nothing_of_what_is_there(answer):
    looking = BOT.look(headline(), KEY, NOW, NOW)
    next(looking)

    with pytest.raises(StopIteration) as ended:
        looking.send(answer)

    assert ended.value.value.kind == "retry"
