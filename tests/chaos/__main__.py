"""`make chaos`: every fault in numbers, a table for each part. Takes an hour and a half."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from tests.chaos import bombs, clocks, crowd, folders, kills, restores, rude, traffic
from tests.crashing import Nursery
from tests.worker import ROOT, SEEDS


def main() -> int:
    """Run what was asked for, or all; the exit code says whether every promise held."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*", help="some of the parts")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=600)
    chosen = parser.parse_args()
    parts = {
        "kills": lambda: _kills(chosen.kills),
        "restores": lambda: _restores(max(chosen.kills // 5, 1)),
        "crowd": _crowd,
        "bombs": _bombs,
        "clocks": _clocks,
        "traffic": lambda: _traffic(chosen.seconds),
        "folders": lambda: _folders(chosen.rounds),
        "rude": lambda: _rude(min(chosen.seconds, 60)),
        "fuzz": lambda: [row for what in ("articles", "passes", "answers") for row in _fuzz(what, chosen.seconds)],
    }
    if unknown := set(chosen.what) - parts.keys():
        parser.error(f"no part is called {', '.join(unknown)}; there are {', '.join(parts)}")
    holds = True
    for name, part in parts.items():
        if not chosen.what or name in chosen.what:
            holds = _shown(name, part()) and holds
    return 0 if holds else 1


def _shown(name: str, rows: Iterable[Row]) -> bool:
    """Print what a part found, as soon as it has; whether every promise held."""
    table = Table("what", "figure", "holds", title=f"Faults in numbers: {name}")
    found = list(rows)
    for what, figure, holds in found:
        table.add_row(what, figure, "yes" if holds else "NO")
    Console().print(table)
    return all(holds for _, _, holds in found)


Row = tuple[str, str, bool]
T = TypeVar("T")
# What a seed gets as its body, for the fuzzers to change: entities, HTML, references, nesting.
_ODD = (
    b'<p title="&#65;">a&#1;&amp;&lt;b&#xFFFE;</p>\n\n[r]: https://x.example/ "t"\n\n'
    b"[r] ![i](/i.png) `c` **b**\n\n> - | a | b |\n"
)


def _kills(number: int) -> list[Row]:
    with Nursery() as nursery, tempfile.TemporaryDirectory() as folder:
        found = kills.run(nursery, Path(folder), kills=number, seed=1)
    articles = set(found.articles)
    hold, resend = Counter(found.hold), Counter(found.resend)
    extra = sum(resend.values()) - len(resend)
    gaps = {"hold": articles - set(hold), "resend": articles - set(resend)}
    told = [f"{found.kills} kills, {len(articles)} articles"]
    rows = [
        (
            name,
            f"{', '.join(told)}: {len(articles - set(got))} lost, {len(got) - len(set(got))} doubled",
            Counter(got) == Counter(articles),
        )
        for name, got in (("Mastodon", found.mastodon), ("signed webhook", found.webhook))
    ]
    doubled = sum(hold.values()) - len(hold)
    listed = gaps["hold"] <= found.unknown["hold"]
    rows.append(
        (
            "Slack webhook, hold",
            f"{doubled} doubled, {len(gaps['hold'])} gaps, all listed: {listed}",
            not doubled and listed,
        )
    )
    listed = gaps["resend"] <= found.unknown["resend"]
    rows.append(
        (
            "Slack webhook, resend",
            f"{extra} extra copies, {len(gaps['resend'])} gaps, all listed: {listed}",
            listed and extra <= found.kills and max(resend.values()) <= 2,
        )
    )
    rows.append(("secrets in anything written", f"{len(found.secrets_seen)} hits", not found.secrets_seen))
    return rows


def _restores(rounds: int) -> list[Row]:
    with Nursery() as nursery, tempfile.TemporaryDirectory() as folder:
        found = restores.run(nursery, Path(folder), rounds=rounds, seed=1)
    rows = []
    for name, got in found.told.items():
        gaps = f"{len(set(found.articles) - set(got))} not told, {len(found.lost[name])} of them not listed"
        figure = f"{found.rounds} rounds, {len(found.articles)} articles: {len(found.doubled[name])} doubled, {gaps}"
        rows.append((f"a backup after a kill, {name}", figure, not found.doubled[name] and not found.lost[name]))
    figure = f"{found.refused} of {found.foreign} refused; {len(found.falsely_refused)} refused for nothing"
    return [*rows, ("another database's log", figure, found.refused == found.foreign and not found.falsely_refused)]


def _crowd() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        found = crowd.run(Path(folder), targets=50, articles=200)
    p99 = found.delays[len(found.delays) * 99 // 100]
    p50 = found.delays[len(found.delays) // 2]
    arrived = not found.missing and not found.doubled
    figure = f"{len(found.missing)} missing, {len(found.doubled)} doubled, delay p50 {p50:.2f} s, p99 {p99:.2f} s"
    return [("50 targets, 200 articles, one poisoned, one target dead", figure, arrived and p99 < 1)]


def _bombs() -> list[Row]:
    plain, found = (
        _in_a_folder(lambda folder, each=each: bombs.run(folder, articles=150, plain=each)) for each in (1, 0)
    )
    rows: list[Row] = []
    for what, before, after, bearable in (
        ("delay", plain.delays, found.delays, 0.25),
        ("web server's answers", plain.stalls, found.stalls, 0.1),
    ):
        p99, p99_before = (each[len(each) * 99 // 100] for each in (after, before))
        figure = f"p99 {p99 * 1e3:.0f} ms, longest {after[-1] * 1e3:.0f} ms"
        figure += f"; without bombs {p99_before * 1e3:.0f} ms, {before[-1] * 1e3:.0f} ms"
        rows.append((f"{found.bombs} bombs, other {what}", figure, p99 < p99_before + bearable))
    grown = (found.memory - plain.memory) / 1e6
    return [*rows, ("memory that bombs take", f"{grown:.0f} MB", grown < 30 and not found.doubled)]


def _clocks() -> list[Row]:
    rows = []
    for restarts, shift in product((True, False), clocks.SHIFTS):
        found = _in_a_folder(lambda folder, *given: clocks.run(folder, *given, articles=8), shift, restarts)
        what = f"clock set by {shift.total_seconds() / 3600:+.0f} h and back, {'kill -9' if restarts else 'running'}"
        figure = f"{len(found.lost)} lost, {len(found.doubled)} doubled, held {dict(found.held)}, silent {found.silent:.0f} s"
        holds = not found.lost and not found.doubled and found.silent < 60 and found.passes
        rows.append((what, f"{figure}, quiet after {found.quiet:.0f} s", holds and found.quiet < float("inf")))
    return rows


def _in_a_folder(work: Callable[..., T], *given: object) -> T:
    with tempfile.TemporaryDirectory() as folder:
        return work(Path(folder), *given)


def _traffic(seconds: float) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        found = traffic.run(Path(folder), seconds=seconds)
    figure = f"{seconds:.0f} s: {sum(found.writes)} writes, {sum(found.reads)} reads, {len(found.errors)} errors"
    return [("two writers, eight readers", figure, not found.errors)]


def _folders(rounds: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        found = folders.run(Path(folder), rounds=rounds)
    figure = (
        f"{len(found.faults)} faults ({', '.join(dict.fromkeys(found.faults))}): {len(found.withdrawn)} withdrew, "
        f"{len(found.doubled)} doubled, {len(found.missing)} missing, slowest new article {found.delays[-1]:.1f} s"
    )
    holds = not (found.withdrawn or found.doubled or found.missing or found.errors)
    return [("folders gone, replaced, emptied", figure, holds and found.delays[-1] < 2 * folders.INTERVAL)]


def _rude(seconds: float) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        found = rude.run(Path(folder), seconds=seconds)
    polite = (
        f"{seconds:.0f} s: {found.requests} polite requests, p99 {found.p99 * 1000:.0f} ms, {len(found.errors)} errors"
    )
    cost = f"{found.memory / 1e6:.0f} MB, {found.descriptors} descriptors, {found.log_bytes} bytes of log"
    return [
        ("rude clients beside a worker with 1,024 descriptors", polite, not found.errors),
        ("its articles, dropped meanwhile", f"{found.published} of {found.dropped} published", not found.unpublished),
        ("what it took", cost, found.memory < 400e6 and found.descriptors < 1_000 and found.log_bytes < 100_000),
    ]


def _fuzz(what: str, seconds: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as corpus:
        for path in SEEDS.glob("*.md"):
            (Path(corpus) / path.name).write_bytes(path.read_bytes() + _ODD)
        command = [
            sys.executable,
            "-m",
            "tests.chaos.fuzz",
            what,
            f"-max_total_time={seconds}",
            "-max_len=6000",
            corpus,
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    last = [line for line in done.stderr.splitlines() if line.startswith(("#", "Done"))][-1:] or ["nothing was said"]
    if done.returncode:
        sys.stderr.write(done.stdout[-5000:] + done.stderr[-5000:])  # a traceback goes to standard output
    return [(f"fuzzing {what}", f"{seconds} s: {last[0]}", not done.returncode)]


if __name__ == "__main__":
    raise SystemExit(main())
