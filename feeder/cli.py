"""The commands. What a command needs is imported when it runs, so that `--help` answers at once."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from feeder import __version__, output
from feeder.errors import FeederError, Problem, SettingsError, StoreError, StoreInUse, UsageError
from feeder.models import State
from feeder.text import visible

if TYPE_CHECKING:
    from feeder.settings import Loaded
    from feeder.targets.base import Target

EXIT_CODES = """
Exit codes: 0 all is well; 1 an article, a delivery or a target needs a look; 2 the command cannot run (settings, folders,
the database, the words of the command).
"""

app = typer.Typer(
    name="feeder",
    help="Turns a folder of Markdown articles into feeds, and tells each new headline to Slack, Mastodon and webhooks, once."
    f"\n\n{EXIT_CODES}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,  # plain help, at once: what draws boxes takes longer to import than all the rest
    context_settings={"help_option_names": ["-h", "--help"]},
)
target_app = typer.Typer(no_args_is_help=True, help="Try a target, or switch it on again.")
app.add_typer(target_app, name="target")
deliveries_app = typer.Typer(help="What was sent, waits, or needs a look.")
app.add_typer(deliveries_app, name="deliveries")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


class _Places:
    """What the options before the command say."""

    config: Path | None = None
    secrets: Path | None = None
    debug: bool = False
    hidden: frozenset[str] = frozenset()  # what no message shows


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"feeder {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="The settings file; config/feeder.toml if there is one.")
    ] = None,
    secrets: Annotated[Path | None, typer.Option("--secrets-dir", help="A folder with a file for each secret.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show where in the code an unforeseen error came up.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    _Places.config, _Places.secrets, _Places.debug = config, secrets, debug


def main() -> None:
    """The entry point: runs a command; whatever goes wrong is said without a traceback."""
    gc.disable()  # a command that asks is over before there is garbage; those that work enable it
    try:
        app()
    except FeederError as error:
        _fail(str(error))
    except BrokenPipeError:  # the reader of a pipe has seen enough
        sys.stdout = None  # so that nothing is flushed into it at the end
        raise SystemExit(0) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:  # noqa: BLE001 - the last line of defence
        if _Places.debug:
            import traceback

            _fail(traceback.format_exc())
        if type(error).__module__.startswith("sqlalchemy"):
            reason = str(getattr(error, "orig", None) or error)
            _fail(
                f"the database cannot be used: {reason}; nothing was sent that it does not know of (setting: database_url)"
            )
        _fail(
            f"something unforeseen: {type(error).__name__}: {error}; `feeder --debug …` shows where; please report it"
        )
    finally:
        gc.freeze()  # so that the interpreter does not look through all modules once more as it ends


def _fail(message: str) -> NoReturn:
    from feeder.redact import redact

    for line in redact(message, _Places.hidden).split("\n"):
        typer.secho(f"error: {visible(line)}", fg="red", err=True)
    raise SystemExit(2)


# --- the worker -------------------------------------------------------------------------------------------------------


@app.command()
def run(
    serve: Annotated[bool, typer.Option("--serve", help="Serve the feeds over HTTP too.")] = False,
    host: Annotated[str | None, typer.Option(help="The address to listen on, over the setting.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="The port to listen on, over the setting.")] = None,
) -> None:
    """Run the worker: watch the folder, publish feeds, tell headlines, until a signal ends it."""
    from feeder import worker

    loaded = _logging(_loaded(host=host, port=port))
    worker.run(loaded, output.stdout(), with_web=serve)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on, over the setting.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="The port to listen on, over the setting.")] = None,
) -> None:
    """Serve the feeds over HTTP, beside a worker."""
    from feeder import worker

    worker.serve(_logging(_loaded(host=host, port=port)))


@app.command()
def once(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be published and sent; change nothing.")
    ] = False,
    accept_deletions: Annotated[
        bool,
        typer.Option("--accept-deletions", help="Withdraw the articles whose files are gone, however many they are."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Make one pass, deliver what is due, and exit: for cron and CI."""
    from feeder import app as house

    loaded = _logging(_loaded())
    with output.progress("Reading articles") as progress:
        if dry_run:
            report, tallies = house.dry_run(loaded, progress, accept_deletions=accept_deletions), {}
        else:
            console = output.stderr() if as_json else output.stdout()
            try:
                done = house.once(loaded, console, progress, accept_deletions=accept_deletions)
            except StoreInUse:
                if not accept_deletions:
                    raise
                typer.echo(_request_deletions(loaded), err=True)
                return
            report, tallies = done.report, done.tallies
    told = output.told_once(report, {name: output.vars_of(tally) for name, tally in tallies.items()}, dry_run=dry_run)
    if as_json:
        output.print_json(told)
    else:
        output.print_once(report, told, dry_run=dry_run)
    if (
        report.missing
        or report.problems
        or any(tally.rejected or tally.unknown or tally.gone for tally in tallies.values())
    ):
        raise typer.Exit(1)


