"""What the program is advised to do about an error, and the block around a real call that brings its errors in."""

from __future__ import annotations

from roadworthy._clock import monotonic_ns
from roadworthy.resilience.recover import classify
from roadworthy.resilience.recover.context import ErrorContext, RecoveryAction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Self

    from roadworthy.resilience.recover.manager import ErrorRecoveryManager

_LOCK_PATIENCE = 0.05


class Advice:
    """What to do about one error, and why; ``retry_after`` in seconds, ``path`` where to look instead.

    ``reference`` is the error's fingerprint, to be quoted to users and found again in the summary. ``notes`` say what
    the strategies did or found.
    """

    __slots__ = ("action", "kind", "notes", "path", "reason", "reference", "retry_after", "severity", "strategies")

    def __init__(
        self,
        action: RecoveryAction,
        reason: str,
        *,
        kind: str = classify.UNKNOWN,
        severity: str = classify.ERROR,
        retry_after: float | None = None,
        path: str = "",
        reference: str = "",
        strategies: tuple[str, ...] = (),
    ) -> None:
        self.action = action
        self.reason = reason
        self.kind = kind
        self.severity = severity
        self.retry_after = retry_after
        self.path = path
        self.reference = reference
        self.strategies = strategies
        self.notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Advice({self.action.value}, {self.reason!r}, kind={self.kind}, retry_after={self.retry_after})"


class Attempt:
    """A block around one real call; see :meth:`ErrorRecoveryManager.attempt`."""

    __slots__ = ("_begun_ns", "_component", "_manager", "_operation", "_release", "advice")

    def __init__(
        self, manager: ErrorRecoveryManager, component: str, operation: str, release: tuple[Callable[[], object], ...]
    ) -> None:
        self._manager = manager
        self._component = component
        self._operation = operation
        self._release = release
        self._begun_ns = 0
        self.advice: Advice | None = None

    def __enter__(self) -> Self:
        self._begun_ns = monotonic_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._manager.succeeded(self._component, self._operation, monotonic_ns() - self._begun_ns)
            elif isinstance(error, Exception):
                self.advice = self._manager.advise(error, ErrorContext(self._component, self._operation))
        finally:
            for release in reversed(self._release):
                try:
                    release()
                except Exception as own:  # noqa: BLE001 - the others are released all the same
                    self._manager.failed(own)


class Held:
    """A lock that is waited for no longer than 50 ms: after a fork its holder may not exist any more."""

    __slots__ = ("_got", "_lock")

    def __init__(self, lock: Any) -> None:  # noqa: ANN401 - threading.RLock is a function
        self._lock = lock
        self._got = False

    def __enter__(self) -> None:
        self._got = self._lock.acquire(timeout=_LOCK_PATIENCE)

    def __exit__(self, *_: object) -> None:
        if self._got:
            self._lock.release()
