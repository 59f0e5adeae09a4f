"""roadworthy makes any Python application fit for production and proves it.

The public names are resolved lazily: importing this package loads nothing else, so that a program which
never records anything pays for nothing.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # typing itself would cost the start of every program that we watch
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Self

    from roadworthy.app.api import (
        cache,
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
        start,
        startup,
        timed,
        timer,
        usage,
    )

__version__ = "0.1.0"

__all__ = [
    "__version__",
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


class _Nothing:
    """What a name stands for while it cannot be had: any call, any block, any decorator, without effect."""

    __slots__ = ()

    def __call__(self, *given: object, **options: object) -> object:
        return given[0] if len(given) == 1 and callable(given[0]) and not options else self

    def __getattr__(self, name: str) -> _Nothing:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        return None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        return None


_nothing = _Nothing()


def __getattr__(name: str) -> object:
    if name.startswith("_") or name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    api = _api()
    value: object = vars(api).get(name, _api)
    if value is _api:
        if getattr(api.__spec__, "_initializing", False):  # a signal handler, in the midst of this very import
            return _nothing
        # half a module: what a signal handler raised ended its import where the interpreter keeps it
        del sys.modules["roadworthy.app.api"]
        value = getattr(_api(), name)
    globals()[name] = value
    return value


def _api() -> ModuleType:
    __import__("roadworthy.app.api")
    return sys.modules["roadworthy.app.api"]


def __dir__() -> list[str]:
    return sorted(__all__)
