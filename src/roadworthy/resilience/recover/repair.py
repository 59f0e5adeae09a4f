"""What a strategy has done about an error, and what it found out; a value."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from roadworthy.resilience.recover.context import ErrorContext

    class Strategy(Protocol):
        """A way to recover from some kinds of errors."""

        name: str
        kinds: frozenset[str]

        def run(self, error: BaseException, context: ErrorContext, tries: int, now_ns: int) -> Repair | None:
            """Do what can be done now, without waiting; None when that is nothing. May raise: it is counted then."""


class Repair:
    """``repaired``: the cause was removed as far as can be seen; the next real call proves it or not.

    ``retry_after`` in seconds; ``path`` where to go instead; ``degraded``: features that were switched off.
    """

    __slots__ = ("degraded", "note", "path", "repaired", "retry_after")

    def __init__(
        self,
        note: str,
        *,
        repaired: bool = False,
        retry_after: float | None = None,
        path: str = "",
        degraded: tuple[str, ...] = (),
    ) -> None:
        self.note = note
        self.repaired = repaired
        self.retry_after = retry_after
        self.path = path
        self.degraded = degraded
