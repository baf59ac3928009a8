"""Feed readers that people use, subscribed to a running worker: each entry once, corrections as corrections, 304 otherwise."""

from __future__ import annotations

import mailbox
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass, field
from email.header import decode_header, make_header
from pathlib import Path
from typing import Any, Protocol

import feedparser
import pytest
from reader import make_reader

from tests.fakes import LIMIT
from tests.worker import House, Worker

EXTENSIONS = ["rss", "atom", "json"]


@dataclass(kw_only=True)
class Poll:
    """What a client found when it asked."""

    new: list[str] = field(default_factory=list)  # titles
    modified: list[str] = field(default_factory=list)
    unchanged: bool = False  # it was told so: 304


class Client(Protocol):
    def poll(self) -> Poll: ...


class Feedparser:
    """feedparser with a memory, as a simple reader is built on it."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._seen = url, {}
        self._etag = self._modified = None

    def poll(self) -> Poll:
        found = feedparser.parse(self._url, etag=self._etag, modified=self._modified)
        if found.status == 304:
            return Poll(unchanged=True)
        self._etag, self._modified = found.get("etag"), found.get("modified")
        poll = Poll()
        for entry in found.entries:
            if entry.id not in self._seen:
                poll.new.append(entry.title)
            elif self._seen[entry.id] != entry.title:
                poll.modified.append(entry.title)
            self._seen[entry.id] = entry.title
        return poll


class Lemon:
    """`reader` by lemon24."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._reader = url, make_reader(str(folder / "reader.sqlite"))
        self._reader.add_feed(url)

    def poll(self) -> Poll:
        before = self._entries()
        updated = self._reader.update_feed(self._url)
        after = self._entries()
        if updated is None:
            assert before == after
            return Poll(unchanged=True)
        new = [title for key, title in after.items() if key not in before]
        modified = [title for key, title in after.items() if key in before and before[key] != title]
        assert (updated.new, updated.modified) == (len(new), len(modified))
        return Poll(new=new, modified=modified)

    def _entries(self) -> dict[str, str]:
        return {entry.id: entry.title for entry in self._reader.get_entries()}


def needed(program: str) -> str:
    found = shutil.which(program)
    assert found, f"this test needs {program}: apt-get install newsboat rss2email, or run .ci/run"
    return found


