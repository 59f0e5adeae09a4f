"""Sliding windows over what histograms gain from tick to tick. Pure.

What is gained is kept in chunks of a few seconds, those that are complete packed in arrays, so that a thousand busy
operations take a few megabytes; nothing older than a window is ever in it, and its far end is at most a chunk short.
The queues are lists and arrays: a dozen entries, the first of which goes now and then; a deque takes much more.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from operator import itemgetter
from typing import Final

from roadworthy.arena.layout import BUCKETS, bucket_bounds

RATE_WINDOW: Final = 10.0
QUANTILE_WINDOW: Final = 60.0
QUANTILE_CHUNK: Final = 5.0
ERROR_WINDOW: Final = 300.0
ERROR_CHUNK: Final = 10.0


class Gain:
    """What was gained in one tick, later in one chunk, from ``at`` on; buckets and ``largest`` in stored units."""

    __slots__ = ("_packed", "at", "buckets", "count", "failures", "largest")

    def __init__(self, at: float) -> None:
        self.at = at
        self.buckets: dict[int, int] = {}
        self.count = 0
        self.failures = 0
        self.largest = 0.0
        self._packed: tuple[array[int], array[int]] | None = None

    def pack(self) -> None:
        """Take a third of the memory from now on; nothing can be added any more, and ``buckets`` are empty."""
        self._packed = array("H", self.buckets), array("q", self.buckets.values())
        self.buckets = {}

    def items(self) -> Iterable[tuple[int, int]]:
        """Return each bucket and its count, also of a packed one."""
        return self.buckets.items() if self._packed is None else zip(*self._packed, strict=True)

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
        "_indexes",
        "_largest",
        "_numbers",
        "_recent",
        "_told",
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
        self._chunks: list[Gain] = []
        self._errors = array("d")
        """When a chunk of the error window began, its attempts and its failures; the next one's; and so on."""
        self._recent: list[tuple[float, int, int]] = []
        self._largest: float | None = None
        self._indexes: list[int] = []
        self._numbers: Callable[[Mapping[int, int]], tuple[int, ...]] | None = None
        self._told: tuple[Sequence[float], float | None, list[float | None]] | None = None

    def add(self, gain: Gain) -> None:
        """Take what was gained at ``gain.at``; the gain is kept."""
        now, count, failures = gain.at, gain.count, gain.failures
        if gain.buckets:
            _pour(gain.buckets, self.buckets)
            self._told = None
        if self._largest is None or gain.largest > self._largest:
            self._largest = gain.largest
        if self._chunks and now - self._chunks[-1].at < QUANTILE_CHUNK:
            self._chunks[-1].add(gain)
        else:
            if self._chunks:
                self._chunks[-1].pack()
            self._chunks.append(gain)
        if self._errors and now - self._errors[-3] < ERROR_CHUNK:
            self._errors[-2] += count
            self._errors[-1] += failures
        else:
            self._errors.extend((now, count, failures))
        self._recent.append((now, count, failures))
        self.attempts += count
        self.failures += failures
        self.recent_count += count
        self.recent_failures += failures

    def forget(self, now: float) -> bool:
        """Drop what left the windows; returns whether nothing is left in any of them."""
        while self._recent and self._recent[0][0] <= now - RATE_WINDOW:
            _, count, failures = self._recent.pop(0)
            self.recent_count -= count
            self.recent_failures -= failures
        if self._chunks and self._chunks[0].at <= now - QUANTILE_WINDOW:
            self._drop(now - QUANTILE_WINDOW)
        while self._errors and self._errors[0] <= now - ERROR_WINDOW:
            self.attempts -= int(self._errors[1])
            self.failures -= int(self._errors[2])
            del self._errors[:3]
        return not self._errors

    def _drop(self, until: float) -> None:
        """Take out the chunks that began at ``until`` or before."""
        buckets = self.buckets
        while self._chunks and self._chunks[0].at <= until:
            for index, number in self._chunks.pop(0).items():
                left = buckets[index] - number
                if left > 0:
                    buckets[index] = left
                else:
                    del buckets[index]
                    self._numbers = None
        self._largest = max([chunk.largest for chunk in self._chunks], default=None)
        self._told = None

    def largest(self) -> float | None:
        """Return the largest value of the last minute in stored units, None without values."""
        return self._largest

    def quantiles(self, shares: Sequence[float], largest: float | None) -> list[float | None]:
        """Return quantiles of the last minute, none above ``largest`` (stored units)."""
        told = self._told
        if told is not None and told[0] == shares and told[1] == largest:
            return told[2]
        buckets = self.buckets
        # Which buckets there are seldom changes from one second to the next: their order is kept.
        numbers = self._numbers
        if numbers is None or len(self._indexes) != len(buckets):
            self._indexes = sorted(buckets)
            numbers = self._numbers = _numbers(self._indexes)
        found = _quantiles(self._indexes, list(accumulate(numbers(buckets))), shares, largest, self.scale)
        self._told = (shares, largest, found)
        return found


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
    return _quantiles(indexes, list(accumulate(map(buckets.__getitem__, indexes))), shares, largest, scale)


def _quantiles(
    indexes: Sequence[int], sums: Sequence[int], shares: Sequence[float], largest: float | None, scale: float
) -> list[float | None]:
    """Return quantiles from the buckets in order and the running sum of their counts."""
    total = sums[-1] if sums else 0
    if total <= 0:
        return [None] * len(shares)
    most = math.inf if largest is None else largest
    divisor = scale or 1.0
    found: list[float | None] = []
    for share in shares:
        rank = math.ceil(share * total - 1e-9)
        middle = _MIDDLE[indexes[bisect_left(sums, rank if rank > 0 else 1)]]
        found.append((middle if middle < most else most) / divisor)  # noqa: FURB136 - a call costs three times this
    return found


def _numbers(indexes: Sequence[int]) -> Callable[[Mapping[int, int]], tuple[int, ...]]:
    """Return what reads the counts of these buckets in this order."""
    if len(indexes) > 1:
        return itemgetter(*indexes)
    return lambda buckets: tuple(buckets[index] for index in indexes)  # of one key itemgetter makes no tuple


def _pour(gained: Mapping[int, int], into: dict[int, int]) -> None:
    get = into.get
    for index, number in gained.items():
        into[index] = get(index, 0) + number
