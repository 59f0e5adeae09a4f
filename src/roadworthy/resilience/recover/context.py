"""Where an error happened, and what may be done about it: the two values that recovery speaks of."""

from __future__ import annotations

from enum import StrEnum


class RecoveryAction(StrEnum):
    """What the program is advised to do (CONFLICTS C-60), mildest first."""

    CONTINUE = "continue"
    """Go on: the error is recorded, nothing else helps or needs to be done."""

    RETRY = "retry"
    """Try again, after the advice's ``retry_after`` seconds."""

    FALLBACK = "fallback"
    """Use the fallback that the service registered."""

    DEGRADE = "degrade"
    """Do without the component; its feature was switched off, or it is marked degraded."""

    RESTART = "restart"
    """A new process was asked for; end the work in hand."""

    SHUTDOWN = "shutdown"
    """End in good order; emergency state was saved if a function for it is registered."""


class ErrorContext:
    """Where an error happened: component, operation, the program's turn and frame, and anything else by keyword."""

    __slots__ = ("component", "extra", "frame", "operation", "turn")

    def __init__(self, component: str, operation: str = "", turn: int = 0, frame: int = 0, **extra: object) -> None:
        self.component = component
        self.operation = operation
        self.turn = turn
        self.frame = frame
        self.extra: dict[str, object] = extra

    def __repr__(self) -> str:
        more = "".join(f", {key}=…" for key in self.extra)  # values may be secrets
        return f"ErrorContext({self.component!r}, {self.operation!r}, turn={self.turn}, frame={self.frame}{more})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ErrorContext):
            return NotImplemented
        return (self.component, self.operation, self.turn, self.frame, self.extra) == (
            other.component, other.operation, other.turn, other.frame, other.extra,
        )  # fmt: skip

    def __hash__(self) -> int:
        return hash((self.component, self.operation, self.turn, self.frame))
