"""The commands, as an operator or a script runs them."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import subprocess
import sys
from contextlib import suppress

import pytest

from feeder import __version__, reports
from feeder.models import State
from tests import fakes
from tests.fakes import LIMIT
from tests.worker import House

CONSOLE = """
[targets.console]
kind = "console"
backfill = 10
"""


@pytest.fixture
def house(tmp_path):
    return House(tmp_path, CONSOLE)


def tree(house: House) -> list[str]:
    return sorted(path.relative_to(house.folder).as_posix() for path in house.folder.rglob("*"))


@pytest.mark.parametrize(
    "command",
    [
        "",
        "run",
        "serve",
        "once",
        "check",
        "preview",
        "status",
        "deliveries",
        "retry",
        "backup",
        "restore",
        "target",
        "target test",
        "target enable",
    ],
)
def test_every_command_explains_itself(house, command):
    done = house.feeder(*command.split(), "--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage:" in done.stdout


def test_the_version_is_told(house):
    assert house.feeder("--version").stdout == f"feeder {__version__}\n"


def test_once_publishes_and_delivers_and_a_second_time_does_nothing(house):
    first = house.feeder("once")
    second = house.feeder("once")

    assert (first.returncode, first.stdout.count("■ ")) == (0, 5)
    assert first.stderr.splitlines() == ["5 files read, 0 gone, 0 bad; 21 documents published", "console: 5 delivered"]
    assert (second.returncode, second.stdout) == (0, "")
    assert second.stderr.splitlines()[-1] == "console: nothing due"
    assert len(house.public()) == 2 * 21  # each with its gzip


def test_once_says_what_it_did_as_json(house):
    told = json.loads(house.feeder("once", "--json").stdout)

    assert told["files"] == {"read": 5, "gone": 0}
    assert len(told["documents"]) == 21
    assert [each["target"] for each in told["planned"]] == ["console"] * 5
    assert told["targets"]["console"]["delivered"] == 5


def test_a_dry_run_tells_and_changes_nothing(house):
    before = tree(house)

    done = house.feeder("once", "--dry-run")

    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "5 files read, 0 gone, 0 bad; 21 documents would be published",
        "console: 5 headlines would be sent",
    ]
    assert tree(house) == before


def test_a_dry_run_over_a_store_tells_what_is_new_and_leaves_it_for_the_real_one(house):
    house.feeder("once")
    house.write_article("sixth", "A sixth article")

    dry, real = house.feeder("once", "--dry-run", "--json"), house.feeder("once", "--json")

    assert json.loads(dry.stdout)["planned"] == json.loads(real.stdout)["planned"]
    assert json.loads(dry.stdout)["documents"] == json.loads(real.stdout)["documents"]


def test_once_exits_with_1_when_an_article_needs_a_look_and_does_the_rest(house):
    (house.seeds / "broken.md").write_text("no front matter")

    done = house.feeder("once")

    assert done.returncode == 1
    assert "error: broken.md:1: no front matter" in done.stderr
    assert done.stdout.count("■ ") == 5


def test_check_is_content_with_the_seeds(house):
    done = house.feeder("check")

    assert (done.returncode, done.stdout) == (0, "5 articles, 1 targets; 0 errors, 0 warnings\n")


def test_check_says_everything_that_is_wrong_at_once(house):
    house.config.write_text(
        'include_unpublished = true\nintervall = 5\n[targets.newsroom]\nkind = "slack"\n[targets.x]\nkind = "slak"\n'
    )
    (house.seeds / "broken.md").write_text("no front matter")
    house.write_article("naive", "Naive", publishedDateTime="2023-01-01 10:00:00", titel="x")
    house.write_article("future", "Future", publishedDateTime="2999-01-01T10:00:00Z")
    house.write_article("double", "Double", webUrl="https://news.example.org/future")

    done = house.feeder("check")

    assert done.returncode == 1
    said = done.stderr
    assert "error: config/feeder.toml:2: intervall: unknown key; did you mean interval?" in said
    assert "error: config/feeder.toml:3: targets.newsroom: needs either url" in said
    assert "error: config/feeder.toml:6: targets.x.kind: 'slak' is no kind of target" in said
    assert "error: seeds/broken.md:1: no front matter" in said
    assert "warning: seeds/naive.md:3: publishedDateTime: '2023-01-01 10:00:00' has no time zone" in said
    assert "warning: seeds/naive.md:6: titel: unknown key, not read; did you mean title?" in said
    assert "warning: seeds/future.md: publishedDateTime is in the future: the article comes out on 2999-01-01" in said
    assert "warning: seeds/future.md: is the same article as seeds/double.md" in said
    assert re.search(r"4 errors, 4 warnings", done.stdout)


def test_check_takes_warnings_for_errors_when_asked_to(house):
    house.write_article("future", "Future", publishedDateTime="2999-01-01T10:00:00Z")

    assert [house.feeder("check").returncode, house.feeder("check", "--strict").returncode] == [0, 1]


def test_check_tells_a_script(house):
    (house.seeds / "broken.md").write_text("no front matter")

    (problem,) = json.loads(house.feeder("check", "--json").stdout)["problems"]

    assert (problem["where"], problem["line"], problem["warning"]) == ("seeds/broken.md", 1, False)


def test_check_finds_topics_that_no_article_has(house):
    house.config.write_text('include_unpublished = true\n[targets.console]\nkind = "console"\ntopics = ["Al Ethics"]\n')

    done = house.feeder("check")

    assert (
        "warning: targets.console.topics: no article has the topic 'Al Ethics'; did you mean 'AI Ethics'?"
        in done.stderr
    )


def test_check_and_once_name_a_public_folder_that_cannot_be_written(house):
    house.config.write_text(f'public = "config/feeder.toml/public"\n{CONSOLE}')

    for command, code in (("check", 1), ("once", 2), ("run", 2)):
        done = house.feeder(command)
        assert done.returncode == code
        assert (
            "config/feeder.toml: is no folder, so documents cannot be written to config/feeder.toml/public"
            in done.stderr
        )
        assert "Traceback" not in done.stderr


def test_a_missing_folder_of_articles_is_named(house):
    house.seeds.rename(house.folder / "elsewhere")

    for command in ("once", "run", "check"):
        assert "seeds: there is no such folder of articles" in house.feeder(command).stderr


def test_wrong_settings_stop_a_command_with_2_and_no_traceback(house):
    house.config.write_text('interval = "soon"\n')

    done = house.feeder("status")

    assert done.returncode == 2
    assert done.stderr.startswith("error: config/feeder.toml:1: interval: 'soon'")


def test_a_port_in_use_stops_the_worker_with_2(house):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for command in (["run", "--serve"], ["serve"]):
            done = house.feeder(*command, "--port", port)
            assert done.returncode == 2
            assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in done.stderr


def test_a_second_worker_ends_at_once_and_says_who_holds_the_store(house):
    with house.worker() as worker:
        for command in ("run", "once"):
            done = house.feeder(command)
            assert done.returncode == 2
            assert f"in use by process {worker.process.pid} on" in done.stderr


def test_preview_prints_the_exact_payload_and_sends_nothing(tmp_path):
    with fakes.serving(fakes.Slack()) as slack:
        house = House(
            tmp_path,
            '[targets.newsroom]\nkind = "slack"\nbackfill = 9\n' + fakes.LOOPBACK_TOML,
            FEEDER_TARGETS__NEWSROOM__URL=slack.url + fakes.Slack.path,
        )
        done = house.feeder("preview", str(house.seed("bad-timing")), "--target", "newsroom")
        assert slack.ledger.taken == []
        house.feeder("once")

    shown = json.loads(done.stdout)
    assert (shown["method"], shown["url"]) == ("POST", "[secret]")
    assert shown["body"] == slack.ledger.taken[1]
    assert fakes.Slack.path not in done.stdout


def test_preview_names_a_missing_article_and_a_missing_target(house):
    assert "nowhere.md: there is no such file" in house.feeder("preview", "nowhere.md", "-t", "console").stderr
    done = house.feeder("preview", str(house.seed("bad-timing")), "-t", "newsroom")
    assert (done.returncode, done.stderr) == (
        2,
        "error: newsroom: no target has this name; the settings have: console\n",
    )


def test_target_test_sends_one_message_now(tmp_path):
    with fakes.serving(fakes.Mastodon()) as mastodon:
        house = House(
            tmp_path,
            f'[targets.fedi]\nkind = "mastodon"\nurl = "{mastodon.url}"\n{fakes.LOOPBACK_TOML}',
            FEEDER_TARGETS__FEDI__TOKEN="wrong",
        )
        refused = house.feeder("target", "test", "fedi")
        house.env["FEEDER_TARGETS__FEDI__TOKEN"] = fakes.Mastodon.token
        done = house.feeder("target", "test", "fedi")

    assert (refused.returncode, refused.stderr) == (
        1,
        "fedi: refused for good: it would be switched off (401 The access token is invalid)\n",
    )
    assert (done.returncode, len(mastodon.ledger.taken)) == (0, 1)
    assert "test message from feeder" in mastodon.ledger.taken[0]["status"]


def test_status_and_deliveries_tell_what_there_is(house):
    (house.seeds / "broken.md").write_text("no front matter")
    assert json.loads(house.feeder("status", "--json").stdout)["last_pass"] is None
    house.feeder("once")

    done = house.feeder("status", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["concerns"]) == (1, ["1 file cannot be published as it is: feeder check"])
    assert (found["articles"]["published"], found["articles"]["bad"][0]["file"]) == (5, "broken.md")
    assert found["feeds"] == ["ai", "ai-ethics", "all", "machine-learning"]
    assert found["targets"]["console"]["deliveries"]["delivered"] == 5
    assert found["last_pass"]["files"] == 6

    shown = house.feeder("status").stdout
    assert "5 published, 1 bad" in shown
    assert re.search(r"^console\tconsole\t0\t0\t5\t0\t0$", shown, re.MULTILINE)

    listed = json.loads(house.feeder("deliveries", "--json").stdout)
    assert [each["state"] for each in listed] == ["delivered"] * 5
    assert json.loads(house.feeder("deliveries", "--state", "dead", "--json").stdout) == []
    assert len(house.feeder("deliveries", "--limit", "2").stdout.splitlines()) == 3


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("status", 0),
        ("deliveries", 0),
        ("check", 0),
        ("once --dry-run", 0),
        ("backup copy.db", 2),
        ("retry x", 2),
        ("deliveries settle x --resend", 2),
        ("target enable console", 2),
    ],
)
def test_who_asks_makes_no_database_and_leaves_one_as_it_is(house, command, code):
    before = tree(house)
    done = house.feeder(*command.split())

    assert (done.returncode, tree(house)) == (code, before)
    assert ("there is no database yet; start the worker" in done.stderr) is (command not in {"check", "once --dry-run"})
    if code == 0:
        house.feeder("once")
        before = tree(house)
        assert house.feeder(*command.split()).returncode == 0
        assert tree(house) == before


def test_check_warns_of_a_database_that_everyone_can_read(house):
    house.feeder("once")
    assert "database" not in house.feeder("check").stderr
    database = house.folder / "var/feeder.db"
    database.chmod(0o644)

    said = f"warning: {database}: everyone on this machine can read the database; chmod o= {database}*"
    assert said in house.feeder("check").stderr.splitlines()


def test_retry_makes_a_dead_letter_due_again(tmp_path):
    with fakes.serving(fakes.Slack()) as slack:
        house = House(
            tmp_path,
            '[targets.newsroom]\nkind = "slack"\nbackfill = 1\n' + fakes.LOOPBACK_TOML,
            FEEDER_TARGETS__NEWSROOM__URL=slack.url + fakes.Slack.path,
        )
        slack.next_answers = [fakes.Answer(status=400, body="invalid_payload")]
        first = house.feeder("once")
        (dead,) = json.loads(house.feeder("deliveries", "--state", "dead", "--json").stdout)
        retried = house.feeder("retry", dead["id"][:8])
        second = house.feeder("once")
        again = house.feeder("retry", dead["id"])

    assert (first.returncode, dead["last_error"]) == (1, "400 invalid_payload")
    assert (retried.returncode, second.returncode, len(slack.ledger.taken)) == (0, 0, 1)
    assert (again.returncode, again.stderr) == (
        2,
        f"error: {dead['id']}: is delivered; there is nothing to try again\n",
    )


def test_retry_names_an_id_that_is_not_there_or_not_enough(house):
    house.feeder("once")

    assert "zz: no delivery has an id that begins so" in house.feeder("retry", "zz").stderr
    assert "several deliveries have ids that begin so" in house.feeder("retry", "").stderr


def test_target_enable_sends_what_waited(tmp_path):
    with fakes.serving(fakes.Mastodon()) as mastodon:
        house = House(
            tmp_path,
            f'[targets.fedi]\nkind = "mastodon"\nurl = "{mastodon.url}"\n{fakes.LOOPBACK_TOML}backfill = 5\n',
            FEEDER_TARGETS__FEDI__TOKEN="wrong",
        )
        house.feeder("once")
        assert (
            json.loads(house.feeder("status", "--json").stdout)["targets"]["fedi"]["off"]
            == "401 The access token is invalid"
        )
        house.feeder("target", "enable", "fedi")
        assert json.loads(house.feeder("status", "--json").stdout)["targets"]["fedi"]["off"] is None
        house.feeder("once")
        mastodon.token = "wrong"
        house.feeder("target", "enable", "fedi")
        house.feeder("once")

    assert len(mastodon.ledger.taken) == 5


@pytest.fixture
def off(tmp_path):
    """A house whose target was switched off, and the service that refused it."""
    with fakes.serving(fakes.Mastodon()) as mastodon:
        house = House(
            tmp_path,
            f'[targets.fedi]\nkind = "mastodon"\nurl = "{mastodon.url}"\n{fakes.LOOPBACK_TOML}backfill = 5\n',
            FEEDER_TARGETS__FEDI__TOKEN="wrong",
        )
        done = house.feeder("once")
        assert "fedi: 1 held, for the target is off now" in done.stderr
        yield house, mastodon


def test_a_target_that_is_off_says_so_wherever_an_operator_looks(off):
    house, _ = off
    said = "fedi is off: 401 The access token is invalid; put it right, then: feeder target enable fedi"

    status, check, once = house.feeder("status"), house.feeder("check"), house.feeder("once")
    assert (status.returncode, check.returncode) == (1, 1)
    assert f"!          {said}\n" in status.stdout
    assert f"error: targets.fedi: {said}\n" in check.stderr
    assert "target.off" in once.stderr
    with house.worker() as worker:
        answer = worker.get("readyz")
        assert answer.status_code == 503
        assert "target fedi is off; the log and `feeder status` say why" in answer.json()["reason"]
        assert "401" not in answer.text


def test_other_credentials_switch_a_target_on_and_what_waited_is_sent_once(off):
    house, mastodon = off
    house.env["FEEDER_TARGETS__FEDI__TOKEN"] = fakes.Mastodon.token

    done = house.feeder("once")

    assert "its credentials are others now" in done.stderr
    assert len(mastodon.ledger.taken) == 5
    assert house.feeder("check").returncode == 0
    assert house.feeder("status").returncode == 0


def test_dead_letters_and_what_may_have_arrived_need_a_look(tmp_path):
    with fakes.serving(fakes.Slack()) as slack:
        house = House(
            tmp_path,
            '[targets.newsroom]\nkind = "slack"\nbackfill = 2\nrate = ""\n' + fakes.LOOPBACK_TOML,
            FEEDER_TARGETS__NEWSROOM__URL=slack.url + fakes.Slack.path,
        )
        slack.next_answers = [fakes.Answer(status=400, body="invalid_payload"), fakes.Answer(status=504)]
        house.feeder("once")

        done = house.feeder("status")
        listed = house.feeder("deliveries").stdout.splitlines()

    assert done.returncode == 1
    assert "newsroom: 1 dead letter: feeder deliveries --target newsroom --state dead" in done.stdout
    held = "newsroom: 1 delivery may have arrived: feeder deliveries --target newsroom --state unknown"
    assert held in done.stdout
    assert listed[0].split("\t") == ["id", "state", "target", "title", "tries", "last try", "next try", "last error"]
    assert all(re.match(r"20\d\d-", line.split("\t")[5]) for line in listed[1:])


def test_a_database_that_is_none_is_an_error_of_check(house):
    house.feeder("once")
    (house.folder / "var" / "feeder.db").write_bytes(b"no database, but long enough to be taken for one" * 100)

    done = house.feeder("check")

    assert done.returncode == 1
    assert "feeder.db: cannot be used as a database" in done.stderr


def test_serve_alone_serves_what_a_worker_published(house):
    house.feeder("once")

    with house.worker("serve", "--port", "0") as web:
        assert web.get("feeds/ai.rss").content == house.public()["feeds/ai.rss"]
        assert web.stop() == 0


def test_long_work_shows_its_progress_on_a_terminal_and_nowhere_else(house):
    terminal, other_end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "feeder", "check"],
        cwd=house.folder,
        env={**house.env, "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=other_end,
    )
    os.close(other_end)
    shown = b""
    with suppress(OSError):  # how Linux says that the other end is closed
        while piece := os.read(terminal, 4096):
            shown += piece
    process.communicate()
    os.close(terminal)

    assert b"Reading articles" in shown
    assert house.feeder("check").stderr == ""


def test_settings_may_be_elsewhere(house):
    house.config.rename(house.folder / "mine.toml")

    done = house.feeder("--config", "mine.toml", "once")

    assert done.stdout.count("■ ") == 5
    assert house.feeder("--config", "none.toml", "status").stderr.startswith("error: none.toml: cannot be read")


def test_a_traceback_that_somebody_asks_for_holds_no_secret(tmp_path):
    secret = "xoxb-kept-quiet"
    house = House(
        tmp_path, '[targets.newsroom]\nkind = "slack"\nchannel = "C1"\n', FEEDER_TARGETS__NEWSROOM__TOKEN=secret
    )
    code = (
        "import sys; from feeder import cli, reports\n"
        f"def broken(*_): raise RuntimeError('with {secret} in it')\n"
        "reports.status = broken\n"
        "sys.argv = ['feeder', '--debug', 'status']\n"
        "cli.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=house.env, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "with [secret] in it" in done.stderr
    assert secret not in done.stderr


def test_commands_that_only_ask_import_little(house):
    """A second of imports is the whole of such a command."""
    env = {**house.env, "PYTHONPROFILEIMPORTTIME": "1"}
    asked = [sys.executable, "-m", "feeder", "status"]
    said = subprocess.run(asked, cwd=house.folder, env=env, capture_output=True, text=True, timeout=LIMIT, check=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in said.stderr.splitlines()}

    assert "sqlalchemy" in imported
    assert not imported & {
        "aiohttp",
        "apscheduler",
        "feedgen",
        "httpx",
        "starlette",
        "structlog",
        "uvicorn",
        "watchfiles",
    }


NASTY = "x\x1b[2J\nerror: forged \u202e\x9b31m.md"


def test_nothing_that_a_file_is_called_or_holds_reaches_the_terminal_but_as_text(house):
    keys = 'title: "a\\x1b[31m \\u202etitle"\npublishedDateTime: 2026-01-31T12:00:00Z\nwebUrl: https://news.example.org/n\n'
    (house.seeds / NASTY).write_text(
        f'---\n{keys}"bad\\x1b]0;key\\x07\\nforged": 1\ntopics: ["\\u202eAI\\u2066"]\n---\n'
    )
    (house.seeds / f"2{NASTY}").write_text("---\ntitle: half")

    for command in ("check", "check --json", "once", "status", "status --json", "deliveries", "deliveries --json"):
        done = house.feeder(*command.split())
        said = done.stdout + done.stderr
        assert "Traceback" not in said
        assert all(line.replace("\t", "").isprintable() for line in said.split("\n")), command
        assert not [line for line in said.split("\n") if line.startswith("error: forged")], command


def test_titles_are_published_without_what_turns_their_surroundings(house):
    keys = 'title: "a\\u202eb"\npublishedDateTime: 2026-01-31T12:00:00Z\nwebUrl: https://news.example.org/n\n'
    (house.seeds / "turned.md").write_text(f"---\n{keys}---\n")
    house.feeder("once")

    assert not [path for path, body in house.public().items() if "\u202e" in body.decode("utf-8", "replace")]
    assert "<title>ab</title>" in house.public()["feeds/all.rss"].decode()


def test_one_setting_keeps_the_native_parser_out_of_every_command(house):
    house.env["FEEDER_YAML_PARSER"] = "pyyaml"
    house.env["PYTHONPROFILEIMPORTTIME"] = "1"  # names every module that is imported
    (article,) = house.seeds.glob("*as-actors*")

    for command in (("once",), ("check",), ("preview", str(article), "--target", "console")):
        done = house.feeder(*command)
        assert done.returncode == 0
        assert "frontmatter" in done.stderr
        assert "yaml_rs" not in done.stderr


def test_what_a_target_that_is_not_in_the_settings_left_behind_needs_no_look():
    waiting = {state.value: 0 for state in State} | {"dead": 2}
    target = {"kind": None, "off": "410 gone", "deliveries": waiting}
    found = {
        "articles": {"missing": None, "bad": []},
        "failed_pass": None,
        "targets": {"removed": target, "here": target},
    }

    assert reports.concerns(found, ["here"]) == [
        "here is off: 410 gone; put it right, then: feeder target enable here",
        "here: 2 dead letters: feeder deliveries --target here --state dead",
    ]
