from __future__ import annotations

import os
import shutil
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from feeder.articles.files import Files
from feeder.articles.scan import Changes, Stamp, compare, compare_some, is_article
from feeder.errors import ArticleError, FolderError, Problem

LIMIT = 1_000_000
PATIENCE = 60.0  # seconds until a read that hangs is given up
SECOND = 1_000_000_000
OLD = Stamp(1, 1, 1)  # of no file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "articles"
    folder.mkdir()
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder with an article, beside that of the articles."""
    folder = tmp_path / "outside"
    write(folder, "secret.md", "not to be read")
    return folder


def write(root: Path, path: str, content: str = "content") -> Path:
    full = root / path
    full.parent.mkdir(parents=True, exist_ok=True)
    full.write_text(content)
    return full


def read(root: Path, path: str, limit: int = LIMIT) -> bytes:
    with Files(root, limit) as files:
        return files.read(path)


def known(root: Path) -> dict[str, Stamp]:
    """The folder as a pass has left it."""
    return dict(compare(root, {}).changed)


def refused(root: Path, path: str, limit: int = LIMIT) -> Problem:
    """What is said of a file that cannot be read as an article."""
    with pytest.raises(ArticleError) as caught:
        read(root, path, limit)
    return caught.value.problem


# --- New, changed, gone -------------------------------------------------------------------------------------------------


def test_files_with_an_articles_suffix_are_found_in_all_folders(root):
    for path in ("a.md", "b.markdown", "c.txt", "D.MD", "2026/e.md", "2026/01/f.md", "folder.md/g.md"):
        write(root, path)
    for path in ("a.html", "md", "b.md.bak", "c.md~", "2026/image.jpg"):
        write(root, path)

    changes = compare(root, {})

    assert {"a.md", "b.markdown", "c.txt", "D.MD", "2026/e.md", "2026/01/f.md", "folder.md/g.md"} == set(
        changes.changed
    )
    assert (frozenset(), ()) == (changes.gone, changes.problems)


def test_files_come_in_the_order_of_their_names(root):
    names = [f"{number:03}.md" for number in range(100)]
    for name in reversed(names):
        write(root, name)

    assert names == list(compare(root, {}).changed)


def test_hidden_files_and_what_is_in_hidden_folders_are_no_articles(root):
    for path in (".a.md", ".git/b.md", "2026/.drafts/c.md", "d.md"):
        write(root, path)

    assert ["d.md"] == list(compare(root, {}).changed)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.md", True),
        ("A.MD", True),
        ("a.markdown", True),
        ("x/y/a.txt", True),
        ("a.md/b.md", True),
        ("a.html", False),
        ("a.md~", False),
        ("md", False),
        ("a.md/b", False),
        (".a.md", False),
        (".git/a.md", False),
        ("x/.drafts/a.md", False),
    ],
)
def test_a_name_tells_whether_a_file_is_taken_for_an_article(path, expected):
    assert expected == is_article(path)


def test_a_files_stamp_is_its_size_and_its_times(root):
    about = write(root, "a.md", "five!").stat()

    assert {"a.md": Stamp(5, about.st_mtime_ns, about.st_ctime_ns)} == compare(root, {}).changed


def test_an_empty_folder_holds_nothing_and_lacks_nothing(root):
    assert Changes(changed={}, gone=frozenset()) == compare(root, {})


def test_what_is_known_has_not_changed(root):
    write(root, "a.md")
    write(root, "2026/b.md")

    assert Changes(changed={}, gone=frozenset()) == compare(root, known(root))


@pytest.mark.parametrize("differs", ["size", "mtime_ns", "ctime_ns"])
def test_a_file_has_changed_when_any_part_of_its_stamp_has(root, differs):
    write(root, "a.md")
    write(root, "b.md")
    now = known(root)
    before = {**now, "a.md": now["a.md"]._replace(**{differs: 0})}

    assert Changes(changed={"a.md": now["a.md"]}, gone=frozenset()) == compare(root, before)


def test_a_new_file_is_told_from_those_that_are_known(root):
    write(root, "a.md")
    before = known(root)
    write(root, "b.md")

    assert ["b.md"] == list(compare(root, before).changed)


def test_a_file_that_was_removed_is_gone(root):
    write(root, "a.md")
    removed = write(root, "2026/b.md")
    before = known(root)
    removed.unlink()

    assert Changes(changed={}, gone=frozenset({"2026/b.md"})) == compare(root, before)


def test_a_file_that_was_moved_is_new_in_one_place_and_gone_from_the_other(root):
    moved = write(root, "a.md")
    before = known(root)
    (root / "2026").mkdir()
    moved.rename(root / "2026" / "a.md")

    changes = compare(root, before)

    assert (["2026/a.md"], {"a.md"}) == (list(changes.changed), changes.gone)


def test_a_file_that_was_hidden_is_gone(root):
    hidden = write(root, "a.md")
    before = known(root)
    hidden.rename(root / ".a.md")

    assert Changes(changed={}, gone=frozenset({"a.md"})) == compare(root, before)


# --- Folders that cannot be read ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing", "No such file or directory"),
        ("file", "Not a directory"),
        ("file/below", "Not a directory"),
        ("link to nothing", "No such file or directory"),
    ],
)
def test_a_folder_that_cannot_be_read_is_an_error_and_nothing_is_gone(tmp_path, path, reason):
    write(tmp_path, "file")
    (tmp_path / "link to nothing").symlink_to("nothing")
    folder = tmp_path / path

    with pytest.raises(FolderError) as caught:
        compare(folder, {"a.md": OLD})

    assert f"{folder}: the folder of articles cannot be read: {reason} (setting: source)" == str(caught.value)


_PATH_MAX = os.pathconf("/", "PC_PATH_MAX")  # bytes, with the one at its end


@pytest.fixture
def too_deep(root: Path) -> Iterator[str]:
    """A folder whose path is longer than the system takes: nobody, root neither, can list it."""
    name = "n" * 250
    levels = (_PATH_MAX - len(str(root)) - 2) // len(f"/{name}") + 1  # the folder that it is in can be listed
    here = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    yield "/".join([name] * levels)
    shutil.rmtree(root)


def test_what_is_in_a_folder_that_cannot_be_read_is_not_gone_and_the_rest_is_looked_at(root, too_deep):
    write(root, "new.md")

    changes = compare(root, {f"{too_deep}/a.md": OLD, f"{too_deep}-b.md": OLD, "z.md": OLD})

    assert ["new.md"] == list(changes.changed)
    assert {f"{too_deep}-b.md", "z.md"} == changes.gone
    assert too_deep.startswith(changes.problems[0].where.rstrip("/"))
    assert ["the folder cannot be read: File name too long"] == [problem.reason for problem in changes.problems]


def test_a_name_that_is_not_utf_8_is_told_and_the_rest_is_looked_at(root):
    write(root, "a.md")
    (root / os.fsdecode(b"caf\xe9.md")).write_text("content")
    (root / os.fsdecode(b"\xff")).mkdir()
    (root / os.fsdecode(b"\xff/b.md")).write_text("content")

    changes = compare(root, {})

    assert ["a.md"] == list(changes.changed)
    assert (
        Problem(where=r"'caf\udce9.md'", reason="the file's name is not UTF-8; rename it"),
        Problem(where=r"'\udcff'", reason="the file's name is not UTF-8; rename it"),
    ) == changes.problems


def test_a_name_may_be_any_utf_8(root):
    write(root, "人 🎉.md")

    assert ["人 🎉.md"] == list(compare(root, {}).changed)
    assert b"content" == read(root, "人 🎉.md", LIMIT)


# --- Some files only ------------------------------------------------------------------------------------------------------


def test_only_the_files_that_are_named_are_looked_at(root):
    for path in ("new.md", "changed.md", "same.md", "other.md"):
        write(root, path)
    before = {"changed.md": OLD, "same.md": known(root)["same.md"], "gone.md": OLD, "other.md": OLD}

    changes = compare_some(root, before, ["new.md", "changed.md", "same.md", "gone.md", "never.md"])

    assert ({"new.md", "changed.md"}, {"gone.md"}) == (set(changes.changed), changes.gone)
    assert {path: known(root)[path] for path in changes.changed} == changes.changed


def test_all_that_is_in_a_folder_that_is_named_is_looked_at(root):
    for path in ("2026/01/new.md", "2026/same.md", "2027/other.md"):
        write(root, path)
    before = {"2026/same.md": known(root)["2026/same.md"], "2026/01/gone.md": OLD}

    changes = compare_some(root, before, ["2026"])

    assert (["2026/01/new.md"], {"2026/01/gone.md"}) == (list(changes.changed), changes.gone)


def test_what_was_in_a_folder_that_is_no_more_is_gone(root):
    changes = compare_some(root, {"2026/a.md": OLD, "2026/01/b.md": OLD, "2026-c.md": OLD}, ["2026"])

    assert Changes(changed={}, gone=frozenset({"2026/a.md", "2026/01/b.md"})) == changes


def test_what_is_no_article_or_hidden_is_not_looked_at_when_it_is_named(root):
    paths = ["image.jpg", ".a.md", ".git/b.md", "2026/.c.md"]
    for path in paths:
        write(root, path)

    assert Changes(changed={}, gone=frozenset()) == compare_some(root, {}, paths)


# --- Stamps ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "settled"),
    [
        (-SECOND, False),
        (0, False),
        (2 * SECOND, False),
        (2 * SECOND + 1, True),
        (3600 * SECOND, True),
    ],
)
def test_a_stamp_counts_once_the_file_has_rested(age, settled):
    changed = 1_800_000_000 * SECOND
    stamp = Stamp(5, 0, changed)

    assert settled == (stamp == stamp.settled(changed + age))


def test_a_time_that_somebody_has_set_does_not_make_a_file_old(root):
    os.utime(write(root, "a.md"), ns=(0, 0))
    (stamp,) = known(root).values()

    assert stamp != stamp.settled(stamp.ctime_ns)


def test_a_file_that_was_too_young_is_looked_at_again(root):
    write(root, "a.md")
    stamp = known(root)["a.md"]

    assert ["a.md"] == list(compare(root, {"a.md": stamp.settled(stamp.ctime_ns)}).changed)
    assert [] == list(compare(root, {"a.md": stamp.settled(stamp.ctime_ns + 3 * SECOND)}).changed)


# --- Reading --------------------------------------------------------------------------------------------------------------


def test_a_file_is_read_as_it_is(root):
    (root / "a.md").write_bytes(b"\xef\xbb\xbf---\r\n\x00\xff")

    assert b"\xef\xbb\xbf---\r\n\x00\xff" == read(root, "a.md", LIMIT)


def test_a_file_may_have_as_many_bytes_as_the_limit_says_and_no_more(root):
    write(root, "a.md", "x" * 1000)

    assert b"x" * 1000 == read(root, "a.md", 1000)
    assert Problem(where="a.md", reason="1,000 bytes; an article has at most 999 (max_article_bytes)") == refused(
        root, "a.md", 999
    )


def test_a_huge_file_is_refused_without_being_read(root):
    with (root / "a.md").open("wb") as file:
        file.truncate(50_000_000)

    tracemalloc.start()
    try:
        problem = refused(root, "a.md")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert "a.md: 50,000,000 bytes; an article has at most 1,000,000 (max_article_bytes)" == str(problem)
    assert peak < LIMIT


def test_a_file_that_holds_more_than_its_size_says_is_refused():
    kernel = Path("/proc/self")  # its files say that they are empty

    assert Problem(where="status", reason="grew past 10 bytes while it was read (max_article_bytes)") == refused(
        kernel, "status", 10
    )


def test_a_file_that_has_vanished_is_told_apart_from_a_bad_one(root):
    with pytest.raises(FileNotFoundError):
        read(root, "a.md", LIMIT)


@pytest.mark.parametrize(
    ("path", "reason", "transient"),
    [
        ("folder.md", "not a regular file", False),
        ("file/a.md", "cannot be read: Not a directory", True),
        (f"{'x' * 300}.md", "cannot be read: File name too long", True),
    ],
)
def test_what_cannot_be_read_is_told_with_a_reason(root, path, reason, transient):
    (root / "folder.md").mkdir()
    write(root, "file")

    assert Problem(where=path, reason=reason, transient=transient) == refused(root, path)


@pytest.mark.parametrize("path", ["pipe.md", "link.md"])
def test_a_named_pipe_is_refused_and_does_not_hang(root, path):
    os.mkfifo(root / "pipe.md")
    (root / "link.md").symlink_to("pipe.md")
    told: list[Problem] = []
    reader = threading.Thread(target=lambda: told.append(refused(root, path)), daemon=True)

    reader.start()
    reader.join(PATIENCE)

    assert [Problem(where=path, reason="not a regular file")] == told


# --- Symbolic links -------------------------------------------------------------------------------------------------------


def test_a_link_within_the_folder_is_an_article_like_its_target(root):
    write(root, "2026/a.md", "inside")
    (root / "b.md").symlink_to("2026/a.md")
    (root / "c.md").symlink_to(root / "2026" / "a.md")

    stamps = known(root)

    assert {"2026/a.md", "b.md", "c.md"} == set(stamps)
    assert 1 == len(set(stamps.values()))
    assert (b"inside", b"inside") == (read(root, "b.md", LIMIT), read(root, "c.md", LIMIT))


def test_a_link_has_changed_when_its_target_has(root):
    write(root, "a.md", "one")
    (root / "b.md").symlink_to("a.md")
    before = known(root)
    write(root, "a.md", "three")

    assert {"a.md", "b.md"} == set(compare(root, before).changed)


def test_a_link_to_a_folder_within_is_not_followed_so_that_each_article_is_found_once(root):
    write(root, "2026/a.md")
    (root / "latest").symlink_to("2026")
    (root / "2026" / "self").symlink_to(".")

    assert ["2026/a.md"] == list(compare(root, {}).changed)


@pytest.mark.parametrize("absolute", [True, False])
def test_a_link_to_a_file_out_of_the_folder_is_told_and_never_read(root, outside, absolute):
    (root / "a.md").symlink_to(outside / "secret.md" if absolute else "../outside/secret.md")

    assert ["a.md"] == list(compare(root, {}).changed)
    assert Problem(where="a.md", reason="a symbolic link out of the folder; copy the file here instead") == refused(
        root, "a.md"
    )


def test_a_link_to_a_folder_elsewhere_is_told_and_what_is_in_it_is_no_article(root, outside):
    (root / "more").symlink_to(outside)

    assert ["more"] == list(compare(root, {}).changed)
    assert ["more"] == list(compare_some(root, {}, ["more"]).changed)
    assert Problem(where="more", reason="a symbolic link out of the folder; copy the file here instead") == refused(
        root, "more"
    )


def test_a_link_by_way_of_another_out_of_the_folder_is_never_read(root, outside):
    (root / "a.md").symlink_to("b.md")
    (root / "b.md").symlink_to(outside / "secret.md")

    assert "a symbolic link out of the folder; copy the file here instead" == refused(root, "a.md").reason


def test_a_link_to_a_neighbour_whose_name_begins_alike_is_out_of_the_folder(root):
    write(root.with_name("articles-2"), "secret.md")
    (root / "a.md").symlink_to("../articles-2/secret.md")

    assert "a symbolic link out of the folder; copy the file here instead" == refused(root, "a.md").reason


def test_a_link_to_nothing_is_told_and_no_vanished_file(root):
    (root / "a.md").symlink_to("nothing.md")

    assert ["a.md"] == list(compare(root, {}).changed)
    assert Problem(where="a.md", reason="a symbolic link to nothing") == refused(root, "a.md")


def test_a_link_to_a_file_that_is_too_large_is_refused_like_it(root):
    write(root, "large", "x" * 1001)
    (root / "a.md").symlink_to("large")

    assert "1,001 bytes; an article has at most 1,000 (max_article_bytes)" == refused(root, "a.md", 1000).reason


def test_the_folder_itself_may_be_a_link(root, outside):
    write(root, "a.md", "inside")
    (root / "b.md").symlink_to("a.md")
    (root / "c.md").symlink_to(outside / "secret.md")
    link = root.with_name("link")
    link.symlink_to(root)

    assert {"a.md", "b.md", "c.md"} == set(compare(link, {}).changed)
    assert (b"inside", b"inside") == (read(link, "a.md", LIMIT), read(link, "b.md", LIMIT))
    assert "a symbolic link out of the folder; copy the file here instead" == refused(link, "c.md").reason


def test_a_link_to_itself_stops_no_scan(tmp_path):
    (tmp_path / "loop.md").symlink_to("loop.md")
    (tmp_path / "a.md").write_text("x")

    assert set(compare(tmp_path, {}).changed) == {"a.md", "loop.md"}
    assert set(compare_some(tmp_path, {}, ["a.md", "loop.md"]).changed) == {"a.md", "loop.md"}
    with pytest.raises(ArticleError, match="Too many levels of symbolic links"):
        read(tmp_path, "loop.md", 100)


def test_nothing_is_read_through_a_linked_folder(tmp_path):
    outside, root = tmp_path / "outside", tmp_path / "articles"
    outside.mkdir()
    root.mkdir()
    (outside / "e.md").write_text("not for publication")
    (root / "linked").symlink_to(outside)

    assert compare_some(root, {}, ["linked/e.md"]).changed == {}
    for path in ("linked/e.md", "../outside/e.md", "deep/../../outside/e.md", f"{outside}/e.md", "/a.md"):
        with pytest.raises(ArticleError, match="a symbolic link out of the folder"):
            read(root, path, 100)


def test_a_missing_folder_is_an_error_when_some_of_it_is_looked_at_too(tmp_path):
    with pytest.raises(FolderError, match="cannot be read"):
        compare_some(tmp_path / "missing", {"a.md": Stamp(1, 1, 1)}, ["a.md"])


def test_files_of_several_folders_are_read_one_after_the_other(root, outside):
    paths = ["a.md", "2026/b.md", "2026/c.md", "2026/01/d.md", "b.md", "2026/e.md"]
    for path in paths:
        write(root, path, f"this is {path}")
    (root / "linked").symlink_to(outside)

    with Files(root, LIMIT) as files:
        for path in paths:
            assert files.read(path) == f"this is {path}".encode()
            with pytest.raises(ArticleError, match="a symbolic link out of the folder"):
                files.read("linked/secret.md")
            with pytest.raises(FileNotFoundError):
                files.read("2027/a.md")


def test_no_file_stays_open(root):
    before = set(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else None
    for path in ("2026/a.md", "2026/01/b.md"):
        write(root, path)

    with Files(root, LIMIT) as files:
        for path in ("2026/a.md", "2026/01/b.md", "2026/none.md", "none/a.md", "../a.md"):
            with suppress(FileNotFoundError, ArticleError):
                files.read(path)

    assert before in (None, set(os.listdir("/proc/self/fd")))
