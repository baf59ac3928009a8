"""Log events: what comes from outside forges no line and sends nothing to a terminal."""

from __future__ import annotations

import io
import json

import pytest
import structlog

from feeder import logs

NASTY = "a\x1b[2Jb\n12:00:00 [info     ] pass.done files=9 \u202e\x9b"


@pytest.fixture
def stream():
    yield io.StringIO()
    logs.configure()


def test_a_file_name_forges_no_line_on_a_terminal(stream):
    logs.configure("console", stream)

    structlog.get_logger().warning("article.bad", file=NASTY, targets=[NASTY])

    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()
    assert line.count(r"\x1b[2Jb\n") + line.count(r"\\x1b[2Jb\\n") == 2


def test_nor_in_json(stream):
    logs.configure("json", stream)

    structlog.get_logger().warning("article.bad", file=NASTY, number=3, nothing=None)

    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()
    assert (json.loads(line)["number"], json.loads(line)["nothing"]) == (3, None)


def test_a_traceback_keeps_its_lines(stream):
    logs.configure("console", stream)
    try:
        raise ValueError(NASTY)
    except ValueError:
        structlog.get_logger().exception("it.failed")

    lines = stream.getvalue().splitlines()
    assert "Traceback" in stream.getvalue()
    assert len(lines) > 3
    assert all(line.isprintable() for line in lines)
