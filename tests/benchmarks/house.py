"""A folder of generated articles, with the settings of a feeder that publishes them."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from feeder.app import pipeline
from feeder.pipeline import Pipeline
from feeder.settings import load
from feeder.store import open_store
from tests.benchmarks import corpus
from tests.worker import environment

LIMIT = 3_600.0  # seconds that a command may take before it is given up

_SETTINGS = """\
source = "articles"
base_url = "https://bench.example"
include_unpublished = true
interval = 3600
limit = 50
"""


class House:
    """A folder to measure in."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder, self.number = folder, number
        self.articles = folder / "articles"
        self.public = folder / "public"
        self._chance = random.Random()
        self._landed = time.time_ns() // 1_000_000  # so that nothing that landed in an earlier run lands again
        folder.mkdir(parents=True, exist_ok=True)
        if not self.articles.exists():
            corpus.generate(self.articles, number)
        self.configure()

    def configure(self, targets: str = "") -> None:
        """Write the settings, with these targets."""
        (self.folder / "feeder.toml").write_text(_SETTINGS + targets)

    def forget(self) -> None:
        """As it was before the first pass."""
        shutil.rmtree(self.public, ignore_errors=True)
        shutil.rmtree(self.folder / "var", ignore_errors=True)

    def command(self, *arguments: str) -> list[str]:
        """A feeder command with these settings, for `self.folder` to run in."""
        return [sys.executable, "-m", "feeder", "--config", "feeder.toml", *arguments]

    def run(self, *arguments: str) -> str:
        """Run a command to its end; what it says."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
            timeout=LIMIT,
        ).stdout

    @contextmanager
    def process(self, *arguments: str, until: str) -> Iterator[str]:
        """A command that goes on; the line in which it says that `until` happened."""
        process = subprocess.Popen(
            self.command(*arguments), cwd=self.folder, env=environment(), stderr=subprocess.PIPE, text=True
        )
        try:
            line = next((line for line in process.stderr if until in line), None)
            if line is None:
                raise SystemExit(f"feeder {' '.join(arguments)} ended with {process.wait(LIMIT)}")
            threading.Thread(target=process.stderr.read, daemon=True).start()  # a full pipe would stop it
            yield line
        finally:
            process.terminate()
            process.wait(timeout=LIMIT)

    @contextmanager
    def worker(self) -> Iterator[None]:
        """A worker whose first pass is over. It says so of a pass that found something."""
        self.land(self.new()[0])
        with self.process("run", until="pass.done"):
            yield

    def pipeline(self) -> Pipeline:
        """The pass of these settings, in this process. Its store is for this process to end."""
        loaded = load(self.folder / "feeder.toml")
        settings = loaded.settings.model_copy(update={"source": self.articles, "public": self.public})
        store = open_store(f"sqlite:///{self.folder}/var/feeder.db")
        return pipeline(replace(loaded, settings=settings), store)

    def new(self) -> tuple[str, list[str]]:
        """The text of an article that has just come out, and the words that stand in each of its documents."""
        index = self.number + self._landed
        self._landed += 1
        text = corpus.article(index, self._chance, datetime.now(UTC))
        topics = [line.removeprefix("  - Topic ") for line in text.splitlines() if line.startswith("  - Topic ")]
        return text, [f"topic-{number}" for number in topics]

    def land(self, text: str) -> Path:
        """Put an article into the folder in one step."""
        part = self.folder / "part"
        part.write_text(text)
        return part.rename(self.articles / f"landed-{self._landed}.md")
