"""Lanes over a real store and real HTTP on loopback."""

from __future__ import annotations

import asyncio
import gzip
import io
import socket
import sqlite3
import threading
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy.exc import OperationalError

from feeder import outbox
from feeder.articles.parse import parse
from feeder.articles.scan import Stamp
from feeder.delivery import Office
from feeder.exchange import Clients, TerminalTransport
from feeder.lanes import Lane, Tally
from feeder.models import Article, News, Rules, Site, State
from feeder.records import record
from feeder.resolver import Resolver
from feeder.selection import PLAIN_FEEDS
from feeder.store import Store, catalog, deliveries, open_store
from feeder.targets.base import Endpoint
from feeder.targets.console import Console as ConsoleTarget
from feeder.targets.mastodon import Mastodon
from feeder.targets.slack import Slack
from feeder.targets.webhook import Webhook
from feeder.terminal import Terminal
from tests import fakes
from tests.house import SITE
from tests.worker import SEEDS


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@dataclass
class Post:
    """A store with planned deliveries, and a clock."""

    store: Store
    time: datetime = field(default_factory=_now)  # receivers of signed messages compare it with theirs
    terminal: io.StringIO | None = None
    site: Site = SITE

    def __post_init__(self) -> None:
        self.start = self.time

    def plan(self, target: str, *articles: Article) -> None:
        readings = [
            catalog.Reading(path=each.id, stamp=Stamp(1, 1, 1), record=record(each, PLAIN_FEEDS.of(each)))
            for each in articles
        ]
        news = [News(article=each.id, published=each.published, feeds=frozenset({"all"})) for each in articles]
        with self.store.write() as connection:
            catalog.apply(
                connection,
                readings,
                (),
                now=self.time,
                include_drafts=True,
                keep_deleted=False,
                announced=False,
                feeds_of=PLAIN_FEEDS,
                reread=lambda _: None,
            )
            if target not in deliveries.adopted(connection):
                deliveries.adopt(connection, target, self.time)
            planned = outbox.plan(news, [Rules(target=target)], deliveries.adopted(connection), self.time)
            deliveries.add(connection, planned)

    def drain(self, target: str, options: Endpoint) -> Tally:
        return asyncio.run(self._drain(target, options))

    async def _drain(self, name: str, options: Endpoint) -> Tally:
        async with self.office({name: options}) as office:
            office.recover()
            return (await office.drain(asyncio.Event()))[name]

    @asynccontextmanager
    async def office(
        self, targets: Mapping[str, Endpoint], resolver: Resolver | None = None, **changes: Any
    ) -> AsyncIterator[Office]:
        terminal = TerminalTransport(Terminal(file=self.terminal or io.StringIO()))
        with ThreadPoolExecutor(1) as threads:
            async with Clients(terminal, resolver) as http:
                plain = {
                    "lanes": {name: Lane(name, options) for name, options in targets.items()},
                    "store": self.store,
                    "http": http,
                    "threads": threads,
                    "site": self.site,
                    "now": lambda: self.time,
                    "spread": lambda: 0.0,
                }
                yield Office(**{**plain, **changes})

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
    return Slack(kind="slack", url=service.url + fakes.Slack.path, **fakes.LOOPBACK, **options)


def to_webhook(service: fakes.Service) -> Webhook:
    return Webhook(kind="webhook", url=f"{service.url}/hook", secret=fakes.SignedWebhook.secret, **fakes.LOOPBACK)


def to_mastodon(service: fakes.Service, token: str = fakes.Mastodon.token, **options: object) -> Mastodon:
    return Mastodon(kind="mastodon", url=service.url, token=token, **fakes.LOOPBACK, **options)


def test_a_lane_delivers_in_order_of_publication_and_only_once(post, slack, articles):
    post.plan("news", *reversed(articles))

    assert post.drain("news", to_slack(slack)) == Tally(delivered=5)
    assert post.drain("news", to_slack(slack)) == Tally()

    assert [each.subject for each in post.found()] == [each.id for each in articles]
    assert {each.state for each in post.found()} == {State.DELIVERED}
    assert len(slack.ledger.taken) == 5


