"""A running worker whose folders vanish, are replaced, emptied, remounted and deleted."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import feedparser

from tests import fakes
from tests.worker import House, Worker

INTERVAL = 2  # seconds between two passes


@dataclass(kw_only=True)
class Found:
    """What was counted after each round."""

    faults: list[str] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)  # fault and round
    doubled: list[str] = field(default_factory=list)  # titles
    missing: list[str] = field(default_factory=list)  # titles of new articles that no target was told
    delays: list[float] = field(default_factory=list)  # seconds from a new file to the receiver
    errors: list[str] = field(default_factory=list)  # what a process said that is no event


class Street:
    """The folders of one worker: what is under `seeds`, and how it goes and comes back."""

    def __init__(self, house: House) -> None:
        self.house, self.seeds = house, house.seeds
        self._spare = house.folder / "spare"
        self._number = 0

    def vanish(self) -> Iterator[None]:
        """The folder is not there for a while."""
        self.seeds.rename(self._spare)
        yield
        self._spare.rename(self.seeds)

    def replace(self) -> Iterator[None]:
        """A release: a copy comes in the folder's place."""
        shutil.copytree(self.seeds, self._spare)
        old = self._old()
        self.seeds.rename(old)
        self._spare.rename(self.seeds)
        yield
        shutil.rmtree(old)

    def switch(self) -> Iterator[None]:
        """A release: the folder's link leads to a copy, and then to the next."""
        for _ in range(2):
            release = self._old()
            shutil.copytree(self.seeds, release)
            link = self.house.folder / "link"
            link.symlink_to(release)
            if not self.seeds.is_symlink():
                self.seeds.rename(self._old())
            link.replace(self.seeds)
            yield
        shutil.copytree(self.seeds, self._spare)
        self.seeds.unlink()
        self._spare.rename(self.seeds)

    def empty(self) -> Iterator[None]:
        """All files are deleted one by one, and written again."""
        shutil.copytree(self.seeds, self._spare)
        for path in self.seeds.iterdir():
            path.unlink()
        yield
        for path in self._spare.iterdir():
            shutil.copy2(path, self.seeds)
        shutil.rmtree(self._spare)

    def mount(self) -> Iterator[None]:
        """An empty file system is mounted over the folder, and taken away."""
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", self.seeds], check=True)
        yield
        subprocess.run(["umount", "-l", self.seeds], check=True)

    def unpublish(self) -> Iterator[None]:
        """The public folder is deleted."""
        shutil.rmtree(self.house.folder / "public")
        yield

    def _old(self) -> Path:
        self._number += 1
        return self.house.folder / f"release-{self._number}"


def run(folder: Path, *, rounds: int, articles: int = 40) -> Found:
    """Do everything to a worker's folders so many times, with a new article after each."""
    found = Found()
    with fakes.serving(fakes.SignedWebhook()) as receiver:
        house = House(
            folder,
            f'[targets.t]\nkind = "webhook"\nurl = "{receiver.url}/hook"\n{fakes.LOOPBACK_TOML}',
            FEEDER_TARGETS__T__SECRET=fakes.SignedWebhook.secret,
            FEEDER_INTERVAL=str(INTERVAL),
            FEEDER_LIMIT="1000",
        )
        for number in range(articles):
            house.write_article(f"old-{number}", f"Old {number}")
        house.feeder("once")
        street, expected = Street(house), articles + len(list(house.seeds.iterdir())) - articles
        acts: list[Callable[[], Iterator[None]]] = [
            street.vanish,
            street.replace,
            street.switch,
            street.empty,
            street.unpublish,
        ]
        if may_mount(folder):
            acts.append(street.mount)
        with house.worker() as worker:
            for number in range(rounds):
                for act in acts:
                    found.faults.append(act.__name__)
                    for _ in act():
                        settled(worker)
                        if len(titles(worker)) < expected:
                            found.withdrawn.append(f"{act.__name__} {number}")
                    title = f"New {len(found.faults)}"
                    began = time.monotonic()
                    house.write_article(f"new-{len(found.faults)}", title)
                    expected += 1
                    receiver.ledger.wait_for(len(found.faults))
                    found.delays.append(time.monotonic() - began)
                    settled(worker)
                    if len(titles(worker)) != expected or published(house) != titles(worker):
                        found.withdrawn.append(f"{act.__name__} {number}, afterwards")
            worker.stop()
            found.errors += worker.noise
    told = [message["data"]["title"] for message in receiver.ledger.taken]
    found.doubled += [title for title in told if told.count(title) > 1]
    found.missing += [title for title in map("New {}".format, range(1, len(found.faults) + 1)) if title not in told]
    found.delays.sort()
    return found


def settled(worker: Worker) -> None:
    """Let two passes over the folder go by."""
    threading.Event().wait(2.5 * INTERVAL)


def titles(worker: Worker) -> list[str]:
    """What the worker's feed of all articles holds."""
    return [entry.title for entry in feedparser.parse(worker.get("feeds/all.rss").content).entries]


def published(house: House) -> list[str]:
    """What stands in the public folder."""
    path = house.folder / "public/feeds/all.rss"
    return [entry.title for entry in feedparser.parse(path.read_bytes()).entries] if path.exists() else []


@contextmanager
def _mounted(folder: Path) -> Iterator[bool]:
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True, check=False)
    yield done.returncode == 0
    if done.returncode == 0:
        subprocess.run(["umount", folder], check=True)


def may_mount(folder: Path) -> bool:
    """Whether this user may mount file systems."""
    place = folder / "place"
    place.mkdir()
    if os.geteuid() != 0:
        return False
    with _mounted(place) as mounted:
        return mounted
