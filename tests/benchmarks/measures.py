"""The measures, each a generator of rows."""

from __future__ import annotations

import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

from feeder.articles.parse import parse
from feeder.models import Rules, Site
from feeder.pipeline import Pipeline
from feeder.store import open_store
from tests.benchmarks import corpus
from tests.benchmarks.receiver import receiving
from tests.worker import environment

LIMIT = 300.0  # seconds that a row may take before it is given up
LANDINGS = 100
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

Row = tuple[str, str]  # what, figure


class House:
    """Folders to measure in, and a store that knows all articles."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder, self.number = folder, number
        self.articles = folder / "articles"
        corpus.generate(self.articles, number)

    def pipeline(self, name: str, later: timedelta = timedelta(days=1)) -> Pipeline:
        """A pass over the articles with a store called `name`; the clock stands `later`, so that files have settled."""
        now = datetime.now(UTC) + later
        return Pipeline(
            store=open_store(f"sqlite:///{self.folder}/{name}.db"),
            site=Site(
                title="Bench", base_url="https://bench.example", language="en", id_authority="bench.example,2026"
            ),
            source=self.articles,
            public=self.folder / f"public-{name}",
            targets=[Rules(target="nobody")],
            now=lambda: now,
            include_drafts=True,
        )

    def known(self) -> Pipeline:
        """A pass over articles that are all known."""
        fresh = not (self.folder / "known.db").exists()
        made = self.pipeline("known")
        if fresh:
            made.prepare()
            made.run()
        return made


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def median(work: Callable[[], object], times: int) -> float:
    """The median of `times` runs, in seconds."""
    return statistics.median(timed(work) for _ in range(times))


def measure_parse(house: House) -> Iterator[Row]:
    """Bytes → Article, in one process."""
    texts = [path.read_bytes() for path in sorted(house.articles.rglob("*.md"))[:2_000]]
    seconds = median(lambda: [parse(text, "x.md") for text in texts], 5)
    yield "articles parsed in a second (median of 5 runs)", f"{len(texts) / seconds:,.0f}"


def cold(folder: Path, number: int, run: int) -> tuple[float, float]:
    """A cold pass in a process of its own: seconds, and its peak memory in MiB."""
    house = House.__new__(House)
    house.folder, house.number, house.articles = folder, number, folder / "articles"
    made = house.pipeline(f"cold-{run}")
    made.prepare()
    return timed(made.run), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_cold(house: House) -> Iterator[Row]:
    """A new store: everything is read, planned, built and written."""
    runs = []
    for run in range(3):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            runs.append(pool.submit(cold, house.folder, house.number, run).result(LIMIT))
    seconds = statistics.median(run[0] for run in runs)
    yield "cold pass (median of 3)", f"{seconds:.2f} s, {house.number / seconds:,.0f} articles/s"
    yield "its peak memory (most of 3)", f"{max(run[1] for run in runs):.0f} MiB"


def measure_idle(house: House) -> Iterator[Row]:
    """Nothing changed."""
    made = house.known()
    made.run()
    seconds, bare = median(made.run, 5), median(lambda: bare_scan(house.articles), 5)
    yield "idle pass (median of 5)", f"{seconds * 1000:.1f} ms"
    yield (
        "bare scandir and stat of the same files (median of 5)",
        f"{bare * 1000:.1f} ms, the pass is {seconds / bare:.1f} ×",
    )


def bare_scan(folder: Path) -> int:
    """How many files there are, each with one stat."""
    number, folders = 0, [str(folder)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    entry.stat(follow_symlinks=False)
                    number += 1
    return number


def measure_new(house: House) -> Iterator[Row]:
    """One article more."""
    made, chance = house.known(), random.Random(2)
    made.run()

    def land(index: int) -> str:
        (house.articles / f"new-{index}.md").write_text(corpus.article(house.number + index, chance))
        return f"new-{index}.md"

    whole, named = [], []
    for index in range(5):
        land(index)
        whole.append(timed(made.run))
    for index in range(5, 10):
        path = land(index)
        named.append(timed(lambda path=path: made.run([path])))
    yield "pass for one new article, all files looked at (median of 5)", f"{statistics.median(whole) * 1000:.1f} ms"
    yield "pass for one new article, as the watcher names it (median of 5)", f"{statistics.median(named) * 1000:.1f} ms"


def measure_lands(house: House) -> Iterator[Row]:
    """From a file's landing to a webhook receiver having it, through a real worker."""
    with receiving() as receiver:
        settings = (
            f'source = "{house.articles}"\ninclude_unpublished = true\ninterval = 3600\n'
            f'[targets.hook]\nkind = "webhook"\nurl = "{receiver.url}"\nsecret = "{SECRET}"\n'
            'allow = ["127.0.0.0/8"]\nallow_http = true\n'
        )
        (house.folder / "feeder.toml").write_text(settings)
        command = [sys.executable, "-m", "feeder", "--config", "feeder.toml", "run"]
        worker = subprocess.Popen(command, cwd=house.folder, env=environment(), stderr=subprocess.PIPE, text=True)
        try:
            for line in worker.stderr:
                if "pass.done" in line:
                    break
            chance = random.Random(3)
            seconds = sorted(land(house, receiver, index, chance) for index in range(LANDINGS))
        finally:
            worker.terminate()
            worker.communicate(timeout=LIMIT)
    p50, p99 = seconds[LANDINGS // 2], seconds[int(LANDINGS * 0.99)]
    yield f"file lands → receiver has it ({LANDINGS} times)", f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms"
    if worker.returncode:
        raise SystemExit(f"the worker ended with {worker.returncode}")


def land(house: House, receiver: object, index: int, chance: random.Random) -> float:
    """Seconds from the rename of a new file into the folder to the arrival of its headline."""
    part = house.folder / "part"
    part.write_text(corpus.article(house.number + 1_000 + index, chance))
    start = time.perf_counter()
    part.rename(house.articles / f"landed-{index}.md")
    return receiver.arrivals.get(timeout=LIMIT) - start


MEASURES = {
    "parse": measure_parse,
    "cold": measure_cold,
    "idle": measure_idle,
    "new": measure_new,
    "lands": measure_lands,
}
