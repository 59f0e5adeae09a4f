"""When lame ducks may be stopped before their time is over: once they hold no connection any more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

LOOK_EVERY: Final = 0.1
"""Seconds between two looks."""

Key = tuple[int, int]
"""Slot and generation."""


class Drain:
    """Looks at lame ducks ten times a second; ``drained`` tells of one, None when nobody can tell."""

    def __init__(self, drained: Callable[[int, int], bool] | None) -> None:
        self._drained = drained
        self._before: frozenset[Key] = frozenset()
        self._at = 0.0

    def next_look(self, lame: Sequence[Key]) -> float | None:
        """Return when to look at these again (monotonic seconds), or None when there is nothing to look at."""
        return self._at if lame and self._drained is not None else None

    def look(self, lame: Sequence[Key], now: float) -> frozenset[Key]:
        """Return those that held no connection twice in a row: one may just be between two hands."""
        at = self.next_look(lame)
        if self._drained is None or at is None or now < at:
            return frozenset()
        self._at = now + LOOK_EVERY
        quiet = frozenset(key for key in lame if self._drained(*key))
        done, self._before = quiet & self._before, quiet
        return done