def test_a_bot_token_works_as_well_as_an_incoming_webhook(post, slack, articles):
    post.plan("news", articles[0])
    bot = Slack(
        kind="slack", token=fakes.Slack.token, channel="C1", api=f"{slack.url}/api/chat.postMessage", **fakes.LOOPBACK
    )

    assert post.drain("news", bot) == Tally(delivered=1)

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

    assert post.drain("here", ConsoleTarget(kind="console")) == Tally(retried=1)


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

    assert post.drain("news", Slack(kind="slack", url=f"http://127.0.0.1:{port}/x", **fakes.LOOPBACK)) == Tally(
        retried=1
    )

    (found,) = post.found()
    assert (found.state, found.next_at, found.doubtful_since) == (
        State.PENDING,
        post.start + timedelta(seconds=5),
        None,
    )


def test_a_retry_comes_when_it_is_due_and_not_before(post, slack, articles):
    slack.next_answers = [fakes.Answer(status=503, body="try later")]
    post.plan("news", articles[0])
    post.drain("news", to_slack(slack))

    post.time += timedelta(seconds=4)
    assert post.drain("news", to_slack(slack)) == Tally()
    post.time += timedelta(seconds=1)
    assert post.drain("news", to_slack(slack)) == Tally(delivered=1)

    assert (post.found()[0].attempts, post.found()[0].last_error) == (2, "")


def test_a_429_waits_as_long_as_the_service_says(post, slack, articles):
    slack.next_answers = [fakes.Answer(status=429, headers={"retry-after": "120"})]
    post.plan("news", articles[0])
    post.drain("news", to_slack(slack))

    assert post.found()[0].next_at == post.start + timedelta(seconds=120)


def test_a_permanent_refusal_is_a_dead_letter_with_the_services_own_words_and_stops_nothing_else(
    post, mastodon, articles
):
    mastodon.next_answers = [fakes.as_json(422, error="Validation failed: something")]
    post.plan("fedi", *articles[:2])

    assert post.drain("fedi", to_mastodon(mastodon)) == Tally(delivered=1, rejected=1)

    dead, delivered = post.found()
    assert (dead.state, delivered.state) == (State.DEAD, State.DELIVERED)
    assert "Validation failed: something" in dead.last_error


def test_a_revoked_credential_switches_the_target_off_and_loses_nothing(post, mastodon, articles):
    post.plan("fedi", *articles)

    assert post.drain("fedi", to_mastodon(mastodon, token="revoked")) == Tally(gone=1)
    assert post.off("fedi") == "401 The access token is invalid"
    assert post.drain("fedi", to_mastodon(mastodon, token="revoked")) == Tally()
    assert {each.state for each in post.found()} == {State.PENDING}

    mastodon.token = "revoked"  # which is good again
    assert post.drain("fedi", to_mastodon(mastodon, token="revoked")) == Tally()
    with post.store.write() as connection:
        deliveries.switch(connection, "fedi", "")
    assert post.drain("fedi", to_mastodon(mastodon, token="revoked")) == Tally(delivered=5)


def test_a_target_that_was_switched_off_is_on_again_with_other_credentials_alone(post, mastodon, articles):
    post.plan("fedi", *articles)
    post.drain("fedi", to_mastodon(mastodon, token="revoked"))

    assert post.drain("fedi", to_mastodon(mastodon, token="revoked", visibility="unlisted")) == Tally()
    assert post.drain("fedi", to_mastodon(mastodon)) == Tally(delivered=5)


def test_a_target_that_an_older_feeder_switched_off_stays_off(post, mastodon, articles):
    post.plan("fedi", articles[0])
    with post.store.write() as connection:
        deliveries.switch(connection, "fedi", "410 gone")

    assert post.drain("fedi", to_mastodon(mastodon)) == Tally()


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
        assert post.drain("news", Slack(kind="slack", url=f"{address}/x", **fakes.LOOPBACK)) == Tally(unknown=1)

    assert post.found()[0].state == State.UNKNOWN
    assert post.drain("news", Slack(kind="slack", url="http://127.0.0.1:9/x", **fakes.LOOPBACK)) == Tally()


