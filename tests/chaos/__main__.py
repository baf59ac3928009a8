"""`make chaos`: every fault in numbers, printed as a table. Takes about half an hour."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos import crowd, kills, restores, traffic
from tests.crashing import Nursery
from tests.worker import ROOT, SEEDS


def main() -> int:
    """Run what was asked for, or all; the exit code says whether every promise held."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*", choices=["kills", "restores", "crowd", "traffic", "fuzz", []], default=[])
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=600)
    chosen = parser.parse_args()
    table = Table("what", "figure", "holds", title="Faults in numbers")
    parts = {
        "kills": lambda: _kills(chosen.kills),
        "restores": lambda: _restores(max(chosen.kills // 5, 1)),
        "crowd": _crowd,
        "traffic": lambda: _traffic(chosen.seconds),
        "fuzz": lambda: [*_fuzz("articles", chosen.seconds), *_fuzz("answers", chosen.seconds)],
    }
    rows = [row for name, part in parts.items() if not chosen.what or name in chosen.what for row in part()]
    for what, figure, holds in rows:
        table.add_row(what, figure, "yes" if holds else "NO")
    Console().print(table)
    return 0 if all(holds for _, _, holds in rows) else 1


Row = tuple[str, str, bool]


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


def _traffic(seconds: float) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        found = traffic.run(Path(folder), seconds=seconds)
    figure = f"{seconds:.0f} s: {sum(found.writes)} writes, {sum(found.reads)} reads, {len(found.errors)} errors"
    return [("two writers, eight readers", figure, not found.errors)]


def _fuzz(what: str, seconds: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as corpus:
        for path in SEEDS.glob("*.md"):
            (Path(corpus) / path.name).write_bytes(path.read_bytes())
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
        sys.stderr.write(done.stderr[-5000:])
    return [(f"fuzzing {what}", f"{seconds} s: {last[0]}", not done.returncode)]


if __name__ == "__main__":
    raise SystemExit(main())
