"""Each headline once, on a server with Mastodon's API that knows no keys, pages or limits: snac2."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest
from msgspec.structs import replace

from feeder.lanes import Tally
from feeder.models import State
from feeder.outbox import LOOK_AFTER
from feeder.store import deliveries
from feeder.targets.mastodon import Mastodon
from tests import fakes
from tests.e2e.snac import Snac, snac
from tests.test_delivery import left_in_sending

pytestmark = pytest.mark.e2e


@pytest.fixture
def server(tmp_path):
    with snac(tmp_path) as server:
        yield server


def account(server: Snac, url: str = "", **options: object) -> Mastodon:
    return Mastodon(kind="mastodon", url=url or server.url, token=server.token, **fakes.LOOPBACK, **options)


class Gateway(fakes.Service):
    """What stands before the server, and gives up on it, though it goes on."""

    def __init__(self, server: Snac) -> None:
        super().__init__()
        self.server, self.lost = server, 0

    def respond(self, request: fakes.Request) -> fakes.Answer:
        headers = {name: value for name, value in request.headers.items() if name not in ("host", "content-length")}
        answer = httpx.request(
            request.method, self.server.url + request.path, content=request.body, headers=headers, timeout=fakes.LIMIT
        )
        if request.method == "POST" and self.lost:
            self.lost -= 1
            return fakes.Answer(status=504)
        return fakes.Answer(status=answer.status_code, body=answer.content)


def links(server: Snac) -> list[str]:
    """The first link of each status, oldest first."""
    notes = sorted(server.notes(), key=lambda note: float(note["id"].rpartition("/")[2]))
    return [note["content"].split('href="')[1].split('"')[0] for note in notes]


def test_every_seed_is_posted_once_in_order(server, post, articles):
    post.plan("fedi", *articles)

    assert post.drain("fedi", account(server)) == Tally(delivered=5)
    assert post.drain("fedi", account(server)) == Tally()
    assert links(server) == [each.url for each in articles]


@pytest.mark.parametrize("later", [LOOK_AFTER, timedelta(hours=1, minutes=1)])
def test_an_answer_that_was_lost_is_looked_for_and_nothing_is_posted_twice(server, post, articles, later):
    with fakes.serving(Gateway(server)) as gateway:
        gateway.lost = 5
        post.plan("fedi", *articles)
        post.drain("fedi", account(server, gateway.url))
        assert {each.state for each in post.found()} == {State.PENDING}
        post.time += later
        post.drain("fedi", account(server, gateway.url))

    assert {each.state for each in post.found()} == {State.DELIVERED}
    assert sorted(links(server)) == sorted(each.url for each in articles)


@pytest.mark.parametrize("was_posted", [True, False])
def test_what_a_crash_left_in_doubt_is_there_once(server, post, articles, was_posted):
    if was_posted:
        post.plan("fedi", articles[0])
        post.drain("fedi", account(server))
        (first,) = post.found()
        with post.store.write() as connection:
            deliveries.save(connection, replace(first, state=State.SENDING, remote_id=""))
    else:
        left_in_sending(post, "fedi", articles[0])
    post.time += LOOK_AFTER

    assert post.drain("fedi", account(server)) == Tally(delivered=1)
    assert links(server) == [articles[0].url]


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "Cats :smile: and *dogs*, `code`, _under_ ~~gone~~ @news #tag"},
        {"title": "[a](https://elsewhere.example/)"},
        {"title": "**Bold** https://elsewhere.example/first"},
        {"url": "https://news.example/a_b_c/*d*/~e~?q=1&r=2#f"},
        {"url": "https://news.example/caf%C3%A9/"},
        {"url": "https://news.example/(in)/brackets_(1)"},
    ],
)
def test_a_status_is_known_again_whatever_the_server_makes_of_it(server, post, articles, changes):
    article = replace(articles[0], **changes)
    with fakes.serving(Gateway(server)) as gateway:
        gateway.lost = 1
        post.plan("fedi", article)
        post.drain("fedi", account(server, gateway.url))
        post.time += LOOK_AFTER
        post.plan("fedi", replace(article, title="A corrected headline"))
        post.drain("fedi", account(server, gateway.url))

    assert {each.state for each in post.found()} == {State.DELIVERED}
    assert len(server.notes()) == 1


def test_among_many_statuses_each_is_there_once(server, post, articles):
    """The list is of 100 kB, whatever is asked for."""
    numbered = [
        replace(
            articles[0], id=f"{number:032x}", title=f"Briefing {number}", url=f"https://news.example/briefing-{number}"
        )
        for number in range(1, 46)
    ]
    with fakes.serving(Gateway(server)) as gateway:
        gateway.lost = 45
        post.plan("fedi", *numbered)
        target = account(server, gateway.url, rate="1000/s")
        while any(each.state is State.PENDING for each in post.found()) and post.time < post.start + timedelta(days=3):
            post.drain("fedi", target)
            post.time += LOOK_AFTER

    states = [each.state for each in post.found()]
    assert set(states) == {State.DELIVERED}
    assert sorted(links(server)) == sorted(each.url for each in numbered)
