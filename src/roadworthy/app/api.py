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
    from roadworthy.app import errors as _errors
    from roadworthy.app.checks import check, collector
    from roadworthy.app.events import event
    from roadworthy.app.loop import heartbeat, loop, progress
    from roadworthy.app.metrics import counter, gauge, histogram, timer
    from roadworthy.app.operation import operation
    from roadworthy.app.startup import startup
    from roadworthy.app.timed import timed
    from roadworthy.app.usage import usage

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
