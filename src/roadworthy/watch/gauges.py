"""The chart figures of every tick, under fixed keys; None where something is not measured. Pure.

========================  =====================================================================================
``requests.rate``         requests a second; of operations and timers where the program serves none (10 s)
``latency.p50/p95/p99``   seconds, of the same work (60 s)
``errors.rate``           failures a second: of that work, or of recorded errors where those are more (10 s)
``in_flight``             operations under way
``loop.lag``              seconds that the event loop was late at the worst, in the last tick
``loop.fps``              frames a second of the slowest loop, sleep included (5 s)
``cpu.percent``           of one core, over all of the program's processes
``rss.bytes, rss.limit``  memory of all of them, and what binds it
``gc.pause``              seconds of garbage collection a second
========================  =====================================================================================
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from roadworthy.arena.layout import bucket_bounds
from roadworthy.types import Beat, Kind, Resources, Series
from roadworthy.watch.sliding import RATE_WINDOW

if TYPE_CHECKING:
    from roadworthy.watch.operations import Windows

KEYS: Final = (
    "requests.rate", "latency.p50", "latency.p95", "latency.p99", "errors.rate", "in_flight", "loop.lag", "loop.fps",
    "cpu.percent", "rss.bytes", "rss.limit", "gc.pause",
)  # fmt: skip

LOOP_LAG: Final = "asyncio.loop.lag"
GC: Final = "cpython.gc.duration"
ERRORS: Final = "errors"
_USED: Final = frozenset({ERRORS, LOOP_LAG, GC})
FPS_WINDOW: Final = 5.0


class _Pace:
    """How fast a growing number grew over a window of ticks."""

    __slots__ = ("points", "window")

    def __init__(self, window: float) -> None:
        self.window = window
        self.points: deque[tuple[float, float]] = deque()

    def add(self, now: float, value: float) -> float | None:
        """Return the growth a second over the window; None at first, and after the number went back (a new process)."""
        if self.points and value < self.points[-1][1]:
            self.points.clear()
        self.points.append((now, value))
        while len(self.points) > 2 and self.points[1][0] <= now - self.window:  # noqa: PLR2004 - two make a slope
            self.points.popleft()
        first = self.points[0]
        return (value - first[1]) / (now - first[0]) if now > first[0] else None


class Gauges:
    """Makes the chart figures; remembers only what the windows need."""

    def __init__(self) -> None:
        self._errors = _Pace(RATE_WINDOW)
        self._frames: dict[tuple[int, str], _Pace] = {}
        self._gc = _Pace(1.5)
        self._lag_before: dict[tuple[str, tuple[tuple[str, str], ...]], Mapping[int, int]] | None = None

    def at(
        self,
        now: float,
        *,
        windows: Windows,
        series: Sequence[Series],
        beats: Iterable[Beat],
        in_flight: int | None,
        resources: Resources,
    ) -> dict[str, float | None]:
        """Return the figures at ``now`` (seconds, monotonic)."""
        work = windows.work(now)
        series = [one for one in series if one.name in _USED]
        errors = self._recorded_errors(now, series)
        failing = [rate for rate in (errors, work.failure_rate) if rate is not None]
        return {
            "requests.rate": work.rate,
            "latency.p50": work.p50,
            "latency.p95": work.p95,
            "latency.p99": work.p99,
            "errors.rate": max(failing) if failing else None,
            "in_flight": in_flight,
            "loop.lag": self._lag(series),
            "loop.fps": self._fps(now, beats),
            "cpu.percent": resources.cpu_percent,
            "rss.bytes": resources.rss,
            "rss.limit": resources.memory_limit,
            "gc.pause": self._pause(now, series),
        }

    def _recorded_errors(self, now: float, series: Iterable[Series]) -> float | None:
        counts = [one.value or 0.0 for one in series if one.name == ERRORS and one.kind is Kind.COUNTER]
        return self._errors.add(now, sum(counts)) if counts or self._errors.points else None

    def _lag(self, series: Iterable[Series]) -> float | None:
        """Return the worst lag that was recorded since the last tick: a single slow turn must not vanish in a mean."""
        found = {
            (one.name, one.labels): one.histogram
            for one in series
            if one.name == LOOP_LAG and one.histogram is not None
        }
        before, self._lag_before = self._lag_before, {key: histogram.buckets for key, histogram in found.items()}
        worst: float | None = None
        for key, histogram in found.items():
            known = before.get(key, {}) if before is not None else histogram.buckets
            gained = [index for index, count in histogram.buckets.items() if count > known.get(index, 0)]
            if gained:
                low, high = bucket_bounds(max(gained))
                lag = min(histogram.max, (low + high) / 2) / (histogram.scale or 1.0)
                worst = lag if worst is None else max(worst, lag)
        return worst

    def _fps(self, now: float, beats: Iterable[Beat]) -> float | None:
        loops = {(beat.pid, beat.name): beat.count for beat in beats if beat.kind == "loop"}
        for key in self._frames.keys() - loops.keys():
            del self._frames[key]
        rates = [self._frames.setdefault(key, _Pace(FPS_WINDOW)).add(now, count) for key, count in loops.items()]
        told = [rate for rate in rates if rate is not None]
        return min(told) if told else None

    def _pause(self, now: float, series: Iterable[Series]) -> float | None:
        sums = [one.histogram.sum / (one.histogram.scale or 1.0) for one in series if one.name == GC and one.histogram]
        return self._gc.add(now, sum(sums)) if sums else None
