"""Our own logger: ``log.info("dialogue_generated", session_id=sid, response_time_ms=12)``.

It writes to the sinks of :func:`roadworthy.log.configure` without making the standard library's record, and obeys that
library's levels all the same: those of the logger of the same name, changed at run time or not. Where a program has
handlers or filters of its own on the way, or never called ``configure``, entries go through :mod:`logging` like anybody
else's. Nothing here raises.
"""

from __future__ import annotations

import logging
import sys

from roadworthy import _known
from roadworthy._clock import wall_ns
from roadworthy.log import correlation, hook, line, pipeline, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from roadworthy.log.line import Head

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "warn": 30, "error": 40, "critical": 50, "fatal": 50}
_bound = correlation.bound
_messages = text.messages
_loggers: dict[str, Logger] = {}
_RESERVED = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def logger(name: str = "") -> Logger:
    """Return the logger of this name, always the same one; without a name that of the root."""
    found = _loggers.get(name)
    if found is None:
        found = _loggers.setdefault(name, Logger(name))
    return found


class Logger:
    """A logger of ours; made by :func:`logger`. Fields are keyword arguments; ``exc_info`` and ``extra`` are known."""

    __slots__ = ("_cache", "_heads", "_std", "_through", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._std = logging.getLogger(name or None)
        self._cache: dict[int, bool] = self._std._cache  # type: ignore[attr-defined]  # noqa: SLF001 - where logging keeps its answer, and forgets it when a level changes
        self._heads: dict[int, Head] = {}
        self._through = False

    def debug(self, event: object, /, *args: object, **fields: object) -> None:
        """Write an entry of level DEBUG."""
        cache = self._cache
        if cache[10] if 10 in cache else self._std.isEnabledFor(10):  # noqa: PLR2004 - logging.DEBUG
            self._write(10, event, args, fields)

    def info(self, event: object, /, *args: object, **fields: object) -> None:
        """Write an entry of level INFO."""
        cache = self._cache
        if cache[20] if 20 in cache else self._std.isEnabledFor(20):  # noqa: PLR2004 - logging.INFO
            self._write(20, event, args, fields)

    def warning(self, event: object, /, *args: object, **fields: object) -> None:
        """Write an entry of level WARNING."""
        cache = self._cache
        if cache[30] if 30 in cache else self._std.isEnabledFor(30):  # noqa: PLR2004 - logging.WARNING
            self._write(30, event, args, fields)

    def error(self, event: object, /, *args: object, **fields: object) -> None:
        """Write an entry of level ERROR."""
        if self._std.isEnabledFor(40):
            self._write(40, event, args, fields)

    def critical(self, event: object, /, *args: object, **fields: object) -> None:
        """Write an entry of level CRITICAL."""
        if self._std.isEnabledFor(50):
            self._write(50, event, args, fields)

    def exception(self, event: object, /, *args: object, **fields: object) -> None:
        """Write an entry of level ERROR with the exception that is being handled."""
        if self._std.isEnabledFor(40):
            fields.setdefault("exc_info", True)
            self._write(40, event, args, fields)

    def log(self, level: int | str, event: object, /, *args: object, **fields: object) -> None:
        """Write an entry of a level given by number or name; an unknown name is INFO."""
        number = level if isinstance(level, int) else _LEVELS.get(str(level).lower(), 20)
        if self._std.isEnabledFor(number):
            self._write(number, event, args, fields)

    warn = warning
    fatal = critical
    msg = info

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        """Return whether entries of this level are written."""
        return self._std.isEnabledFor(level)

    def _write(  # noqa: C901, PLR0912 - one pass on the hot path: each call saved counts
        self, level: int, event: object, args: tuple[object, ...], fields: dict[str, object]
    ) -> None:
        try:
            pipe = pipeline.current
            std = self._std
            if pipe is None or len(_roots) != 1 or std.handlers or std.filters or self._through:
                self._through_logging(level, event, args, fields)
                return
            if std.disabled:
                return
            if _known.values is not text._seen:  # noqa: SLF001 - the hot path looks by itself
                text.forget_if_stale()
            head = self._heads[level] if level in self._heads else self._head(level)
            if args:
                event = formatted(event, args)
            elif event.__class__ is not str:
                event = text.as_text(event)
            message = _messages[event] if event in _messages else text.message(event)
            if pipe.json:
                bound = _bound()
                if not bound.correlation:
                    bound = correlation.found()
                known = bound.shown or line.show(bound)
                rest = line.quick(fields, bound) if fields else ""
                if rest is not None:
                    now = wall_ns()
                    rest = known + rest
                    made = f'{{"@timestamp":"{line.stamp(now)}{head.json}{message[0]}{rest}}}\n'.encode()
                    for write in pipe.everything:
                        write(made, now)
                    if level >= pipeline.ERROR:
                        for write in pipe.errors:
                            write(made, now)
                    if hook.recorder is not None:
                        hook.recorder(level, head.name, message[1], rest, now, None)
                    return
            self._slowly(pipe, head, message, fields)
        except Exception as error:
            if hook.passes("log", error):
                raise

    def _slowly(self, pipe: pipeline.Pipeline, head: Head, message: tuple[str, str], fields: dict[str, object]) -> None:
        """Write an entry whose fields need a closer look, and tell the flight recorder."""
        error = raised(fields.get("exc_info")) if "exc_info" in fields else None
        bound = correlation.found()
        made = line.body(fields, error, here() if fields.get("stack_info") else None)
        now = wall_ns()
        pipe.deliver(head, now, message, bound, made)
        if hook.recorder is not None:
            named = line.shown_without(bound, made.replaced)
            told = "".join([f',"{name}":{text.quote(value)}' for name, value in named])
            hook.recorder(head.level, head.name, message[1], told + "".join(made.json), now, error)

    def _head(self, level: int) -> Head:
        """Return what this level's entries share; looks whether the program has handlers between here and the root."""
        above = self._std.parent
        through = not self._std.propagate
        while above is not None and above.parent is not None:
            through = through or bool(above.handlers) or not above.propagate
            above = above.parent
        if through:
            self._through = True
        pipe = pipeline.current
        made = pipe.head(self.name, level)  # type: ignore[union-attr]  # asked for only where there is one
        self._heads[level] = made
        return made

    def _through_logging(self, level: int, event: object, args: tuple[object, ...], fields: dict[str, object]) -> None:
        exc_info = fields.pop("exc_info", None)
        stack_info = bool(fields.pop("stack_info", False))
        extra = fields.pop("extra", None)
        given = {**extra, **fields} if isinstance(extra, dict) else fields
        kept = {name if name not in _RESERVED else f"field_{name}": value for name, value in given.items()}
        error = raised(exc_info)
        exception = (type(error), error, error.__traceback__) if error is not None else None
        stack = here() if stack_info else None
        record = self._std.makeRecord(self._std.name, level, "", 0, event, args, exception, None, kept, stack)
        self._std.handle(record)

    def _renew(self) -> None:
        self._heads.clear()
        self._through = False


def formatted(event: object, args: tuple[object, ...]) -> str:
    """Return a message with its arguments put in, as logging does; where they do not fit, one after another."""
    try:
        return text.as_text(event) % (args[0] if len(args) == 1 and isinstance(args[0], dict) and args[0] else args)
    except Exception:  # noqa: BLE001 - a mistake of the program's in a log call is no reason to lose what it says
        return " ".join([text.as_text(event), *[text.as_text(one) for one in args]])


def raised(given: object) -> BaseException | None:
    """Return the exception that ``exc_info`` stands for: itself, that of its triple, or the one being handled."""
    if isinstance(given, BaseException):
        return given
    if isinstance(given, tuple):
        return given[1] if len(given) > 1 and isinstance(given[1], BaseException) else None
    return sys.exception() if given else None


def here() -> str:
    """Return the stack of who logs, without our own part."""
    import traceback

    frame = sys._getframe(2)  # noqa: SLF001 - as logging finds it
    while frame.f_back is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    return "".join(traceback.format_stack(frame))


_roots = logging.root.handlers
"""The root logger's handlers: more than ours, and entries go through logging so that all of them see them."""


def _renew() -> None:
    for one in tuple(_loggers.values()):
        one._renew()  # noqa: SLF001 - its own module


pipeline.when_renewed(_renew)