def run(command: list[str | Path], **environment: str) -> str:
    """What a program says."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT, check=True)
    return done.stdout + done.stderr


class Newsboat:
    """newsboat, the Debian package. It keeps corrections without a word, so nothing is ever told as modified."""

    def __init__(self, url: str, folder: Path) -> None:
        self._program, self._home = needed("newsboat"), folder
        (folder / "urls").write_text(url + "\n")
        (folder / "config").write_text("prepopulate-query-feeds no\n")

    def poll(self) -> Poll:
        before, log = self._items(), self._home / "log"
        log.unlink(missing_ok=True)
        files = ["-u", "urls", "-c", "cache.db", "-C", "config", "-d", "log"]
        places = [self._home / each if not each.startswith("-") else each for each in files]
        run([self._program, *places, "-l", "6", "-x", "reload"], HOME=str(self._home))
        after = self._items()
        # What it logs of a body that did not come is an empty line.
        empty = re.search(r"retrieved data for \S+: \n", log.read_text(errors="replace")) is not None
        new = [title for guid, title in after.items() if guid not in before]
        modified = [title for guid, title in after.items() if guid in before and before[guid] != title]
        return Poll(new=new, modified=modified, unchanged=empty)

    def _items(self) -> dict[str, str]:
        if not (self._home / "cache.db").exists():
            return {}
        with closing(sqlite3.connect(self._home / "cache.db")) as cache:
            return dict(cache.execute("SELECT guid, title FROM rss_item").fetchall())


class Rss2email:
    """rss2email, the Debian package, with a mailbox to write to. It ignores corrections."""

    def __init__(self, url: str, folder: Path) -> None:
        self._program, self._folder = needed("r2e"), folder
        self._seen: set[str] = set()
        self._files: list[str | Path] = ["-c", folder / "r2e.cfg", "-d", folder / "r2e.json"]
        self._environment = {"HOME": str(folder), "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}
        self._run("new", "reader@example.org")
        config = folder / "r2e.cfg"
        text = config.read_text().replace("email-protocol = sendmail", "email-protocol = maildir")
        config.write_text(text.replace("maildir-path = ~/Maildir", f"maildir-path = {folder / 'mail'}"))
        for each in ("cur", "new", "tmp"):
            (folder / "mail" / "INBOX" / each).mkdir(parents=True, exist_ok=True)
        self._run("add", "feed", url)

    def poll(self) -> Poll:
        said = self._run("-VVV", "run")
        box = mailbox.Maildir(self._folder / "mail" / "INBOX")
        new = {
            key: str(make_header(decode_header(mail["Subject"]))) for key, mail in box.items() if key not in self._seen
        }
        self._seen |= {*new}
        return Poll(new=[*new.values()], unchanged="304" in said)

    def _run(self, *words: str) -> str:
        return run([self._program, *self._files, *words], **self._environment)


CLIENTS = [
    *(pytest.param(Feedparser, each, id=f"feedparser-{each}") for each in ("rss", "atom")),
    *(pytest.param(Lemon, each, id=f"reader-{each}") for each in EXTENSIONS),
    *(pytest.param(Newsboat, each, id=f"newsboat-{each}", marks=pytest.mark.system) for each in ("rss", "atom")),
    *(pytest.param(Rss2email, each, id=f"rss2email-{each}", marks=pytest.mark.system) for each in ("rss", "atom")),
]


@pytest.fixture
def worker(tmp_path):
    with House(tmp_path / "house").worker() as worker:
        worker.wait_for("pass.done")
        yield worker


@pytest.fixture
def house(worker: Worker) -> House:
    return worker.house


def settled(client: Client) -> bool:
    """Whether the client is told that nothing changed, by the third time that it asks: newsboat needs that many."""
    polls = [client.poll() for _ in range(3)]
    assert [each for poll in polls for each in [*poll.new, *poll.modified]] == []
    return polls[-1].unchanged


@pytest.fixture(autouse=True)
def _folders(tmp_path):
    (tmp_path / "house").mkdir()
    (tmp_path / "client").mkdir()


@pytest.mark.parametrize(("kind", "extension"), CLIENTS)
def test_a_reader_sees_each_entry_once_and_a_correction_as_one(kind: Any, extension, worker, house, tmp_path):
    client: Client = kind(f"{worker.url}/feeds/ai.{extension}", tmp_path / "client")

    assert len(client.poll().new) == 5
    assert settled(client)

    house.write_article("sixth", "The sixth article")
    worker.wait_for("pass.done")
    assert client.poll().new == ["The sixth article"]
    assert settled(client)

    for path in house.seeds.glob("*.md"):
        path.write_text(path.read_text().replace("heat: ", "heat: 1").replace('secured: "', 'secured: "x'))
    worker.wait_for("pass.done")
    assert settled(client)

    house.write_article("sixth", "The sixth article, corrected")
    worker.wait_for("pass.done")
    poll = client.poll()
    assert poll.new == []
    assert poll.modified == ([] if kind is Rss2email else ["The sixth article, corrected"])
    assert settled(client)


@pytest.mark.parametrize(("kind", "extension"), CLIENTS)
def test_a_reader_misses_nothing_of_what_changes_within_a_second(kind: Any, extension, worker, house, tmp_path):
    client: Client = kind(f"{worker.url}/feeds/ai.{extension}", tmp_path / "client")
    client.poll()

    for number in range(4):
        house.write_article(f"quick-{number}", f"Quick {number}")
        worker.wait_for("pass.done")
        assert client.poll().new == [f"Quick {number}"]
