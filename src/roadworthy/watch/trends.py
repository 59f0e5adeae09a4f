"""Where a figure is going: robust slope, label, summary and time to its limit (RES-05, 06, 08, 09). Pure.

Theil-Sen (the median of the slopes between pairs) is not moved by single spikes: up to 29 % of the points may be
wild. A trend counts only when it is larger than the noise around it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from roadworthy.watch.middle import median

if TYPE_CHECKING:
    from roadworthy.types import Snapshot

Point = tuple[float, float | None]
Points = Sequence[Point]
Label = Literal["increasing", "decreasing", "steady", "unknown"]

LEAST_POINTS: Final = 8
MOST_POINTS: Final = 120
STEADY: Final = 0.05
"""Change over the whole window, as a share of the typical level, below which a figure is steady."""

FIGURES: Final = (
    "app.cpu_percent", "app.rss", "app.memory_percent", "app.threads", "app.fds", "app.processes", "app.read_bytes",
    "app.write_bytes", "system.cpu_percent", "system.memory_used", "system.memory_percent", "system.disk_used",
    "system.net_received", "system.net_sent", "requests.rate", "latency.p95", "errors.rate", "in_flight",
    "roadworthy.agent_rss", "roadworthy.keeper_rss",
)  # fmt: skip
"""Figures of the history whose trends are worth knowing."""

LABELS: Final = {
    "app.cpu_percent": "cpu_trend",
    "app.rss": "memory_trend",
    "app.threads": "threads_trend",
    "app.fds": "fds_trend",
    "system.cpu_percent": "system_cpu_trend",
    "system.memory_used": "system_memory_trend",
    "system.disk_used": "disk_trend",
    "system.net_received": "network_received_trend",
    "system.net_sent": "network_sent_trend",
    "requests.rate": "request_rate_trend",
    "latency.p95": "latency_trend",
    "errors.rate": "error_rate_trend",
    "roadworthy.agent_rss": "own_memory_trend",
}
"""What the label of a figure's trend is called where conditions are written (RES-06)."""


@dataclass(frozen=True, slots=True)
class Trend:
    """A figure over a window; ``slope`` is per second, ``limit_in`` seconds until the limit at this rate."""

    label: Label
    least: float | None = None
    mean: float | None = None
    most: float | None = None
    last: float | None = None
    slope: float | None = None
    limit_in: float | None = None
    points: int = 0
    seconds: float = 0.0


def slope(points: Sequence[tuple[float, float]]) -> float | None:
    """Return the Theil-Sen slope per second, or None with fewer than two different times."""
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for index, earlier in enumerate(points)
        for later in points[index + 1 :]
        if later[0] > earlier[0]
    ]
    return median(slopes) if slopes else None


def thin(points: Sequence[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """Return at most ``most`` points: the median of each equal part, so that a spike does not become the sample."""
    if len(points) <= most:
        return list(points)
    step = len(points) / most
    thinned = []
    for index in range(most):
        part = points[int(index * step) : max(int(index * step) + 1, int((index + 1) * step))]
        thinned.append((part[len(part) // 2][0], median(value for _, value in part)))
    return thinned


def trend(points: Sequence[Point], *, limit: float | None = None, steady: float = STEADY) -> Trend:
    """Return where ``points`` (time, value or None for a gap) are going; unknown with fewer than eight values.

    ``limit`` adds the time left until it is reached at this rate (0 when it was).
    """
    told = [(at, value) for at, value in points if value is not None]
    if not told:
        return Trend("unknown")
    values = [value for _, value in told]
    seconds = told[-1][0] - told[0][0]
    summary = (min(values), sum(values) / len(values), max(values), values[-1])
    if len(told) < LEAST_POINTS or seconds <= 0:
        return Trend("unknown", *summary, points=len(told), seconds=seconds)
    thinned = thin(told)
    rate = slope(thinned) or 0.0
    change = rate * seconds
    level = median(abs(value) for value in values)
    middle = median(value - rate * (at - told[0][0]) for at, value in thinned)
    noise = median(abs(value - rate * (at - told[0][0]) - middle) for at, value in thinned)
    label: Label = "steady"
    if abs(change) > max(steady * level, 2 * noise) and change != 0:
        label = "increasing" if change > 0 else "decreasing"
    limit_in: float | None = None
    if limit is not None and label == "increasing":
        now = middle + rate * seconds
        limit_in = 0.0 if now >= limit else (limit - now) / rate
    return Trend(label, *summary, slope=rate, limit_in=limit_in, points=len(told), seconds=seconds)


def limits(snapshot: Snapshot) -> dict[str, float | None]:
    """Return the limit that each figure runs against; a figure without one is not in it, None when it is not known."""
    used, system = snapshot.resources, snapshot.system
    found: dict[str, float | None] = {
        "app.rss": used.memory_limit,
        "app.memory_percent": 100.0,
        "app.fds": used.fd_limit,
        "system.memory_used": system.memory_total,
        "system.memory_percent": 100.0,
        "system.disk_used": system.disk_total,
    }
    return found


def labels(trends: Mapping[str, Trend]) -> dict[str, Label]:
    """Return the label of each trend that has a name in conditions: ``{"memory_trend": "increasing", …}``."""
    return {LABELS[name]: one.label for name, one in trends.items() if name in LABELS}