def _request_deletions(loaded: Loaded) -> str:
    """Ask the worker that runs to take deletions in; what to tell the person."""
    from feeder import app as house

    if (held := house.request_deletions(loaded)) is None:
        return "a worker runs, and it holds no deletions back; there is nothing to accept"
    return f"a worker runs: its next pass over the folder withdraws the {held.articles:,} articles that have no file"


# --- questions --------------------------------------------------------------------------------------------------------


@app.command()
def check(
    strict: Annotated[bool, typer.Option("--strict", help="Take warnings for errors.")] = False,
    as_json: Json = False,
) -> None:
    """Look at settings, articles and targets, and say everything that is wrong at once."""
    from feeder import app as house
    from feeder import desk, inspection, settings
    from feeder.selection import PLAIN_FEEDS

    desk.calm_collector()
    problems: list[Problem] = []
    targets: dict[str, Target] = {}
    feeds = PLAIN_FEEDS
    try:
        loaded = settings.load(_Places.config, _Places.secrets)
        targets, feeds = dict(loaded.targets), loaded.feeds
    except SettingsError as error:
        problems += error.problems
    else:
        problems += [*house.folder_problems(loaded), *settings.exposed(_Places.config, _Places.secrets)]
        problems += [*desk.exposed_store(loaded), *_store_problems(loaded)]
    source, max_bytes, fast = settings.articles_of(_Places.config, _Places.secrets)
    with output.progress("Reading articles") as progress:
        found = inspection.inspect_articles(source, max_bytes, desk.utc_now(), progress, feeds, fast=fast)
    problems += [*found.problems, *inspection.inspect_targets(targets, feeds, found.topics)]
    problems = list(dict.fromkeys(problems))
    errors = [problem for problem in problems if strict or not problem.warning]
    if as_json:
        output.print_json(
            {
                "articles": found.articles,
                "targets": sorted(targets),
                "problems": [output.vars_of(problem) for problem in problems],
            }
        )
    else:
        output.print_problems(problems)
        warnings = sum(problem.warning for problem in problems)
        typer.echo(
            f"{found.articles} articles, {len(targets)} targets; {len(problems) - warnings} errors, {warnings} warnings"
        )
    if errors:
        raise typer.Exit(1)


def _store_problems(loaded: Loaded) -> list[Problem]:
    """What is wrong with the store, and the targets that it has switched off."""
    from feeder import desk, reports

    try:
        with desk.asked(loaded, lambda _: None) as store:
            found = reports.targets_off(store, desk.endpoints(loaded))
    except StoreError as error:
        return [Problem(where="", reason=str(error))]
    return [Problem(where=f"targets.{name}", reason=reports.off(name, reason)) for name, reason in found.items()]


@app.command()
def preview(
    article: Annotated[Path, typer.Argument(help="An article's file.")],
    target: Annotated[str, typer.Option("--target", "-t", help="A target's name.")],
) -> None:
    """Print the exact payload that a target would be sent for an article. Sends nothing; hides secrets."""
    from feeder import inspection

    loaded = _loaded()
    settings = loaded.settings
    found = inspection.article_at(article, settings.max_article_bytes, loaded.feeds, fast=settings.fast_yaml)
    output.print_json(inspection.payload(_target(loaded, target), target, found, settings.language))


@app.command()
def status(as_json: Json = False) -> None:
    """Print the articles, feeds and deliveries there are, and when the last pass was; what needs a look comes first."""
    from feeder import desk, reports

    loaded = _loaded()
    with desk.asked(loaded, output.note) as store:
        endpoints = desk.endpoints(loaded)
        found = reports.status(store, endpoints, desk.utc_now())
    found["concerns"] = reports.concerns(found, endpoints)
    if as_json:
        output.print_json(found)
    else:
        output.print_status(found)
    if found["concerns"]:
        raise typer.Exit(1)


