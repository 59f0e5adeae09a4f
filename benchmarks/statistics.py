"""The arithmetic of a comparison: paired ratios, their median, and how far it may be trusted. Pure.

Every comparison here is a list of groups: what was measured in one process, or in one start of a program, belongs
together, because it shares a memory layout, a hash seed and luck. The confidence interval is a cluster bootstrap: it
draws groups first and measurements within them second, so that many of them in one lucky process do not look like
certainty.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

CONFIDENCE = 0.95
RESAMPLES = 2_000


class Verdict(StrEnum):
    """What a measurement says about a budget."""

    MET = "met"
    MISSED = "missed"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median, the interval that holds the true one with 95 % confidence, and how many measurements it rests on."""

    value: float
    low: float
    high: float
    measurements: int

    def scaled(self, factor: float) -> Estimate:
        """Return the same estimate in another unit; ``factor`` is positive."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor, self.measurements)


def median(values: Sequence[float]) -> float:
    """Return the middle value, the mean of both middle ones for an even number; raises ValueError without values."""
    if not values:
        raise ValueError("the median of nothing")
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that ``share`` (0..1) of the values do not exceed; raises ValueError without values."""
    if not values:
        raise ValueError("a percentile of nothing")
    ordered = sorted(values)
    rank = -(-round(share * len(ordered) * 1e9) // 1_000_000_000)  # the ceiling, without floating point's last digit
    return ordered[min(len(ordered), max(1, rank)) - 1]


def estimate(groups: Sequence[Sequence[float]], resamples: int = RESAMPLES, seed: int = 20) -> Estimate:
    """Return the median of all values and its confidence interval; the same values give the same answer.

    With one group the pairs in it are drawn. With a single value the interval is that value, which says nothing: judge
    by ``measurements``. Raises ValueError without values.
    """
    filled = [list(group) for group in groups if group]
    everything = [value for group in filled for value in group]
    centre = median(everything)
    draw = random.Random(seed)  # noqa: S311 - resampling, not secrecy
    centres = []
    for _ in range(resamples):
        chosen = filled if len(filled) == 1 else draw.choices(filled, k=len(filled))
        centres.append(median([value for group in chosen for value in draw.choices(group, k=len(group))]))
    tail = (1 - CONFIDENCE) / 2
    return Estimate(centre, percentile(centres, tail), percentile(centres, 1 - tail), len(everything))


def over(ours: Sequence[float], base: Sequence[float]) -> list[float]:
    """Return what each measurement costs over the bare one beside it; negative where noise was larger than the cost."""
    return [mine - bare for mine, bare in zip(ours, base, strict=True)]


def ratios(ours: Sequence[float], peer: Sequence[float], base: Sequence[float]) -> list[float]:
    """Return, pair by pair, our cost over bare code divided by the peer's; without a cost of the peer no ratio."""
    pairs = zip(over(ours, base), over(peer, base), strict=True)
    return [mine / theirs for mine, theirs in pairs if theirs > 0]


def loss(plain: Sequence[float], attached: Sequence[float]) -> list[float]:
    """Return, pair by pair, the share of throughput lost when attached: 0.01 is one per cent, negative is a gain."""
    return [1 - mine / bare for bare, mine in zip(plain, attached, strict=True)]


def growth(plain: Sequence[float], attached: Sequence[float]) -> list[float]:
    """Return, pair by pair, by which share a time or a size grows when attached."""
    return [mine / bare - 1 for bare, mine in zip(plain, attached, strict=True)]


def judge(found: Estimate, most: float) -> Verdict:
    """Say whether a budget of at most ``most`` holds: only an interval that lies wholly on one side decides."""
    if found.high <= most:
        return Verdict.MET
    return Verdict.MISSED if found.low > most else Verdict.UNDECIDED
