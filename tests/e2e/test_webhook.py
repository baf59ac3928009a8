"""What we sign, verified by another implementation: npm's standardwebhooks."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from feeder.targets.webhook import Webhook
from tests import fakes
from tests.articles import KEY, article, headline, requests_of
from tests.e2e import emulate

pytestmark = pytest.mark.e2e
TARGET = Webhook(kind="webhook", url="https://hooks.example/in", secret=fakes.SignedWebhook.secret)


def verify(headers: dict[str, str], payload: str, secret: str = fakes.SignedWebhook.secret) -> int:
    modules = Path(os.environ.get("E2E_NODE_MODULES", emulate.MODULES))
    command = [
        *emulate.node("standardwebhooks", "package.json")[:1],
        str(Path(__file__).with_name("verify.mjs")),
        str(modules),
    ]
    given = json.dumps({"secret": secret, "headers": headers, "payload": payload})
    return subprocess.run(
        command, input=given, capture_output=True, text=True, timeout=fakes.LIMIT, check=False
    ).returncode


@pytest.mark.parametrize("title", ["A quiet day", "Über „Größe“ 東京 🎉\u2028"])
def test_another_implementation_verifies_what_is_sent_and_refuses_what_was_changed(title):
    (request,) = requests_of(TARGET, headline(article=article(title=title)))
    TARGET.sign(request, datetime.now(UTC))
    headers, payload = dict(request.headers), request.content.decode()

    assert headers["webhook-id"] == f"msg_{KEY}"
    assert verify(headers, payload) == 0
    assert verify(headers, payload + " ") != 0
    assert verify({**headers, "webhook-id": "msg_other"}, payload) != 0
