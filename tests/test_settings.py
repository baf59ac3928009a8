from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from feeder.errors import Problem, SettingsError
from feeder.models import Channel, Site
from feeder.selection import TopicRules
from feeder.settings import Loaded, articles_of, load
from feeder.targets.console import Console
from feeder.targets.mastodon import Mastodon
from feeder.targets.slack import Slack
from feeder.targets.webhook import Webhook

SHIPPED = Path(__file__).parents[1] / "config" / "feeder.toml"
HOOK = "https://hooks.slack.com/services/T0/B0/kept-quiet"
SIGNING = "whsec_a2VwdC1xdWlldC1rZXB0LXF1aWV0LWtlcHQ="
KINDS = "the kinds are console, mastodon, slack, webhook"
DEFAULTS = {
    "source": Path("seeds"),
    "public": Path("public"),
    "database_url": "sqlite:///var/feeder.db",
    "title": "Feeder",
    "base_url": "http://127.0.0.1:8000",
    "language": "en",
    "id_authority": "feeder.example,2026",
    "interval": 60,
    "limit": 50,
    "include_unpublished": False,
    "max_article_bytes": 1_000_000,
    "yaml_parser": "auto",
    "host": "127.0.0.1",
    "port": 8000,
    "log_format": "auto",
    "description": "",
    "rights": "",
    "icon": "",
    "logo": "",
    "max_age": 60,
    "provider_feeds": False,
    "show_images": True,
    "keep_deleted": False,
    "max_gone": 0,
    "targets": {},
    "feeds": {},
    "topics": {},
    "websub": {},
}


