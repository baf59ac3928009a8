"""Rows 5, 6 and 10: from headlines to receivers."""

from __future__ import annotations

import asyncio
import io
import itertools
import os
import statistics
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import sqlalchemy as sa
from msgspec.structs import replace

from feeder import logs, outbox, selection
from feeder.articles.scan import Stamp
from feeder.delivery import Office
from feeder.desk import calm_collector
from feeder.exchange import Clients, TerminalTransport
from feeder.lanes import Lane
from feeder.models import Adoption, Article, Delivery, News, Rules, Site
from feeder.records import record
from feeder.selection import PLAIN_FEEDS
from feeder.store import Store, catalog, deliveries, open_store
from feeder.targets import webhook
from feeder.terminal import Terminal
from tests import fakes
from tests.articles import seed
from tests.benchmarks import peers
from tests.benchmarks.house import LIMIT, House
from tests.benchmarks.receiver import Receiver, receiver, receiving
from tests.benchmarks.table import RUNS, Row, at_least, shown, within

TARGETS = 10_000
LANDINGS = 1_000
MESSAGES = 1_000
BACKLOG = 1_000_000
_AT_ONCE = 100
_SITE = Site(title="Bench", base_url="https://bench.example", language="en", id_authority="bench.example,2026")


def _targets(port: int, number: int) -> dict[str, webhook.Webhook]:
    secret = fakes.SignedWebhook.secret
    return {
        f"t{index}": webhook.Webhook(
            kind="webhook", url=f"http://127.0.0.1:{port}/hook/{index}", secret=secret, **fakes.LOOPBACK
        )
        for index in range(number)
    }


def _http() -> Clients:
    return Clients(TerminalTransport(Terminal(file=io.StringIO())))


def _take_in(connection: sa.Connection, articles: Iterable[Article], now: datetime, *, announced: bool) -> None:
    """Write articles into the catalog, as a pass does."""
    readings = [
        catalog.Reading(path=f"{each.id}.md", stamp=Stamp(1, 1, 1), record=record(each, PLAIN_FEEDS.of(each)))
        for each in articles
    ]
    catalog.apply(
        connection,
        readings,
        (),
        now=now,
        include_drafts=True,
        keep_deleted=False,
        announced=announced,
        feeds_of=PLAIN_FEEDS,
        reread=lambda _: None,
    )


@asynccontextmanager
async def _dispatcher(store: Store, targets: Mapping[str, webhook.Webhook]) -> AsyncIterator[Office]:
    with ThreadPoolExecutor(1) as threads:
        async with _http() as http:
            yield Office(
                lanes={name: Lane(name, target) for name, target in targets.items()},
                store=store,
                http=http,
                threads=threads,
                site=_SITE,
                now=lambda: datetime.now(UTC),
                spread=lambda: 0.0,
            )


async def _office(targets: Mapping[str, webhook.Webhook], folder: Path) -> float:
    """Seconds that the office takes to tell all targets one headline, from a store on the disk."""
    store, now, article = open_store(f"sqlite:///{folder}/feeder.db"), datetime.now(UTC), seed("as-actors")
    news = [News(article=article.id, published=article.published, feeds=frozenset({"all"}))]
    adopted = {name: Adoption(name=name, adopted_at=now) for name in targets}
    with store.write() as connection:
        _take_in(connection, [article], now, announced=False)
        deliveries.add(connection, outbox.plan(news, [Rules(target=name) for name in targets], adopted, now))
    async with _dispatcher(store, targets) as office:
        calm_collector()
        start = time.perf_counter()
        tallies = await office.drain(asyncio.Event())
        seconds = time.perf_counter() - start
    store.close()
    if (told := sum(tally.delivered for tally in tallies.values())) != len(targets):
        raise SystemExit(f"only {told:,} of {len(targets):,} targets were told")
    return seconds


async def _bare(targets: Mapping[str, webhook.Webhook]) -> float:
    """Seconds that a loop takes to send the same message over the same client, without an outbox."""
    headline = selection.headline(seed("as-actors"), Rules(target="t0"), "en")
    body = next(targets["t0"].deliver(headline, "key")).content
    async with _http() as clients:
        http, left = httpx.AsyncClient(transport=clients.of(targets["t0"])), iter(targets.values())

        async def send() -> None:
            for target in left:
                answer = await http.post(
                    target.url.get_secret_value(), content=body, headers={"content-type": "application/json"}
                )
                answer.raise_for_status()

        start = time.perf_counter()
        await asyncio.gather(*(send() for _ in range(_AT_ONCE)))
        return time.perf_counter() - start


