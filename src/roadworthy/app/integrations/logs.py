"""Standard library logging: each record that a logger lets through is counted by level and logger, and kept.

``Logger.callHandlers`` is the one place that all records pass, whatever ``basicConfig`` or ``dictConfig`` do with
handlers and formatters, and structlog's standard library backend too. The program's handlers run first, so that the
message is formatted once, by them; only where no handler did is it formatted here. A record that cannot be formatted
is counted like any other.

A server's access log says once more what is recorded of the request itself, and a busy one would push everything else
out of the flight recorder within a second. Of its records up to INFO all are counted, and ten a second are kept;
warnings and errors are kept always.
"""

# ruff: noqa: ANN401 - what is wrapped is somebody else's and stays of whatever type it is

from __future__ import annotations

import os
import sys

from roadworthy._clock import NS
from roadworthy.app import guard, page
from roadworthy.app.inject.patch import wrap
from roadworthy.app.integrations import errors, log_levels, series
from roadworthy.log import correlation

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from types import ModuleType
    from typing import Any

    from roadworthy.arena import hot

CRITICAL = 50
ERROR = 40
INFO = 20
ACCESS = frozenset({"uvicorn.access", "gunicorn.access", "hypercorn.access", "aiohttp.access", "werkzeug",
                    "daphne.access", "tornado.access", "django.server", "granian.access"})  # fmt: skip
"""Loggers that write a line a request."""
KEPT_A_SECOND = 10
LOOK = page.EVERY_NS / NS

_looked = [0.0]
"""Wall time of the record with which the control page was last looked at."""

_counters: dict[tuple[int, str], Source] = {}


class Source:
    """What the records of one logger and level share."""

    __slots__ = ("_left", "_renewed", "add", "full_until", "rationed")

    def __init__(self, counter: hot.Counter, *, rationed: bool) -> None:
        self.add = counter.add
        self.rationed = rationed
        self.full_until = 0.0
        self._renewed = 0.0
        self._left = 0

    def may_keep(self, created: float) -> bool:
        """Return whether the ration of the second from which a record is (wall time) is not used up."""
        if not 0.0 <= created - self._renewed < 1.0:  # also when the clock was set
            self._renewed = created
            self._left = KEPT_A_SECOND
        self._left -= 1
        if self._left <= 0:
            self.full_until = self._renewed + 1.0
        return self._left >= 0


def install(module: ModuleType) -> None:
    """Watch the loggers; ``ROADWORTHY_LOG_LEVEL`` sets the root logger's level, which the program may set anew.

    Levels that the operator asks for later, through the control page, hold until they are taken back.
    """

    def make(original: Any) -> Any:
        def callHandlers(self: logging.Logger, record: logging.LogRecord) -> Any:  # noqa: N802 - logging's name
            try:
                return original(self, record)
            finally:
                key = record.levelno, record.name
                source = _counters[key] if key in _counters else None  # noqa: SIM401 - cheaper than a call
                if source is not None and 0.0 < source.full_until - record.created <= 1.0:
                    source.add()
                else:
                    note(record)
                if not 0.0 <= record.created - _looked[0] < LOOK:  # also when the clock was set
                    _looked[0] = record.created
                    page.look()

        return callHandlers

    wrap(module.Logger, "callHandlers", make)
    level = os.environ.get("ROADWORTHY_LOG_LEVEL", "").upper()
    if isinstance(logging_level := getattr(module, level, None), int):
        module.root.setLevel(logging_level)
    log_levels.install(module)


def note(record: logging.LogRecord) -> None:
    """Count one record and, unless it is one of too many in an access log, keep it in the flight recorder."""
    try:
        source = _counters.get((record.levelno, record.name)) or source_of(record.levelno, record.name)
        if source is None:
            return
        source.add()
        if source.rationed and not source.may_keep(record.created):
            return
        series.event("log", record.levelno, record.name, *_told(record))
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and record.levelno >= ERROR:
            errors.record(error, operation=record.name, handled=True)
        if record.levelno >= CRITICAL and not record.name.startswith("roadworthy"):
            _security(record)
    except Exception as error:
        if guard.failed("logging", error):
            raise


def _security(record: logging.LogRecord) -> None:
    """Make a security event of a critical record: one a minute for each place that logs it."""
    from roadworthy.log import security

    cause = f"log:{record.name}:{record.lineno}:{str(record.msg)[:100]}"
    security.limited(cause, "critical_error", _told(record)[0], "CRITICAL", {"logger": record.name})


def short(name: str) -> str:
    """Return the first two dotted parts of a logger's name: few enough to be a label."""
    return ".".join(name.split(".", 2)[:2])


def source_of(level: int, name: str) -> Source | None:
    """Return what the entries of one level and logger share, remembered for the next one; None without an arena."""
    labels = (("level", level_name(level)), ("logger", short(name)))
    what = "Log records that a logger let through."
    counter = series.counter("log.records", labels, unit="{record}", description=what)
    if counter is None:
        return None
    made = Source(counter, rationed=level <= INFO and name in ACCESS)
    if len(_counters) < series.MOST:
        _counters[level, name] = made
    return made


def level_name(level: int) -> str:
    """Return a level's name as logging has it, in small letters."""
    module = sys.modules.get("logging")
    return str(module.getLevelName(level)).lower() if module is not None else str(level)


def _told(record: logging.LogRecord) -> tuple[str, dict[str, str]]:
    fields = {"thread": record.threadName} if record.threadName and record.threadName != "MainThread" else {}
    if bound := correlation.known().correlation:
        fields["correlation_id"] = bound
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
