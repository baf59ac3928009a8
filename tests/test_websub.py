"""Hubs are told what has changed, once it is published, and not more often than it changes."""

from __future__ import annotations

import json
from datetime import timedelta

import httpx
import pytest
from msgspec.structs import replace

from feeder import reports, websub
from feeder.models import Ping, State
from feeder.selection import Feeds
from feeder.store import deliveries, open_store
from tests import fakes, worker
from tests.house import SITE, House
from tests.test_delivery import Post

HUB = "https://hub.example/publish"
NAME = "hub:hub.example/publish"
BASE = "https://feeds.example.org/feeds"


@pytest.fixture
def house(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/feeder.db")
    yield House(tmp_path, store, site=replace(SITE, hubs=(HUB,)))
    store.close()


def waiting(house: House) -> dict[str, int]:
    """What the hub will be told of, with the seconds until then."""
    return {
        websub.path_of(each.subject): round((each.next_at - house.time).total_seconds())
        for each in house.outbox()
        if each.state is State.PENDING and each.target == NAME
    }


def test_a_hub_is_told_of_each_document_of_a_feed_that_changed_and_of_no_other(house):
    house.write("one")
    house.write("two", topics="[Space]")
    house.run()
    assert set(waiting(house)) == {
        f"feeds/{name}.{each}" for name in ("all", "ai", "space") for each in ("rss", "atom", "json")
    }

    settle(house)
    house.write("three", topics="[Space]")
    house.run()
    assert set(waiting(house)) == {
        f"feeds/{name}.{each}" for name in ("all", "space") for each in ("rss", "atom", "json")
    }


def settle(house: House) -> None:
    """All that waits is delivered."""
    with house.store.write() as connection:
        for each in deliveries.find(connection, states=[State.PENDING]):
            deliveries.save(connection, replace(each, state=State.DELIVERED))


def test_changes_within_a_second_are_told_once_and_not_put_off(house):
    house.write("one")
    house.run()
    assert {*waiting(house).values()} == {1}
    start = house.time

    for number in range(5):
        house.write(f"more-{number}")
        house.time = start + timedelta(milliseconds=100 * number)
        house.pipeline().run()

    found = [each for each in house.outbox() if each.subject.startswith("feeds/ai.rss@")]
    assert len(found) == 1
    assert found[0].next_at == start + websub.GATHER


def test_an_unchanged_feed_is_told_of_to_nobody(house):
    house.write("one")
    house.settle()
    settle(house)

    house.write("one", heat="9", secured="x")
    house.run()

    assert waiting(house) == {}


def test_archives_and_pages_are_told_of_to_nobody(house):
    house.feeds = Feeds(limit=1)
    for number in range(4):
        house.write(f"n-{number}", publishedDateTime=f"2025-06-0{number + 1}T10:00:00Z")
    house.run()

    assert all("archive" not in path and "html" not in path for path in waiting(house))


def test_the_outbox_keeps_one_row_for_each_document_and_hub(house):
    for number in range(4):
        house.write(f"n-{number}")
        house.run()
        settle(house)

    assert len([each for each in house.outbox() if each.target == NAME]) == 6


def test_a_hub_that_is_no_longer_set_is_forgotten_with_what_it_was_to_be_told(house):
    house.write("one")
    house.run()
    house.site = SITE
    house.run()

    assert house.outbox() == []


def test_a_folder_that_cannot_be_written_to_leaves_the_hub_untold(house):
    house.write("one")
    house.public.write_text("in the way")
    with pytest.raises(Exception, match=r"setting: public"):
        house.run()
    assert house.outbox() == []

    house.public.unlink()
    house.run()
    assert len(waiting(house)) == 6


def test_a_hubs_deliveries_are_listed_by_what_they_tell_of(house):
    house.write("one")
    house.run()

    found = reports.listing(house.store, house.site, states=[], target=NAME, limit=50)
    assert {(each["title"], each["url"]) for each in found} == {
        (f"feeds/{name}.{kind}", f"{BASE}/{name}.{kind}") for name in ("all", "ai") for kind in ("rss", "atom", "json")
    }
    told = reports.status(house.store, {NAME: websub.Hub(url=HUB)}, house.time)["targets"][NAME]
    assert (told["kind"], told["deliveries"]["pending"]) == ("websub", 6)


# --- the exchange -----------------------------------------------------------------------------------------------------------


def test_hubs_are_called_by_their_addresses():
    assert websub.name("https://hub.example/") == "hub:hub.example"
    assert websub.name("https://hub.example:8443/a/b?c=d") == "hub:hub.example:8443/a/b?c=d"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, "delivered"),
        (202, "delivered"),
        (204, "delivered"),
        (400, "rejected"),
        (401, "rejected"),
        (410, "rejected"),
    ],
)
def test_what_a_hub_answers_is_understood(status, kind):
    steps = websub.Hub(url=HUB).deliver(Ping(title="x", url=f"{BASE}/ai.rss"), "key")
    request = next(steps)
    assert (request.method, str(request.url)) == ("POST", HUB)
    with pytest.raises(StopIteration) as end:
        steps.send(httpx.Response(status, request=request))

    assert end.value.value.kind == kind


def test_a_hub_that_is_down_is_told_again_later(house):
    with fakes.serving(fakes.Hub()) as hub:
        house.site = replace(SITE, hubs=(hub.url + hub.path,))
        (name,) = websub.names(house.site)
        told = websub.Hub(url=hub.url + hub.path, **fakes.LOOPBACK)
        house.write("one")
        house.run()
        post = Post(house.store, time=house.time + timedelta(seconds=2), site=house.site)
        hub.next_answers = [fakes.Answer(status=503)]
        tally = post.drain(name, told)
        assert (tally.delivered, tally.retried) == (5, 1)

        post.time += timedelta(seconds=30)
        assert post.drain(name, told).delivered == 1
        assert sorted(hub.ledger.taken) == sorted(
            f"{BASE}/{n}.{e}" for n in ("all", "ai") for e in ("rss", "atom", "json")
        )


def test_a_worker_tells_its_hub_when_the_document_is_out(tmp_path):
    class Reading(fakes.Hub):
        """Looks at the document when it hears of it."""

        def respond(self, request: fakes.Request) -> fakes.Answer:
            answer = super().respond(request)
            path = self.ledger.taken[-1].rpartition("/")[2]
            self.seen.append((path, b"A new one" in (tmp_path / "public/feeds" / path).read_bytes()))
            return answer

    hub = Reading()
    hub.seen = []
    with fakes.serving(hub):
        house = worker.House(tmp_path, f'[websub]\nhubs = ["{hub.url}{hub.path}"]\n{fakes.LOOPBACK_TOML}')
        done = house.feeder("once")
        assert (done.returncode, len(hub.ledger.taken)) == (0, 12)
        with house.worker() as running:
            running.wait_until_ready()
            first = 12
            assert running.get("feeds/ai.rss").headers["link"].endswith(f'<{hub.url}{hub.path}>; rel="hub"')
            house.write_article("new", "A new one")
            hub.ledger.wait_for(first + 6)
        status = json.loads(house.feeder("status", "--json").stdout)

    assert {path for path, _ in hub.seen[first:]} == {
        f"{n}.{e}" for n in ("all", "ai") for e in ("rss", "atom", "json")
    }
    assert all(new for _, new in hub.seen[first:])
    (name,) = (name for name in status["targets"] if name.startswith("hub:"))
    assert status["targets"][name]["deliveries"]["delivered"] == 12
