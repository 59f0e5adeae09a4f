"""sqlite3: how long statements take, by their first word. Nothing else of a statement, or of its values, is looked at.

Connections get a subclass of ``sqlite3.Connection`` whose cursors are timed. A program's own connection class is left
as it is; a program's own cursor class is timed by a subclass of the same name. ``execute`` computes the first row;
fetching the others is not timed.
"""

# ruff: noqa: ANN401 - what is wrapped is somebody else's and stays of whatever type it is

from __future__ import annotations

import sys

from roadworthy._clock import monotonic_ns
from roadworthy.app import guard
from roadworthy.app.inject.patch import MARK, wrap
from roadworthy.app.integrations import series

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from roadworthy.arena import hot

WORDS = frozenset({
    "ALTER", "ANALYZE", "ATTACH", "BEGIN", "COMMIT", "CREATE", "DELETE", "DETACH", "DROP", "END", "EXPLAIN", "INSERT",
    "PRAGMA", "REINDEX", "RELEASE", "REPLACE", "ROLLBACK", "SAVEPOINT", "SELECT", "UPDATE", "VACUUM", "VALUES", "WITH",
})  # fmt: skip
_cursors: dict[type, type] = {}

MOST_KNOWN = 512
LONGEST_KNOWN = 500
_records: dict[str, Callable[[int], None]] = {}
"""Where the durations of statements go, by their text."""


def install(module: ModuleType) -> None:
    """Time the statements of connections made from now on."""
    connection = _connection_class(module)

    def make(original: Any) -> Any:
        def connect(*args: Any, **kwargs: Any) -> Any:
            if len(args) <= _FACTORY and kwargs.get("factory", module.Connection) is module.Connection:
                kwargs["factory"] = connection
            return original(*args, **kwargs)

        return connect

    if wrap(module, "connect", make):
        package = sys.modules.get("sqlite3")
        if package is not None and getattr(package, "connect", None) is module.connect.__wrapped__:
            vars(package)["connect"] = module.connect  # it had copied the name already


_FACTORY = 5


def _connection_class(module: ModuleType) -> Any:
    base: Any = module.Connection
    plain: Any = module.Cursor
    timed_cursor = _timed(plain)
    open_cursor = base.cursor

    class Connection(base):  # type: ignore[misc]  # the class is the program's interpreter's
        __slots__ = ()  # sqlite3's own has no __dict__ either

        def cursor(self, factory: Any = plain) -> Any:
            return open_cursor(self, timed_cursor if factory is plain else _timed(factory))

        # In C these three make a plain cursor, whatever cursor() is.
        execute = _timing(module.Cursor.execute, open_cursor, timed_cursor)

        def executemany(self, sql: Any, *args: Any) -> Any:
            return self.cursor().executemany(sql, *args)

        def executescript(self, script: Any) -> Any:
            return self.cursor().executescript(script)

        def commit(self) -> None:
            if not self.in_transaction:
                base.commit(self)
                return
            began = monotonic_ns()
            try:
                base.commit(self)
            except BaseException as error:
                _failed("COMMIT", began, error)
                raise
            _succeeded("COMMIT", monotonic_ns() - began)

    return _look_like(Connection, base)


def _timing(act: Any, opened: Any = None, kind: Any = None) -> Any:
    """Return a method that times ``act`` of a cursor: itself, or one of ``kind`` that ``opened`` makes of it."""

    def execute(self: Any, sql: Any, *args: Any) -> Any:
        cursor = self if opened is None else opened(self, kind)
        began = monotonic_ns()
        try:
            result = act(cursor, sql, *args)
        except BaseException as error:
            _failed(sql, began, error)
            raise
        took = monotonic_ns() - began
        try:
            (_records.get(sql) or _record_of(sql))(took)
        except Exception as failure:
            if guard.failed("sqlite3", failure):
                raise
        return result

    execute.__name__ = act.__name__
    return execute


def _timed(factory: Any) -> Any:
    known = _cursors.get(factory) if isinstance(factory, type) else None
    if known is not None:
        return known
    if not isinstance(factory, type) or hasattr(factory, MARK) or not _is_cursor(factory):
        return factory
    base: Any = factory

    class Cursor(base):  # type: ignore[misc]  # the class is the program's
        __slots__ = ()  # the class below it decides whether there is a __dict__

        execute = _timing(base.execute)
        executemany = _timing(base.executemany)

        def executescript(self, script: Any) -> Any:
            began = monotonic_ns()
            try:
                result = base.executescript(self, script)
            except BaseException as error:
                _failed("SCRIPT", began, error)
                raise
            _succeeded("SCRIPT", monotonic_ns() - began)
            return result

    made = _look_like(Cursor, base)
    if len(_cursors) < series.MOST:
        _cursors[factory] = made
    return made


def _is_cursor(factory: type) -> bool:
    return any(kind.__module__ == "sqlite3" and kind.__name__ == "Cursor" for kind in factory.__mro__)


def _look_like(made: Any, base: Any) -> Any:
    made.__name__, made.__qualname__, made.__module__, made.__doc__ = (
        base.__name__,
        base.__qualname__,
        base.__module__,
        base.__doc__,
    )
    setattr(made, MARK, True)
    return made


def operation(sql: object) -> str:
    """Return the first word of a statement in capitals, ``OTHER`` when it is none that SQLite knows."""
    if not isinstance(sql, str):
        return "OTHER"
    words = sql[:80].split(None, 1)
    word = words[0].rstrip(";(").upper() if words else ""
    return word if word in WORDS or word == "SCRIPT" else "OTHER"


def _record_of(sql: object) -> Callable[[int], None]:
    """Return what records a statement that went well; remembered for the next one of the same text."""
    found = _duration(sql, "")
    if found is None:
        return _nowhere
    if type(sql) is str and len(sql) <= LONGEST_KNOWN:
        if len(_records) >= MOST_KNOWN:
            _records.clear()
        _records[sql] = found.record
    return found.record


def _nowhere(_took: int) -> None:
    """Stand in for a histogram where there is no arena."""


def _succeeded(sql: object, took: int) -> None:
    try:
        _record_of(sql)(took)
    except Exception as failure:
        if guard.failed("sqlite3", failure):
            raise


def _failed(sql: object, began: int, error: BaseException) -> None:
    try:
        found = _duration(sql, type(error).__name__)
        if found is not None:
            found.record(monotonic_ns() - began)
    except Exception as failure:
        if guard.failed("sqlite3", failure):
            raise


def _duration(sql: object, kind: str) -> hot.Histogram | None:
    labels = [("db.operation.name", operation(sql)), ("db.system.name", "sqlite")]
    if kind:
        labels.append(("error.type", kind))
    return series.duration("db.client.operation.duration", tuple(labels), "Duration of database client operations.")
