"""Log events, on standard error: for people on a terminal, JSON elsewhere. The only home of structlog's setting up."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import Literal, TextIO

import structlog

from feeder.redact import redact
from feeder.text import visible

_QUIET = (
    "httpx",
    "httpcore",
    "apscheduler",
    "watchfiles",
    "uvicorn",
    "alembic",
    "aiohttp",
    "asyncio",
)  # httpx logs whole URLs, secrets and all
_SECONDS = 10.0  # between two lines of one kind from a library
_KINDS = 100  # that are told apart


def configure(
    log_format: Literal["auto", "console", "json"] = "auto",
    stream: TextIO | None = None,
    secrets: Iterable[str] = (),
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Send structlog's events to `stream`, standard error without one, with `secrets` hidden in them.

    What libraries log, with uncaught errors of an asyncio loop among it, becomes events too: without tracebacks, and of
    each kind one line in ten seconds of `clock`, which says how many were left out.
    """
    hidden = frozenset(secrets)

    def without_secrets(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {name: _hidden(value, hidden) for name, value in event.items()}

    stream = stream or sys.stderr
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    root = logging.getLogger()
    root.handlers = [*(each for each in root.handlers if not isinstance(each, _Libraries)), _Libraries(clock)]
    terminal = stream.isatty()
    readable = log_format == "console" or (log_format == "auto" and terminal)
    renderer = (
        structlog.dev.ConsoleRenderer(
            colors=terminal, pad_event_to=18, sort_keys=False, exception_formatter=structlog.dev.plain_traceback
        )
        if readable
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if readable else "iso", utc=not readable),
            structlog.processors.format_exc_info,
            without_secrets,
            _visible,
            _when_first,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )


class _Libraries(logging.Handler):
    """What libraries have to say, as events. One kind is one logger, one message without its values, one type of error."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(logging.WARNING)
        self._clock = clock
        self._seen: dict[
            tuple[object, ...], list[float]
        ] = {}  # when a line was last written; how many were left out since

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, or count it."""
        error = record.exc_info[1] if record.exc_info else None
        kind = (record.name, str(record.msg).partition("\n")[0], type(error))
        now, seen = self._clock(), self._seen.get(kind)
        if seen is not None and now - seen[0] < _SECONDS:
            seen[1] += 1
            return
        if len(self._seen) >= _KINDS:
            self._seen.clear()
        self._seen[kind] = [now, 0]
        told: dict[str, object] = {"library": record.name, "message": record.getMessage().partition("\n")[0]}
        if error is not None:
            told["reason"] = f"{type(error).__name__}: {error}"
            told["where"] = _where(error)
        if seen is not None and seen[1]:
            told["left_out"] = int(seen[1])
        structlog.get_logger().log(record.levelno, "library.logged", **told)


def _where(error: BaseException) -> str:
    """The file and line in which `error` was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def _hidden(value: object, secrets: frozenset[str]) -> object:
    if isinstance(value, str):
        return redact(value, secrets)
    if isinstance(value, list | tuple):
        return [_hidden(each, secrets) for each in value]
    return value if isinstance(value, int | float | None) else redact(str(value), secrets)


def _visible(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Texts as a terminal may show them: see `text.visible`. A traceback keeps its lines."""
    return {
        name: "\n".join(map(visible, value.split("\n"))) if name == "exception" else _shown(value)
        for name, value in event.items()
    }


def _shown(value: object) -> object:
    if isinstance(value, str):
        return visible(value)
    return [_shown(each) for each in value] if isinstance(value, list | tuple) else value


def _when_first(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """What a person looks for first, first."""
    first = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
    return {**first, **event}