def test_a_connection_that_breaks_is_tried_again_with_the_same_key_where_the_service_knows_keys(
    post, mastodon, articles
):
    post.plan("fedi", articles[0])
    with swallowing() as address:
        post.drain("fedi", Mastodon(kind="mastodon", url=address, token=fakes.Mastodon.token, **fakes.LOOPBACK))
    assert post.found()[0].state == State.PENDING

    post.time += timedelta(minutes=1)
    assert post.drain("fedi", to_mastodon(mastodon)) == Tally()  # it may be at it still
    post.time += timedelta(minutes=1)
    assert post.drain("fedi", to_mastodon(mastodon)) == Tally(delivered=1)
    assert [status["key"] for status in mastodon.ledger.taken] == [post.found()[0].id]


def left_in_sending(post, target, article):
    post.plan(target, article)
    with post.store.write() as connection:
        (pending,) = deliveries.find(connection, states=[State.PENDING], target=target)
        deliveries.save(connection, outbox.begin(pending, post.time, outbox.Care()))


def test_what_a_crash_left_in_sending_is_sent_again_with_the_same_key(post, webhook, articles):
    post.time = post.start - timedelta(days=1)
    left_in_sending(post, "site", articles[0])
    post.time = post.start

    assert post.drain("site", to_webhook(webhook)) == Tally(delivered=1)
    assert webhook.ids == [f"msg_{post.found()[0].id}"]


def to_bot(service: fakes.Service, **options: object) -> Slack:
    api = f"{service.url}/api/chat.postMessage"
    return Slack(kind="slack", token=fakes.Slack.token, channel="C1", api=api, **fakes.LOOPBACK, **options)


LATER = timedelta(hours=2)  # when Mastodon has forgotten a key


@pytest.mark.parametrize("make", [to_mastodon, to_bot])
@pytest.mark.parametrize("others", [0, 7])
def test_what_is_in_doubt_is_looked_for_and_not_sent_again_when_it_is_there(
    post, mastodon, slack, articles, make, others
):
    service = mastodon if make is to_mastodon else slack
    target = make(service)
    post.plan("news", articles[0])
    post.drain("news", target)
    for number in range(others):
        post.plan("news", replace(articles[1], id=f"{number:032x}", url=f"https://other.example/{number}"))
    post.drain("news", target)
    first = next(each for each in post.found() if each.subject == articles[0].id)
    with post.store.write() as connection:
        deliveries.save(connection, replace(first, state=State.SENDING, remote_id=""))
    post.time += LATER

    assert post.drain("news", target) == Tally(delivered=1)

    again = next(each for each in post.found() if each.subject == articles[0].id)
    assert (again.state, again.remote_id) == (State.DELIVERED, first.remote_id)
    assert len(service.ledger.taken) == 1 + others


@pytest.mark.parametrize("make", [to_mastodon, to_bot])
def test_what_is_in_doubt_is_sent_when_it_is_looked_for_and_not_there(post, mastodon, slack, articles, make):
    service = mastodon if make is to_mastodon else slack
    left_in_sending(post, "news", articles[0])
    post.time += LATER

    assert post.drain("news", make(service)) == Tally(delivered=1)
    assert len(service.ledger.taken) == 1


@pytest.mark.parametrize("make", [to_mastodon, to_bot])
@pytest.mark.parametrize(
    ("on_unknown", "tally", "state", "copies"),
    [
        ("hold", Tally(unknown=1), State.UNKNOWN, 0),
        ("resend", Tally(delivered=1), State.DELIVERED, 1),
    ],
)
def test_where_nobody_may_look_what_is_in_doubt_goes_by_on_unknown(
    post, mastodon, slack, articles, make, on_unknown, tally, state, copies
):
    service = mastodon if make is to_mastodon else slack
    service.scopes = {"write:statuses", "chat:write"}
    target = make(service, on_unknown=on_unknown)
    left_in_sending(post, "news", articles[0])
    post.time += LATER

    assert post.drain("news", target) == tally
    assert (post.found()[0].state, len(service.ledger.taken)) == (state, copies)


def test_a_service_is_given_time_to_show_what_was_sent(post, slack, articles):
    left_in_sending(post, "news", articles[0])

    assert post.drain("news", to_bot(slack)) == Tally()
    post.time += outbox.LOOK_AFTER - timedelta(seconds=1)
    assert post.drain("news", to_bot(slack)) == Tally()
    post.time += timedelta(seconds=1)
    assert post.drain("news", to_bot(slack)) == Tally(delivered=1)


