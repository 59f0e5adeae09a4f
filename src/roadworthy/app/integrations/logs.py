"""Standard library logging: each record that a logger lets through is counted by level and logger, and kept.

``Logger.callHandlers`` is the one place that all records pass, whatever ``basicConfig`` or ``dictConfig`` do with
handlers and formatters, and structlog's standard library backend too. The program's handlers run first, so that the
message is formatted once, by them; only where no handler did is it formatted here. A record that cannot be formatted
is counted like any other.
"""

# ruff: noqa: ANN401 - what is wrapped is somebody else's and stays of whatever type it is

from __future__ import annotations

import os

from roadworthy.app import guard
from roadworthy.app.inject.patch import wrap
from roadworthy.app.integrations import errors, series

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from types import ModuleType
    from typing import Any

    from roadworthy.arena import hot

ERROR = 40
_counters: dict[tuple[int, str], hot.Counter | None] = {}


def install(module: ModuleType) -> None:
    """Watch the loggers; ``ROADWORTHY_LOG_LEVEL`` sets the root logger's level, which the program may set anew."""

    def make(original: Any) -> Any:
        def callHandlers(self: logging.Logger, record: logging.LogRecord) -> Any:  # noqa: N802 - logging's name
            try:
                return original(self, record)
            finally:
                note(record)

        return callHandlers

    wrap(module.Logger, "callHandlers", make)
    level = os.environ.get("ROADWORTHY_LOG_LEVEL", "").upper()
    if isinstance(logging_level := getattr(module, level, None), int):
        module.root.setLevel(logging_level)


def note(record: logging.LogRecord) -> None:
    """Count one record and keep it in the flight recorder."""
    try:
        key = record.levelno, record.name
        counter = _counters.get(key)
        if counter is None:
            counter = _counter(record)
            if len(_counters) < series.MOST:
                _counters[key] = counter
        if counter is None:
            return
        counter.add()
        series.event("log", record.levelno, record.name, *_told(record))
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and record.levelno >= ERROR:
            errors.record(error, operation=record.name, handled=True)
    except Exception as error:
        if guard.failed("logging", error):
            raise


def short(name: str) -> str:
    """Return the first two dotted parts of a logger's name: few enough to be a label."""
    return ".".join(name.split(".", 2)[:2])


def _counter(record: logging.LogRecord) -> hot.Counter | None:
    labels = (("level", record.levelname.lower()), ("logger", short(record.name)))
    return series.counter("log.records", labels, unit="{record}", description="Log records that a logger let through.")


def _told(record: logging.LogRecord) -> tuple[str, dict[str, str]]:
    fields = {"thread": record.threadName} if record.threadName and record.threadName != "MainThread" else {}
    if isinstance(record.msg, dict):  # structlog hands its event dictionary to the standard library's formatter
        fields.update((str(key), _plain(value)) for key, value in list(record.msg.items())[:16] if key != "event")
        return _plain(record.msg.get("event", "")), fields
    formatted = record.__dict__.get("message")
    if formatted is None:
        try:
            formatted = record.getMessage()
        except Exception:
            formatted = record.msg  # the arguments do not fit; logging itself has told so
    return _plain(formatted), fields


def _plain(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"
