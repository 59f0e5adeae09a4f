"""Figures of operations over sliding windows, from the differences of histograms between ticks. Pure.

Percentiles are over 60 s, rates over 10 s, error rates over 5 minutes with at least 20 attempts (CONFLICTS C-29).
Histograms of all processes are merged before they come here, and their differences are added bucket by bucket, so that
a percentile is that of all calls together, never a mean of percentiles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from roadworthy.arena.block import Buckets
from roadworthy.arena.layout import add_buckets, bucket_bounds
from roadworthy.types import Histogram, Labels, Operation, Series
from roadworthy.watch.sliding import RATE_WINDOW, Gain, Sliding, quantiles

LEAST_ATTEMPTS: Final = 20
MOST_OPERATIONS: Final = 2_000
MOST_DISTRIBUTIONS: Final = 300
"""Histograms other than operations of which the recent past is known."""

SERVER_ERROR: Final = 500

REQUESTS: Final = "http.server.request.duration"
OPERATIONS: Final = "operation.duration"
CLIENT: Final = "http.client.request.duration"
DATABASE: Final = "db.client.operation.duration"
MEMORY: Final = "operation.memory.change"
DISTRIBUTION: Final = "distribution"

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


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram that is no operation: how many values there were, and the 95th percentile of the last minute."""

    name: str
    count: int
    p95: float | None


def series_name(name: str, labels: Labels) -> str:
    """Return a series' name as it is shown and recorded: ``name{key=value,…}``."""
    return name + ("{" + ",".join(f"{key}={value}" for key, value in labels) + "}" if labels else "")


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


class _Figures(Sliding):
    """One operation: its windows and its totals."""

    __slots__ = ("count", "failed", "kind", "sum")

    def __init__(self, kind: str, scale: float) -> None:
        super().__init__(scale)
        self.kind = kind
        self.count = 0
        self.failed = 0
        self.sum = 0.0


class _Known:
    """One histogram as it was when it was taken last, and the operation that it counts for."""

    __slots__ = ("buckets", "count", "figures", "sum", "which")

    def __init__(self, which: Attempt, figures: _Figures) -> None:
        self.which = which
        self.figures = figures
        self.buckets: Mapping[int, int] = {}
        self.count = 0
        self.sum = 0.0


