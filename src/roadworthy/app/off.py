"""What the public names are when roadworthy is switched off: one object, and functions that return at once."""

# ruff: noqa: ANN401 - what is handed in comes back, of whatever type it is

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self


class Nothing:
    """Any handle, any block: whatever is called on it does nothing."""

    __slots__ = ()
    name = ""
    turns = 0
    frames = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        return None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        return None

    def labels(self, **values: object) -> Nothing:  # noqa: ARG002 - the real one's shape, here and below
        """Return the same object."""
        return self

    def time(self) -> Nothing:
        """Return the same object, a block that does nothing."""
        return self

    def frame(self) -> Nothing:
        """Return the same object, a block that does nothing."""
        return self

    def add(self, n: float = 1.0) -> None:
        """Do nothing."""

    def set(self, v: float) -> None:
        """Do nothing."""

    def record(self, v: float) -> None:
        """Do nothing."""

    def beat(self) -> None:
        """Do nothing."""

    def frame_start(self) -> None:
        """Do nothing."""

    def frame_end(self) -> None:
        """Do nothing."""

    def turn(self, n: int = 1) -> None:
        """Do nothing."""

    def checkpoint(self, label: str) -> None:
        """Do nothing."""

    def ready(self, label: str = "ready") -> None:
        """Do nothing."""

    def start_profiling(self, service: str) -> str:  # noqa: ARG002 - the real one's shape
        """Return an identifier that :meth:`finish_profiling` takes."""
        return ""

    def add_checkpoint(self, profile_id: str, label: str) -> None:
        """Do nothing."""

    def finish_profiling(self, profile_id: str) -> None:  # noqa: ARG002 - the real one's shape
        """Return None: nothing was measured."""
        return


nothing = Nothing()
startup = nothing


def operation(name: str, *, memory: bool = False, kind: str = "internal", **context: object) -> Nothing:  # noqa: ARG001
    """Return a block that does nothing."""
    return nothing


def timed(name: str) -> Callable[[Any], Any]:  # noqa: ARG001 - the real one's shape
    """Return a decorator that returns the function itself."""
    return _same


def counter(name: str, **options: object) -> Nothing:  # noqa: ARG001 - the real one's shape
    """Return a handle that does nothing."""
    return nothing


gauge = histogram = timer = counter


def loop(name: str, target_fps: float | None = None) -> Nothing:  # noqa: ARG001 - the real one's shape
    """Return a loop that tells nothing."""
    return nothing


def heartbeat(name: str, every: float | None = None) -> Nothing:  # noqa: ARG001 - the real one's shape
    """Return a heartbeat that tells nothing."""
    return nothing


def progress(name: str, n: int = 1) -> None:
    """Do nothing."""


def usage(feature: str, outcome: str = "", success: bool | None = True) -> None:  # noqa: FBT001, FBT002 - as in the real one
    """Do nothing."""


def error(error: object, message: str = "", operation: str = "", **context: object) -> str:  # noqa: ARG001 - as above
    """Return an empty fingerprint."""
    return ""


def event(text: str, *, kind: str = "state", level: str = "info", source: str = "", **fields: object) -> None:
    """Do nothing."""


def collector(obj: Any, name: str = "") -> Any:  # noqa: ARG001 - the real one's shape
    """Return the object."""
    return obj


def check(
    name: str,  # noqa: ARG001 - the real one's shape, here and below
    fn: Any = None,
    kind: str = "readiness",  # noqa: ARG001
    timeout: float = 2.0,  # noqa: ARG001
    every: float = 60.0,  # noqa: ARG001
) -> Any:
    """Return the function, or a decorator that does."""
    return _same if fn is None else fn


def _same(function: Any) -> Any:
    return function