def measure_sending(_: House) -> Iterator[Row]:
    """Rows 5 and 6."""
    ours, bare, apprise = [], [], []
    with receiver() as port, Path(os.devnull).open("w") as nowhere:
        logs.configure("json", nowhere)  # as a worker under a supervisor does
        targets = _targets(port, TARGETS)
        for _ in range(RUNS):
            with TemporaryDirectory() as folder:
                ours.append(asyncio.run(_office(targets, Path(folder))))
            bare.append(asyncio.run(_bare(targets)))
            if (seconds := peers.apprise(port, TARGETS)) is not None:
                apprise.append(seconds)
    rates = [TARGETS / statistics.median(seconds) for seconds in (ours, bare)]
    work, told = f"one headline to {TARGETS:,} webhooks, outbox included", f"{rates[0]:,.0f}/s"
    if apprise:
        rate = TARGETS / statistics.median(apprise)
        yield Row(number="5", work=work, ours=told, theirs=f"Apprise {rate:,.0f}/s", **at_least(4, rates[0] / rate))
    else:
        yield Row(number="5", work=work, ours=told, theirs="no Apprise")
    against = f"bare loop {rates[1]:,.0f}/s"
    yield Row(number="6", work=work, ours=told, theirs=against, **at_least(0.6, rates[0] / rates[1]))


def measure_backlog(_: House) -> Iterator[Row]:
    """Row 11."""
    few, many = [], []
    with receiver() as port, Path(os.devnull).open("w") as nowhere, TemporaryDirectory() as folder:
        logs.configure("json", nowhere)
        stores = [(few, _backlog(Path(folder) / "few.db", 10)), (many, _backlog(Path(folder) / "many.db", BACKLOG))]
        for run in range(RUNS):
            for seconds, store in stores:
                seconds.append(asyncio.run(_beside_backlog(store, port, run)))
        for _, store in stores:
            store.close()
    rates = [MESSAGES / statistics.median(seconds) for seconds in (many, few)]
    work = f"{MESSAGES:,} messages to one target beside a paced one with {BACKLOG:,} waiting"
    against = f"with 10 waiting {rates[1]:,.0f}/s"
    yield Row(number="11", work=work, ours=f"{rates[0]:,.0f}/s", theirs=against, **at_least(0.9, rates[0] / rates[1]))


def _backlog(path: Path, waiting: int) -> Store:
    """A store in which so many deliveries wait for a target called `paced`."""
    store, now = open_store(f"sqlite:///{path}"), datetime.now(UTC)
    with store.write() as connection:
        for start in range(0, waiting, 10_000):
            planned = [_waiting("paced", f"old{each}", now) for each in range(start, min(start + 10_000, waiting))]
            deliveries.add(connection, planned)
    return store


def _waiting(target: str, article: str, now: datetime) -> Delivery:
    return Delivery(id=outbox.delivery_id(article, target), subject=article, target=target, published=now, next_at=now)


async def _beside_backlog(store: Store, port: int, run: int) -> float:
    """Seconds that the dispatcher takes to bring MESSAGES new articles to one target, in a store where others wait."""
    now, plain = datetime.now(UTC), seed("as-actors")
    articles = [replace(plain, id=outbox.delivery_id(f"{run}-{number}", "")) for number in range(MESSAGES)]
    with store.write() as connection:
        _take_in(connection, articles, now, announced=True)
        deliveries.add(connection, [_waiting("free", each.id, now) for each in articles])
    free, paced = _targets(port, 2).values()
    async with _dispatcher(store, {"free": free, "paced": paced.model_copy(update={"rate": "1/h"})}) as office:
        office.lanes["paced"].has_sent(now)
        stop, ended = asyncio.Event(), itertools.count(1)

        def passing(point: str) -> None:
            if point == "after the message" and next(ended) == MESSAGES:
                stop.set()

        office.passing = passing
        start = time.perf_counter()
        await office.run(stop)
        return time.perf_counter() - start


def measure_landing(house: House) -> Iterator[Row]:
    """Row 10."""
    with receiving() as hook:
        house.configure(
            f'[targets.hook]\nkind = "webhook"\nurl = "{hook.url}"\nsecret = "{fakes.SignedWebhook.secret}"\n'
            'allow = ["127.0.0.0/8"]\nallow_http = true\n'
        )
        with house.worker():
            seconds = sorted(_lands(house, hook) for _ in range(LANDINGS))
    house.configure()
    p50, p99 = seconds[LANDINGS // 2], seconds[int(LANDINGS * 0.99)]
    work = f"file lands → receiver has it, {LANDINGS:,} times, {house.number:,} articles"
    yield Row(number="10", work=f"{work}: p50", ours=shown(p50), **within(0.15, p50))
    yield Row(number="10", work=f"{work}: p99", ours=shown(p99), **within(0.5, p99))


def _lands(house: House, hook: Receiver) -> float:
    """Seconds from the landing of a new article to the arrival of its headline."""
    text, _ = house.new()
    start = time.perf_counter()
    house.land(text)
    return hook.arrivals.get(timeout=LIMIT) - start
