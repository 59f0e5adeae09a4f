"""What can be mended on the spot: missing directories, missing modules, databases that somebody else locks."""

from __future__ import annotations

import os

from roadworthy.resilience import arguments
from roadworthy.resilience.feature import feature
from roadworthy.resilience.recover import classify, holders
from roadworthy.resilience.recover.backing_off import growing, random_number
from roadworthy.resilience.recover.repair import Repair
from roadworthy.resilience.switch import RECOVERY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from roadworthy.resilience.recover.context import ErrorContext

BUSY_TIMEOUT_MS = 5000
"""How long SQLite itself waits for a lock (ERR-22, DBS-07)."""


class Files:
    """Missing directories are made, inside declared roots only; declared alternatives are tried (ERR-05)."""

    name = "mend_files"
    kinds = frozenset({classify.FILE})

    def __init__(self) -> None:
        self._roots: list[str] = []
        self._alternatives: dict[str, list[str]] = {}

    def roots(self, *paths: str) -> None:
        """Declare directories below which missing ones may be made. Raises BadArgument unless absolute."""
        for path in paths:
            if not os.path.isabs(path) or os.path.realpath(path) == "/":
                raise arguments.BadArgument("roots", path, "an absolute path below /")
        self._roots += [os.path.realpath(path) for path in paths]

    def alternative(self, path: str, *others: str) -> None:
        """Declare where to look instead of ``path``, a file or a directory with all below it. Raises BadArgument."""
        for one in (path, *others):
            if not os.path.isabs(one):
                raise arguments.BadArgument("alternative", one, "an absolute path")
        self._alternatives[os.fspath(path)] = [os.fspath(other) for other in others]

    def run(self, error: BaseException, _context: ErrorContext, _tries: int, _now_ns: int) -> Repair | None:
        """Make the missing directory, or name the first alternative that is there."""
        given = getattr(error, "filename", None)
        if not isinstance(given, str | os.PathLike):
            return None
        path = os.path.abspath(given)
        if isinstance(error, FileNotFoundError):
            made = self._make_parent(path)
            if made:
                return Repair(f"made {made}", repaired=True, path=path)
        other = self._other(path)
        return Repair(f"use {other}", repaired=True, path=other) if other else None

    def _make_parent(self, path: str) -> str:
        # Links are resolved before the comparison: what a link inside a root points to may lie outside of it.
        parent = os.path.realpath(os.path.dirname(path))
        inside = any(parent == root or parent.startswith(root + os.sep) for root in self._roots)
        if not inside or os.path.isdir(parent):
            return ""
        os.makedirs(parent, mode=0o755, exist_ok=True)
        return parent

    def _other(self, path: str) -> str:
        for known, others in self._alternatives.items():
            if path != known and not path.startswith(known + os.sep):
                continue
            for other in others:
                candidate = other + path[len(known) :]
                if os.path.exists(candidate) or os.path.isdir(os.path.dirname(candidate)):
                    return candidate
        return ""


class Imports:
    """A module that is not there: the feature that needs it goes off until it is (ERR-06)."""

    name = "switch_off_feature"
    kinds = frozenset({classify.IMPORT})

    def __init__(self) -> None:
        self._needs: dict[str, str] = {}

    def needs(self, name: str, *modules: str) -> None:
        """Declare that feature ``name`` needs these modules (top-level names or dotted)."""
        for module in modules:
            self._needs[module] = feature(name).name

    def run(self, error: BaseException, context: ErrorContext, _tries: int, _now_ns: int) -> Repair:
        """Switch off the declared feature, or the one called like the component, until the module can be found."""
        module = str(getattr(error, "name", None) or "")
        parents = [module[:end] for end in range(len(module), 0, -1) if end == len(module) or module[end] == "."]
        name = next((self._needs[one] for one in parents if one in self._needs), context.component)
        cause = _Missing(module) if module and isinstance(error, ModuleNotFoundError) else None
        reason = f"module {module or '(unknown)'} cannot be imported"
        feature(name).off(reason, while_=cause, source=RECOVERY)
        return Repair(f"feature {name} is off: {reason}", degraded=(name,))


class _Missing:
    """Whether a module still cannot be found; asking does not import it."""

    __slots__ = ("_module",)

    def __init__(self, module: str) -> None:
        self._module = module

    def __call__(self) -> bool:
        import sys
        from importlib import invalidate_caches
        from importlib.util import find_spec

        invalidate_caches()
        parent = self._module.rpartition(".")[0]
        # To look for a.b imports a: done only where the program has done it already.
        name = self._module if not parent or parent in sys.modules else self._module.partition(".")[0]
        try:
            return find_spec(name) is None
        except (ImportError, ValueError):
            return True


class LockedDatabase:
    """A locked database: SQLite waits up to 5000 ms by itself, and the call is tried again (ERR-22)."""

    name = "wait_for_lock"
    kinds = frozenset({classify.LOCKED})

    def __init__(self, jitter: Callable[[], float] = random_number) -> None:
        self._connections: dict[str, Any] = {}
        self._jitter = jitter

    def database(self, component: str, connection: Any) -> None:  # noqa: ANN401 - a DB-API connection, or what makes one
        """Declare the component's SQLite connection, or a function that returns it; the context may bring one, too."""
        self._connections[component] = connection

    def run(self, _error: BaseException, context: ErrorContext, tries: int, _now_ns: int) -> Repair:
        """Set the connection's busy timeout and say when to try again; without a connection only the latter.

        At the first try it is told who else has the file open.
        """
        pause = growing(tries, 0.05, 2.0, self._jitter())
        connection = context.extra.get("connection") or self._connections.get(context.component)
        if callable(connection) and not hasattr(connection, "execute"):
            connection = connection()
        if connection is None or not hasattr(connection, "execute"):
            return Repair(f"wait {pause:.2f} s", retry_after=pause)
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        detail = f"busy timeout is {BUSY_TIMEOUT_MS} ms{_held_by(connection) if tries == 1 else ''}"
        return Repair(detail, repaired=True, retry_after=pause)


def _held_by(connection: Any) -> str:  # noqa: ANN401 - as above
    """Return which other processes hold the connection's file open, as the end of a sentence (DBS-07)."""
    try:
        path = connection.execute("PRAGMA database_list").fetchone()[2]
    except Exception:  # noqa: BLE001 - it tells somebody where to look, and mends nothing
        return ""
    return holders.told(path) if path else ""
