"""Exceptions nobody caught, wherever Python reports them, and those that the program logged.

The same exception object is recorded once, however many layers report it on its way out.
"""

from __future__ import annotations

import sys

from roadworthy.app import guard
from roadworthy.app.inject.patch import disguise, wrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

_SEEN = "__roadworthy_seen__"


def record(error: BaseException, operation: str = "", *, handled: bool = False, **context: object) -> None:
    """Record ``error`` unless a layer above or below has already done so."""
    try:
        # A mark on the object, not its id: the next exception often lies where the last one lay.
        seen = error.__dict__
        if _SEEN in seen:
            return
        seen[_SEEN] = True
        from roadworthy.app import errors

        errors.error(error, operation=operation, handled=handled, **context)
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
            if args.exc_value is not None and not issubclass(args.exc_type, (SystemExit, KeyboardInterrupt)):
                record(args.exc_value, "thread", thread=getattr(args.thread, "name", ""))
            original(args)

        return excepthook

    wrap(module, "excepthook", make)


def install_asyncio(module: ModuleType) -> None:
    """Watch what event loops report: tasks whose exception nobody fetched, callbacks that raised."""

    def make(original: Any) -> Any:
        def call_exception_handler(self: Any, context: dict[str, Any]) -> Any:
            error = context.get("exception") if isinstance(context, dict) else None
            if isinstance(error, Exception):
                record(error, "asyncio", message=str(context.get("message", "")))
            return original(self, context)

        return call_exception_handler

    wrap(module.BaseEventLoop, "call_exception_handler", make)


def _name(thing: object) -> str:
    return getattr(thing, "__qualname__", None) or type(thing).__qualname__
