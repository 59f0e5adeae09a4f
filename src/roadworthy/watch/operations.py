"""Figures of operations over sliding windows, from the differences of histograms between ticks. Pure; time is an argument.

Percentiles are over 60 s, rates over 10 s, error rates over 5 minutes with at least 20 attempts (CONFLICTS C-29).
Histograms of all processes are merged before they come here, and their differences are added bucket by bucket, so that
a percentile is that of all calls together, never a mean of percentiles.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from roadworthy.arena.layout import bucket_bounds, quantile
from roadworthy.types import Kind, Labels, Operation, Series

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


class _Figures:
    """The windows of one operation."""

    __slots__ = (
        "attempts",
        "buckets",
        "count",
        "deltas",
        "failed_total",
        "failures",
        "kind",
        "longs",
        "most",
        "recent",
        "sum",
    )

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.deltas: deque[tuple[float, dict[int, int], float]] = deque()
        self.buckets: dict[int, int] = {}
        self.longs: deque[tuple[float, int, int]] = deque()
        self.attempts = 0
        self.failures = 0
        self.recent: deque[tuple[float, int, int]] = deque()
        self.count = 0
        self.failed_total = 0
        self.sum = 0.0
        self.most = 0.0

    def add(self, now: float, delta: dict[int, int], largest: float, count: int, failures: int) -> None:
        self.deltas.append((now, delta, largest))
        for index, number in delta.items():
            self.buckets[index] = self.buckets.get(index, 0) + number
        self.longs.append((now, count, failures))
        self.recent.append((now, count, failures))
        self.attempts += count
        self.failures += failures

    def forget(self, now: float) -> None:
        while self.deltas and self.deltas[0][0] <= now - QUANTILE_WINDOW:
            for index, number in self.deltas.popleft()[1].items():
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


class Windows:
    """Takes each tick's merged series and answers with figures over the recent past; memory is bounded by names."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, Labels], Mapping[int, int]] = {}
        self._attempts: dict[tuple[str, Labels], Attempt | None] = {}
        self._scales: dict[str, float] = {}
        self._figures: dict[str, _Figures] = {}
        self._began: float | None = None
        self.untracked = 0

    def update(self, now: float, series: Iterable[Series]) -> None:
        """Take the series as they stand at ``now`` (seconds, monotonic); the first call only sets the starting point."""
        first = self._began is None
        if first:
            self._began = now
        deltas: dict[str, tuple[dict[int, int], float, int, int]] = {}
        totals: dict[str, tuple[int, int, float, float]] = {}
        for one in series:
            if one.kind is not Kind.HISTOGRAM or one.histogram is None:
                continue
            key = (one.name, one.labels)
            if key not in self._attempts:
                self._attempts[key] = self._classify(one)
            which = self._attempts[key]
            if which is None:
                continue
            self._take(key, which, one, first=first, deltas=deltas, totals=totals)
        for name, (delta, largest, count, failures) in deltas.items():
            if count:
                self._figures[name].add(now, delta, largest, count, failures)
        for name, (count, failed, total, most) in totals.items():
            figures = self._figures[name]
            figures.count, figures.failed_total, figures.sum, figures.most = count, failed, total, most
        for figures in self._figures.values():
            figures.forget(now)

    def _classify(self, one: Series) -> Attempt | None:
        which = attempt(one.name, one.labels, one.unit)
        if which is None or which.name in self._figures:
            return which
        if len(self._figures) >= MOST_OPERATIONS:
            self.untracked += 1
            return None
        self._figures[which.name] = _Figures(which.kind)
        self._scales[which.name] = one.histogram.scale if one.histogram else 1.0
        return which

    def _take(
        self,
        key: tuple[str, Labels],
        which: Attempt,
        one: Series,
        *,
        first: bool,
        deltas: dict[str, tuple[dict[int, int], float, int, int]],
        totals: dict[str, tuple[int, int, float, float]],
    ) -> None:
        histogram = one.histogram
        if histogram is None:
            return
        before = self._before.get(key)
        now_has = histogram.buckets
        total = sum(now_has.values())
        was = totals.get(which.name, (0, 0, 0.0, 0.0))
        totals[which.name] = (
            was[0] + total,
            was[1] + (total if which.failed else 0),
            was[2] + histogram.sum,
            max(was[3], histogram.max),
        )
        if before == now_has:
            return
        self._before[key] = now_has
        if before is None and first:
            return
        gained = {
            index: number - (before.get(index, 0) if before else 0)
            for index, number in now_has.items()
            if number > (before.get(index, 0) if before else 0)
        }
        if not gained:
            return
        count = sum(gained.values())
        largest = min(histogram.max, float(bucket_bounds(max(gained))[1]))
        delta, most, attempts, failures = deltas.get(which.name, ({}, 0.0, 0, 0))
        for index, number in gained.items():
            delta[index] = delta.get(index, 0) + number
        deltas[which.name] = (delta, max(most, largest), attempts + count, failures + (count if which.failed else 0))

    def operations(self, now: float, in_flight: Mapping[str, int]) -> tuple[Operation, ...]:
        """Return the figures of every operation, worst first: by failures, then by the time that it cost."""
        found = [self._operation(now, name, figures, in_flight.get(name, 0)) for name, figures in self._figures.items()]
        found.extend(
            Operation(name, 0, 0, number, None, None, None, None, None, None, None, None, None)
            for name, number in in_flight.items()
            if name not in self._figures
        )
        return tuple(sorted(found, key=worst_first))

    def _operation(self, now: float, name: str, figures: _Figures, in_flight: int) -> Operation:
        scale = self._scales[name]
        largest = max((most for _, _, most in figures.deltas), default=None)
        p50, p75, p90, p95, p99 = (
            _scaled(quantile(figures.buckets, q, largest), scale) for q in (0.5, 0.75, 0.9, 0.95, 0.99)
        )
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
        members = [(name, figures) for name, figures in self._figures.items() if figures.kind in kinds]
        if not members:
            return Window()
        buckets: dict[int, int] = {}
        largest = 0.0
        for _, figures in members:
            for index, number in figures.buckets.items():
                buckets[index] = buckets.get(index, 0) + number
            largest = max(largest, max((most for _, _, most in figures.deltas), default=0.0))
        attempts = sum(figures.attempts for _, figures in members)
        failures = sum(figures.failures for _, figures in members)
        rates = [self._rate(now, figures.recent, 1) for _, figures in members]
        failing = [self._rate(now, figures.recent, 2) for _, figures in members]
        scale = self._scales[members[0][0]]
        p50, p95, p99 = (_scaled(quantile(buckets, q, largest), scale) for q in (0.5, 0.95, 0.99))
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
        return frozenset(figures.kind for figures in self._figures.values())


def worst_first(operation: Operation) -> tuple[float, float, float, str]:
    """Order operations by recent error share, then failures, then the time that they take up, then the name."""
    cost = (operation.rate or 0.0) * (operation.mean or 0.0)
    return (-(operation.error_rate or 0.0), -float(operation.failures > 0) * operation.failures, -cost, operation.name)


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value / (scale or 1.0)


def _total(values: Iterable[float | None]) -> float | None:
    told = [value for value in values if value is not None]
    return sum(told) if told else None
