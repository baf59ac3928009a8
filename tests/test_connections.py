"""Who is connected, and who has to make room."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from feeder.connections import MOST, RESERVED, Connections, share
from tests.worker import ROOT, House


class Client:
    """A connection that knows whether it was ended."""

    dropped = False

    def drop(self) -> None:
        self.dropped = True


def clients(connections: Connections, number: int) -> list[Client]:
    made = [Client() for _ in range(number)]
    assert all(connections.admit(each) for each in made)
    return made


@pytest.mark.parametrize(
    ("limit", "connections"), [(64, 16), (300, 75), (1_024, 1_024 - RESERVED), (MOST + RESERVED, MOST), (10**6, MOST)]
)
def test_clients_get_what_the_worker_does_not_need(limit, connections):
    assert connections == share(limit)


def test_the_one_that_is_waited_for_longest_makes_room():
    connections = Connections(3)
    one, two, three = clients(connections, 3)
    connections.wait(one)

    clients(connections, 1)
    assert (one.dropped, two.dropped, three.dropped) == (False, True, False)
    clients(connections, 2)
    assert (one.dropped, two.dropped, three.dropped) == (True, True, True)


def test_nobody_who_is_being_answered_makes_room():
    connections = Connections(2)
    one, two = clients(connections, 2)
    connections.work(one)
    connections.work(two)

    assert not connections.admit(Client())
    connections.wait(two)
    clients(connections, 1)
    assert (one.dropped, two.dropped) == (False, True)


def test_who_has_left_takes_no_place_and_is_not_waited_for():
    connections = Connections(1)
    (one,) = clients(connections, 1)
    connections.remove(one)
    connections.wait(one)
    (two,) = clients(connections, 1)

    assert not one.dropped
    connections.work(two)
    assert not connections.admit(one)


@pytest.mark.parametrize(("soft", "hard", "got"), [(100, 2_000, 2_000), (2_000, 2_000, 2_000), (100, 100, 100)])
def test_a_process_claims_the_descriptors_that_it_may_have(soft, hard, got):
    told = "from feeder.connections import claim; found = claim(); print(found.limit, found.connections)"
    done = subprocess.run(
        ["sh", "-c", f'ulimit -Sn {soft}; ulimit -Hn {hard}; exec "$@"', "sh", sys.executable, "-c", told],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split() == [str(got), str(share(got))]


def test_more_idle_clients_than_descriptors_stop_neither_the_worker_nor_its_readers(tmp_path):
    house = House(tmp_path)
    with house.worker(descriptors=320) as worker, ExitStack() as stack:
        limited = worker.wait_for("web.connections_limited")
        worker.wait_for("pass.done")
        at = urlsplit(worker.url)
        for _ in range(400):
            stack.enter_context(socket.create_connection((at.hostname, at.port)))
        assert worker.get("feeds/all.rss").status_code == 200
        house.write_article("late", "Out all the same")
        worker.wait_for("pass.done")
        assert "Out all the same" in worker.get("feeds/all.rss").text

    assert (limited["descriptors"], limited["connections"]) == (320, share(320))
    assert (worker.noise, [event for event in worker.events if event["event"] == "library.logged"]) == ([], [])
