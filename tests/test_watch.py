"""Events of a real folder."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from structlog.testing import capture_logs

from feeder import watch


def first_change(root, act, own=()):
    """What the watch yields first after `act`."""

    async def look():
        stop, standing = asyncio.Event(), asyncio.Event()
        changes = watch.changes(root.resolve(), stop, own, standing.set)
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.wait_for(standing.wait(), 60)
        await asyncio.to_thread(act)
        found = await asyncio.wait_for(waiting, 60)
        stop.set()
        await changes.aclose()
        return found

    return asyncio.run(look())


def test_a_new_file_is_named(tmp_path):
    assert first_change(tmp_path, lambda: (tmp_path / "a.md").write_text("x")) == {"a.md"}


def test_a_file_that_is_moved_is_named_twice(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.md").write_text("x")

    assert first_change(tmp_path, lambda: (tmp_path / "a.md").rename(tmp_path / "deep" / "b.txt")) == {
        "a.md",
        "deep/b.txt",
    }


def test_a_file_that_is_removed_is_named(tmp_path):
    (tmp_path / "a.md").write_text("x")

    assert first_change(tmp_path, (tmp_path / "a.md").unlink) == {"a.md"}


def test_a_folder_that_comes_is_named(tmp_path):
    root = tmp_path / "articles"
    root.mkdir()
    (tmp_path / "august").mkdir()

    assert first_change(root, lambda: (tmp_path / "august").rename(root / "august")) == {"august"}


def test_a_folder_that_goes_is_named(tmp_path):
    root = tmp_path / "articles"
    (root / "august").mkdir(parents=True)

    assert first_change(root, lambda: (root / "august").rename(tmp_path / "august")) == {"august"}


@pytest.mark.parametrize("name", [".a.md.swp", ".#a.md", ".git/a.md"])
def test_what_is_hidden_is_passed_over(tmp_path, name):
    (tmp_path / ".git").mkdir()

    def act():
        (tmp_path / name).write_text("x")
        (tmp_path / "b.md").write_text("x")

    assert first_change(tmp_path, act) == {"b.md"}


@pytest.mark.parametrize("name", ["photo.jpg", "a.html", "b.md.part", "notes.md~"])
def test_files_that_are_no_articles_are_passed_over(tmp_path, name):
    def act():
        (tmp_path / name).write_text("x")
        (tmp_path / "b.md").write_text("x")

    assert first_change(tmp_path, act) == {"b.md"}


def test_what_feeder_writes_itself_wakes_nobody(tmp_path):
    (tmp_path / "public/feeds").mkdir(parents=True)
    (tmp_path / "var").mkdir()
    own = watch.own_files(tmp_path / "public", tmp_path / "var/feeder.db")

    def act():
        (tmp_path / "public/feeds/deep").mkdir()
        (tmp_path / "public/feeds/notes.txt").write_text("x")
        for ending in ("", "-wal", "-shm", "-journal", ".lock"):
            path = tmp_path / f"var/feeder.db{ending}"
            path.write_text("x")
            path.unlink()
        (tmp_path / "b.md").write_text("x")

    assert first_change(tmp_path, act, own) == {"b.md"}


def test_a_folder_that_cannot_be_watched_is_an_error(tmp_path):
    async def look():
        await anext(watch.Watcher(lambda: None).changes(tmp_path / "none", asyncio.Event(), ()))

    with pytest.raises(FileNotFoundError, match="No such file"):
        asyncio.run(look())


@pytest.mark.system  # user namespaces have limits of their own
def test_a_folder_for_which_no_watch_is_left_is_an_error(tmp_path):
    for number in range(20):
        (tmp_path / f"d{number}").mkdir()
    program = (
        "import asyncio, sys; from pathlib import Path; from feeder import watch;"
        "asyncio.run(asyncio.wait_for(anext(watch.changes(Path(sys.argv[1]), asyncio.Event())), 60))"
    )
    limited = f"echo 5 > /proc/sys/user/max_inotify_watches && exec {sys.executable} -c '{program}' {tmp_path}"

    done = subprocess.run(["unshare", "-Ur", "sh", "-c", limited], capture_output=True, text=True, check=False)

    assert "OS file watch limit reached" in done.stderr


def test_the_identity_of_a_folder_is_that_of_what_it_leads_to(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    link = tmp_path / "link"
    link.symlink_to("a")

    assert watch.identity(link) == watch.identity(tmp_path / "a")
    assert watch.identity(link) != watch.identity(tmp_path / "b")
    assert watch.identity(tmp_path / "none") is None


# --- whether a watch hears what it should -------------------------------------------------------------------------------


class Heard:
    """A watcher on a real folder, and whether it was ended for another."""

    def __init__(self, root):
        self.root, self.whole, self.asked = root, 0, asyncio.Event()
        self.watcher = watch.Watcher(self.want_all)

    def want_all(self):
        self.whole += 1
        self.asked.set()

    async def standing(self):
        """A watch that stands: the event that ends it, and the coming change."""
        end = asyncio.Event()
        self.asked.clear()
        waiting = asyncio.ensure_future(anext(self.watcher.changes(self.root, end, ())))
        await asyncio.wait_for(self.asked.wait(), 60)
        return end, waiting

    def passes(self, *settled, told=frozenset()):
        """A pass over the whole folder finds these files changed."""
        self.watcher.compare(watch.identity(self.root), settled, told | self.watcher.take())


@pytest.mark.parametrize(
    ("settled", "told", "ended"),
    [
        ((), (), False),
        (("deep/a.md",), ("deep/a.md",), False),
        (("deep/a.md",), ("deep",), False),
        (("a.md",), (), True),
    ],
)
def test_a_watch_that_misses_a_file_is_ended(tmp_path, settled, told, ended):
    async def look():
        heard = Heard(tmp_path)
        end, waiting = await heard.standing()
        heard.passes("before.md")  # the first pass after it stands finds what is older
        heard.passes(*settled, told=frozenset(told))
        assert end.is_set() is ended
        end.set()
        await asyncio.wait([waiting])

    asyncio.run(look())


def test_a_watch_of_a_folder_that_was_replaced_is_ended_and_the_next_asks_for_a_pass(tmp_path):
    source = tmp_path / "source"
    source.mkdir()

    async def look():
        heard = Heard(source)
        end, waiting = await heard.standing()
        heard.passes()
        assert not end.is_set()
        source.rename(tmp_path / "old")
        source.mkdir()
        heard.passes()
        assert end.is_set()
        await asyncio.wait([waiting])
        end, waiting = await heard.standing()
        assert heard.whole == 2
        end.set()
        await asyncio.wait([waiting])

    asyncio.run(look())


def test_a_watch_that_failed_is_tried_again_after_each_pass_and_said_once(tmp_path):
    heard = Heard(tmp_path)
    with capture_logs() as logs:
        for reason in ("no more", "no more", "gone", "gone"):
            heard.watcher.failed(OSError(reason))

    assert [each["reason"] for each in logs] == ["no more", "gone"]
    assert heard.whole == 1  # a start does not wait for a watch


@pytest.mark.parametrize("name", [b"\xff", b"\xff.md", b".\xff.swp"])
def test_a_name_that_is_not_utf8_ends_the_watch_and_has_everything_looked_through(tmp_path, name):
    with pytest.raises(watch.WatchBroken, match="decode"):
        first_change(tmp_path, lambda: open(bytes(tmp_path) + b"/" + name, "w").close())

    heard = Heard(tmp_path)
    with capture_logs() as logs:
        for whole in (1, 2, 3):
            heard.watcher.failed(watch.WatchBroken("Unable to decode"))
            assert heard.whole == whole
    assert [each["event"] for each in logs] == ["watch.unavailable"]
