"""Events of a real folder."""

from __future__ import annotations

import asyncio

import pytest

from feeder import watch


def first_change(root, act):
    """What the watch yields first after `act`."""

    async def look():
        stop = asyncio.Event()
        changes = watch.changes(root.resolve(), stop)
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)  # the watch stands when it first waits
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