@pytest.mark.parametrize("make", [to_mastodon, to_bot])
def test_a_service_that_cannot_be_looked_at_now_is_looked_at_later(post, mastodon, slack, articles, make):
    service = mastodon if make is to_mastodon else slack
    left_in_sending(post, "news", articles[0])
    post.time += LATER
    service.next_answers = [fakes.Answer(status=503)]

    assert post.drain("news", make(service)) == Tally(retried=1)
    assert (post.found()[0].state, service.ledger.taken) == (State.PENDING, [])
    post.time += LATER
    assert post.drain("news", make(service)) == Tally(delivered=1)


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

    assert post.drain("news", to_slack(slack)) == Tally(rejected=1)
    assert slack.ledger.taken == []


def test_no_more_of_an_answer_is_read_than_can_be_of_use(post, slack, articles):
    slack.next_answers = [fakes.Answer(status=400, body="x" * 10_000_000)]
    post.plan("news", articles[0])

    post.drain("news", to_slack(slack))

    assert len(post.found()[0].last_error) < 400


def test_a_compressed_answer_is_read(post, slack, articles):
    said = gzip.compress(b"invalid_payload")
    slack.next_answers = [fakes.Answer(status=400, body=said, headers={"content-encoding": "gzip"})]
    post.plan("news", articles[0])

    post.drain("news", to_slack(slack))

    assert post.found()[0].last_error == "400 invalid_payload"


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
        async with post.office({"news": to_slack(service)}) as office:
            task = asyncio.create_task(office.drain(asyncio.Event()))
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


def test_an_outcome_that_could_not_be_written_is_kept_until_it_can_and_nothing_is_sent_meanwhile(post, slack, articles):
    post.plan("news", *articles[:2])
    said: list[str] = []

    async def work():
        stop = asyncio.Event()
        failing = FailingOnce(post.store._engine)
        changes = {"store": failing, "store_again": 0.01, "failing": said.append}
        async with post.office({"news": to_slack(slack)}, **changes) as office:
            running = asyncio.create_task(office.run(stop))
            await asyncio.to_thread(slack.ledger.wait_for, 2)
            stop.set()
            await running

    asyncio.run(work())

    assert [each.state for each in post.found()] == [State.DELIVERED, State.DELIVERED]
    assert len(slack.ledger.taken) == 2
    assert [reason for reason in said if reason] == ["database or disk is full"]


def test_lanes_take_up_what_is_planned_later_when_they_are_woken(post, slack, articles):
    post.plan("news", articles[0])

    async def work():
        stop = asyncio.Event()
        async with post.office({"news": to_slack(slack)}, look_again=3600.0) as office:
            running = asyncio.create_task(office.run(stop))
            await asyncio.to_thread(slack.ledger.wait_for, 1)
            await asyncio.to_thread(post.plan, "news", *articles[1:])
            office.wake.set()
            await asyncio.to_thread(slack.ledger.wait_for, 5)
            stop.set()
            await running

    asyncio.run(work())

    assert {each.state for each in post.found()} == {State.DELIVERED}


def test_what_another_process_plans_is_sent_though_a_lane_waits_long(post, slack, mastodon, articles):
    post.plan("busy", *articles[:2])

    async def work():
        stop = asyncio.Event()
        targets = {"busy": to_slack(slack, rate="1/h"), "fedi": to_mastodon(mastodon)}
        async with post.office(targets, look_again=0.01) as office:
            running = asyncio.create_task(office.run(stop))
            await asyncio.to_thread(slack.ledger.wait_for, 1)
            await asyncio.to_thread(post.plan, "fedi", articles[0])  # and nobody wakes the office
            await asyncio.to_thread(mastodon.ledger.wait_for, 1)
            stop.set()
            await running

    asyncio.run(asyncio.wait_for(work(), fakes.LIMIT))

    assert len(slack.ledger.taken) == 1


# --- how often, and what fails ----------------------------------------------------------------------------------------------


def clones(article: Article, number: int) -> list[Article]:
    """Other articles like this one, a second apart."""
    return [
        replace(
            article,
            id=f"{each:032x}",
            title=f"Number {each}",
            url=f"https://news.example/{each}",
            published=article.published + timedelta(seconds=each),
        )
        for each in range(number)
    ]


