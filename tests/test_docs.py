"""What the documents say is what there is."""

from __future__ import annotations

import re
import tomllib

import pytest

from feeder import targets
from feeder.cli import app, deliveries_app, target_app
from feeder.sections import FeedOptions, TopicOptions, WebSubOptions
from feeder.settings import Settings, load
from feeder.targets.base import Target
from tests.worker import ROOT, House

SECTIONS = {"targets", "feeds", "topics", "websub"}
README = (ROOT / "README.md").read_text()
CONFIG = (ROOT / "config" / "feeder.toml").read_text()


def commands() -> list[str]:
    named = [(command.name or command.callback.__name__, "") for command in app.registered_commands]
    named += [(command.name or command.callback.__name__, "target ") for command in target_app.registered_commands]
    named += [
        (command.name or command.callback.__name__, "deliveries ") for command in deliveries_app.registered_commands
    ]
    named.append(("deliveries", ""))
    return sorted(f"{prefix}{name}" for name, prefix in named)


def test_the_readme_is_short_enough_to_be_read():
    assert len(README.splitlines()) <= 200


@pytest.mark.parametrize("command", commands())
def test_every_command_stands_in_the_readme(command):
    assert f"`feeder {command}" in README


def test_every_command_that_the_readme_names_is_there():
    named = {
        match.replace("feeder ", "")
        for match in re.findall(r"`(feeder (?:target |deliveries (?=settle))?[a-z]+)", README)
    }

    assert named == set(commands())


@pytest.mark.parametrize("name", sorted(set(Settings.model_fields) - SECTIONS))
def test_every_setting_stands_in_the_readme_and_in_the_shipped_file(name):
    assert f"`{name}`" in README
    assert re.search(rf"^{name} = ", CONFIG, re.MULTILINE)


def test_the_readme_tells_every_default():
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (.+?) \|", README, re.MULTILINE)
    told = {}
    for names, defaults in rows:
        told |= dict(zip(re.findall(r"`(\w+)`", names), re.findall(r"`([^`]*)`", defaults), strict=False))
    found = {name: field.default for name, field in Settings.model_fields.items() if name not in SECTIONS}

    assert {name: told[name] for name in found} == {
        name: f"{value}".lower() if isinstance(value, bool) else f"{value}" for name, value in found.items()
    }


@pytest.mark.parametrize("kind", targets.kinds())
def test_every_kind_of_target_and_its_options_stand_in_the_readme(kind):
    (row,) = re.findall(rf"^\| `{kind}` \|.*$", README, re.MULTILINE)

    for name in set(targets.target_class(kind).model_fields) - set(Target.model_fields):
        assert f"`{name}`" in row
    for name in Target.model_fields:
        assert f"`{name}`" in README


def test_the_examples_in_the_shipped_file_are_right(tmp_path, monkeypatch):
    commented = re.findall(r"^# (\[[a-z]+.*\]|\w+ = .*)$", CONFIG, re.MULTILINE)
    (tmp_path / "feeder.toml").write_text("\n".join(commented))
    monkeypatch.setenv("FEEDER_TARGETS__NEWSROOM__URL", "https://hooks.slack.com/services/T/B/X")
    monkeypatch.setenv("FEEDER_TARGETS__FEDI__TOKEN", "token")
    monkeypatch.setenv("FEEDER_TARGETS__SITE__SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

    loaded = load(tmp_path / "feeder.toml")
    assert sorted(loaded.targets) == ["fedi", "newsroom", "site"]
    assert [rules.channel.name for rules in loaded.feeds.configured] == ["top"]
    assert [rules.slug for rules in loaded.feeds.topics] == ["ml"]
    assert loaded.site.hubs == ("https://hub.example/",)


@pytest.mark.parametrize("options", [FeedOptions, TopicOptions, WebSubOptions])
def test_every_option_of_a_section_stands_in_the_readme(options):
    for name in options.model_fields:
        assert f"`{name}`" in README


def test_the_examples_in_the_readme_are_right(tmp_path, monkeypatch):
    examples = "".join(re.findall(r"```toml\n(.*?)```", README, re.DOTALL))
    (tmp_path / "feeder.toml").write_text(examples)
    monkeypatch.setenv("FEEDER_TARGETS__NEWSROOM__URL", "https://hooks.slack.com/services/T/B/X")
    monkeypatch.setenv("FEEDER_TARGETS__FEDI__TOKEN", "token")

    loaded = load(tmp_path / "feeder.toml")
    assert sorted(loaded.targets) == ["fedi", "newsroom"]
    assert [rules.channel.name for rules in loaded.feeds.configured] == ["top"]
    assert [rules.slug for rules in loaded.feeds.topics] == ["ml"]


def test_the_article_of_the_readme_is_one(tmp_path):
    (example,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    house = House(tmp_path)
    (house.seeds / "example.md").write_text(example)

    assert house.feeder("check").stdout == "6 articles, 0 targets; 0 errors, 0 warnings\n"


def test_the_procfile_runs_the_worker_and_the_web_server():
    lines = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())

    assert lines == {
        "worker": "python -m feeder run",
        "web": "python -m feeder serve --host 0.0.0.0 --port $PORT",
    }


def test_the_lock_pins_everything_with_hashes_and_names_no_index():
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (ROOT / name).read_text()
        packages = re.split(r"\n(?=[a-z0-9])", text.strip())
        assert all("==" in package and "--hash=sha256:" in package for package in packages)
        assert "://" not in text


def test_what_is_needed_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE))

    assert {re.split(r"[<>=]", each)[0] for each in project["dependencies"]} <= pinned
