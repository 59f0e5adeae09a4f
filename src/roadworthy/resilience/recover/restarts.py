"""Asking for a new process in this one's place: rarely, and only where somebody listens."""

from __future__ import annotations

from roadworthy._clock import NS, monotonic_ns
from roadworthy.resilience import outward

MOST = 3
WINDOW_NS = 1800 * NS
PAUSE_NS = 300 * NS
"""At most :data:`MOST` restarts are asked for in half an hour, with five minutes between."""


class Restarts:
    """What was asked for by this process; its successor begins anew, and the agent has limits of its own."""

    __slots__ = ("_at", "asked")

    def __init__(self) -> None:
        self._at: list[int] = []
        self.asked = 0

    def left(self, now_ns: int) -> int:
        """Return how many may be asked for now; 0 when nobody listens who could do it."""
        if outward.attached() is None:
            return 0
        self._at = [at for at in self._at if now_ns - at < WINDOW_NS]
        if self._at and now_ns - self._at[-1] < PAUSE_NS:
            return 0
        return max(0, MOST - len(self._at))

    def ask(self, reason: str) -> bool:
        """Ask for one, within the limits; tells whether somebody took it. Never waits."""
        now = monotonic_ns()
        if not self.left(now):
            return False
        self._at.append(now)
        self.asked += 1
        return outward.tell("ask_restart", reason) is True
