from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from feeder import logs
from feeder.redact import HIDDEN, redact

SECRETS = st.text("sk-TOKN0123456789/:.", min_size=8, max_size=20)


@pytest.mark.parametrize(
    ("text", "secrets", "shown"),
    [
        ("token abc123 refused", ["abc123"], f"token {HIDDEN} refused"),
        ("abc123 and abc123", ["abc123"], f"{HIDDEN} and {HIDDEN}"),
        ("abc123, xyz789", ["xyz789", "abc123"], f"{HIDDEN}, {HIDDEN}"),
        ("nothing to hide", ["abc123"], "nothing to hide"),
        ("nothing to hide", [], "nothing to hide"),
        ("ABC123", ["abc123"], "ABC123"),
        ("", ["abc123"], ""),
    ],
)
def test_every_secret_is_hidden_and_nothing_else(text, secrets, shown):
    assert shown == redact(text, secrets)


def test_an_empty_secret_hides_nothing():
    assert "as it is" == redact("as it is", ["", "abc123"])


@pytest.mark.parametrize("secrets", [["abc", "abc123"], ["abc123", "abc"]])
def test_a_secret_within_a_longer_one_leaves_no_rest_of_it(secrets):
    assert f"token {HIDDEN}" == redact("token abc123", secrets)


def test_a_secret_is_no_pattern():
    assert f"axb {HIDDEN}" == redact("axb a.b", ["a.b"])


def test_secrets_may_come_from_a_generator():
    assert f"{HIDDEN} {HIDDEN}" == redact("one two", (word for word in ("one", "two")))


@given(before=st.text(), secrets=st.lists(SECRETS, min_size=1, max_size=4), after=st.text())
def test_no_secret_is_left_whatever_stands_around_it(before, secrets, after):
    shown = redact(f"{before}{' '.join(secrets)}{after}", secrets)

    assert [] == [secret for secret in secrets if secret in shown]


TOKEN = "xoxb-12/34+secret token=é"


@pytest.mark.parametrize(
    "form",
    [
        TOKEN,
        quote(TOKEN),
        quote(TOKEN, safe=""),
        quote_plus(TOKEN),
        json.dumps(TOKEN)[1:-1],
        base64.b64encode(TOKEN.encode()).decode().rstrip("=")[:-1],
        base64.urlsafe_b64encode(TOKEN.encode()).decode().rstrip("=")[:-1],
    ],
)
def test_a_secret_is_hidden_in_the_forms_that_programs_give_it(form):
    shown = redact(f"failed: <{form}>!", [TOKEN])

    assert shown.startswith(f"failed: <{HIDDEN}")
    assert "secret" not in shown.replace(HIDDEN, "")


@given(before=st.binary(max_size=8), after=st.binary(max_size=8))
def test_a_secret_is_hidden_wherever_in_a_base64_text_it_stands(before, after):
    encoded = base64.b64encode(before + TOKEN.encode() + after).decode()
    left = redact(encoded, [TOKEN]).replace(HIDDEN, "")

    assert len(left) <= len(base64.b64encode(before + after)) + 8


HOOK = "https://hooks.slack.com/services/T0/B0/kept-quiet?key=also-quiet"


@pytest.mark.parametrize(
    "part", [HOOK, "/services/T0/B0/kept-quiet", "key=also-quiet", "/services/T0/B0/kept-quiet?key=also-quiet"]
)
def test_the_part_of_a_secret_address_that_opens_the_door_is_hidden_without_the_rest(part):
    assert redact(f"GET {part} failed", [HOOK]) == f"GET {HIDDEN} failed"


def test_the_host_of_a_secret_address_is_no_secret():
    assert redact("cannot reach hooks.slack.com", [HOOK]) == "cannot reach hooks.slack.com"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_secret_reaches_the_log_in_a_field_a_list_an_object_or_a_traceback(log_format):
    stream = io.StringIO()
    logs.configure(log_format, stream, secrets=[TOKEN])

    class Told:
        def __str__(self) -> str:
            return f"told {TOKEN}"

    log = structlog.get_logger()
    log.warning("an.event", plain=TOKEN, listed=[TOKEN], nested={"a": TOKEN}, thing=Told(), path=Path(TOKEN), number=3)
    try:
        raise ValueError(TOKEN)
    except ValueError:
        log.exception("failed")
    logs.configure()

    assert HIDDEN in stream.getvalue()
    assert "secret token" not in stream.getvalue()
    assert "an.event" in stream.getvalue()


@pytest.mark.parametrize("length", range(4, 21))
def test_what_is_left_of_a_secret_where_a_text_was_shortened_is_hidden(length):
    secret = "TOKENsekretABCDEFGH1"

    assert redact(f"422 you sent {secret[:length]}…", ["else-where", secret]) == "422 you sent [secret]…"


def test_a_text_that_was_shortened_elsewhere_stays():
    assert redact("422 you sent TOK…", ["TOKENsekret"]) == "422 you sent TOK…"
    assert redact("422 you sent TOKEN", ["TOKENsekret"]) == "422 you sent TOKEN"