@deliveries_app.callback(invoke_without_command=True)
def deliveries(
    context: typer.Context,
    state: Annotated[
        list[State] | None, typer.Option("--state", "-s", help="Only these states; may be given more than once.")
    ] = None,
    target: Annotated[str | None, typer.Option("--target", "-t", help="Only those to this target.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """List deliveries, the newest article's first; or settle one of them."""
    if context.invoked_subcommand is not None:
        return
    from feeder import desk, reports

    loaded = _loaded()
    with desk.asked(loaded, output.note) as store:
        found = reports.listing(store, loaded.site, states=state or (), target=target, limit=limit)
    if as_json:
        output.print_json(found)
    else:
        output.print_deliveries(found)


@deliveries_app.command()
def settle(
    delivery: Annotated[str, typer.Argument(help="A delivery's id, or the beginning of it.")],
    delivered: Annotated[bool, typer.Option("--delivered", help="It arrived: that is the end of it.")] = False,
    resend: Annotated[bool, typer.Option("--resend", help="It did not arrive: send it again.")] = False,
) -> None:
    """Say of a delivery whose end is unknown whether it arrived, after a look at the channel."""
    from feeder import desk, outbox, reports
    from feeder.store import deliveries as rows

    if delivered == resend:
        raise UsageError("say --delivered when the message is there, --resend when it is not")
    with desk.changed(_loaded()) as store, store.write() as connection:
        found = reports.one_delivery(connection, delivery)
        if found.state not in (State.UNKNOWN, State.DEAD):
            raise UsageError(f"{found.id}: is {found.state.value}; only what is unknown or dead can be settled")
        rows.save(connection, outbox.settled(found) if delivered else outbox.retry_now(found, desk.utc_now()))
    typer.echo(f"{found.id} to {found.target} {'is delivered' if delivered else 'is due now'}")


@app.command()
def backup(
    path: Annotated[Path, typer.Argument(help="The file to write; there must be none.")],
) -> None:
    """Copy the database to a file, while the worker runs. `feeder restore` puts it back."""
    from feeder import desk
    from feeder.store import backups

    backups.backup(_loaded().settings.database_url, path, desk.utc_now())
    typer.echo(f"{path} holds what feeder remembers")


@app.command()
def restore(
    path: Annotated[Path, typer.Argument(help="A file that `feeder backup` wrote, or another copy of the database.")],
    as_json: Json = False,
) -> None:
    """Put a backup in the database's place, with the worker stopped, and say what is held and what is taken for told."""
    from feeder import app as house

    loaded = _logging(_loaded())
    with output.progress("Reading articles") as progress:
        found = house.restore(loaded, path, progress)
    if as_json:
        output.print_json(found)
    else:
        output.print_restored(found)


@app.command()
def retry(
    delivery: Annotated[str, typer.Argument(help="A delivery's id, or the beginning of it.")],
    resend: Annotated[
        bool, typer.Option("--resend", help="Also one that may have arrived: it may be there twice.")
    ] = False,
) -> None:
    """Try a delivery again now: a dead letter, or one that waits. A running worker takes it up."""
    from feeder import desk, outbox, reports
    from feeder.store import deliveries as rows

    with desk.changed(_loaded()) as store, store.write() as connection:
        found = reports.one_delivery(connection, delivery)
        if found.state in (State.DELIVERED, State.SENDING):
            raise UsageError(f"{found.id}: is {found.state.value}; there is nothing to try again")
        if found.state is State.UNKNOWN and not resend:
            seen = f"If it is there: feeder deliveries settle {found.id[:12]} --delivered"
            again = f"if not: feeder retry {found.id[:12]} --resend"
            raise UsageError(f"{found.id}: may have arrived; look at {found.target}. {seen}; {again}")
        rows.save(connection, outbox.retry_now(found, desk.utc_now()))
    typer.echo(f"{found.id} to {found.target} is due now; a running worker, or `feeder once`, sends it")


# --- targets ----------------------------------------------------------------------------------------------------------


# How the one try of a test message ended, in words.
_ENDED = {
    "delivered": "delivered",
    "retry": "not now",
    "rejected": "refused",
    "unknown": "it may have arrived",
    "gone": "refused for good: it would be switched off",
}


@target_app.command("test")
def target_test(name: Annotated[str, typer.Argument(help="A target's name.")]) -> None:
    """Send one test message to a target, now."""
    import asyncio

    from feeder import app as house

    loaded = _logging(_loaded())
    outcome = asyncio.run(house.send_test(_target(loaded, name), output.stdout()))
    said = f"{name}: {_ENDED[outcome.kind]}{f' ({outcome.reason})' if outcome.reason else ''}"
    typer.secho(visible(said), err=True, fg="green" if outcome.kind == "delivered" else "red")
    if outcome.kind != "delivered":
        raise typer.Exit(1)


@target_app.command("enable")
def target_enable(name: Annotated[str, typer.Argument(help="A target's name.")]) -> None:
    """Switch a target on again after it was switched off for good reason; what waits for it is sent."""
    from feeder import desk
    from feeder.store import deliveries as rows

    loaded = _loaded()
    _target(loaded, name)
    with desk.changed(loaded) as store, store.write() as connection:
        rows.switch(connection, name, "")
    typer.echo(f"{name} is on")


# --- what the commands share ------------------------------------------------------------------------------------------


def _loaded(**over: Any) -> Loaded:
    from msgspec.structs import replace

    from feeder import settings

    loaded = settings.load(_Places.config, _Places.secrets)
    _Places.hidden = loaded.secrets
    given = {name: value for name, value in over.items() if value is not None}
    return replace(loaded, settings=loaded.settings.model_copy(update=given))


def _logging(loaded: Loaded) -> Loaded:
    """The settings of a command that works and logs; the others ask, and answer sooner."""
    from feeder import desk, logs

    desk.calm_collector()
    logs.configure(loaded.settings.log_format, secrets=loaded.secrets)
    return loaded


def _target(loaded: Loaded, name: str) -> Target:
    try:
        return loaded.targets[name]
    except KeyError:
        there = ", ".join(loaded.targets) or "none"
        raise UsageError(f"{name}: no target has this name; the settings have: {there}") from None