class Windows:
    """Takes each tick's merged series and answers with figures over the recent past; memory is bounded by names."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, Labels], _Known | None] = {}
        self._active: dict[_Figures, None] = {}
        self._cache: dict[str, Operation] = {}
        self._figures: dict[str, _Figures] = {}
        self._distributions: dict[str, _Figures] = {}
        self._together: dict[str, Sliding] = {}
        self._memory: dict[str, float | None] = {}
        self._began: float | None = None
        self.untracked = 0

    def update(self, now: float, changed: Iterable[Series]) -> None:
        """Take the series that changed since the last call, as they stand at ``now`` (seconds, monotonic).

        The first call only sets the starting point: what was counted before is in the totals, not in the windows.
        """
        first = self._began is None
        if first:
            self._began = now
        gains: dict[_Figures, Gain] = {}
        known = self._known
        for one in changed:
            if one.histogram is None:
                if one.name == MEMORY:
                    self._remember_memory(one)
                continue
            key = (one.name, one.labels)
            series = known.get(key)
            if series is None and key not in known:
                series = known[key] = self._classify(one)
            if series is not None:
                self._take(now, series, one.histogram, None if first else gains)
        self._spread(now, gains)
        for sliding in self._together.values():
            sliding.forget(now)
        for figures in [figures for figures in self._active if figures.forget(now)]:
            del self._active[figures]

    def _spread(self, now: float, gains: Mapping[_Figures, Gain]) -> None:
        """Add what was gained to each operation's windows and to those of its kind."""
        kinds: dict[str, Gain] = {}
        for figures, gain in gains.items():
            kind = figures.kind
            if kind != DISTRIBUTION:
                if kind not in kinds:
                    kinds[kind] = Gain(now)
                kinds[kind].add(gain)
            figures.add(gain)
            self._active[figures] = None
        for kind, gain in kinds.items():
            self._together[kind].add(gain)

    def _classify(self, one: Series) -> _Known | None:
        which = attempt(one.name, one.labels, one.unit)
        known, most = self._figures, MOST_OPERATIONS
        if which is None:
            which = Attempt(series_name(one.name, one.labels), failed=False, kind=DISTRIBUTION)
            known, most = self._distributions, MOST_DISTRIBUTIONS
        if which.name in known:
            return _Known(which, known[which.name])
        if len(known) >= most:
            self.untracked += 1
            return None
        scale = one.histogram.scale if one.histogram else 1.0
        figures = known[which.name] = _Figures(which.kind, scale)
        if which.kind != DISTRIBUTION:
            self._together.setdefault(which.kind, Sliding(scale))
        return _Known(which, figures)

    def _remember_memory(self, one: Series) -> None:
        name = dict(one.labels).get("operation", "?")
        if name in self._memory or len(self._memory) < MOST_OPERATIONS:
            self._memory[name] = one.value
            self._cache.pop(name, None)

    def _take(self, now: float, series: _Known, histogram: Histogram, gains: dict[_Figures, Gain] | None) -> None:
        before, counted, summed = series.buckets, series.count, series.sum
        buckets = series.buckets = histogram.buckets
        total = series.count = buckets.total if isinstance(buckets, Buckets) else sum(buckets.values())
        series.sum = histogram.sum
        which, figures = series.which, series.figures
        figures.count += total - counted
        figures.failed += (total - counted) if which.failed else 0
        figures.sum += histogram.sum - summed
        self._cache.pop(which.name, None)
        if gains is None:
            return
        gained = _gained(before, buckets)
        if not gained:
            return
        gain = Gain(now)
        gain.buckets = gained
        gain.largest = min(histogram.max, float(bucket_bounds(max(gained))[1]))
        gain.count = sum(gained.values())
        gain.failures = gain.count if which.failed else 0
        known = gains.setdefault(figures, gain)
        if known is not gain:
            known.add(gain)

    def operations(self, now: float, in_flight: Mapping[str, int]) -> tuple[Operation, ...]:
        """Return the figures of every operation, worst first: by failures, then by the time that it cost."""
        found: list[Operation] = []
        active, under_way = self._active, in_flight.get
        for name, figures in self._figures.items():
            if figures in active:
                found.append(self._operation(now, name, figures, under_way(name, 0)))
                continue
            known = self._cache.get(name)
            if known is None or known.in_flight != under_way(name, 0):
                known = self._cache[name] = self._operation(now, name, figures, under_way(name, 0))
            found.append(known)
        found.extend(
            Operation(name, 0, 0, number, None, None, None, None, None, None, None, None, None)
            for name, number in in_flight.items()
            if name not in self._figures
        )
        return tuple(sorted(found, key=worst_first))

    def _operation(self, now: float, name: str, figures: _Figures, in_flight: int) -> Operation:
        largest = figures.largest()
        p50, p75, p90, p95, p99 = figures.quantiles((0.5, 0.75, 0.9, 0.95, 0.99), largest)
        return Operation(
            name=name,
            count=figures.count,
            failures=figures.failed,
            in_flight=in_flight,
            rate=self._rate(now, figures.recent_count),
            error_rate=figures.failures / figures.attempts if figures.attempts >= LEAST_ATTEMPTS else None,
            p50=p50,
            p75=p75,
            p90=p90,
            p95=p95,
            p99=p99,
            max=_scaled(largest, figures.scale),
            mean=figures.sum / figures.count / figures.scale if figures.count else None,
            memory_change=self._memory.get(name),
        )

    def distributions(self) -> tuple[Distribution, ...]:
        """Return the histograms that are no operations, in the order in which they came."""
        return tuple(
            Distribution(name, one.count, one.quantiles((0.95,), one.largest())[0])
            for name, one in self._distributions.items()
        )

    def _rate(self, now: float, recent: int) -> float | None:
        """Return a rate over the window, or over the shorter time that we have watched; None in the first instant."""
        if self._began is None or now <= self._began:
            return None
        return recent / min(RATE_WINDOW, now - self._began)

    def work(self, now: float) -> Window:
        """Return figures over what the program does for others: its requests; without any, operations and timers."""
        kinds = self.kinds()
        return self.window(now, frozenset({"request"}) & kinds or frozenset({"operation", "timer"}))

    def window(self, now: float, kinds: frozenset[str]) -> Window:
        """Return figures over all operations of these kinds together; None where nothing of the kind exists."""
        members = [self._together[kind] for kind in sorted(kinds & self.kinds())]
        if not members:
            return Window()
        together = members[0]
        buckets = together.buckets
        for other in members[1:]:
            buckets = add_buckets((buckets, other.buckets))
        largest = max((most for one in members if (most := one.largest()) is not None), default=None)
        attempts = sum(one.attempts for one in members)
        failures = sum(one.failures for one in members)
        p50, p95, p99 = quantiles(buckets, (0.5, 0.95, 0.99), largest, together.scale)
        return Window(
            rate=self._rate(now, sum(one.recent_count for one in members)),
            failure_rate=self._rate(now, sum(one.recent_failures for one in members)),
            attempts=attempts,
            failures=failures,
            error_share=failures / attempts if attempts >= LEAST_ATTEMPTS else None,
            p50=p50,
            p95=p95,
            p99=p99,
        )

    def kinds(self) -> frozenset[str]:
        """Return the kinds of operations that exist."""
        return frozenset(self._together)


def _gained(before: Mapping[int, int], now: Mapping[int, int]) -> dict[int, int]:
    """Return what each bucket has more than before."""
    if isinstance(now, Buckets):
        return dict(now.gained_since(before))
    get = before.get
    return {index: number - was for index, number in now.items() if number > (was := get(index, 0))}


def worst_first(operation: Operation) -> tuple[float, float, float, str]:
    """Order operations by recent error share, then failures, then the time that they take up, then the name."""
    cost = (operation.rate or 0.0) * (operation.mean or 0.0)
    return (-(operation.error_rate or 0.0), -float(operation.failures > 0) * operation.failures, -cost, operation.name)


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value / (scale or 1.0)
