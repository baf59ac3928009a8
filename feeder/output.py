"""How commands say what they found: for people on a terminal, for pipes and for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from feeder.errors import Problem
from feeder.models import State
from feeder.text import visible

if TYPE_CHECKING:
    from rich.console import Console

    from feeder.pipeline import Progress, Report


_SAID = {"gone": "held, for the target is off now"}  # of what became of deliveries; others are said as they are


def stdout() -> Console:
    """Standard output, as Rich writes to it."""
    from feeder.terminal import Terminal

    return Terminal()


def stderr() -> Console:
    """Standard error, as Rich writes to it."""
    from rich.console import Console

    return Console(stderr=True)


@contextmanager
def progress(what: str) -> Iterator[Progress]:
    """A bar on a terminal for work that takes a while; nothing elsewhere."""
    from rich.progress import Progress as Bar

    with Bar(console=stderr(), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def print_problems(problems: Iterable[Problem]) -> None:
    """What is wrong, a line each, on standard error."""
    for problem in problems:
        kind, colour = ("warning", "yellow") if problem.warning else ("error", "red")
        typer.secho(f"{kind}: {problem}", fg=colour, err=True)


def note(said: str) -> None:
    """Something that is worth knowing and no answer, on standard error."""
    typer.echo(said, err=True)


def print_json(found: Any) -> None:
    """For scripts. What a terminal cannot show is escaped as JSON escapes it."""
    written = json.dumps(found, ensure_ascii=False, indent=2)
    typer.echo("".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in written))


def print_table(console: Console, columns: list[str], rows: list[list[str]]) -> None:
    """A table on a terminal; tab-separated values in a pipe."""
    rows = [[visible(cell) for cell in row] for row in rows]
    if not console.is_terminal:
        _print_lines("\t".join(row) for row in [columns, *rows])
        return
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)


def vars_of(record: Any) -> dict[str, Any]:
    """A record's fields as a dict."""
    return {name: getattr(record, name) for name in record.__struct_fields__}


def told_once(report: Report, tallies: dict[str, dict[str, int]], *, dry_run: bool) -> dict[str, Any]:
    """What `feeder once` did, as plain data."""
    return {
        "dry_run": dry_run,
        "files": {"read": report.changed, "gone": report.gone},
        "bad": [vars_of(problem) for problem in report.problems],
        "missing": report.missing.as_data() if report.missing else None,
        "documents": list(report.documents),
        "planned": [{"target": each.target, "subject": each.subject, "id": each.id} for each in report.planned],
        "targets": tallies,
    }


def print_once(report: Report, told: dict[str, Any], *, dry_run: bool) -> None:
    """What `feeder once` did, on standard error: standard output is the console target's."""
    print_problems(report.problems)
    if report.missing:
        typer.secho(f"error: {report.missing}", fg="red", err=True)
    would = "would be " if dry_run else ""
    typer.echo(
        f"{report.changed} files read, {report.gone} gone, {len(report.problems)} bad; "
        f"{len(report.documents)} documents {would}published",
        err=True,
    )
    by_target: dict[str, int] = {}
    for delivery in report.planned:
        by_target[delivery.target] = by_target.get(delivery.target, 0) + 1
    if dry_run:
        for name, number in sorted(by_target.items()):
            typer.echo(f"{name}: {number} headlines would be sent", err=True)
        return
    for name, tally in told["targets"].items():
        said = (
            ", ".join(f"{number} {_SAID.get(what, what)}" for what, number in tally.items() if number) or "nothing due"
        )
        typer.echo(f"{name}: {said}", err=True)


def print_status(found: dict[str, Any]) -> None:
    """What `feeder status` found."""
    articles, last = found["articles"], found["last_pass"]
    console = stdout()
    for said in found["concerns"]:
        console.print(f"!          {visible(said)}", style="red", highlight=False, markup=False, soft_wrap=True)
    bad = f", {len(articles['bad'])} bad" if articles["bad"] else ""
    embargoed = f", {articles['embargoed']} waiting for their time" if articles["embargoed"] else ""
    console.print(f"articles   {articles['published']} published{embargoed}{bad}", highlight=False)
    for problem in articles["bad"]:
        console.print(
            f"           {Problem(where=problem['file'], line=problem['line'], reason=problem['reason'])}",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
    console.print(f"feeds      {len(found['feeds'])}: {', '.join(found['feeds'])}", highlight=False, markup=False)
    console.print(f"last pass  {last['ended'] if last else 'never'}", highlight=False)
    rows = []
    for name, target in found["targets"].items():
        kind = target["kind"] or "not in the settings"
        rows.append(
            [name, f"{kind}, off: {target['off']}" if target["off"] else kind, *map(str, target["deliveries"].values())]
        )
    if rows:
        console.print()
        print_table(console, ["target", "kind", *(state.value for state in State)], rows)


def print_restored(found: dict[str, Any]) -> None:
    """What `feeder restore` did, and what comes of it."""
    held, adopted = found["held"], found["adopted"]
    kept = f"; the one before is {found['kept']}" if found["kept"] else ""
    _print_lines([f"{found['restored']} is the database now: what feeder remembered at {found['backup_of']}{kept}"])
    _print_lines([f"{held['number']} deliveries waited then and are held, because they may have been sent since"])
    _print_lines(f"  {each['target']}: {each['title']}" for each in held["first"])
    if held["number"]:
        _print_lines([_more(held), "  feeder deliveries --state unknown lists them once the worker has started"])
    if adopted is None:
        _print_lines([f"what came since will be taken for told, whatever that is: {found['unread']}"])
        return
    _print_lines([f"{adopted['number']} articles came since and will be taken for told"])
    _print_lines([*(f"  {title}" for title in adopted["first"]), _more(adopted)])


def _more(found: dict[str, Any]) -> str:
    left = found["number"] - len(found["first"])
    return f"  and {left} more" if left else ""


def print_deliveries(found: list[dict[str, Any]]) -> None:
    """Deliveries, a row each."""
    if not found:
        typer.echo("no deliveries", err=True)
        return
    columns = ["id", "state", "target", "title", "tries", "last try", "next try", "last error"]
    rows = [
        [
            each["id"][:12],
            each["state"],
            each["target"],
            each["title"],
            str(each["attempts"]),
            each["tried_at"] or "",
            each["next_at"] or "",
            each["last_error"],
        ]
        for each in found
    ]
    print_table(stdout(), columns, rows)
