"""Figures of operations over sliding windows, from the differences of histograms between ticks. Pure.

Percentiles are over 60 s, rates over 10 s, error rates over 5 minutes with at least 20 attempts (CONFLICTS C-29).
Histograms of all processes are merged before they come here, and their differences are added bucket by bucket, so that
a percentile is that of all calls together, never a mean of percentiles.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from roadworthy.arena.layout import bucket_bounds
from roadworthy.types import Histogram, Kind, Labels, Operation, Series

RATE_WINDOW: Final = 10.0
QUANTILE_WINDOW: Final = 60.0
ERROR_WINDOW: Final = 300.0
LEAST_ATTEMPTS: Final = 20
MOST_OPERATIONS: Final = 2_000
SERVER_ERROR: Final = 500

REQUESTS: Final = "http.server.request.duration"
OPERATIONS: Final = "operation.duration"
CLIENT: Final = "http.client.request.duration"
DATABASE: Final = "db.client.operation.duration"

_OURS: Final = (
    "loop.frame.",
    "asyncio.loop.",
    "cpython.",
    "process.",
    "log.",
)
"""Durations that are measured about the interpreter; they are no operations of the program."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which operation a series belongs to, whether it holds failures, and of what kind the operation is."""

    name: str
    failed: bool
    kind: str


@dataclass(frozen=True, slots=True)
class Window:
    """Figures over all operations of one kind."""

    rate: float | None = None
    failure_rate: float | None = None
    attempts: int = 0
    failures: int = 0
    error_share: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


def attempt(name: str, labels: Labels, unit: str) -> Attempt | None:
    """Return which operation a histogram belongs to, or None when it is not the duration of one."""
    said = dict(labels)
    if name == OPERATIONS:
        return Attempt(said.get("operation", "?"), said.get("outcome") == "failure", "operation")
    if name == REQUESTS:
        route = said.get("http.route") or "(no route)"
        status = said.get("http.response.status_code", "")
        failed = status.isdigit() and int(status) >= SERVER_ERROR
        return Attempt(
            f"{said.get('http.request.method', '?')} {route}",
            failed or (not status and "error.type" in said),
            "request",
        )
    if name == CLIENT:
        status = said.get("http.response.status_code", "")
        failed = (status.isdigit() and int(status) >= SERVER_ERROR) or "error.type" in said
        return Attempt(f"{said.get('http.request.method', '?')} to {said.get('server.address', '?')}", failed, "client")
    if name == DATABASE:
        what = f"{said.get('db.system.name', 'db')} {said.get('db.operation.name', '')}".strip()
        return Attempt(what, "error.type" in said, "client")
    if unit != "s" or name.startswith(_OURS):
        return None
    rest = ", ".join(f"{key}={value}" for key, value in labels if key not in {"outcome", "error.type"})
    failed = said.get("outcome") == "failure" or "error.type" in said
    return Attempt(f"{name} {{{rest}}}" if rest else name, failed, "timer")


@dataclass(slots=True)
class _Gain:
    """What one operation gained in one tick, in stored units."""

    buckets: dict[int, int] = field(default_factory=dict)
    largest: float = 0.0
    count: int = 0
    failures: int = 0


class _Figures:
    """The windows of one operation."""

    __slots__ = ("attempts", "buckets", "count", "deltas", "failed_total", "failures", "kind", "longs", "recent", "sum")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.deltas: deque[tuple[float, _Gain]] = deque()
        self.buckets: dict[int, int] = {}
        self.longs: deque[tuple[float, int, int]] = deque()
        self.attempts = 0
        self.failures = 0
        self.recent: deque[tuple[float, int, int]] = deque()
        self.count = 0
        self.failed_total = 0
        self.sum = 0.0

    def add(self, now: float, gain: _Gain) -> None:
        self.deltas.append((now, gain))
        for index, number in gain.buckets.items():
            self.buckets[index] = self.buckets.get(index, 0) + number
        entry = (now, gain.count, gain.failures)
        self.longs.append(entry)
        self.recent.append(entry)
        self.attempts += gain.count
        self.failures += gain.failures

    def forget(self, now: float) -> bool:
        """Drop what left the windows; returns whether nothing is left in any of them."""
        while self.deltas and self.deltas[0][0] <= now - QUANTILE_WINDOW:
            for index, number in self.deltas.popleft()[1].buckets.items():
                left = self.buckets.get(index, 0) - number
                if left > 0:
                    self.buckets[index] = left
                else:
                    self.buckets.pop(index, None)
        while self.longs and self.longs[0][0] <= now - ERROR_WINDOW:
            _, count, failures = self.longs.popleft()
            self.attempts -= count
            self.failures -= failures
        while self.recent and self.recent[0][0] <= now - RATE_WINDOW:
            self.recent.popleft()
        return not self.longs

    def largest(self) -> float | None:
        return max((gain.largest for _, gain in self.deltas), default=None)


