"""Exceptions nobody caught, wherever Python reports them, and those that the program logged.

The module that formats and counts them is loaded with the first one.
"""

# ruff: noqa: ANN401 - what is wrapped is somebody else's and stays of whatever type it is

from __future__ import annotations

import sys

from roadworthy.app import guard
from roadworthy.app.inject.patch import disguise, wrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


def record(error: BaseException, operation: str = "", *, handled: bool = False, **context: object) -> None:
    """Record ``error``; the same one reported again by a layer further out is counted once."""
    try:
        # Here, too, things may be scarce: without a free descriptor nothing can be imported.
        from roadworthy.app import errors

        errors.record(error, operation=operation, handled=handled, context=context)
    except Exception as failure:
        if guard.failed("error", failure):
            raise


def install_hooks() -> None:
    """Watch ``sys.excepthook`` and ``sys.unraisablehook``; what the program puts there later takes our place."""

    def make_excepthook(original: Any) -> Any:
        def excepthook(kind: type[BaseException], value: BaseException, trace: Any) -> None:
            if not issubclass(kind, KeyboardInterrupt):
                record(value, "main", thread="main")
            original(kind, value, trace)

        return excepthook

    def make_unraisable(original: Any) -> Any:
        def unraisablehook(unraisable: Any) -> None:
            if unraisable.exc_value is not None:
                record(unraisable.exc_value, "unraisable", where=_name(unraisable.object))
            original(unraisable)

        return unraisablehook

    sys.excepthook = disguise(make_excepthook(sys.excepthook), sys.excepthook)
    sys.unraisablehook = disguise(make_unraisable(sys.unraisablehook), sys.unraisablehook)


def install_threading(module: ModuleType) -> None:
    """Watch ``threading.excepthook``."""

    def make(original: Any) -> Any:
        def excepthook(args: Any) -> None:
            error: BaseException | None = args.exc_value
            if isinstance(error, Exception):
                record(error, "thread", thread=getattr(args.thread, "name", ""))
            original(args)

        return excepthook

    wrap(module, "excepthook", make)


def install_asyncio(module: ModuleType) -> None:
    """Watch what event loops report: tasks whose exception nobody fetched, callbacks that raised."""

    def make(original: Any) -> Any:
        def call_exception_handler(self: Any, context: dict[str, Any]) -> Any:
            error = context.get("exception")
            if isinstance(error, Exception):
                record(error, "asyncio", message=str(context.get("message", "")))
            return original(self, context)

        return call_exception_handler

    wrap(module.BaseEventLoop, "call_exception_handler", make)


def _name(thing: object) -> str:
    return getattr(thing, "__qualname__", None) or type(thing).__qualname__
