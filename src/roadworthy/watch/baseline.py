"""Figures of a good time, kept to compare later ones with (MON-32). Pure.

A baseline holds, for each figure, its median and how far it scatters (the median deviation). Later figures are *higher*
or *lower* only when they leave that scatter and also moved by a tenth; what was not measured at either time is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from roadworthy.watch.middle import median

SCHEMA: Final = 1
LEAST_POINTS: Final = 8
SCATTER: Final = 3.0
"""How many median deviations a figure may be away."""

MOVED: Final = 0.1
WORSE_WHEN_HIGHER: Final = (
    "cpu", "rss", "memory", "latency", "errors", "lag", "pause", "p50", "p95", "p99", "fds", "threads", "disk_used",
    "failures",
)  # fmt: skip
"""Words in a figure's name that tell that more of it is worse; of others nobody can say."""

Change = Literal["higher", "lower", "same", "unknown"]
Points = Sequence[tuple[float, float | None]]


@dataclass(frozen=True, slots=True)
class Level:
    """Where a figure was: its median, its median deviation, its largest value."""

    median: float
    scatter: float
    most: float
    points: int


@dataclass(frozen=True, slots=True)
class Baseline:
    """Levels over a time; ``start`` and ``end`` in wall seconds."""

    start: float
    end: float
    levels: Mapping[str, Level]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values that :meth:`from_json` reads back."""
        return {
            "schema": SCHEMA,
            "start": self.start,
            "end": self.end,
            "levels": {name: asdict(level) for name, level in self.levels.items()},
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Baseline:
        """Read it back; raises ``KeyError``, ``TypeError`` or ``ValueError`` for something else."""
        if raw["schema"] != SCHEMA:
            message = f"the baseline has schema {raw['schema']!r}, this version reads {SCHEMA}"
            raise ValueError(message)
        levels = {str(name): Level(**level) for name, level in raw["levels"].items()}
        return cls(float(raw["start"]), float(raw["end"]), levels)


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure then and now; ``ratio`` is now by then, None where then was 0 or either is unknown."""

    figure: str
    change: Change
    then: float | None
    now: float | None
    ratio: float | None
    worse: bool


def level(points: Points) -> Level | None:
    """Return where a figure was, None with fewer than eight values."""
    told = [value for _, value in points if value is not None]
    if len(told) < LEAST_POINTS:
        return None
    middle = median(told)
    return Level(middle, median(abs(value - middle) for value in told), max(told), len(told))


def take(found: Mapping[str, Points], start: float, end: float) -> Baseline:
    """Return the baseline of what the history told; figures with too few values are left out."""
    levels = {name: at for name, points in found.items() if (at := level(points)) is not None}
    return Baseline(start, end, levels)


def compare(baseline: Baseline, found: Mapping[str, Points]) -> tuple[Difference, ...]:
    """Return how each figure of the baseline stands now: what became worse first, then what moved most."""
    differences = [_difference(name, then, level(found.get(name, ()))) for name, then in baseline.levels.items()]
    return tuple(
        sorted(
            differences, key=lambda one: (not one.worse, one.change in {"same", "unknown"}, -_moved(one), one.figure)
        )
    )


def _difference(name: str, then: Level, now: Level | None) -> Difference:
    if now is None:
        return Difference(name, "unknown", then.median, None, None, worse=False)
    ratio = now.median / then.median if then.median else None
    away = abs(now.median - then.median)
    moved = away > SCATTER * max(then.scatter, now.scatter) and away > MOVED * abs(then.median)
    change: Change = "same" if not moved else "higher" if now.median > then.median else "lower"
    worse = change == "higher" and any(word in name for word in WORSE_WHEN_HIGHER)
    return Difference(name, change, then.median, now.median, ratio, worse)


def _moved(one: Difference) -> float:
    return abs(one.ratio - 1.0) if one.ratio is not None else 0.0
