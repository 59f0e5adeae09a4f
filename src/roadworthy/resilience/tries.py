"""The attempts of one call: which one this is, whether another follows, and which error is the last real one.

It keeps an exception between two attempts. That exception refers to the frames that it came through, which refer to
this object: whoever made it calls :meth:`Tries.over` at the end, or the garbage collector has to find them.
"""

from __future__ import annotations

from roadworthy import _clock
from roadworthy.resilience.rejected import Rejected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from roadworthy.resilience.policy import Policy

    Pending = list[Any]
    """Seconds to wait before the next attempt (None: there is none), ns of the first one's begin, its error."""


class Tries:
    """Used around a loop: :meth:`failed` or :meth:`unsatisfied` says whether to go on, then :meth:`next`."""

    __slots__ = ("_begun_ns", "_last", "_number", "_pause", "_policy")

    def __init__(self, policy: Policy, pending: Pending | None = None) -> None:
        self._policy = policy
        self._number = 1
        self._last: BaseException | None = None
        self._pause: float | None = None
        if pending is None:
            self._begun_ns = _clock.monotonic_ns()
        else:  # emptied: whoever made it would keep the error alive
            self._last, self._begun_ns, self._pause = pending.pop(), pending.pop(), pending.pop()

    def failed(self, error: BaseException) -> bool:
        """Return whether something else is to follow than this error: another attempt, or an earlier error."""
        if isinstance(error, Rejected) and self._last is not None:
            self._pause = None  # not even asked: what it said when it was asked is what the caller should know
            return True
        self._pause = self._policy.pause(self._number, error, None, self._begun_ns)
        if self._pause is None:
            return False
        self._last = error
        return True

    def unsatisfied(self, result: object) -> bool:
        """Return whether another attempt follows, because of what this one returned."""
        self._last = None
        self._pause = self._policy.result_pause(self._number, result, self._begun_ns)
        return self._pause is not None

    def next(self) -> float:
        """Return the seconds to wait before the next attempt; raises the last real error when there is none."""
        if self._pause is None and self._last is not None:
            raise self._last
        self._number += 1
        self._policy.meter.add("retries")
        return self._pause or 0.0

    def over(self) -> None:
        """Drop the error."""
        self._last = None
