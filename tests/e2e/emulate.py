"""Slack as others have written it down: `emulate` (https://www.npmjs.com/package/emulate), on loopback."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests import fakes

MODULES = Path(__file__).parents[2] / ".e2e" / "node_modules"
TOKEN = "xoxb-local-test"
_SEED = f"""\
slack:
  team: {{name: News, domain: news}}
  users: [{{name: editor, real_name: Editor, email: editor@example.com}}]
  channels: [{{name: headlines}}]
  bots: [{{name: feeder}}]
  incoming_webhooks: [{{channel: headlines}}]
  strict_scopes: true
  tokens:
    - token: {TOKEN}
      user: editor
      scopes: [chat:write, channels:read, channels:history]
    - token: {TOKEN}-blind
      user: editor
      scopes: [chat:write]
"""


def node(*script: str) -> list[str]:
    """A command that runs a script of a package. AssertionError where it is not there: `make e2e` gets it."""
    path = Path(os.environ.get("E2E_NODE_MODULES", MODULES)).joinpath(*script)
    program = shutil.which("node")
    assert program, "node is not there; install Node.js"
    assert path.exists(), f"{path} is not there; make e2e gets it"
    return [program, str(path)]


class Slack:
    """A workspace with one channel, an incoming webhook and a bot."""

    def __init__(self, url: str) -> None:
        self.url = url
        found = re.findall(r"/services/\w+/\w+/\w+", httpx.get(f"{url}/?tab=auth", timeout=fakes.LIMIT).text)
        assert found, "no incoming webhook"
        self.webhook = url + found[-1]  # the seed's; the first is that of its own general channel
        channels = self.call("conversations.list")["channels"]
        self.channel = next(each["id"] for each in channels if each["name"] == "headlines")

    def call(self, method: str, **form: str) -> dict[str, Any]:
        """A method of the Web API, as the bot."""
        headers = {"authorization": f"Bearer {TOKEN}"}
        answer = httpx.post(f"{self.url}/api/{method}", data=form, headers=headers, timeout=fakes.LIMIT).json()
        assert answer["ok"], answer
        return answer

    def messages(self) -> list[dict[str, Any]]:
        """What is in the channel, oldest first."""
        asked = {"channel": self.channel, "limit": "200", "include_all_metadata": "true"}
        return self.call("conversations.history", **asked)["messages"][::-1]


@contextmanager
def slack(folder: Path) -> Iterator[Slack]:
    """A server that listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    seed = folder / "slack.yaml"
    seed.write_text(_SEED)
    command = [
        *node("emulate", "dist", "index.js"),
        "start",
        "--service",
        "slack",
        "--port",
        str(port),
        "--seed",
        str(seed),
    ]
    with (folder / "emulate.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until = time.monotonic() + fakes.LIMIT
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/", timeout=fakes.LIMIT)
                break
            except httpx.ConnectError:
                assert process.poll() is None, (folder / "emulate.log").read_text()
                assert time.monotonic() < until, "emulate does not answer"
                time.sleep(0.05)
        yield Slack(f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()
