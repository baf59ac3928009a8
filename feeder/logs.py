"""Log events, on standard error: for people on a terminal, JSON elsewhere. The only home of structlog's setting up."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
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


def configure(
    log_format: Literal["auto", "console", "json"] = "auto",
    stream: TextIO | None = None,
    secrets: Iterable[str] = (),
) -> None:
    """Send structlog's events to `stream`, standard error without one, with `secrets` hidden in them."""
    hidden = frozenset(secrets)

    def without_secrets(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {name: _hidden(value, hidden) for name, value in event.items()}

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
            without_secrets,
            _visible,
            _when_first,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )


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