def working(post: Post, targets: Mapping[str, Endpoint], until, **changes: Any) -> None:
    """Let the lanes work, on the real clock, until `until` is over."""

    async def work() -> None:
        stop = asyncio.Event()
        async with post.office(targets, **{"now": lambda: datetime.now(UTC), **changes}) as office:
            running = asyncio.create_task(office.run(stop))
            await asyncio.to_thread(until)
            stop.set()
            office.wake.set()
            await running

    asyncio.run(work())


def test_a_lane_keeps_its_rate_after_a_restart_too(post, slack, articles):
    post.plan("news", *clones(articles[0], 5))
    target = to_slack(slack, rate="2/min")

    async def rounds(number: int) -> Tally:
        async with post.office({"news": target}) as office:
            office.recover()
            for _ in range(number):
                await office._round(until_idle=False)
                while office._tasks:
                    await asyncio.wait(office._tasks)
            await office._round(until_idle=False)
            return office.tallies["news"]

    assert asyncio.run(rounds(4)).delivered == 2
    assert asyncio.run(rounds(4)).delivered == 0
    post.time += timedelta(seconds=59)
    assert asyncio.run(rounds(4)).delivered == 0
    post.time += timedelta(seconds=1)
    assert asyncio.run(rounds(4)).delivered == 2
    assert len(slack.ledger.taken) == 4


def test_a_target_that_fails_ten_times_in_a_row_is_probed_every_half_minute(post, slack, articles):
    post.plan("news", *clones(articles[0], 30))
    slack.next_answers = [fakes.Answer(status=503) for _ in range(11)]
    target = to_slack(slack, rate="")

    async def work() -> list[int]:
        seen = []
        async with post.office({"news": target}) as office:

            async def rounds() -> None:
                for _ in range(40):
                    await office._round(until_idle=False)
                    while office._tasks:
                        await asyncio.wait(office._tasks)
                seen.append(len(slack.ledger.refused) + len(slack.ledger.taken))

            await rounds()
            post.time += timedelta(seconds=29)
            await rounds()
            post.time += timedelta(seconds=1)
            await rounds()
            post.time += timedelta(seconds=30)
            await rounds()
        return seen

    assert asyncio.run(work()) == [10, 10, 11, 11 + 30]


def test_a_target_that_hangs_and_one_that_never_ends_cost_the_others_nothing(post, articles):
    release = threading.Event()

    class Hanging(fakes.Slack):
        def respond(self, request):
            release.wait(fakes.LIMIT)
            return super().respond(request)

    class Endless(fakes.Slack):
        def respond(self, request):
            return fakes.Answer(body="x" * 100_000_000)

    with fakes.serving(Hanging()) as hanging, fakes.serving(Endless()) as endless, fakes.serving(fakes.Slack()) as good:
        targets = {"hanging": to_slack(hanging), "endless": to_slack(endless), "good": to_slack(good, rate="")}
        for name in targets:
            post.plan(name, *clones(articles[0], 20))

        working(post, targets, lambda: (good.ledger.wait_for(20), release.set()))

    found = {each.state for each in post.found() if each.target == "good"}
    assert found == {State.DELIVERED}
    assert not {each.state for each in post.found() if each.target == "hanging"} & {State.SENDING}


def test_an_article_that_breaks_its_target_is_a_dead_letter_and_stops_no_other(post, slack, articles, monkeypatch):
    poisoned, *others = clones(articles[0], 4)
    post.plan("news", poisoned, *others)
    real = Slack.deliver

    def deliver(self, headline, key):
        if headline.article.id == poisoned.id:
            raise KeyError("boom")
        return real(self, headline, key)

    monkeypatch.setattr(Slack, "deliver", deliver)

    assert post.drain("news", to_slack(slack)) == Tally(delivered=3, rejected=1)
    assert post.found()[0].last_error == "feeder failed at it: KeyError: 'boom'"


def test_a_private_address_is_not_told_and_the_reason_names_the_way_out(post, slack, articles):
    post.plan("news", articles[0])
    closed = Slack(kind="slack", url=slack.url + fakes.Slack.path, allow_http=True)

    assert post.drain("news", closed) == Tally(retried=1)
    assert slack.connections == 0
    assert (
        'is no address of the internet; allow it, if you mean it: allow = ["127.0.0.1"]' in post.found()[0].last_error
    )