class Windows:
    """Takes each tick's merged series and answers with figures over the recent past; memory is bounded by names."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, Labels], tuple[Mapping[int, int], int, float]] = {}
        self._active: set[str] = set()
        self._kinds: set[str] = set()
        self._cache: dict[str, Operation] = {}
        self._attempts: dict[tuple[str, Labels], Attempt | None] = {}
        self._scales: dict[str, float] = {}
        self._figures: dict[str, _Figures] = {}
        self._began: float | None = None
        self.untracked = 0

    def update(self, now: float, changed: Iterable[Series]) -> None:
        """Take the series that changed since the last call, as they stand at ``now`` (seconds, monotonic).

        The first call only sets the starting point: what was counted before is in the totals, not in the windows.
        """
        first = self._began is None
        if first:
            self._began = now
        gains: dict[str, _Gain] = {}
        for one in changed:
            if one.kind is not Kind.HISTOGRAM or one.histogram is None:
                continue
            key = (one.name, one.labels)
            if key not in self._attempts:
                self._attempts[key] = self._classify(one)
            which = self._attempts[key]
            if which is not None:
                self._take(key, which, one.histogram, None if first else gains)
        for name, gain in gains.items():
            self._figures[name].add(now, gain)
            self._active.add(name)
        for name in [name for name in self._active if self._figures[name].forget(now)]:
            self._active.discard(name)

    def _classify(self, one: Series) -> Attempt | None:
        which = attempt(one.name, one.labels, one.unit)
        if which is None or which.name in self._figures:
            return which
        if len(self._figures) >= MOST_OPERATIONS:
            self.untracked += 1
            return None
        self._figures[which.name] = _Figures(which.kind)
        self._kinds.add(which.kind)
        self._scales[which.name] = one.histogram.scale if one.histogram else 1.0
        return which

    def _take(
        self, key: tuple[str, Labels], which: Attempt, histogram: Histogram, gains: dict[str, _Gain] | None
    ) -> None:
        before, counted, summed = self._before.get(key, ({}, 0, 0.0))
        buckets = histogram.buckets
        total = sum(buckets.values())
        self._before[key] = (buckets, total, histogram.sum)
        figures = self._figures[which.name]
        figures.count += total - counted
        figures.failed_total += (total - counted) if which.failed else 0
        figures.sum += histogram.sum - summed
        self._cache.pop(which.name, None)
        if gains is None:
            return
        gained = {
            index: number - before.get(index, 0) for index, number in buckets.items() if number > before.get(index, 0)
        }
        if not gained:
            return
        gain = gains.setdefault(which.name, _Gain())
        gain.largest = max(gain.largest, min(histogram.max, float(bucket_bounds(max(gained))[1])))
        for index, number in gained.items():
            gain.buckets[index] = gain.buckets.get(index, 0) + number
            gain.count += number
            gain.failures += number if which.failed else 0

    def operations(self, now: float, in_flight: Mapping[str, int]) -> tuple[Operation, ...]:
        """Return the figures of every operation, worst first: by failures, then by the time that it cost."""
        found: list[Operation] = []
        for name, figures in self._figures.items():
            known = self._cache.get(name) if name not in self._active else None
            if known is None or known.in_flight != in_flight.get(name, 0):
                known = self._operation(now, name, figures, in_flight.get(name, 0))
                if name not in self._active:
                    self._cache[name] = known
            found.append(known)
        found.extend(
            Operation(name, 0, 0, number, None, None, None, None, None, None, None, None, None)
            for name, number in in_flight.items()
            if name not in self._figures
        )
        return tuple(sorted(found, key=worst_first))

    def _operation(self, now: float, name: str, figures: _Figures, in_flight: int) -> Operation:
        scale = self._scales[name]
        largest = figures.largest()
        p50, p75, p90, p95, p99 = quantiles(figures.buckets, (0.5, 0.75, 0.9, 0.95, 0.99), largest, scale)
        return Operation(
            name=name,
            count=figures.count,
            failures=figures.failed_total,
            in_flight=in_flight,
            rate=self._rate(now, figures.recent, 1),
            error_rate=figures.failures / figures.attempts if figures.attempts >= LEAST_ATTEMPTS else None,
            p50=p50,
            p75=p75,
            p90=p90,
            p95=p95,
            p99=p99,
            max=_scaled(largest, scale),
            mean=figures.sum / figures.count / scale if figures.count else None,
        )

    def _rate(self, now: float, recent: Iterable[tuple[float, int, int]], column: int) -> float | None:
        """Return a rate over the window, or over the shorter time that we have watched; None in the first instant."""
        if self._began is None or now <= self._began:
            return None
        return sum(entry[column] for entry in recent) / min(RATE_WINDOW, now - self._began)

    def window(self, now: float, kinds: frozenset[str]) -> Window:
        """Return figures over all operations of these kinds together; None where nothing of the kind exists."""
        if not kinds & self.kinds():
            return Window()
        # What is not active has nothing in any window.
        members = [(name, self._figures[name]) for name in self._active if self._figures[name].kind in kinds]
        if not members:
            quiet = self._rate(now, (), 1)
            return Window(rate=quiet, failure_rate=quiet)
        buckets: dict[int, int] = {}
        largest = 0.0
        for _, figures in members:
            for index, number in figures.buckets.items():
                buckets[index] = buckets.get(index, 0) + number
            largest = max(largest, figures.largest() or 0.0)
        attempts = sum(figures.attempts for _, figures in members)
        failures = sum(figures.failures for _, figures in members)
        rates = [self._rate(now, figures.recent, 1) for _, figures in members]
        failing = [self._rate(now, figures.recent, 2) for _, figures in members]
        scale = self._scales[members[0][0]]
        p50, p95, p99 = quantiles(buckets, (0.5, 0.95, 0.99), largest, scale)
        return Window(
            rate=_total(rates),
            failure_rate=_total(failing),
            attempts=attempts,
            failures=failures,
            error_share=failures / attempts if attempts >= LEAST_ATTEMPTS else None,
            p50=p50,
            p95=p95,
            p99=p99,
        )

    def kinds(self) -> frozenset[str]:
        """Return the kinds of operations that exist."""
        return frozenset(self._kinds)


def worst_first(operation: Operation) -> tuple[float, float, float, str]:
    """Order operations by recent error share, then failures, then the time that they take up, then the name."""
    cost = (operation.rate or 0.0) * (operation.mean or 0.0)
    return (-(operation.error_rate or 0.0), -float(operation.failures > 0) * operation.failures, -cost, operation.name)


def quantiles(
    buckets: Mapping[int, int], shares: Sequence[float], largest: float | None, scale: float
) -> list[float | None]:
    """Return several quantiles (shares ascending) in one pass, as :func:`~roadworthy.arena.layout.quantile` one."""
    total = sum(buckets.values())
    if total <= 0:
        return [None] * len(shares)
    found: list[float | None] = []
    seen = 0
    ordered = iter(sorted(buckets.items()))
    index = 0
    for share in shares:
        rank = max(1, math.ceil(share * total - 1e-9))
        while seen < rank:
            index, count = next(ordered)
            seen += count
        low, high = bucket_bounds(index)
        middle = low if high - low == 1 else (low + high) / 2
        found.append((min(middle, largest) if largest is not None else middle) / (scale or 1.0))
    return found


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value / (scale or 1.0)


def _total(values: Iterable[float | None]) -> float | None:
    told = [value for value in values if value is not None]
    return sum(told) if told else None
