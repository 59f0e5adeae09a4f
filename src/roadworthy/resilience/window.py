"""What the last calls came to, counted exactly, without anything to do for a success but to count it.

A success only makes ``era.n`` grow. When a failure or a slow call comes in, and only then, the number of successes up
to there gives its place among all calls; the window keeps the places of the bad calls, and knows how many good ones lie
between them. So that is when a breaker is judged: on failures and slow calls.

A window of time also needs to know when successes came. The wrapper reads the clock and calls :meth:`TimeWindow.mark`
at the first call in each 64th of the window: calls count as if made at the end of theirs, 1.6 % of the window at most.
"""

# ruff: noqa: ARG002 - both windows are asked in the same way, and each needs what the other does not

from __future__ import annotations

from collections import deque

PARTS = 64
MOST = 10_000
"""Failures, and slow calls, that a window of time remembers: what a breaker that never opens costs is bounded."""

FAR = 1 << 63
"""Later than any clock: a window of calls needs no marks."""

Totals = tuple[int, int, int]
"""Calls, failures, slow calls."""

Place = tuple[int, int]
"""When, and how many good calls there had been before."""


class CountWindow:
    """The last ``size`` calls."""

    __slots__ = ("_bad", "_failures", "_slow", "size")

    edge_ns = FAR

    def __init__(self, size: int) -> None:
        self.size = size
        self._failures = 0
        self._bad: deque[int] = deque(maxlen=size)
        self._slow: deque[int] = deque(maxlen=size)

    def failed(self, successes: int, now_ns: int) -> None:
        """Note a failure after ``successes`` good calls."""
        self._failures = failures = self._failures + 1
        self._bad.append(successes + failures)

    def slowed(self, successes: int, now_ns: int) -> None:
        """Note that the last of ``successes`` good calls was slow."""
        self._slow.append(successes + self._failures)

    def totals(self, successes: int, now_ns: int) -> Totals:
        """Return what the window holds."""
        calls = successes + self._failures
        low = calls - self.size
        return min(calls, self.size), _after(self._bad, low), _after(self._slow, low)

    def mark(self, successes: int, now_ns: int) -> int:
        """Return when to be called again: never."""
        return FAR


class TimeWindow:
    """The calls of the last ``span_ns`` nanoseconds; of fewer while it holds MOST failures or slow calls."""

    __slots__ = ("_bad", "_marks", "_slow", "span_ns")

    def __init__(self, span_ns: int) -> None:
        self.span_ns = span_ns
        self._bad: deque[Place] = deque(maxlen=MOST)
        self._slow: deque[Place] = deque(maxlen=MOST)
        self._marks: deque[Place] = deque(maxlen=2 * PARTS)

    @property
    def edge_ns(self) -> int:
        """When the next mark is due: at the first call."""
        return 0

    def failed(self, successes: int, now_ns: int) -> None:
        """Note a failure now."""
        self._bad.append((now_ns, successes))
        _since(self._bad, now_ns - self.span_ns)

    def slowed(self, successes: int, now_ns: int) -> None:
        """Note that a good call that ended now was slow."""
        self._slow.append((now_ns, successes - 1))
        _since(self._slow, now_ns - self.span_ns)

    def mark(self, successes: int, now_ns: int) -> int:
        """Note that there were ``successes`` good calls before now; return when to be called again."""
        self._marks.append((now_ns, successes))
        return now_ns + self.span_ns // PARTS

    def totals(self, successes: int, now_ns: int) -> Totals:
        """Return what the window holds."""
        low = now_ns - self.span_ns
        try:
            _since(self._marks, low)
            good = successes - self._marks[0][1]
        except IndexError:
            good = 0
        for places in (self._bad, self._slow):
            if len(places) == MOST and places[0][0] > low:  # older ones are forgotten: nothing older may count
                low = places[0][0] - 1
                good = successes - places[0][1]
        failures = _since(self._bad, low)
        return good + failures, failures, min(_since(self._slow, low), good)


def _since(places: deque[Place], low: int) -> int:
    """Drop what is not after ``low`` and return how many are left; another thread may do the same."""
    try:
        while places[0][0] <= low:
            places.popleft()
    except IndexError:
        return 0
    return len(places)


def _after(places: deque[int], low: int) -> int:
    """Drop what is not after ``low`` and return how many are left; another thread may do the same."""
    try:
        while places[0] <= low:
            places.popleft()
    except IndexError:
        return 0
    return len(places)