def test_fifty_targets_are_told_side_by_side(post, articles):
    arrived = threading.Barrier(50, timeout=fakes.LIMIT)

    class Together(fakes.Slack):
        def respond(self, request):
            arrived.wait()  # until all fifty are here at once
            return super().respond(request)

    with fakes.serving(Together()) as service:
        targets = {f"t{number}": to_slack(service) for number in range(50)}
        for name in targets:
            post.plan(name, articles[0])
        working(post, targets, lambda: service.ledger.wait_for(50))

    assert {each.state for each in post.found()} == {State.DELIVERED}


def test_more_targets_than_may_be_told_at_once_are_told_one_after_the_other(post, slack, articles, monkeypatch):
    monkeypatch.setattr("feeder.delivery.AT_ONCE", 3)
    targets = {f"t{number}": to_slack(slack, rate="") for number in range(10)}
    for name in targets:
        post.plan(name, articles[0])

    working(post, targets, lambda: slack.ledger.wait_for(10))

    assert {each.state for each in post.found()} == {State.DELIVERED}


def test_what_ends_while_other_outcomes_are_brought_to_the_disk_is_not_forgotten(post, slack, articles):
    """The outcome of one target is being written when that of the other comes."""
    recording, second = threading.Event(), threading.Event()

    class Late(fakes.Slack):
        def respond(self, request):
            recording.wait(fakes.LIMIT)
            return super().respond(request)

    class Slow(Store):
        writes = 0

        @contextmanager
        def write(self):
            self.writes += 1
            if self.writes == 2:
                recording.set()
                second.wait(fakes.LIMIT)
            with super().write() as connection:
                yield connection

    with fakes.serving(Late()) as late:
        targets = {"first": to_slack(slack), "second": to_slack(late)}
        for name in targets:
            post.plan(name, articles[0])

        async def work() -> None:
            async with post.office(targets, store=Slow(post.store._engine)) as office:
                running = asyncio.create_task(office.drain(asyncio.Event()))
                while len(office._ended) < 2:  # noqa: ASYNC110 - the office tells nobody of it
                    await asyncio.sleep(0.01)
                second.set()
                await running

        asyncio.run(asyncio.wait_for(work(), fakes.LIMIT))

    assert {each.target: each.state for each in post.found()} == dict.fromkeys(targets, State.DELIVERED)


def test_an_answer_without_end_is_not_read_to_its_end(post, articles):
    post.plan("news", articles[0])
    said = [0]
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 1000000000\r\n\r\n")
                try:
                    while said[0] < 200_000_000:
                        said[0] += connection.send(b"x" * 65_536)
                except OSError:
                    return

        thread = threading.Thread(target=talk)
        thread.start()
        target = Slack(kind="slack", url=f"http://127.0.0.1:{server.getsockname()[1]}/x", **fakes.LOOPBACK)
        assert post.drain("news", target) == Tally(rejected=1)
        thread.join()

    assert said[0] < 50_000_000  # what the machine holds in its buffers


# --- name servers -----------------------------------------------------------------------------------------------------


def test_targets_whose_names_hang_cost_the_others_nothing_and_are_not_pushed_up_the_retry_table(post, slack, articles):
    release = threading.Event()

    def getaddrinfo(host, *_, **__):
        if host.startswith("hangs"):
            release.wait(fakes.LIMIT)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    port = slack.url.rpartition(":")[2]

    def at(host: str) -> Slack:
        return Slack(kind="slack", url=f"http://{host}:{port}{fakes.Slack.path}", **fakes.LOOPBACK, rate="")

    targets = {f"hangs-{number}": at(f"hangs-{number}.example") for number in range(40)} | {"good": at("good.example")}
    for name in targets:
        post.plan(name, *clones(articles[0], 3))

    def until():
        slack.ledger.wait_for(3)
        release.set()

    working(post, targets, until, resolver=Resolver(getaddrinfo))

    hanging = [each for each in post.found() if each.target != "good"]
    assert {each.state for each in post.found() if each.target == "good"} == {State.DELIVERED}
    assert {(each.state, each.attempts, each.doubtful_since) for each in hanging} == {(State.PENDING, 0, None)}
    tried = [each for each in hanging if each.last_error]
    assert len(tried) >= 40
    assert all("Temporary failure in name resolution" in each.last_error for each in tried)


