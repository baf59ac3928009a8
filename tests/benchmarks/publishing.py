"""Rows 0 to 4 and 9: from files to documents."""

from __future__ import annotations

import os
import random
import sqlite3
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from feeder.articles import frontmatter, plain
from feeder.articles.parse import parse
from tests.benchmarks import corpus, peers
from tests.benchmarks.house import House
from tests.benchmarks.table import RUNS, Row, at_least, at_most, median, shown, timed, within

HUGO: dict[Path, float] = {}  # the seconds that Hugo took, by the folder of articles
_TO_THE_FIRST_PASS = """
import sys
if __name__ == "__main__":  # the processes that read come by here too
    from pathlib import Path
    from tests.benchmarks.house import House
    from feeder.desk import calm_collector
    made = House(Path(sys.argv[1]), 0).pipeline()
    calm_collector()  # as the worker does
    made.prepare()
    made.run()
"""


def measure_front_matter(house: House) -> Iterator[Row]:
    """Bytes → article in one process, and whether the fast way to front matter gives what PyYAML gives."""
    texts = [path.read_bytes() for path in sorted(house.articles.rglob("*.md"))[:2_000]]
    seconds = median(lambda: [parse(text, "x.md") for text in texts])
    yield Row(number="–", work="articles parsed, in one process", ours=f"{len(texts) / seconds:,.0f}/s")
    chance, same, is_plain = random.Random(4), 0, 0
    for index in range(house.number):
        front = frontmatter.split(corpus.article(index, chance))[0]
        found = plain.load(front)
        is_plain += found is not None
        same += found is None or repr(found) == repr(yaml.load(front, Loader=yaml.CSafeLoader))
    shares = f"{same:,} of {house.number:,} alike, {is_plain:,} of them read fast"
    yield Row(number="–", work="front matter read as PyYAML reads it", ours=shares, met=same == house.number)


def cold(house: House) -> peers.Command:
    """A whole process that makes the first pass."""

    def anew() -> None:
        house.forget()
        script.write_text(_TO_THE_FIRST_PASS)

    root, script = str(Path(__file__).parents[2]), house.folder / "cold.py"
    words = [sys.executable, str(script), str(house.folder)]
    return peers.Command(words=words, folder=Path(root), env={**os.environ, "PYTHONPATH": root}, before=anew)


def measure_cold(house: House) -> Iterator[Row]:
    """Row 1. The two take turns, so that an hour in which the machine is slow is the same for both."""
    feeder, hugo = cold(house), peers.hugo(house.articles, house.folder / "hugo")
    work = f"cold pass, {house.number:,} articles, 40 topics"
    if hugo is None:
        seconds, peak = statistics.median(feeder.seconds() for _ in range(RUNS)), feeder.peak()
        yield Row(number="1", work=work, ours=f"{shown(seconds)}, {peak >> 20} MiB", theirs="no hugo")
        return
    pairs = [(feeder.seconds(), hugo.seconds()) for _ in range(RUNS)]
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    HUGO[house.articles] = theirs
    yield Row(number="1", work=work, ours=shown(ours), theirs=f"Hugo {shown(theirs)}", **at_least(3, theirs / ours))
    peak, its = feeder.peak(), hugo.peak()
    memory = {"ours": f"{peak >> 20} MiB", "theirs": f"Hugo {its >> 20} MiB"}
    yield Row(number="1", work="its peak memory, all processes", **memory, **at_most(1 / 8, peak / its))


def measure_new(house: House) -> Iterator[Row]:
    """Row 2."""
    with house.worker():
        seconds = statistics.median(published(house) for _ in range(4 * RUNS))
    work = "one new article: file written → all its documents published"
    yield Row(number="2", work=work, ours=shown(seconds), **within(0.1, seconds))
    if hugo := peers.hugo(house.articles, house.folder / "hugo"):
        theirs = HUGO.get(house.articles) or statistics.median(hugo.seconds() for _ in range(RUNS))
        against = f"Hugo's rebuild {shown(theirs)}"
        yield Row(number="2", work=work, ours=shown(seconds), theirs=against, **at_least(200, theirs / seconds))


def published(house: House) -> float:
    """Seconds from the landing of a new article until each of its feeds, in all formats, holds it.

    The worker has nothing else to do when it lands, and when this returns.
    """
    text, topics = house.new()
    mark = next(line for line in text.splitlines() if line.startswith("webUrl")).split('"')[1].encode()
    feeds = [
        house.public / "feeds" / f"{name}.{suffix}" for name in ["all", *topics] for suffix in ("rss", "atom", "json")
    ]
    start = time.perf_counter()
    house.land(text)
    while feeds:
        if mark.replace(b"/", b"\\/") in (found := feeds[-1].read_bytes()) or mark in found:
            feeds.pop()
        else:
            time.sleep(0.001)
    seconds = time.perf_counter() - start
    while mark not in (house.public / "index.html").read_bytes():  # the worker's last work for this one
        time.sleep(0.001)
    return seconds


def compared(house: House) -> int:
    """What is least: a scan of the folder, a stat of each file, a look at what SQLite knows of it. How many are new."""
    connection = sqlite3.connect(house.folder / "var" / "feeder.db")
    known = {row[0]: row[1:] for row in connection.execute("SELECT path, size, mtime_ns, ctime_ns FROM files")}
    connection.close()
    folders, new, prefix = [str(house.articles)], 0, len(str(house.articles)) + 1
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    about = entry.stat(follow_symlinks=False)
                    new += known.get(entry.path[prefix:]) != (about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    return new


def measure_idle(house: House) -> Iterator[Row]:
    """Row 3."""
    made = house.pipeline()
    made.run()
    least, ours = median(lambda: compared(house)), median(made.run)
    made.store.close()
    rest = {"ours": shown(ours), "theirs": f"scandir + stat + SQLite {shown(least)}"}
    yield Row(number="3", work=f"idle pass, {house.number:,} files", **rest, **at_most(1.3, ours / least))


def measure_once(house: House) -> Iterator[Row]:
    """Row 4."""
    runs = []
    for _ in range(RUNS):
        house.land(house.new()[0])
        runs.append(timed(lambda: house.run("once")))
    least, ours = median(lambda: compared(house)), statistics.median(runs)
    rest = {"ours": shown(ours), "theirs": f"scandir + stat + SQLite {shown(least)}"}
    yield Row(number="4", work="feeder once, one new article, as a whole command", **rest, **at_most(3, ours / least))


def measure_growth(small: House, large: House) -> Iterator[Row]:
    """Row 9."""
    each, new = [], []
    for house in (small, large):
        each.append(
            statistics.median(cold(house).seconds() for _ in range(RUNS if house is small else 1)) / house.number
        )
        with house.worker():
            new.append(statistics.median(published(house) for _ in range(4 * RUNS)))
    sizes = f"{small.number:,} → {large.number:,} articles"
    figures = [f"{seconds * 1e6:,.0f} µs" for seconds in each]
    work = f"cold pass per article, {sizes}"
    yield Row(number="9", work=work, ours=figures[1], theirs=figures[0], **at_most(1.3, each[1] / each[0]))
    work = f"one new article, {sizes}"
    yield Row(number="9", work=work, ours=shown(new[1]), theirs=shown(new[0]), **at_most(1.5, new[1] / new[0]))
