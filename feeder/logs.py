"""Log events, on standard error: for people on a terminal, JSON elsewhere. The only home of structlog's setting up."""

from __future__ import annotations

import logging
import sys
from typing import Literal, TextIO

import structlog

_QUIET = (
    "httpx",
    "httpcore",
    "apscheduler",
    "watchfiles",
    "uvicorn",
    "alembic",
)  # httpx logs whole URLs, secrets and all


def configure(log_format: Literal["auto", "console", "json"] = "auto", stream: TextIO | None = None) -> None:
    """Send structlog's events to `stream`, standard error without one."""
    stream = stream or sys.stderr
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
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
            _when_first,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )


def _when_first(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """What a person looks for first, first."""
    first = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
    return {**first, **event}