def test_what_could_not_be_looked_up_is_sent_when_it_can_be_however_long_that_takes(post, slack, articles):
    faults = [socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")] * 50

    def getaddrinfo(*_, **__):
        if faults:
            raise faults.pop()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    post.plan("news", articles[0])
    port = slack.url.rpartition(":")[2]
    target = Slack(
        kind="slack", url=f"http://news.example:{port}{fakes.Slack.path}", **fakes.LOOPBACK, rate="1/24h", related=0
    )

    async def work() -> Tally:
        async with post.office({"news": target}, Resolver(getaddrinfo)) as office:
            for _ in range(51):
                await office.drain(asyncio.Event())
                post.time += timedelta(seconds=36)
                office._stale = True
            return office.tallies["news"]

    assert asyncio.run(work()) == Tally(retried=50, delivered=1)
    assert (post.found()[0].state, post.found()[0].attempts) == (State.DELIVERED, 1)


def test_a_name_that_nobody_has_is_tried_by_the_table(post, articles):
    def nobody(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    post.plan("news", articles[0])

    async def work() -> None:
        target = Slack(kind="slack", url="https://nobody.example/services/x")
        async with post.office({"news": target}, Resolver(nobody)) as office:
            await office.drain(asyncio.Event())

    asyncio.run(work())

    (found,) = post.found()
    assert (found.attempts, found.next_at) == (1, post.start + timedelta(seconds=5))
    assert "Name or service not known" in found.last_error


# --- clocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("back", [timedelta(hours=1), timedelta(days=400)])
def test_what_waits_is_sent_when_the_clock_is_set_back_while_it_waits(post, slack, articles, back):
    post.plan("news", articles[0])
    slack.next_answers = [fakes.Answer(status=429, headers={"retry-after": "3000"})]

    async def work() -> list[Tally]:
        async with post.office({"news": to_slack(slack)}) as office:
            await office.drain(asyncio.Event())
            post.time -= back
            office.clock_was_set_back()
            await office.drain(asyncio.Event())
            post.time += timedelta(seconds=6)
            office._stale = True
            await office.drain(asyncio.Event())
            return office.tallies["news"]

    assert asyncio.run(work()) == Tally(retried=1, delivered=1)


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("back", [timedelta(hours=1), timedelta(days=400)])
def test_what_is_on_its_way_while_the_clock_is_set_back_is_looked_for(post, mastodon, articles, back, seen):
    """The answer is lost; the instance has the status, and would take it again after an hour."""
    post.plan("fedi", articles[0])

    async def work() -> Tally:
        async with post.office({"fedi": to_mastodon(mastodon)}) as office:
            take = mastodon.respond

            def lost(request):
                take(request)
                mastodon.by_key.clear()
                mastodon.respond = take
                post.time -= back
                if seen:
                    office.clock_was_set_back()
                return fakes.Answer(status=504)

            mastodon.respond = lost
            await office.drain(asyncio.Event())
            post.time += timedelta(minutes=1)
            office._stale = True
            await office.drain(asyncio.Event())
            return office.tallies["fedi"]

    assert asyncio.run(work()) == Tally(unknown=1, delivered=1)
    assert len(mastodon.ledger.taken) == 1


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(days=400)])
def test_what_is_in_doubt_is_found_by_a_clock_that_is_ahead_still(post, mastodon, articles, ahead):
    """By that clock it was sent long after the instance says that it was written."""
    post.time = post.start + ahead
    post.plan("fedi", articles[0])
    post.drain("fedi", to_mastodon(mastodon))
    post.plan("fedi", articles[1])
    post.drain("fedi", to_mastodon(mastodon))
    first = next(each for each in post.found() if each.subject == articles[0].id)
    with post.store.write() as connection:
        deliveries.save(connection, replace(first, state=State.SENDING, remote_id=""))
    post.time += LATER

    assert post.drain("fedi", to_mastodon(mastodon)) == Tally(delivered=1)
    assert len(mastodon.ledger.taken) == 2