class Desk:
    """An empty working folder, and where settings are put."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._monkeypatch = folder, monkeypatch

    def config(self, content: str | bytes, name: str = "config/feeder.toml") -> None:
        path = self._folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def environment(self, **variables: str) -> None:
        for name, value in variables.items():
            self._monkeypatch.setenv(f"FEEDER_{name}", value)

    def secrets(self, **files: str) -> None:
        folder = self._folder / "secrets"
        folder.mkdir(exist_ok=True)
        for name, value in files.items():
            (folder / name).write_text(value)
        self.environment(SECRETS_DIR="secrets")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path, monkeypatch)


def values(loaded: Loaded) -> dict[str, Any]:
    return loaded.settings.model_dump()


def problems() -> list[Problem]:
    """What is wrong with the settings."""
    with pytest.raises(SettingsError) as caught:
        load()
    return list(caught.value.problems)


# --- What holds when nothing is wrong -------------------------------------------------------------------------------------


def test_without_any_settings_the_defaults_hold(desk):
    loaded = load()

    assert DEFAULTS == values(loaded)
    assert ({}, None) == (loaded.targets, loaded.config)


def test_the_shipped_file_says_the_defaults_but_for_the_two_lines_that_it_marks(desk):
    loaded = load(SHIPPED)

    assert {**DEFAULTS, "include_unpublished": True} == values(loaded)
    assert {"console": Console(kind="console", backfill=10)} == loaded.targets
    assert 2 == len(re.findall(r"^# \(\*\) ", SHIPPED.read_text(), re.MULTILINE))


def test_an_empty_file_is_as_good_as_none(desk):
    desk.config("")

    loaded = load()

    assert DEFAULTS == values(loaded)
    assert Path("config/feeder.toml") == loaded.config


def test_the_named_file_is_read_in_place_of_the_usual_one(desk):
    desk.config('title = "usual"')
    desk.config('title = "named by a variable"', "variable.toml")
    desk.config('title = "named by the caller"', "caller.toml")

    assert "usual" == load().settings.title
    desk.environment(CONFIG="variable.toml")
    assert "named by a variable" == load().settings.title
    assert "named by the caller" == load(Path("caller.toml")).settings.title


def test_the_environment_goes_over_the_secrets_folder_and_that_over_the_file(desk):
    desk.config('title = "file"\nlanguage = "de"\nlimit = 1\n')
    desk.secrets(title="secrets folder", limit="2\n")
    desk.environment(TITLE="environment")

    settings = load().settings

    assert ("environment", 2, "de") == (settings.title, settings.limit, settings.language)


def test_a_targets_options_come_from_all_places_each_over_the_one_before(desk):
    desk.config('[targets.fedi]\nkind = "mastodon"\nurl = "https://file.example"\ntoken = "file"\nbackfill = 1\n')
    desk.secrets(targets__fedi__token="secrets folder", targets__fedi__url="https://secrets.example")
    desk.environment(TARGETS__FEDI__TOKEN="environment")

    fedi = load().targets["fedi"]

    assert isinstance(fedi, Mastodon)
    assert ("environment", "https://secrets.example", 1) == (
        fedi.token.get_secret_value(),
        fedi.url.get_secret_value(),
        fedi.backfill,
    )


def test_the_secrets_folder_may_be_named_by_the_caller(desk):
    desk.secrets(title="by variable")
    other = Path("other")
    other.mkdir()
    (other / "title").write_text("by caller")

    assert "by caller" == load(secrets=other).settings.title


def test_a_variable_that_is_empty_is_as_good_as_none(desk):
    desk.config('title = "file"')
    desk.environment(TITLE="", CONFIG="", SECRETS_DIR="")

    assert "file" == load().settings.title


def test_a_secret_in_the_environment_completes_a_target_of_the_file(desk):
    desk.config('[targets.newsroom]\nkind = "slack"\ntopics = ["AI"]\n')
    desk.environment(TARGETS__NEWSROOM__URL=HOOK)

    assert {"newsroom": Slack(kind="slack", topics=("AI",), url=SecretStr(HOOK))} == load().targets


def test_a_target_may_stand_in_the_environment_alone_with_lists_and_numbers(desk):
    desk.environment(
        TARGETS__DESK__KIND="console",
        TARGETS__DESK__TOPICS="AI, Machine Learning",
        TARGETS__DESK__BACKFILL="3",
        TARGETS__DESK__HASHTAGS="false",
    )

    assert {
        "desk": Console(kind="console", topics=("AI", "Machine Learning"), backfill=3, hashtags=False)
    } == load().targets


def test_there_may_be_several_targets_of_one_kind(desk):
    desk.config(
        f'[targets.one]\nkind = "slack"\nurl = "{HOOK}1"\n'
        f'[targets.two]\nkind = "slack"\nurl = "{HOOK}2"\n'
        f'[targets.site_2]\nkind = "webhook"\nurl = "https://site.example"\nsecret = "{SIGNING}"\n'
    )

    assert {
        "one": Slack(kind="slack", url=SecretStr(f"{HOOK}1")),
        "two": Slack(kind="slack", url=SecretStr(f"{HOOK}2")),
        "site_2": Webhook(kind="webhook", url=SecretStr("https://site.example"), secret=SecretStr(SIGNING)),
    } == load().targets


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("base_url", "https://Feeds.Example:443/news/", "https://feeds.example/news"),
        ("id_authority", "ada@news.example,2024-05-31", "ada@news.example,2024-05-31"),
        ("language", "pt-BR", "pt-BR"),
        ("database_url", "sqlite:////srv/feeder.db", "sqlite:////srv/feeder.db"),
        ("interval", "1.5", 1.5),
        ("include_unpublished", "true", True),
        ("source", "/srv/articles", Path("/srv/articles")),
        ("log_format", "json", "json"),
        ("port", "0", 0),
    ],
)
def test_a_setting_is_read_from_the_environment(desk, name, written, value):
    desk.environment(**{name.upper(): written})

    assert {**DEFAULTS, name: value} == values(load())


def test_the_site_is_what_the_settings_say_of_it(desk):
    desk.config(
        'title = "News"\nbase_url = "https://feeds.example"\nlanguage = "de"\nid_authority = "feeds.example,2026"\n'
        'description = "All day"\nrights = "CC BY"\nicon = "https://feeds.example/i.png"\n'
        'logo = "https://feeds.example/l.png"\nmax_age = 300\nshow_images = false\n'
        '[websub]\nhubs = ["https://hub.example/", "https://hub.example/"]\n'
    )

    assert (
        Site(
            title="News",
            base_url="https://feeds.example",
            language="de",
            id_authority="feeds.example,2026",
            description="All day",
            rights="CC BY",
            icon="https://feeds.example/i.png",
            logo="https://feeds.example/l.png",
            max_age=300,
            hubs=("https://hub.example/",),
            images=False,
        )
        == load().site
    )


def test_settings_do_not_change(desk):
    with pytest.raises(ValueError, match="frozen"):
        load().settings.title = "other"


# --- What is wrong, with its place, its value and the way out ---------------------------------------------------------------


def test_an_unknown_kind_of_target_is_told_with_the_nearest(desk):
    desk.config('title = "x"\n\n[targets.newsroom]\n# for the desk\nkind = "slak"\n')

    assert [
        Problem(
            where="config/feeder.toml",
            line=5,
            reason=f"targets.newsroom.kind: 'slak' is no kind of target; {KINDS}; did you mean slack?",
        )
    ] == problems()


def test_an_unknown_kind_that_is_near_to_none_is_told(desk):
    desk.environment(TARGETS__X__KIND="pigeon")

    assert [
        Problem(where="FEEDER_TARGETS__X__KIND (environment)", reason=f"'pigeon' is no kind of target; {KINDS}")
    ] == problems()


def test_a_target_without_a_kind_is_told(desk):
    desk.config('limit = 3\n[targets.newsroom]\nurl = "https://x.example"\n')

    assert [
        Problem(
            where="config/feeder.toml",
            line=2,
            reason="targets.newsroom: has no kind; write one of console, mastodon, slack, webhook",
        )
    ] == problems()


def test_a_variable_for_a_target_that_is_misspelt_is_told_with_the_nearest(desk):
    desk.config(f'[targets.newsroom]\nkind = "slack"\nurl = "{HOOK}"\n')
    desk.environment(TARGETS__NEWSROM__BACKFILL="3")

    assert [
        Problem(
            where="FEEDER_TARGETS__NEWSROM__BACKFILL (environment)",
            reason="targets.newsrom: has no kind; write one of console, mastodon, slack, webhook; did you mean newsroom?",
        )
    ] == problems()


def test_an_unknown_key_is_told_with_the_nearest(desk):
    desk.config('limit = 3\nintervall = 5\n[targets.c]\nkind = "console"\n')

    assert [
        Problem(where="config/feeder.toml", line=2, reason="intervall: unknown key; did you mean interval?")
    ] == problems()


def test_an_unknown_key_of_a_target_is_told_with_the_nearest_of_its_kind(desk):
    desk.config('[targets.c]\nkind = "console"\nbackfil = 3\n')

    assert [
        Problem(where="config/feeder.toml", line=3, reason="targets.c.backfil: unknown key; did you mean backfill?")
    ] == problems()


def test_an_unknown_key_that_is_near_to_none_is_told(desk):
    desk.config("zzz = 3\n")

    assert [Problem(where="config/feeder.toml", line=1, reason="zzz: unknown key")] == problems()


@pytest.mark.parametrize(
    ("name", "hint"), [("TITEL", "; did you mean TITLE?"), ("TARGET__X__URL", "; did you mean TARGETS?"), ("ZZZ", "")]
)
def test_an_unknown_variable_is_told_with_the_nearest(desk, name, hint):
    desk.environment(**{name: "x"})

    assert [Problem(where=f"FEEDER_{name} (environment)", reason=f"unknown setting{hint}")] == problems()


def test_a_missing_secret_is_told_with_the_places_that_it_may_go_to(desk):
    desk.config('title = "x"\n[targets.fedi]\nkind = "mastodon"\nurl = "https://social.example"\n')

    assert [
        Problem(
            where="config/feeder.toml",
            line=2,
            reason=(
                "targets.fedi.token: is missing; write it there, or set FEEDER_TARGETS__FEDI__TOKEN, or put it into "
                "targets__fedi__token in the secrets folder"
            ),
        )
    ] == problems()


def test_a_target_that_needs_one_of_several_secrets_is_told_where_they_go(desk):
    desk.config('[targets.newsroom]\nkind = "slack"\n')

    assert [
        Problem(
            where="config/feeder.toml",
            line=1,
            reason=(
                "targets.newsroom: needs either url (an incoming webhook) or token and channel (a bot); a secret goes into "
                "FEEDER_TARGETS__NEWSROOM__… in the environment"
            ),
        )
    ] == problems()


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ('title = "x"\n\nlimit = = 3\n', 3, "not TOML: Invalid value"),
        ('title = "x"\ntitle = "y"\n', 2, "not TOML: Cannot overwrite a value"),
        ('title = "x\nlimit = 3\n', 1, "not TOML: Illegal character"),
        ("a\n", 1, "not TOML:"),
    ],
)
def test_what_is_not_toml_is_told_by_line(desk, content, line, words):
    desk.config(content)

    (problem,) = problems()

    assert ("config/feeder.toml", line) == (problem.where, problem.line)
    assert problem.reason.startswith(words)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.toml", "No such file or directory"),
        ("config", "Is a directory"),
        ("config/feeder.toml/x", "Not a directory"),
        ("latin-1.toml", "not UTF-8"),
    ],
)
def test_a_named_file_that_cannot_be_read_is_told(desk, name, reason):
    desk.config("")
    desk.config(b'title = "caf\xe9"\n', "latin-1.toml")
    desk.environment(CONFIG=name)

    assert [Problem(where=name, reason=f"cannot be read: {reason}; name the settings file with --config")] == problems()


def test_a_named_file_and_a_secrets_folder_that_are_missing_are_told_together(desk):
    desk.environment(CONFIG="missing.toml", SECRETS_DIR="missing")

    assert [
        Problem(
            where="missing.toml",
            reason="cannot be read: No such file or directory; name the settings file with --config",
        ),
        Problem(where="missing", reason="no such folder (FEEDER_SECRETS_DIR)"),
    ] == problems()


def test_a_secrets_folder_that_is_a_file_is_told(desk):
    desk.config("", "file")
    desk.environment(SECRETS_DIR="file")

    assert [Problem(where="file", reason="no such folder (FEEDER_SECRETS_DIR)")] == problems()


@pytest.mark.parametrize("name", ["News", "news-room", "a__b", "_a", "a_", "1st", "a b", "ä"])
def test_a_targets_name_that_no_variable_can_spell_is_told(desk, name):
    desk.config(f'[targets."{name}"]\nkind = "console"\n')

    assert [
        Problem(
            where="config/feeder.toml",
            line=1,
            reason=f"targets.{name}: a target's name is made of lower-case letters, digits and single underscores",
        )
    ] == problems()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('limit = "many"', "limit: 'many': input should be a valid integer, unable to parse string as an integer"),
        ("limit = 1.5", "limit: 1.5: input should be a valid integer, got a number with a fractional part"),
        ("limit = 0", "limit: 0: input should be greater than or equal to 1"),
        ("limit = [1]", "limit: input should be a valid integer"),
        ('interval = "soon"', "interval: 'soon': input should be a valid number, unable to parse string as a number"),
        ("interval = 0.5", "interval: 0.5: input should be greater than or equal to 1"),
        ("interval = inf", "interval: inf: input should be less than or equal to 86400"),
        ("interval = nan", "interval: nan: input should be less than or equal to 86400"),
        ("port = 70000", "port: 70000: input should be less than or equal to 65535"),
        ('include_unpublished = "perhaps"', "include_unpublished: 'perhaps': input should be a valid boolean"),
        ('title = ""', "title: '': string should have at least 1 character"),
        ("title = 5", "title: 5: input should be a valid string"),
        ('language = "english!"', "language: 'english!': string should match pattern"),
        ('log_format = "xml"', "log_format: 'xml': input should be 'auto', 'console' or 'json'"),
        ("max_article_bytes = 5", "max_article_bytes: 5: input should be greater than or equal to 1000"),
        ("source = 5", "source: 5: input is not a valid path"),
        ('base_url = "ftp://feeds.example"', "base_url: is not an http or https address"),
        ('base_url = "feeds.example"', "base_url: is not a whole address; begin it with https://"),
        ('base_url = "https://ada:pass@feeds.example"', "base_url: holds a user name or password"),
        ("targets = 5", "targets: input should be a valid dictionary"),
        ("targets.c = 5", "targets.c: input should be a valid dictionary"),
        (
            'targets.c = {kind = "console", related = 21}',
            "targets.c.related: 21: input should be less than or equal to 20",
        ),
        ('targets.c = {kind = "console", backfill = "x"}', "targets.c.backfill: 'x': input should be a valid integer"),
        ('targets.c = {kind = "console", topics = 5}', "targets.c.topics: 5: input should be a valid tuple"),
        (
            'targets.c = {kind = "console", on_unknown = "x"}',
            "targets.c.on_unknown: 'x': input should be 'hold' or 'resend'",
        ),
        ('targets.s = {kind = "slack", url = "hooks.example"}', "targets.s.url: is not an http(s) address"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_with_its_place_and_the_value(desk, content, reason):
    desk.config(f"# settings\n{content}\n")

    (problem,) = problems()

    assert ("config/feeder.toml", 2) == (problem.where, problem.line)
    assert problem.reason.startswith(reason)


@pytest.mark.parametrize("value", ["mysql://db.example/feeder", "sqlite://", "sqlite:///", "var/feeder.db"])
def test_a_database_that_is_not_sqlite_with_a_path_is_told(desk, value):
    desk.config(f'database_url = "{value}"\n')

    assert [
        Problem(
            where="config/feeder.toml",
            line=1,
            reason=(
                "database_url: is not sqlite:/// and a path (sqlite:///var/feeder.db; four slashes for an absolute path)"
            ),
        )
    ] == problems()


@pytest.mark.parametrize(
    "value", ["news.example", "news.example,26", "News.example,2026", "tag:news.example,2026", ",2026"]
)
def test_an_authority_that_rfc_4151_does_not_know_is_told(desk, value):
    desk.config(f'id_authority = "{value}"\n')

    assert [
        Problem(
            where="config/feeder.toml",
            line=1,
            reason=(
                f"id_authority: {value!r}: is not an authority of RFC 4151: a domain that you own and a year in which you "
                "owned it, like example.org,2026"
            ),
        )
    ] == problems()


def test_a_wrong_value_is_told_where_it_was_set_and_not_where_it_was_hidden(desk):
    desk.config("limit = 3\nport = 80\n")
    desk.secrets(limit="few", port="some")
    desk.environment(PORT="any")

    assert {
        ("secrets/limit", None, "'few':"),
        ("FEEDER_PORT (environment)", None, "'any':"),
    } == {(problem.where, problem.line, problem.reason[:6]) for problem in problems()}


def test_several_problems_are_told_at_once(desk):
    desk.config(
        'limit = 0\ntitel = "x"\n[targets.x]\nkind = "slak"\n[targets.c]\nkind = "console"\nbackfil = 1\nrelated = 21\n'
        '[targets.fedi]\nkind = "mastodon"\nurl = "https://social.example"\n'
    )
    desk.environment(PORT="x", TITLO="y")

    found = problems()

    assert {
        "config/feeder.toml:1: limit: 0: input should be greater than or equal to 1",
        "config/feeder.toml:2: titel: unknown key",
        "config/feeder.toml:4: targets.x.kind: 'slak' is no kind of target",
        "config/feeder.toml:7: targets.c.backfil: unknown key",
        "config/feeder.toml:8: targets.c.related: 21: input should be less than or equal to 20",
        "FEEDER_PORT (environment): 'x': input should be a valid integer, unable to parse string as an integer",
        "FEEDER_TITLO (environment): unknown setting",
        "config/feeder.toml:9: targets.fedi.token: is missing",
    } == {str(problem).split(";")[0] for problem in found}
    assert 8 == len(found)


def test_the_message_of_an_error_is_all_its_problems(desk):
    desk.config("limit = 0\nport = 70000\n")

    with pytest.raises(SettingsError) as caught:
        load()

    assert [
        "config/feeder.toml:1: limit: 0: input should be greater than or equal to 1",
        "config/feeder.toml:2: port: 70000: input should be less than or equal to 65535",
    ] == str(caught.value).splitlines()


def test_where_the_articles_are_can_be_told_when_other_settings_are_wrong(desk):
    desk.config('source = "articles"\nmax_article_bytes = 2000\nlimit = 0\ntitel = "x"\n')

    assert (Path("articles"), 2000, True) == articles_of()


@pytest.mark.parametrize("content", ["source = 5\n", "not TOML"])
def test_where_the_articles_are_is_the_default_when_the_settings_do_not_say(desk, content):
    desk.config(content)

    assert (Path("seeds"), 1_000_000, True) == articles_of()


# --- Secrets ----------------------------------------------------------------------------------------------------------------

WITH_SECRETS = f"""\
[targets.newsroom]
kind = "slack"
url = "{HOOK}"
[targets.bot]
kind = "slack"
token = "xoxb-kept-quiet"
channel = "C1"
[targets.fedi]
kind = "mastodon"
url = "https://social.example"
token = "kept-quiet"
[targets.site]
kind = "webhook"
url = "https://site.example/kept-quiet"
secret = "{SIGNING}"
"""


def test_what_was_loaded_shows_no_secret(desk):
    desk.config(WITH_SECRETS)

    loaded = load()

    shown = (
        f"{loaded!r} {loaded} {loaded.settings!r} {values(loaded)} {[str(each) for each in loaded.targets.values()]}"
    )
    assert {"newsroom", "bot", "fedi", "site"} == set(loaded.targets)
    assert [] == [secret for secret in ("kept-quiet", SIGNING) if secret in shown]


@pytest.mark.parametrize(
    "content",
    [
        f"{WITH_SECRETS}secret = = x\n",
        f'{WITH_SECRETS}secret = "{SIGNING}"\n',
        f"limit = 0\n{WITH_SECRETS}",
        f'titel = "kept-quiet"\n{WITH_SECRETS}',
        WITH_SECRETS.replace('"slack"', '"slak"'),
        WITH_SECRETS.replace('kind = "slack"', "backfill = 1"),
        WITH_SECRETS.replace("url =", "urll ="),
        WITH_SECRETS.replace("token =", "tokn ="),
        WITH_SECRETS.replace("[targets.bot]\n", ""),
        WITH_SECRETS.replace("https://", "kept-quiet"),
        WITH_SECRETS.replace("whsec_", "kept-quiet"),
        WITH_SECRETS.replace('"xoxb-kept-quiet"', '["xoxb-kept-quiet"]'),
        WITH_SECRETS.replace('"xoxb-kept-quiet"', '{xoxb = "kept-quiet"}'),
        'base_url = "https://ada:kept-quiet@feeds.example"\n',
        'database_url = "postgresql://ada:kept-quiet@db.example/feeder"\n',
    ],
)
def test_what_is_said_of_wrong_settings_shows_no_secret(desk, content):
    desk.config(content)

    with pytest.raises(SettingsError) as caught:
        load()

    said = (
        f"{caught.value} {caught.value!r} {caught.value.problems} {''.join(traceback.format_exception(caught.value))}"
    )
    assert [] == [secret for secret in ("kept-quiet", SIGNING.removeprefix("whsec_")) if secret in said]


@pytest.mark.parametrize(
    "variables",
    [
        {"TARGETS__NEWSROM__URL": HOOK},
        {"TARGETS__NEWSROOM__KIND": "slack", "TARGETS__NEWSROOM__URLL": HOOK},
        {"TARGETS__NEWSROOM__KIND": "slack", "TARGETS__NEWSROOM__URL__X": HOOK},
        {"TARGETS__NEWSROOM__KIND": "slack", "TARGETS__NEWSROOM__TOKEN": HOOK},
        {"TARGETS__NEWSROOM__KIND": "slack", "TARGETS__NEWSROOM__URL": "kept-quiet"},
        {"TARGET__NEWSROOM__URL": HOOK},
        {"NEWSROOM_URL": HOOK},
        {"DATABASE_URL": "postgresql://ada:kept-quiet@db.example/feeder"},
    ],
)
def test_what_is_said_of_wrong_variables_shows_no_secret(desk, variables):
    desk.environment(**variables)

    assert [] == [problem for problem in problems() if "kept-quiet" in str(problem)]


def test_what_is_said_of_wrong_files_in_the_secrets_folder_shows_no_secret(desk):
    desk.config('[targets.fedi]\nkind = "mastodon"\n')
    desk.secrets(targets__fedi__tokn="kept-quiet", targets__fedi__url="kept-quiet")

    found = problems()

    assert {"secrets/targets__fedi__tokn", "secrets/targets__fedi__url", "config/feeder.toml"} == {
        problem.where for problem in found
    }
    assert [] == [problem for problem in found if "kept-quiet" in str(problem)]


@pytest.mark.parametrize("value", ["https://hooks.slack.com/services/SECRET", '{"c": SECRET'])
@pytest.mark.parametrize("variable", ["FEEDER_TARGETS__NEWSROOM", "FEEDER_TARGETS"])
def test_a_secret_in_the_wrong_variable_is_not_repeated(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError) as caught:
        load()

    assert "SECRET" not in str(caught.value)
    assert "FEEDER_TARGETS" in str(caught.value)


@pytest.mark.parametrize(
    ("written", "found"),
    [("a, b", ("a", "b")), ('["a", "b"]', ("a", "b")), ("true", True), ("False", False), ("a", ("a",))],
)
def test_hashtags_from_the_environment_are_a_list_or_a_switch(monkeypatch, written, found):
    monkeypatch.setenv("FEEDER_TARGETS__C__KIND", "console")
    monkeypatch.setenv("FEEDER_TARGETS__C__HASHTAGS", written)

    assert load().targets["c"].hashtags == found


def test_an_empty_secret_is_none(monkeypatch, tmp_path):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "targets__fedi__token").write_text("\n")
    monkeypatch.setenv("FEEDER_TARGETS__FEDI__KIND", "mastodon")
    monkeypatch.setenv("FEEDER_TARGETS__FEDI__URL", "https://mastodon.example")

    with pytest.raises(SettingsError, match=r"targets__fedi__token: .*at least 1"):
        load(secrets=tmp_path / "secrets")


# --- feeds, topics, hubs ----------------------------------------------------------------------------------------------------


def test_feeds_topics_and_hubs_are_read_with_all_that_can_be_said_of_them(desk):
    desk.config(
        """
        limit = 20
        provider_feeds = true
        [feeds.top]
        title = "Top"
        topics = ["AI"]
        providers = ["The Daily", "weekly.example"]
        types = ["video"]
        min_quality = 5
        exclude = ["sponsored"]
        formats = ["json", "rss"]
        image = "https://x.example/a.png"
        [feeds.rest]
        title = "Rest"
        limit = 3
        [topics."Machine Learning"]
        slug = "ml"
        language = "de"
        aliases = ["ML"]
        """
    )
    desk.environment(WEBSUB__HUBS="https://hub.example/, https://other.example/hub")
    loaded = load()
    top, rest = loaded.feeds.configured

    assert loaded.site.hubs == ("https://hub.example/", "https://other.example/hub")
    assert (loaded.feeds.limit, loaded.feeds.providers) == (20, True)
    assert top.channel == Channel(
        name="top", title="Top", image="https://x.example/a.png", formats=("rss", "json"), limit=20
    )
    assert (top.topics, top.providers, top.types, top.min_quality, top.exclude) == (
        ("AI",),
        ("The Daily", "weekly.example"),
        ("video",),
        5,
        ("sponsored",),
    )
    assert rest.channel == Channel(name="rest", title="Rest", limit=3)
    assert loaded.feeds.topics == (TopicRules(label="Machine Learning", slug="ml", language="de", aliases=("ML",)),)


FEED = '[feeds.top]\ntitle = "Top"\n'


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        ("[feeds.top]\n", 1, "title: is missing"),
        (f"{FEED}titel = 1\n", 3, "titel: unknown key; did you mean title?"),
        (f'{FEED}formats = ["rss", "atm"]\n', 3, "formats: 'atm' is not one of rss, atom, json; did you mean atom?"),
        (f"{FEED}formats = []\n", 3, "formats: value should have at least 1 item after validation, not 0"),
        (f'{FEED}types = ["audio"]\n', 3, "types: 'audio' is not one of article, video"),
        (f'{FEED}min_quality = "high"\n', 3, "min_quality: 'high': input should be a valid integer"),
        (f"{FEED}limit = 0\n", 3, "limit: 0: input should be greater than or equal to 1"),
        (f'{FEED}image = "x.png"\n', 3, "image: 'x.png': "),
        (f'{FEED}language = "deutsch, bitte"\n', 3, "language: 'deutsch, bitte': string should match pattern"),
        (
            '[feeds.Top]\ntitle = "x"\n',
            1,
            "is no slug; a feed's name is made of lower-case letters, digits and single hyphens",
        ),
        ('[feeds.all]\ntitle = "x"\n', 1, "is a name that feeder uses itself; a feed's name"),
        ('[topics.AI]\nslug = "A I"\n', 2, "slug: 'A I': is no slug: lower-case letters"),
        ('[topics.AI]\nalias = ["x"]\n', 2, "alias: unknown key; did you mean aliases?"),
        (
            '[topics.AI]\naliases = ["ML"]\n[topics.ML]\n',
            3,
            "its slug, label or alias 'ml' belongs to the topic 'AI' already",
        ),
        (
            '[topics.AI]\nslug = "x"\n[topics.ML]\nslug = "x"\n',
            3,
            "its slug, label or alias 'x' belongs to the topic 'AI' already",
        ),
        ('[websub]\nhubs = ["hub.example"]\n', 2, "hubs: 'hub.example' "),
        ('[websub]\nhub = "https://hub.example"\n', 2, "hub: unknown key; did you mean hubs?"),
        ("feeds = 3\n", 1, "feeds: 3: input should be a valid dictionary"),
    ],
)
def test_what_is_wrong_with_a_feed_a_topic_or_a_hub_is_named_with_its_line(desk, content, line, reason):
    desk.config(content)

    (problem,) = problems()

    assert (problem.where, problem.line) == ("config/feeder.toml", line)
    assert reason in problem.reason


# --- the way out ------------------------------------------------------------------------------------------------------------


SITE_TARGET = f'[targets.site]\nkind = "webhook"\nsecret = "{SIGNING}"\n'


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (
            f'{SITE_TARGET}url = "http://x.example/"\n',
            4,
            "is http, so that anyone on the way can read it; use https, or set",
        ),
        (f'{SITE_TARGET}url = "https://x.example/"\nallow = ["intranet"]\n', 5, "'intranet' is no address or network"),
        (
            f'{SITE_TARGET}url = "https://x.example/"\nallow = ["10.0.0.1/8"]\n',
            5,
            "'10.0.0.1/8' is no address or network",
        ),
        (f'{SITE_TARGET}url = "https://x.example/"\nrate = "fast"\n', 5, "is no rate: a number, a slash and a time"),
        (f'{SITE_TARGET}url = "https://x.example/"\nmax_age = -1\n', 5, "should be greater than or equal to 0"),
        ('[websub]\nhubs = ["http://hub.example/"]\n', 2, "is http, so that anyone on the way can read it"),
        ('[websub]\nhubs = ["https://hub.example/"]\nallow = ["x"]\n', 3, "'x' is no address or network"),
    ],
)
def test_a_way_out_that_is_open_or_unclear_is_named(desk, content, line, reason):
    desk.config(content)

    (problem,) = problems()

    assert (problem.where, problem.line) == ("config/feeder.toml", line)
    assert reason in problem.reason
    assert SIGNING not in problem.reason


def test_an_intranet_may_be_allowed(desk):
    desk.config(f'{SITE_TARGET}url = "http://10.1.2.3/hook"\nallow = ["10.0.0.0/8", "fd00::/8"]\nallow_http = true\n')

    assert [str(each) for each in load().targets["site"].networks] == ["10.0.0.0/8", "fd00::/8"]


def test_the_way_out_may_be_set_in_the_environment(desk):
    desk.config(f'{SITE_TARGET}url = "https://x.example/hook"\n')
    desk.environment(TARGETS__SITE__ALLOW="10.0.0.0/8, 192.168.0.0/16", TARGETS__SITE__RATE="3/min")

    target = load().targets["site"]
    assert (target.allow, target.rate) == (("10.0.0.0/8", "192.168.0.0/16"), "3/min")


@pytest.mark.parametrize(
    ("written", "where"),
    [
        ('title = "a\\u0001b"', "title"),
        ('rights = "a\\u001bb"', "rights"),
        ('[feeds.top]\ntitle = "a\\u0000b"', "feeds.top.title"),
        ('[topics.AI]\ndescription = "a\\ufffeb"', "topics.AI.description"),
    ],
)
def test_no_setting_holds_what_no_document_can(tmp_path, written, where):
    config = tmp_path / "feeder.toml"
    config.write_text(written)

    with pytest.raises(SettingsError, match=rf"{where}: .*holds a control character"):
        load(config)


def test_toml_that_nests_without_end_is_no_toml(tmp_path):
    config = tmp_path / "feeder.toml"
    config.write_text(f"title = {'[' * 5_000}")

    with pytest.raises(SettingsError, match="not TOML: lists or tables nest too deep"):
        load(config)
