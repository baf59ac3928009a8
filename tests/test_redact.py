from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
