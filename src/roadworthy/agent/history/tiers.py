"""Three resolutions of the same figures, and how a coarser tile is made of finer ones. Pure.

A coarser tile keeps mean and maximum of what it stands for, because extremes between samples count; of single seconds
the two are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from roadworthy.agent.history.tile import GAP, SAMPLES, decode, encode

STEPS: Final = (1, 10, 60)
"""Seconds of one sample in each tier; a tile is 60 samples, so it spans a minute, ten minutes, an hour."""

SPANS: Final = tuple(step * SAMPLES for step in STEPS)
KEEP_FINE: Final = 3_600 + 600
KEEP_MIDDLE: Final = 86_400 + 3_600
MEAN, MOST = 0, 1


class Block(NamedTuple):
    """One tile: tier, whether it holds means or maxima, its first second, which hundred of series, and its content."""

    tier: int
    what: int
    start: int
    part: int
    data: bytes


class Rolled:
    """One coarser tile in the making: :meth:`fold` finer ones into it, then :meth:`blocks`."""

    def __init__(self, tier: int, start: int, part: int) -> None:
        self.tier = tier
        self.start = start
        self.part = part
        self._means: dict[int, list[float]] = {}
        self._mosts: dict[int, list[float]] = {}

    def fold(self, what: int, at: int, data: bytes) -> None:
        """Take in a tile of the tier below; raises ``ValueError`` when it is broken."""
        ratio = STEPS[self.tier] // STEPS[self.tier - 1]
        offset = (at - self.start) // STEPS[self.tier]
        for column, values in decode(data).items():
            if what == MEAN:
                _place(self._means, column, offset, _shrunk(values, ratio, most=False))
            if what == MOST or self.tier == 1:
                _place(self._mosts, column, offset, _shrunk(values, ratio, most=True))

    def block(self, what: int) -> Block | None:
        """Return the tile of means or maxima, None when there is nothing in it."""
        data = encode(self._means if what == MEAN else self._mosts)
        return Block(self.tier, what, self.start, self.part, data) if data else None


def _place(into: dict[int, list[float]], column: int, offset: int, values: Sequence[float]) -> None:
    row = into.get(column)
    if row is None:
        row = into[column] = [GAP] * SAMPLES
    row[offset : offset + len(values)] = values


def _shrunk(values: Sequence[float], ratio: int, *, most: bool) -> list[float]:
    """Return one figure for every ``ratio`` of ``values``, of those that are there."""
    first = values[0]
    if values.count(first) == len(values):
        return [first] * (len(values) // ratio)
    total = sum(values)
    if total == total:  # noqa: PLR0124 - NaN differs from itself
        slices = [values[number::ratio] for number in range(ratio)]
        return list(map(max, *slices)) if most else [sum(told) / ratio for told in zip(*slices, strict=True)]
    found: list[float] = []
    for index in range(0, len(values), ratio):
        told = [value for value in values[index : index + ratio] if value == value]  # noqa: PLR0124 - as above
        found.append(GAP if not told else max(told) if most else sum(told) / len(told))
    return found
