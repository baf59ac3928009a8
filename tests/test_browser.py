"""The pages in a real browser."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from lxml import etree

from tests.fakes import LIMIT
from tests.worker import House

pytestmark = pytest.mark.system

CHROMIUM = [
    "chromium",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]


def test_a_browser_shows_the_latest_headlines_and_finds_the_feeds(tmp_path):
    assert shutil.which("chromium"), "this test needs Chromium: apt-get install chromium, or run .ci/run"
    with House(tmp_path).worker() as worker:
        worker.wait_for("pass.done")
        done = subprocess.run(
            [*CHROMIUM, f"--user-data-dir={tmp_path}/browser", "--dump-dom", f"{worker.url}/"],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=True,
        )

    page = etree.HTML(done.stdout)
    assert page.xpath("//h2/text()") == ["Latest", "AI", "AI Ethics", "Machine Learning"]
    assert len(page.xpath("//section[1]//li/a")) == 5
    assert len(page.xpath("//link[@rel='alternate']")) == 12
