"""A histogram's block, read again and again: in a second few of its buckets change, and only those are looked at.

Most who get the counts want to know how many there are or what was gained, so they are kept as the words that they are
and taken apart when somebody asks for a bucket.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from itertools import compress, count
from operator import ne
from struct import Struct
from typing import TYPE_CHECKING, Final

from roadworthy.arena.layout import BLOCK_SUM, BLOCK_WORDS, BUCKETS, WORD

if TYPE_CHECKING:
    from roadworthy.arena.records import RawSeries

BLOCK_BYTES: Final = BLOCK_WORDS * WORD
_COUNTS_END: Final = BUCKETS * WORD
_ZEROS: Final = bytes(_COUNTS_END)
_MARGIN: Final = 4
"""Words beside those in use that are looked at too: a distribution grows at its ends."""

_FIGURES: Final = Struct("=dd")
"""A block's sum and maximum, at ``BLOCK_SUM``."""

_stamps = itertools.count(1)


class Buckets(Mapping[int, int]):
    """Counts by bucket, in the order of the buckets; never changes.

    ``total`` is how many values there are, ``stamp`` tells these counts from any others.
    """

    __slots__ = ("_counts", "_first", "_gained", "_predecessor", "_taken", "stamp", "total")

    def __init__(self, words: array[int], first: int, before: Buckets | None = None) -> None:
        """Take the words of the buckets from ``first`` on; ``before`` are the counts of the same words until now."""
        self._counts = words
        self._first = first
        self.stamp = next(_stamps)
        self._predecessor = 0
        self._gained: dict[int, int] | None = None
        self._taken: dict[int, int] | None = None
        if before is None or not self._follow(before):
            self.total = sum(number for number in words if number > 0)

    def _follow(self, before: Buckets) -> bool:
        """Find what was gained; False when a count went back, which no program of ours does."""
        gained: dict[int, int] = {}
        now, was, first = self._counts, before._counts, self._first
        for index in compress(count(), map(ne, now, was)):
            gain = now[index] - was[index]
            if gain < 0 or was[index] < 0:
                return False
            gained[first + index] = gain
        self._gained = gained
        self._predecessor = before.stamp
        self.total = before.total + sum(gained.values())
        return True

    def gained_since(self, before: Mapping[int, int]) -> Mapping[int, int]:
        """Return what each bucket has more than ``before``, some earlier counts of the same series."""
        if self._gained is not None and isinstance(before, Buckets) and before.stamp == self._predecessor:
            return self._gained
        get = dict(before).get
        return {index: number - was for index, number in self.items() if number > (was := get(index, 0))}

    def _dict(self) -> dict[int, int]:
        taken = self._taken
        if taken is None:
            taken = {index: number for index, number in enumerate(self._counts, self._first) if number > 0}
            self._taken = taken
        return taken

    def __getitem__(self, index: int) -> int:
        return self._dict()[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self._dict())

    def __len__(self) -> int:
        return len(self._dict())

    def __bool__(self) -> bool:
        return self.total > 0

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Buckets) and (other.stamp == self.stamp or other.total != self.total):
            return other.stamp == self.stamp
        return self._dict() == (other._dict() if isinstance(other, Buckets) else other)

    # As a dict has none.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._dict())

    def keys(self) -> KeysView[int]:
        """Return the buckets that hold something."""
        return self._dict().keys()

    def values(self) -> ValuesView[int]:
        """Return their counts."""
        return self._dict().values()

    def items(self) -> ItemsView[int, int]:
        """Return both."""
        return self._dict().items()


class Block:
    """Brings the series of one histogram to what its block, ``at`` so many bytes into the blocks, holds."""

    __slots__ = ("_buckets", "_end", "_start", "at", "read", "series")

    def __init__(self, series: RawSeries, at: int) -> None:
        self.series = series
        self.at = at
        self.read = False
        """Whether it was ever read."""
        self._start = self._end = 0
        self._buckets: Buckets | None = None

    def take(self, data: bytes) -> None:
        """Take the block's bytes, as they are now, into the series."""
        start, end, before = self._start, self._end, self._buckets
        if before is None or not (data.startswith(_ZEROS[:start]) and data.startswith(_ZEROS[end:], end)):
            start, end = self._start, self._end = _used(data)
            before = None
        words = array("q")
        words.frombytes(data[start:end])
        self.series.buckets = self._buckets = Buckets(words, start // WORD, before)
        self.series.sum, self.series.max = _FIGURES.unpack_from(data, BLOCK_SUM * WORD)
        self.read = True


def _used(data: bytes) -> tuple[int, int]:
    """Return from which byte to which one there are counts, and a little room on both sides."""
    # Durations fill a few dozen neighbouring buckets: as one large number the zeros at both ends are seen at once.
    counts = int.from_bytes(data[:_COUNTS_END], "little")
    first = max(0, (counts & -counts).bit_length() - 1) // (8 * WORD)
    last = -(-counts.bit_length() // (8 * WORD))
    return max(0, first - _MARGIN) * WORD, min(BUCKETS, last + _MARGIN) * WORD
