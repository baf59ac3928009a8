"""Each headline once in a channel of a Slack that others have written."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from feeder.lanes import Tally
from feeder.models import State
from feeder.outbox import LOOK_AFTER
from feeder.store import deliveries
from feeder.targets import slack as target_module
from tests import fakes
from tests.e2e import emulate
from tests.test_delivery import left_in_sending

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with emulate.slack(tmp_path_factory.mktemp("slack")) as server:
        yield server


def bot(server: emulate.Slack, token: str = emulate.TOKEN, **options: object) -> target_module.Slack:
    api = f"{server.url}/api/chat.postMessage"
    return target_module.Slack(
        kind="slack", token=token, channel=server.channel, api=api, rate="1000/s", **fakes.LOOPBACK, **options
    )


def new_messages(server: emulate.Slack, before: int) -> list[dict]:
    return server.messages()[before:]


def test_a_webhook_takes_every_seed_with_its_blocks(server, post, articles):
    before = len(server.messages())
    post.plan("news", *articles)
    webhook = target_module.Slack(kind="slack", url=server.webhook, rate="1000/s", **fakes.LOOPBACK)

    assert post.drain("news", webhook) == Tally(delivered=5)
    found = new_messages(server, before)
    assert len(found) == 5
    for message, article in zip(found, articles, strict=True):
        assert message["blocks"][0]["type"] == "section"
        assert article.url in str(message["blocks"])


def test_a_bots_messages_are_known_again_by_their_metadata(server, post, articles):
    before = len(server.messages())
    many = [
        replace(articles[number % 5], id=f"{number:032x}", url=f"https://news.example/briefing-{number}")
        for number in range(40)
    ]
    post.plan("news", *many)
    assert post.drain("news", bot(server)) == Tally(delivered=40)
    doubted = post.found()
    with post.store.write() as connection:
        deliveries.save_all(connection, [replace(each, state=State.SENDING, remote_id="") for each in doubted])
    post.time += LOOK_AFTER

    assert post.drain("news", bot(server)) == Tally(delivered=40)
    assert [each.remote_id for each in post.found()] == [each.remote_id for each in doubted]
    assert len(new_messages(server, before)) == 40


def test_what_is_in_doubt_and_not_there_is_sent_once(server, post, articles):
    before = len(server.messages())
    left_in_sending(post, "news", articles[0])
    post.time += LOOK_AFTER

    assert post.drain("news", bot(server)) == Tally(delivered=1)
    assert len(new_messages(server, before)) == 1


def test_a_bot_that_may_not_look_holds_what_is_in_doubt(server, post, articles):
    before = len(server.messages())
    left_in_sending(post, "news", articles[0])
    post.time += LOOK_AFTER

    assert post.drain("news", bot(server, f"{emulate.TOKEN}-blind")) == Tally(unknown=1)
    assert "missing_scope" in post.found()[0].last_error
    assert new_messages(server, before) == []


def test_a_token_that_opens_nothing_switches_the_target_off(server, post, articles):
    post.plan("news", articles[0])

    assert post.drain("news", bot(server, "xoxb-revoked")) == Tally(gone=1)
    assert post.off("news")
