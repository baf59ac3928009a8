"""Row 7: documents over HTTP."""

from __future__ import annotations

import re
import socket
import statistics
from collections.abc import Iterator

import httpx

from tests.benchmarks import peers
from tests.benchmarks.house import House
from tests.benchmarks.table import RUNS, Row, at_least, shown, within

_PATH = "/feeds/all.rss"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def measure_serving(house: House) -> Iterator[Row]:
    """A feed of some 60 KB to a client that takes gzip, and to one that has it already; both servers one after the other."""
    with (
        house.process("serve", "--port", "0", until="web.listening") as line,
        peers.nginx(house.public, house.folder / "nginx", _free_port()) as nginx,
    ):
        ours = re.search(r"http://[\d.]+:\d+", line)[0]
        if peers.program("wrk") is None:
            yield Row(number="7", work="a feed over HTTP", ours="–", theirs="no wrk")
            return
        size = len(httpx.get(ours + _PATH).content)
        for work, asked, has_it in ((f"a feed of {size / 1000:.0f} KB, gzipped", 0.3, False), ("its 304", 0.25, True)):
            loads: dict[str, list[peers.Load]] = {}
            for _ in range(RUNS):
                for base in filter(None, (ours, nginx)):
                    loads.setdefault(base, []).append(peers.wrk(base + _PATH, _headers(base, has_it=has_it)))
            rates = {base: statistics.median(load.rate for load in found) for base, found in loads.items()}
            told = f"{rates[ours]:,.0f}/s"
            if nginx:
                rest = at_least(asked, rates[ours] / rates[nginx])
                yield Row(number="7", work=work, ours=told, theirs=f"nginx {rates[nginx]:,.0f}/s", **rest)
            else:
                yield Row(number="7", work=work, ours=told, theirs="no nginx")
            p99 = statistics.median(load.p99 for load in loads[ours])
            yield Row(number="7", work=f"{work}: p99 at 32 connections", ours=shown(p99), **within(0.005, p99))


def _headers(base: str, *, has_it: bool) -> dict[str, str]:
    plain = {"Accept-Encoding": "gzip"}
    answer = httpx.get(base + _PATH, headers=plain)
    return {**plain, "If-None-Match": answer.headers["etag"]} if has_it else plain
