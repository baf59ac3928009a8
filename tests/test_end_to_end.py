"""The whole path, by a real worker process and services on loopback that check what the real ones check."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import feedparser
import pytest

from tests import fakes
from tests.worker import SEEDS, House, Worker

TITLES = [  # in order of publication
    "As Actors Strike for AI Protections, Netflix Lists $900,000 AI Job",
    "Bad Timing: Netflix Lists $900,000 AI Job Amidst Writers Strike",
    "Netflix lists AI job worth $900,000 amid twin Hollywood strikes",
    "Netflix invests more than half a million dollars in machine learning role amid SAG, WGA strikes",
    "It’s not just Netflix’s $900K AI jobs, it’s the hypocrisy",
]
RELATED = [3, 2, 2, 3, 3]  # of the seeds' 3, 2, 2, 3 and 7, a target takes three


@dataclass
class Town:
    """A house and the services that it tells its headlines."""

    house: House
    slack: fakes.Slack
    mastodon: fakes.Mastodon
    webhook: fakes.SignedWebhook

    @property
    def ledgers(self) -> list[fakes.Ledger]:
        return [self.slack.ledger, self.mastodon.ledger, self.webhook.ledger]

    def wait_for(self, number: int) -> None:
        for ledger in self.ledgers:
            ledger.wait_for(number)

    def counts(self) -> list[int]:
        return [len(ledger.taken) for ledger in self.ledgers]


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with ExitStack() as stack:
        slack = stack.enter_context(fakes.serving(fakes.Slack()))
        mastodon = stack.enter_context(fakes.serving(fakes.Mastodon()))
        webhook = stack.enter_context(fakes.serving(fakes.SignedWebhook()))
        house = House(
            tmp_path,
            f"""
            [targets.newsroom]
            kind = "slack"
            backfill = 10
            allow = ["127.0.0.0/8"]
            allow_http = true
            [targets.fedi]
            kind = "mastodon"
            url = "{mastodon.url}"
            backfill = 10
            allow = ["127.0.0.0/8"]
            allow_http = true
            [targets.site]
            kind = "webhook"
            url = "{webhook.url}/hook"
            backfill = 10
            allow = ["127.0.0.0/8"]
            allow_http = true
            """,
            FEEDER_TARGETS__NEWSROOM__URL=slack.url + fakes.Slack.path,
            FEEDER_TARGETS__FEDI__TOKEN=fakes.Mastodon.token,
            FEEDER_TARGETS__SITE__SECRET=fakes.SignedWebhook.secret,
        )
        yield Town(house=house, slack=slack, mastodon=mastodon, webhook=webhook)


@pytest.fixture
def worker(town: Town) -> Iterator[Worker]:
    with town.house.worker() as worker:
        town.wait_for(5)
        yield worker


def slack_title(message: dict[str, Any]) -> str:
    return re.search(r"\|([^>]*)>", message["blocks"][0]["text"]["text"])[1].replace("\u200b", "")


def entries(worker: Worker, feed: str) -> dict[str, Any]:
    parsed = feedparser.parse(worker.get(f"feeds/{feed}.atom").content)
    return {entry.title: entry for entry in parsed.entries}


def test_every_seed_arrives_once_at_every_target_in_order_with_its_related_links(town, worker):
    assert [slack_title(message) for message in town.slack.ledger.taken] == TITLES
    assert [message["status"].split("\n")[0] for message in town.mastodon.ledger.taken] == TITLES
    assert [event["data"]["title"] for event in town.webhook.ledger.taken] == TITLES

    assert [len(message["blocks"][-1]["text"]["text"].splitlines()) for message in town.slack.ledger.taken] == RELATED
    assert all(0 < message["status"].count("\n• ") <= 3 for message in town.mastodon.ledger.taken)
    assert [len(event["data"]["related"]) for event in town.webhook.ledger.taken] == RELATED

    assert [len(set(town.mastodon.by_key)), len(set(town.webhook.ids))] == [5, 5]
    assert [ledger.refused for ledger in town.ledgers] == [[], [], []]
    assert worker.stop() == 0
    assert town.counts() == [5, 5, 5]


def test_a_file_that_lands_is_told_without_waiting_for_the_interval(town, worker):
    town.house.write_article("sixth", "A sixth article")

    town.wait_for(6)

    assert slack_title(town.slack.ledger.taken[5]) == "A sixth article"
    assert "A sixth article" in entries(worker, "ai")
    assert "A sixth article" in entries(worker, "all")
    assert "A sixth article" not in entries(worker, "ai-ethics")


def test_an_embargoed_article_comes_out_at_its_moment_without_waiting_for_the_interval(town, worker):
    """The interval is an hour, and nothing lands in the folder when the embargo ends."""
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    town.house.write_article("later", "It can be told now", publishedDateTime=moment.isoformat())
    worker.wait_for("pass.done")
    assert "It can be told now" not in entries(worker, "ai")

    town.wait_for(6)

    assert datetime.now(UTC) >= moment
    assert slack_title(town.slack.ledger.taken[5]) == "It can be told now"
    assert "It can be told now" in entries(worker, "ai")


def test_files_in_a_folder_that_is_moved_in_are_told_too(town, worker):
    article = town.house.write_article("sixth", "A sixth article")
    town.wait_for(6)
    folder = town.house.folder / "august" / "first"
    folder.mkdir(parents=True)
    (folder / "seventh.markdown").write_text(article.read_text().replace("sixth", "seventh"))

    folder.parent.rename(town.house.seeds / "august")
    town.wait_for(7)

    assert town.webhook.ledger.taken[6]["data"]["title"] == "A seventh article"


def test_nothing_is_told_again_after_a_stop_and_a_start(town, worker):
    before = worker.documents()
    assert worker.stop(signal.SIGINT) == 0

    with town.house.worker() as again:
        town.house.write_article("sixth", "A sixth article")
        town.wait_for(6)
        town.house.seeds.joinpath("sixth.md").unlink()
        while again.wait_for("pass.done")["gone"] != 1:
            pass
        after = again.documents()

    assert town.counts() == [6, 6, 6]
    assert after == before


def rewrite_heat_and_secured(house: House) -> None:
    for path in house.seeds.glob("*.md"):
        text = path.read_text()
        changed = re.sub(r"heat: .*", "heat: 99", re.sub(r'secured: ".{40}', 'secured: "' + "A" * 40, text))
        assert changed != text
        path.write_text(changed)


def touch(house: House) -> None:
    for path in house.seeds.glob("*.md"):
        os.utime(path)


def rename(house: House) -> None:
    for number, path in enumerate(sorted(house.seeds.glob("*.md"))):
        path.rename(path.with_name(f"renamed-{number}.txt"))


def move(house: House) -> None:
    deeper = house.seeds / "2023" / "07"
    deeper.mkdir(parents=True)
    for path in house.seeds.glob("*.md"):
        path.rename(deeper / path.name)


def reorder_keys(house: House) -> None:
    path = house.seed("bad-timing")
    lines = path.read_text().replace("\n", "\r\n").split("\r\n")
    lines[1], lines[2] = lines[2], lines[1]
    path.write_bytes("\r\n".join([*lines[:4], "", *lines[4:]]).encode())


@pytest.mark.parametrize("rewrite", [rewrite_heat_and_secured, touch, rename, move, reorder_keys])
def test_a_rewrite_that_no_reader_sees_changes_no_byte_and_tells_nobody(town, worker, rewrite):
    before, files = worker.documents(), town.house.public()
    modified = {path: worker.get(path).headers["last-modified"] for path in before if path != "index.html"}

    rewrite(town.house)
    worker.stop()
    with town.house.worker() as again:
        again.wait_for("pass.done")
        assert again.documents() == before
        assert {path: again.get(path).headers["last-modified"] for path in modified} == modified

    assert town.house.public() == files
    assert town.counts() == [5, 5, 5]


def test_a_rewrite_under_a_running_worker_changes_no_byte_and_tells_nobody(town, worker):
    before = worker.documents()

    rewrite_heat_and_secured(town.house)
    touch(town.house)
    town.house.seed("bad-timing").rename(town.house.seeds / "elsewhere.md")
    while worker.wait_for("pass.done")["gone"] != 1:
        pass

    assert worker.documents() == before
    assert worker.stop() == 0
    assert town.counts() == [5, 5, 5]


def test_a_corrected_title_moves_updated_keeps_the_id_and_tells_nobody(town, worker):
    before = entries(worker, "ai")[TITLES[1]]
    text = town.house.seed("bad-timing").read_text()
    corrected = town.house.folder / "corrected"
    corrected.write_text(text.replace('title: "Bad Timing: Netflix Lists', 'title: "Corrected: Netflix Lists', 1))

    corrected.rename(town.house.seed("bad-timing"))
    worker.wait_for("pass.done")
    worker.wait_for("pass.done")

    found = entries(worker, "ai")
    after = found[TITLES[1].replace("Bad Timing", "Corrected")]
    assert TITLES[1] not in found
    assert after.id == before.id
    assert after.updated_parsed > before.updated_parsed
    assert after.published == before.published
    others = entries(worker, "ai-ethics")
    assert others[TITLES[0]].updated_parsed == others[TITLES[0]].published_parsed
    assert worker.stop() == 0
    assert town.counts() == [5, 5, 5]


def test_what_the_worker_says_holds_no_secret_and_no_traceback(town, worker):
    worker.stop()

    said = "".join(worker.noise) + str(worker.events) + "".join(worker.cards)
    assert worker.noise == []
    for secret in (fakes.Slack.path, fakes.Mastodon.token, fakes.SignedWebhook.secret):
        assert secret not in said


def test_a_worker_that_is_stopped_while_a_target_hangs_ends_and_records_that_nobody_knows(tmp_path):
    reached, release = threading.Event(), threading.Event()

    class Hanging(fakes.Slack):
        def respond(self, request: fakes.Request) -> fakes.Answer:
            reached.set()
            release.wait(fakes.LIMIT)
            return super().respond(request)

    with fakes.serving(Hanging()) as slack:
        house = House(
            tmp_path,
            '[targets.newsroom]\nkind = "slack"\nbackfill = 1\n' + fakes.LOOPBACK_TOML,
            FEEDER_TARGETS__NEWSROOM__URL=slack.url + fakes.Slack.path,
        )
        with house.worker() as worker:
            assert reached.wait(fakes.LIMIT)
            assert worker.stop() == 0
        release.set()

    (delivery,) = json.loads(house.feeder("deliveries", "--json").stdout)
    assert (delivery["state"], delivery["last_error"]) == ("unknown", "feeder stopped before the answer came")


def test_secured_reaches_no_output(town, worker):
    blobs = [re.search(r'secured: "([^"]*)"', path.read_text())[1] for path in SEEDS.glob("*.md")]
    outputs = b"\n".join([*worker.documents().values(), str([ledger.taken for ledger in town.ledgers]).encode()])
    worker.stop()
    outputs += (town.house.folder / "var" / "feeder.db").read_bytes()

    for blob in blobs:
        for start in range(0, len(blob) - 12, 6):
            assert blob[start : start + 12].encode() not in outputs


def test_a_bad_file_is_named_and_stops_no_other(town, worker):
    (town.house.seeds / "broken.md").write_text('---\ntitle: "no end\n---\n')
    town.house.write_article("sixth", "A sixth article")

    bad = worker.wait_for("article.bad")
    town.wait_for(6)

    assert (bad["file"], bad["line"]) == ("broken.md", 3)
    assert "not YAML" in bad["reason"]


def test_a_file_that_turns_bad_keeps_its_last_good_version(town, worker):
    before = worker.documents()

    town.house.seed("bad-timing").write_text("---\ntitle: half writt")
    worker.wait_for("article.bad")
    town.house.write_article("sixth", "A sixth article")
    town.wait_for(6)

    assert TITLES[1] in entries(worker, "ai")
    assert worker.documents()["feeds/ai-ethics.atom"] == before["feeds/ai-ethics.atom"]
