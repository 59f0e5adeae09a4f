"""Recovery from errors: ``from roadworthy.resilience import recovery``.

::

    recovery.on(MemoryError, recovery.collect, feature("cache").off, every=60)
    recovery.emergency_state(lambda: {"turn": world.turn})
    action = recovery.handle_error_with_context(error, "world_engine", "generate_world", turn_count=10, frame_count=600)

The functions here act on the one shared manager of the process, :func:`get_error_recovery`.
"""

from __future__ import annotations

from roadworthy.resilience.recover.advice import Advice, Attempt
from roadworthy.resilience.recover.classify import exit_code_of, kind_of, severity_of
from roadworthy.resilience.recover.context import ErrorContext, RecoveryAction
from roadworthy.resilience.recover.emergency import EmergencyStateBroken
from roadworthy.resilience.recover.making_room import collect
from roadworthy.resilience.recover.manager import (
    ErrorRecoveryManager,
    get_error_recovery,
    handle_error_with_context,
    initialize_error_recovery,
)
from roadworthy.resilience.recover.messages import message_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    error_recovery_manager: ErrorRecoveryManager
    """The shared manager, by the name that programs know it by."""

__all__ = [
    "Advice",
    "Attempt",
    "EmergencyStateBroken",
    "ErrorContext",
    "ErrorRecoveryManager",
    "RecoveryAction",
    "collect",
    "emergency_state",
    "error_recovery_manager",
    "exit_code_of",
    "get_error_recovery",
    "handle_error_with_context",
    "initialize_error_recovery",
    "kind_of",
    "load_emergency_state",
    "message_for",
    "on",
    "severity_of",
]


def on(
    error: type[BaseException] | tuple[type[BaseException], ...], *steps: Callable[..., object], every: float = 60
) -> None:
    """Run ``steps`` in order on such errors, at most once in ``every`` seconds for a component.

    A step that has a parameter called error, context, reason or source is given it. Raises
    :class:`~roadworthy.resilience.arguments.BadArgument`.
    """
    get_error_recovery().on(error, *steps, every=every)


def emergency_state(save_fn: Callable[[], object], directory: str = "", name: str = "state") -> None:
    """Have ``save_fn()``, plain data, saved atomically on a critical failure; see :mod:`.emergency`."""
    get_error_recovery().emergency_state(save_fn, directory, name)


def load_emergency_state(
    directory: str = "", name: str = "state", *, previous: bool = False
) -> Mapping[str, Any] | None:
    """Return what was saved: a dict with ``state``, ``at`` (wall seconds) and ``reason``; None when nothing was.

    Raises :class:`EmergencyStateBroken` for a damaged file, and says whether the one before is whole.
    """
    return get_error_recovery().load_emergency_state(directory, name, previous=previous)


def __getattr__(name: str) -> object:
    if name == "error_recovery_manager":
        return get_error_recovery()
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
