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
