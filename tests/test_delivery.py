"""Lanes over a real store and real HTTP on loopback."""

from __future__ import annotations

import asyncio
import io
import socket
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import OperationalError

from feeder import delivery, outbox
from feeder.articles.parse import parse
from feeder.articles.scan import Stamp
from feeder.models import Article, News, Rules, Site, State
from feeder.selection import PLAIN_FEEDS
from feeder.store import Store, catalog, deliveries, open_store
from feeder.targets.base import Target
from feeder.targets.console import Console as ConsoleTarget
from feeder.targets.mastodon import Mastodon
from feeder.targets.slack import Slack
from feeder.targets.webhook import Webhook
from feeder.terminal import Terminal, TerminalTransport
from tests import fakes
from tests.house import SITE
from tests.worker import SEEDS

START = datetime.now(UTC).replace(microsecond=0)


@dataclass
class Post:
    """A store with planned deliveries, and a clock."""

    store: Store
    time: datetime = START
    terminal: io.StringIO | None = None
    site: Site = SITE

    def plan(self, target: str, *articles: Article) -> None:
        readings = [catalog.Reading(path=each.id, stamp=Stamp(1, 1, 1), article=each) for each in articles]
        news = [News(article=each.id, published=each.published, feeds=frozenset({"all"})) for each in articles]
        with self.store.write() as connection:
            catalog.apply(
                connection,
                readings,
                (),
                now=self.time,
                include_drafts=True,
                keep_deleted=False,
                feeds_of=PLAIN_FEEDS,
                reread=lambda _: None,
            )
            if target not in deliveries.adopted(connection):
                deliveries.adopt(connection, target, self.time)
            planned = outbox.plan(news, [Rules(target=target)], deliveries.adopted(connection), self.time)
            deliveries.add(connection, planned)

    def drain(self, target: str, options: Target) -> delivery.Tally:
        return asyncio.run(self._drain(target, options))

    async def _drain(self, name: str, options: Target) -> delivery.Tally:
        with ThreadPoolExecutor(1) as threads:
            async with delivery.client(TerminalTransport(Terminal(file=self.terminal or io.StringIO()))) as http:
                lane = self.lane(name, options, http, threads)
                lane.recover()
                return await lane.drain(asyncio.Event())

    def lane(self, name, options, http, threads) -> delivery.Lane:
        return delivery.Lane(
            name=name,
            target=options,
            store=self.store,
            http=http,
            threads=threads,
            site=self.site,
            now=lambda: self.time,
            spread=lambda: 0.0,
            wake=asyncio.Event(),
        )

    def found(self) -> list[outbox.Delivery]:
        with self.store.read() as connection:
            return list(reversed(deliveries.find(connection)))

    def off(self, target: str) -> str:
        with self.store.read() as connection:
            return deliveries.adopted(connection)[target].off


