"""What an hour of figures gives cause to suspect: memory that only rises, a machine that is busy for long. Pure.

These are suspicions, shown as warnings; they make nothing degraded. Whoever wants to be woken by one makes an alert
rule of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from roadworthy.types import Finding, Severity, Status
from roadworthy.watch.trends import trend
from roadworthy.watch.words import span

if TYPE_CHECKING:
    from roadworthy.watch.trends import Points

LEAST_SECONDS: Final = 600.0
"""A start-up that fills its caches is no leak: so long it must rise, and in the second half too."""

LEAST_RISE: Final = 4 << 20
"""Bytes an hour below which nobody needs to know."""

LEAST_SHARE: Final = 0.05
"""Rise an hour, as a share of what is used, below which nobody needs to know."""

HOUR: Final = 3600.0
BUSY_PERCENT: Final = 80.0
BUSY_SECONDS: Final = 300.0
"""CONFLICTS C-09: the system's CPU above 80 % for five minutes."""


def rising_memory(subject: str, points: Points, *, limit: float | None = None) -> Finding | None:
    """Return the suspicion of a leak when memory (bytes) rose over at least ten minutes, in both halves of them."""
    told = [(at, value) for at, value in points if value is not None]
    if len(told) < 2 or told[-1][0] - told[0][0] < LEAST_SECONDS:  # noqa: PLR2004 - a rise has two ends
        return None
    whole = trend(told, limit=limit, steady=0.01)
    middle = (told[0][0] + told[-1][0]) / 2
    later = trend([pair for pair in told if pair[0] >= middle], steady=0.005)
    if whole.label != "increasing" or later.label != "increasing" or not whole.slope or not later.slope:
        return None
    rise = min(whole.slope, later.slope) * HOUR
    if rise < max(LEAST_RISE, LEAST_SHARE * (whole.mean or 0.0)):
        return None
    left = f"; at this rate its limit is reached in {span(whole.limit_in)}" if whole.limit_in else ""
    reason = f"rises by {rise / (1 << 20):.0f} MiB an hour, for {span(whole.seconds)} now: a leak is suspected{left}"
    return Finding(subject, Status.OK, reason, Severity.WARNING)


def busy_machine(points: Points) -> Finding | None:
    """Return the warning that the machine's CPU was above 80 % in the mean over five minutes."""
    told = [(at, value) for at, value in points if value is not None]
    recent = [pair for pair in told if pair[0] >= told[-1][0] - BUSY_SECONDS]
    if not recent or recent[-1][0] - recent[0][0] < BUSY_SECONDS * 0.9:
        return None
    mean = sum(value for _, value in recent) / len(recent)
    if mean <= BUSY_PERCENT:
        return None
    reason = f"{mean:.0f} % busy in the mean over 5 min, above {BUSY_PERCENT:.0f} %"
    return Finding("system CPU", Status.OK, reason, Severity.WARNING)


def busy_program(points: Points, warning: float, critical: float) -> Finding | None:
    """Return the warning that the program used more of the CPU it has than a threshold, in the mean of five minutes."""
    told = [(at, value) for at, value in points if value is not None]
    recent = [pair for pair in told if pair[0] >= told[-1][0] - BUSY_SECONDS]
    if not recent or recent[-1][0] - recent[0][0] < BUSY_SECONDS * 0.9:
        return None
    mean = sum(value for _, value in recent) / len(recent)
    return _over("program CPU", mean, warning, critical, f"{mean:.0f} % of the CPU it has, in the mean over 5 min", "%")


def large_worker(rss: float | None, warning: float, critical: float) -> Finding | None:
    """Return the warning that the largest worker has more memory than a threshold (MB of 1000 x 1000 bytes)."""
    if rss is None:
        return None
    size = rss / 1e6
    return _over("worker memory", size, warning, critical, f"the largest worker has {size:.0f} MB", "MB")


def _over(subject: str, value: float, warning: float, critical: float, said: str, unit: str) -> Finding | None:
    if value <= min(warning, critical):
        return None
    bad = value > critical
    limit = f"{critical if bad else warning:g} {unit}"
    reason = f"{said}, above {limit} ({'critical' if bad else 'warning'})"
    return Finding(subject, Status.OK, reason, Severity.CRITICAL if bad else Severity.WARNING)
