"""The public names, as ``import roadworthy`` hands them out.

With ``ROADWORTHY_ENABLED=0`` the names stand for objects that do nothing, chosen here once: decorators return the
function itself, blocks enter and leave, handles swallow. Nothing of the runtime is loaded then.
"""

from __future__ import annotations

import roadworthy
from roadworthy.app import start as _start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from roadworthy.app.cache import Cache
    from roadworthy.arena.writer import Arena

start = _start.start


def cache(
    name: str,
    *,
    max_size: int = 1000,
    ttl: float | str | None = None,
    negative_ttl: float | str | None = None,
    url: str | None = None,
    key: Callable[..., object] | None = None,
) -> Cache:
    """Return a bounded cache: ``titles = rw.cache("titles", max_size=500, ttl=60)``; ``@titles`` above a function.

    ``ttl``: seconds, or "5m", that an entry is good for, by default without end. ``negative_ttl``: the same for a
    result of None, 0 not to keep it. ``url``: ``redis://…`` or ``rediss://…`` to share it; None or empty keeps it in
    this process. ``key``: makes the key of a call out of its arguments. In Redis a value is JSON or bytes, ``ttl`` is
    300 if not given, and what is soonest over gives way.

    Raises :class:`~roadworthy.resilience.arguments.BadArgument` for impossible settings, and
    :class:`~roadworthy.errors.ConfigurationError` for a URL that is none or whose client is not installed.
    """
    from roadworthy.app.cache import Cache

    return Cache(name, max_size=max_size, ttl=ttl, negative_ttl=negative_ttl, url=url, key=key)


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
    from roadworthy.arena.layout import EVENT_KINDS as _EVENTS

    _SEVERITIES = {"debug": 1, "info": 2, "warning": 3, "error": 4, "critical": 5}
    _NUMBERS = {kind: _EVENTS[kind] for kind in ("log", "warning", "operation", "state", "usage", "check")}
    _KINDS = {number: kind for kind, number in _NUMBERS.items()}
    _payloads = _context.payloads
    _put: Callable[[int, int, bytes], None] = lambda _kind, _level, _payload: None  # noqa: E731 - until there is a ring

    def _started(arena: Arena) -> None:
        global _put  # noqa: PLW0603 - one arena per process
        _put = arena.ring.put

    _start.when_started(_started)

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
            if not fields:
                try:
                    made, number, severity = _payloads[source][text], _NUMBERS[kind], _SEVERITIES[level]
                except (KeyError, TypeError):
                    pass
                else:
                    _put(number, severity, made)
                    return
            arena = _start.current() or _start.ensure()
            if arena is None:
                return
            name = _context.label_value(source) if source else ""
            number = _NUMBERS[kind] if kind in _NUMBERS else _NUMBERS["state"]
            severity = _SEVERITIES[level] if level in _SEVERITIES else _SEVERITIES.get(str(level).lower(), 2)
            if fields:
                arena.event(_KINDS[number], severity * 10, name, _context.line(text), _context.plain(fields))
            else:
                arena.ring.put(number, severity, _context.payload(source, name, text))
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
    "cache",
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