@pytest.fixture
def post(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/feeder.db")
    yield Post(store)
    store.close()


@pytest.fixture
def slack():
    with fakes.serving(fakes.Slack()) as service:
        yield service


@pytest.fixture
def mastodon():
    with fakes.serving(fakes.Mastodon()) as service:
        yield service


@pytest.fixture
def webhook():
    with fakes.serving(fakes.SignedWebhook()) as service:
        yield service


@pytest.fixture
def articles():
    found = [parse(path.read_bytes(), path.name).article for path in SEEDS.glob("*.md")]
    return sorted(found, key=lambda each: each.published)


def to_slack(service: fakes.Service, **options: object) -> Slack:
    return Slack(kind="slack", url=service.url + fakes.Slack.path, **options)


def to_webhook(service: fakes.Service) -> Webhook:
    return Webhook(kind="webhook", url=f"{service.url}/hook", secret=fakes.SignedWebhook.secret)


def to_mastodon(service: fakes.Service, token: str = fakes.Mastodon.token) -> Mastodon:
    return Mastodon(kind="mastodon", url=service.url, token=token)


def test_a_lane_delivers_in_order_of_publication_and_only_once(post, slack, articles):
    post.plan("news", *reversed(articles))

    assert post.drain("news", to_slack(slack)) == delivery.Tally(delivered=5)
    assert post.drain("news", to_slack(slack)) == delivery.Tally()

    assert [each.subject for each in post.found()] == [each.id for each in articles]
    assert {each.state for each in post.found()} == {State.DELIVERED}
    assert len(slack.ledger.taken) == 5


def test_a_bot_token_works_as_well_as_an_incoming_webhook(post, slack, articles):
    post.plan("news", articles[0])
    bot = Slack(kind="slack", token=fakes.Slack.token, channel="C1", api=f"{slack.url}/api/chat.postMessage")

    assert post.drain("news", bot) == delivery.Tally(delivered=1)

    assert post.found()[0].remote_id == "1700000000.000000"


def test_the_console_draws_a_card_for_each_headline(post, articles):
    post.terminal = io.StringIO()
    post.plan("here", *articles)

    post.drain("here", ConsoleTarget(kind="console"))

    drawn = post.terminal.getvalue()
    assert [line.removeprefix("■ ") for line in drawn.splitlines() if line.startswith("■")] == [
        each.title for each in articles
    ]
    assert all(link.url in drawn for link in articles[0].related)


def test_a_terminal_that_is_gone_is_tried_again(post, articles):
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    post.terminal = Gone()
    post.plan("here", articles[0])

    assert post.drain("here", ConsoleTarget(kind="console")) == delivery.Tally(retried=1)


def test_sending_is_committed_before_the_first_byte_leaves(post, articles):
    seen = []

    class Spy(fakes.Slack):
        def respond(self, request):
            seen.extend((each.state, each.attempts) for each in post.found())
            return super().respond(request)

    post.plan("news", articles[0])
    with fakes.serving(Spy()) as spy:
        post.drain("news", to_slack(spy))

    assert seen == [(State.SENDING, 1)]


def test_a_refused_connection_is_a_plain_retry(post, articles):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    post.plan("news", articles[0])

    assert post.drain("news", Slack(kind="slack", url=f"http://127.0.0.1:{port}/x")) == delivery.Tally(retried=1)

    (found,) = post.found()
    assert (found.state, found.next_at, found.doubtful_since) == (State.PENDING, START + timedelta(seconds=5), None)


def test_a_retry_comes_when_it_is_due_and_not_before(post, slack, articles):
    slack.next_answers = [fakes.Answer(status=503, body="try later")]
    post.plan("news", articles[0])
    post.drain("news", to_slack(slack))

    post.time += timedelta(seconds=4)
    assert post.drain("news", to_slack(slack)) == delivery.Tally()
    post.time += timedelta(seconds=1)
    assert post.drain("news", to_slack(slack)) == delivery.Tally(delivered=1)

    assert (post.found()[0].attempts, post.found()[0].last_error) == (2, "")


def test_a_429_waits_as_long_as_the_service_says(post, slack, articles):
    slack.next_answers = [fakes.Answer(status=429, headers={"retry-after": "120"})]
    post.plan("news", articles[0])
    post.drain("news", to_slack(slack))

    assert post.found()[0].next_at == START + timedelta(seconds=120)


def test_a_permanent_refusal_is_a_dead_letter_with_the_services_own_words_and_stops_nothing_else(
    post, mastodon, articles
):
    mastodon.next_answers = [fakes.as_json(422, error="Validation failed: something")]
    post.plan("fedi", *articles[:2])

    assert post.drain("fedi", to_mastodon(mastodon)) == delivery.Tally(delivered=1, rejected=1)

    dead, delivered = post.found()
    assert (dead.state, delivered.state) == (State.DEAD, State.DELIVERED)
    assert "Validation failed: something" in dead.last_error


def test_a_revoked_credential_switches_the_target_off_and_loses_nothing(post, mastodon, articles):
    post.plan("fedi", *articles)

    assert post.drain("fedi", to_mastodon(mastodon, token="revoked")) == delivery.Tally(gone=1)
    assert post.off("fedi") == "401 The access token is invalid"
    assert post.drain("fedi", to_mastodon(mastodon)) == delivery.Tally()
    assert {each.state for each in post.found()} == {State.PENDING}

    with post.store.write() as connection:
        deliveries.switch(connection, "fedi", "")
    assert post.drain("fedi", to_mastodon(mastodon)) == delivery.Tally(delivered=5)


@contextmanager
def swallowing():
    """A server that takes a request and hangs up without an answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def swallow():
            connection, _ = server.accept()
            connection.recv(65536)
            connection.close()

        thread = threading.Thread(target=swallow)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def test_a_connection_that_breaks_after_the_request_is_unknown_and_held(post, articles):
    post.plan("news", articles[0])
    with swallowing() as address:
        assert post.drain("news", Slack(kind="slack", url=f"{address}/x")) == delivery.Tally(unknown=1)

    assert post.found()[0].state == State.UNKNOWN
    assert post.drain("news", Slack(kind="slack", url="http://127.0.0.1:9/x")) == delivery.Tally()


def test_a_connection_that_breaks_is_tried_again_with_the_same_key_where_the_service_knows_keys(
    post, mastodon, articles
):
    post.plan("fedi", articles[0])
    with swallowing() as address:
        post.drain("fedi", Mastodon(kind="mastodon", url=address, token=fakes.Mastodon.token))
    assert post.found()[0].state == State.PENDING

    post.time += timedelta(minutes=1)
    assert post.drain("fedi", to_mastodon(mastodon)) == delivery.Tally(delivered=1)
    assert [status["key"] for status in mastodon.ledger.taken] == [post.found()[0].id]


def left_in_sending(post, target, article):
    post.plan(target, article)
    with post.store.write() as connection:
        pending = deliveries.next_pending(connection, target, post.time)
        deliveries.save(connection, outbox.begin(pending, post.time, outbox.Care()))


def test_what_a_crash_left_in_sending_is_sent_again_with_the_same_key(post, webhook, articles):
    post.time = START - timedelta(days=1)
    left_in_sending(post, "site", articles[0])
    post.time = START

    assert post.drain("site", to_webhook(webhook)) == delivery.Tally(delivered=1)
    assert webhook.ids == [f"msg_{post.found()[0].id}"]


def test_what_a_crash_left_in_sending_is_not_sent_again_when_the_service_has_forgotten_the_key(
    post, mastodon, articles
):
    left_in_sending(post, "fedi", articles[0])
    post.time += timedelta(hours=1)

    assert post.drain("fedi", to_mastodon(mastodon)) == delivery.Tally()
    assert (post.found()[0].state, mastodon.ledger.taken) == (State.UNKNOWN, [])


@pytest.mark.parametrize(
    ("on_unknown", "copies", "state"), [("hold", 0, State.UNKNOWN), ("resend", 1, State.DELIVERED)]
)
def test_what_a_crash_left_in_sending_goes_by_on_unknown_where_there_are_no_keys(
    post, slack, articles, on_unknown, copies, state
):
    left_in_sending(post, "news", articles[0])

    post.drain("news", to_slack(slack, on_unknown=on_unknown))

    assert (len(slack.ledger.taken), post.found()[0].state) == (copies, state)


def test_a_redirect_is_never_followed(post, slack, articles):
    slack.next_answers = [fakes.Answer(status=307, headers={"location": f"{slack.url}{fakes.Slack.path}"})]
    post.plan("news", articles[0])

    assert post.drain("news", to_slack(slack)) == delivery.Tally(rejected=1)
    assert slack.ledger.taken == []


def test_no_more_of_an_answer_is_read_than_can_be_of_use(post, slack, articles):
    slack.next_answers = [fakes.Answer(status=400, body="x" * 10_000_000)]
    post.plan("news", articles[0])

    post.drain("news", to_slack(slack))

    assert len(post.found()[0].last_error) < 400


def test_an_answer_that_repeats_the_secret_is_kept_without_it(post, slack, articles):
    target = to_slack(slack)
    slack.next_answers = [fakes.Answer(status=400, body=f"no such hook: {slack.url}{fakes.Slack.path}")]
    post.plan("news", articles[0])

    post.drain("news", target)

    assert post.found()[0].last_error == "400 no such hook: [secret]"


def test_a_lane_that_is_cancelled_in_the_middle_records_that_nobody_knows(post, articles):
    post.plan("news", articles[0])
    arrived = threading.Event()

    class Slow(fakes.Slack):
        def respond(self, request):
            arrived.set()
            release.wait()
            return super().respond(request)

    release = threading.Event()

    async def cancel_while_sending(service):
        with ThreadPoolExecutor(1) as threads:
            async with delivery.client(TerminalTransport(Terminal(file=io.StringIO()))) as http:
                task = asyncio.create_task(post.lane("news", to_slack(service), http, threads).drain(asyncio.Event()))
                await asyncio.to_thread(arrived.wait)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    with fakes.serving(Slow()) as slow:
        asyncio.run(cancel_while_sending(slow))
        release.set()

    (found,) = post.found()
    assert (found.state, found.last_error) == (State.UNKNOWN, "feeder stopped before the answer came")


class FailingOnce(Store):
    """A store whose disk is full when the outcome of the first delivery is to be written."""

    writes = 0

    @contextmanager
    def write(self):
        self.writes += 1
        if self.writes == 2:
            raise OperationalError("UPDATE deliveries", {}, sqlite3.OperationalError("database or disk is full"))
        with super().write() as connection:
            yield connection


@pytest.mark.parametrize(
    ("on_unknown", "copies", "states"),
    [("hold", 2, [State.UNKNOWN, State.DELIVERED]), ("resend", 3, [State.DELIVERED, State.DELIVERED])],
)
def test_a_lane_goes_on_after_the_store_failed_and_leaves_nothing_in_sending(
    post, slack, articles, on_unknown, copies, states
):
    post.plan("news", *articles[:2])

    async def work():
        stop = asyncio.Event()
        with ThreadPoolExecutor(1) as threads:
            async with delivery.client(TerminalTransport(Terminal(file=io.StringIO()))) as http:
                lane = post.lane("news", to_slack(slack, on_unknown=on_unknown), http, threads)
                failing = FailingOnce(post.store._engine)
                running = asyncio.create_task(replace(lane, store=failing, look_again=0.01).run(stop))
                await asyncio.to_thread(slack.ledger.wait_for, copies)
                stop.set()
                await running

    asyncio.run(work())

    assert [each.state for each in post.found()] == states


def test_a_lane_that_runs_takes_up_what_is_planned_later_when_it_is_woken(post, slack, articles):
    post.plan("news", articles[0])

    async def work():
        stop = asyncio.Event()
        with ThreadPoolExecutor(1) as threads:
            async with delivery.client(TerminalTransport(Terminal(file=io.StringIO()))) as http:
                lane = post.lane("news", to_slack(slack), http, threads)
                running = asyncio.create_task(lane.run(stop))
                await asyncio.to_thread(slack.ledger.wait_for, 1)
                await asyncio.to_thread(post.plan, "news", *articles[1:])
                lane.wake.set()
                await asyncio.to_thread(slack.ledger.wait_for, 5)
                stop.set()
                lane.wake.set()
                await running

    asyncio.run(work())

    assert len(slack.ledger.taken) == 5
    assert {each.state for each in post.found()} == {State.DELIVERED}
