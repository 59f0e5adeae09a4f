"""Sliding windows over what histograms gain from tick to tick. Pure.

What is gained is kept in chunks of a few seconds, so that a thousand busy operations take a few megabytes; nothing
older than a window is ever in it, and its far end is at most a chunk short.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Final

from roadworthy.arena.layout import BUCKETS, bucket_bounds

RATE_WINDOW: Final = 10.0
QUANTILE_WINDOW: Final = 60.0
QUANTILE_CHUNK: Final = 5.0
ERROR_WINDOW: Final = 300.0
ERROR_CHUNK: Final = 10.0


class Gain:
    """What was gained in one tick, later in one chunk, from ``at`` on; buckets and ``largest`` in stored units."""

    __slots__ = ("at", "buckets", "count", "failures", "largest")

    def __init__(self, at: float) -> None:
        self.at = at
        self.buckets: dict[int, int] = {}
        self.count = 0
        self.failures = 0
        self.largest = 0.0

    def add(self, other: Gain) -> None:
        """Take another gain in; the other stays as it is."""
        _pour(other.buckets, self.buckets)
        self.count += other.count
        self.failures += other.failures
        self.largest = max(self.largest, other.largest)


class Sliding:
    """The windows of one operation, or of all of one kind."""

    __slots__ = (
        "_chunks",
        "_errors",
        "_recent",
        "attempts",
        "buckets",
        "failures",
        "recent_count",
        "recent_failures",
        "scale",
    )

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.buckets: dict[int, int] = {}
        """Counts of the last minute, by bucket."""
        self.attempts = 0
        self.failures = 0
        """Of the last five minutes."""
        self.recent_count = 0
        self.recent_failures = 0
        """Of the last ten seconds."""
        self._chunks: deque[Gain] = deque()
        self._errors: deque[list[float]] = deque()
        self._recent: deque[tuple[float, int, int]] = deque()

    def add(self, gain: Gain) -> None:
        """Take what was gained at ``gain.at``; the gain is kept."""
        now, count, failures = gain.at, gain.count, gain.failures
        _pour(gain.buckets, self.buckets)
        if self._chunks and now - self._chunks[-1].at < QUANTILE_CHUNK:
            self._chunks[-1].add(gain)
        else:
            self._chunks.append(gain)
        if self._errors and now - self._errors[-1][0] < ERROR_CHUNK:
            self._errors[-1][1] += count
            self._errors[-1][2] += failures
        else:
            self._errors.append([now, count, failures])
        self._recent.append((now, count, failures))
        self.attempts += count
        self.failures += failures
        self.recent_count += count
        self.recent_failures += failures

    def forget(self, now: float) -> bool:
        """Drop what left the windows; returns whether nothing is left in any of them."""
        while self._recent and self._recent[0][0] <= now - RATE_WINDOW:
            _, count, failures = self._recent.popleft()
            self.recent_count -= count
            self.recent_failures -= failures
        while self._chunks and self._chunks[0].at <= now - QUANTILE_WINDOW:
            for index, number in self._chunks.popleft().buckets.items():
                left = self.buckets[index] - number
                if left > 0:
                    self.buckets[index] = left
                else:
                    del self.buckets[index]
        while self._errors and self._errors[0][0] <= now - ERROR_WINDOW:
            _, attempts, failed = self._errors.popleft()
            self.attempts -= int(attempts)
            self.failures -= int(failed)
        return not self._errors

    def largest(self) -> float | None:
        """Return the largest value of the last minute in stored units, None without values."""
        return max([chunk.largest for chunk in self._chunks], default=None)

    def quantiles(self, shares: Sequence[float], largest: float | None) -> list[float | None]:
        """Return quantiles of the last minute, none above ``largest`` (stored units)."""
        return quantiles(self.buckets, shares, largest, self.scale)


_MIDDLE: Final = [
    float(low) if high - low == 1 else (low + high) / 2
    for low, high in (bucket_bounds(index) for index in range(BUCKETS))
]


def quantiles(
    buckets: Mapping[int, int], shares: Sequence[float], largest: float | None, scale: float
) -> list[float | None]:
    """Return several quantiles in one pass, as :func:`~roadworthy.arena.layout.quantile` does one; None without values.

    ``largest`` is in stored units, the answers are in units.
    """
    indexes = sorted(buckets)
    sums = list(accumulate(map(buckets.__getitem__, indexes)))
    total = sums[-1] if sums else 0
    if total <= 0:
        return [None] * len(shares)
    found: list[float | None] = []
    for share in shares:
        rank = max(1, math.ceil(share * total - 1e-9))
        middle = _MIDDLE[indexes[bisect_left(sums, rank)]]
        found.append((min(middle, largest) if largest is not None else middle) / (scale or 1.0))
    return found


def _pour(gained: Mapping[int, int], into: dict[int, int]) -> None:
    get = into.get
    for index, number in gained.items():
        into[index] = get(index, 0) + number
