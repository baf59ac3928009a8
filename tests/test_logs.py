"""What libraries log, and what an asyncio loop meets, as events."""

from __future__ import annotations

import asyncio
import io
import json
import logging

import pytest
import structlog

from feeder import logs


class Log:
    """A log with a clock that the test holds."""

    def __init__(self) -> None:
        self.stream, self.time = io.StringIO(), 100.0
        logs.configure("json", self.stream, secrets=["hush-hush"], clock=lambda: self.time)

    def events(self) -> list[dict[str, object]]:
        lines = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [{name: value for name, value in line.items() if name != "timestamp"} for line in lines]


@pytest.fixture
def log():
    yield Log()
    logs.configure()


def fail(number: int = 0) -> None:
    try:
        raise OSError(f"hush-hush {number}")
    except OSError:
        logging.getLogger("uvicorn.error").exception("Exception in %s\nsecond line", f"part {number}")


def test_an_error_of_a_library_is_one_event_without_a_traceback_or_a_secret(log):
    fail()

    (event,) = log.events()
    where = event.pop("where")
    assert where.startswith("test_logs.py:")
    assert [event] == [
        {
            "event": "library.logged",
            "level": "error",
            "library": "uvicorn.error",
            "message": "Exception in part 0",
            "reason": "OSError: [secret] 0",
        }
    ]


def test_the_same_again_is_counted_and_said_ten_seconds_later(log):
    for number in range(1_000):
        fail(number)
    logging.getLogger("uvicorn.error").error("something else")
    assert [event["message"] for event in log.events()] == ["Exception in part 0", "something else"]

    log.time += 10
    fail(1_000)
    fail(1_001)
    assert [(event["message"], event["left_out"]) for event in log.events()[2:]] == [("Exception in part 1000", 999)]


def test_kinds_without_end_take_no_memory_without_end(log):
    for number in range(1_000):
        logging.getLogger("uvicorn.error").error("kind " + str(number))  # noqa: G003 - a library that does

    (handler,) = [each for each in logging.getLogger().handlers if type(each) is logs._Libraries]
    assert len(handler._seen) <= 100


def test_what_an_asyncio_loop_meets_is_said_once(log):
    def broken() -> None:
        raise OSError(24, "Too many open files")

    async def meet() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(50):
            loop.call_soon(broken)
            loop.call_exception_handler({"message": "socket.accept() out of system resource", "exception": OSError(24)})
        await asyncio.sleep(0)

    asyncio.run(meet())

    assert [(event["library"], event["reason"].partition(":")[0]) for event in log.events()] == [
        ("asyncio", "OSError")
    ] * 2


def test_settings_made_again_do_not_say_things_twice(log):
    logs.configure("json", log.stream)
    fail()

    assert len(log.events()) == 1


# --- what comes from outside forges no line and sends nothing to a terminal -----------------------------------------------

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
