from __future__ import annotations

import gzip
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from feeder.errors import FolderError
from feeder.feeds import publish

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def put(root: Path, path: str, body: bytes, modified: datetime = NOON) -> None:
    publish.write(root, [publish.File(path=path, body=body, packed=publish.packed(body), modified=modified)])


def test_a_document_is_written_with_its_folders_and_nothing_half_remains(tmp_path):
    put(tmp_path, "feeds/ai.rss", b"one")
    put(tmp_path, "feeds/ai.rss", b"two")

    assert (tmp_path / "feeds/ai.rss").read_bytes() == b"two"
    assert sorted(os.listdir(tmp_path / "feeds")) == ["ai.rss", "ai.rss.gz"]
    assert gzip.decompress((tmp_path / "feeds/ai.rss.gz").read_bytes()) == b"two"


def test_a_reader_that_holds_a_document_open_keeps_the_whole_old_one(tmp_path):
    put(tmp_path, "ai.rss", b"one" * 1000)

    with (tmp_path / "ai.rss").open("rb") as file:
        put(tmp_path, "ai.rss", b"two")
        assert file.read() == b"one" * 1000


def test_removing_what_is_gone_is_as_good(tmp_path):
    put(tmp_path, "ai.rss", b"one")

    publish.remove(tmp_path, ["ai.rss", "none.rss"])

    assert os.listdir(tmp_path) == []


def test_folders_that_are_empty_go_with_what_stood_in_them(tmp_path):
    put(tmp_path, "topics/ai/archive/1/index.html", b"one")
    put(tmp_path, "topics/ai/index.html", b"two")

    publish.remove(tmp_path, ["topics/ai/archive/1/index.html"])
    assert sorted(os.listdir(tmp_path / "topics/ai")) == ["index.html", "index.html.gz"]

    publish.remove(tmp_path, ["topics/ai/index.html"])
    assert os.listdir(tmp_path) == []


def test_a_document_has_its_time(tmp_path):
    put(tmp_path, "feeds/ai.rss", b"one")

    assert [int(path.stat().st_mtime) for path in (tmp_path / "feeds").iterdir()] == [int(NOON.timestamp())] * 2


def test_a_missing_or_other_file_is_not_there(tmp_path):
    def is_there(path: str, modified: datetime = NOON) -> bool:
        return publish.is_there(publish.sweep(tmp_path), path, int(modified.timestamp()))

    put(tmp_path, "feeds/ai.rss", b"one")

    assert is_there("feeds/ai.rss")
    assert not is_there("feeds/none.rss")
    assert not is_there("feeds/ai.rss", NOON + timedelta(seconds=1))
    (tmp_path / "feeds/ai.rss").write_bytes(b"mine")
    assert not is_there("feeds/ai.rss")
    put(tmp_path, "feeds/ai.rss", b"one")
    (tmp_path / "feeds/ai.rss.gz").unlink()
    assert not is_there("feeds/ai.rss")


def test_nothing_is_there_without_the_folder(tmp_path):
    assert publish.sweep(tmp_path / "none") == {}


def test_sweeping_removes_what_a_crash_left_and_nothing_else(tmp_path):
    put(tmp_path, "feeds/ai.rss", b"one")
    (tmp_path / "feeds/.ai.rss.part").write_bytes(b"o")
    (tmp_path / "feeds/.htaccess").write_bytes(b"mine")

    publish.sweep(tmp_path)

    assert sorted(os.listdir(tmp_path / "feeds")) == [".htaccess", "ai.rss", "ai.rss.gz"]


def test_a_folder_that_cannot_be_written_to_is_named_with_its_setting(tmp_path):
    (tmp_path / "file").write_text("")
    public = tmp_path / "file" / "public"

    with pytest.raises(
        FolderError, match=re.escape(f"{tmp_path}/file: is no folder, so documents cannot be written to {public}")
    ):
        publish.check(public)
    with pytest.raises(FolderError, match=r"cannot be written: Not a directory \(setting: public\)"):
        put(public, "ai.rss", b"one")


def test_looking_whether_a_folder_can_be_written_to_makes_nothing(tmp_path):
    publish.check(tmp_path / "not" / "yet")

    assert os.listdir(tmp_path) == []


# --- whose folder it is -------------------------------------------------------------------------------------------------


def test_a_folder_that_is_made_or_empty_is_marked(tmp_path):
    for name in ("new/deep", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        (tmp_path / "empty/.gitkeep").touch()
        (tmp_path / "empty/lost+found").mkdir(exist_ok=True)

        publish.take(tmp_path / name, (), None)

        assert publish.is_whole(tmp_path / name, ())


@pytest.mark.parametrize(
    ("theirs", "ours", "index"),
    [
        ("index.html", (), None),
        ("robots.txt", ("index.html", "feeds"), b"mine"),
        ("index.html", ("index.html", "feeds"), b"another page"),
    ],
)
def test_a_folder_with_what_feeder_did_not_make_is_refused_until_it_is_handed_over(tmp_path, theirs, ours, index):
    (tmp_path / theirs).write_bytes(b"theirs")

    with pytest.raises(FolderError, match=rf"holds {theirs}, which feeder did not make; .*{tmp_path}/\.feeder"):
        publish.take(tmp_path, ours, index)

    assert os.listdir(tmp_path) == [theirs]


def test_a_folder_of_an_earlier_feeder_is_marked(tmp_path):
    put(tmp_path, "index.html", b"mine")
    put(tmp_path, "feeds/ai.rss", b"one")

    publish.take(tmp_path, {"index.html", "feeds"}, b"mine")

    assert publish.is_whole(tmp_path, ["feeds", "index.html"])
    assert not publish.is_whole(tmp_path, ["topics"])


@pytest.mark.parametrize("at", [".ai.rss.part", ".ai.rss.gz.part"])
def test_a_link_that_somebody_laid_where_a_document_is_written_leads_nowhere(tmp_path, at):
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / at).symlink_to(victim)

    put(tmp_path / "public", "ai.rss", b"one")

    assert victim.read_bytes() == b"untouched"
    assert (tmp_path / "public/ai.rss").read_bytes() == b"one"
    assert not (tmp_path / "public/ai.rss").is_symlink()
