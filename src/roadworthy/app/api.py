"""The public names, as ``import roadworthy`` hands them out.

With ``ROADWORTHY_ENABLED=0`` the names stand for objects that do nothing, chosen here once: decorators return the
function itself, blocks enter and leave, handles swallow. Nothing of the runtime is loaded then.
"""

from __future__ import annotations

import roadworthy
from roadworthy.app import start as _start

TYPE_CHECKING = False

start = _start.start

if TYPE_CHECKING or _start.enabled():
    from roadworthy.app import context as _context
    from roadworthy.app import errors as _errors
    from roadworthy.app import guard as _guard
    from roadworthy.app.checks import check, collector
    from roadworthy.app.loop import heartbeat, loop, progress
    from roadworthy.app.metrics import counter, gauge, histogram, timer
    from roadworthy.app.operation import operation
    from roadworthy.app.startup import startup
    from roadworthy.app.timed import timed
    from roadworthy.app.usage import usage

    _LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
    _KINDS = frozenset({"log", "warning", "operation", "state", "usage", "check"})

    def error(
        error: BaseException | type[BaseException] | str,
        message: str = "",
        operation: str = "",
        **context: object,
    ) -> str:
        """Record an error that the program has handled: ``error(exc)``, ``error("NoRom", str(e), "extraction")``.

        It is counted by type and operation, and kept with its traceback, without secrets. Returns the fingerprint,
        the same for errors of the same cause; empty when nothing is recorded. Never raises.
        """
        return _errors.record(error, message, operation=operation or None, context=context)

    def event(text: str, *, kind: str = "state", level: str = "info", source: str = "", **fields: object) -> None:
        """Put a line into the flight recorder: ``event("save game loaded", slot=3)``.

        ``kind`` is log, warning, operation, state, usage or check, ``level`` debug to critical; unknown ones become
        state and info. Text and fields are redacted and bounded. Never raises.
        """
        try:
            arena = _start.current() or _start.ensure()
            if arena is not None:
                arena.event(
                    kind if kind in _KINDS else "state",
                    _LEVELS[level] if level in _LEVELS else _LEVELS.get(str(level).lower(), 20),
                    _context.label_value(source) if source else "",
                    _context.line(text),
                    _context.plain(fields) if fields else None,
                )
        except Exception as broken:
            if _guard.failed("event", broken):
                raise

else:
    from roadworthy.app.off import (
        check,
        collector,
        counter,
        error,
        event,
        gauge,
        heartbeat,
        histogram,
        loop,
        operation,
        progress,
        startup,
        timed,
        timer,
        usage,
    )

__all__ = [
    "check",
    "collector",
    "counter",
    "error",
    "event",
    "gauge",
    "heartbeat",
    "histogram",
    "loop",
    "operation",
    "progress",
    "start",
    "startup",
    "timed",
    "timer",
    "usage",
]

# All at once: a name that is first used while the interpreter goes down could not be imported any more.
vars(roadworthy).update({name: globals()[name] for name in __all__})
