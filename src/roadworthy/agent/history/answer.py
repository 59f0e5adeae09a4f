"""Answers about the past from tiles and the newest seconds. Nothing here holds a lock while it decodes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from roadworthy.agent.history.tiers import MEAN, MOST, SPANS, STEPS
from roadworthy.agent.history.tile import COLUMNS, decode

MAXIMUM: Final = ":max"

Pairs = list[tuple[float, float | None]]
Second = tuple[float, float]


class Tiles(Protocol):
    """Where tiles are; ``column`` as the store numbers its series."""

    def blocks(self, tier: int, what: int, part: int, after: float, before: float) -> Sequence[tuple[int, bytes]]:
        """Return (start, content) of the tiles that start after ``after`` and before ``before``, in their order."""

    def first(self, tier: int) -> float | None:
        """Return where a tier begins, None when it is empty."""


def grid(start: float, end: float, points: int) -> tuple[float, float, int]:
    """Return (first, step, count): the steps that at most ``points`` pairs between ``start`` and ``end`` stand for."""
    step = max(1.0, (end - start) / points)
    first = math.floor(start / step) * step if step == 1.0 else start
    return first, step, min(points, math.ceil((end - first) / step))


def pairs(samples: Iterable[tuple[float, float, int]], first: float, step: float, count: int, *, most: bool) -> Pairs:
    """Return one pair for each step: the mean of its (time, value, seconds), or the maximum; None for a gap."""
    sums = [0.0] * count
    weights = [0] * count
    for at, value, weight in samples:
        index = int((at - first) / step)
        if not 0 <= index < count:
            continue
        if most:
            sums[index] = value if not weights[index] else max(sums[index], value)
        else:
            sums[index] += value * weight
        weights[index] += weight
    return [
        (first + index * step, (sums[index] if most else sums[index] / weights[index]) if weights[index] else None)
        for index in range(count)
    ]


def samples(
    tiles: Tiles, newest: Iterable[Second], column: int, start: float, end: float, step: float, *, most: bool
) -> Iterator[tuple[float, float, int]]:
    """Yield (time, value, seconds) of one series from the coarsest tier that is fine enough.

    Where that is not made yet finer ones answer, where finer ones are gone coarser ones; ``newest`` are the seconds
    that are in no tile yet.
    """
    coarsest = max(tier for tier, seconds in enumerate(STEPS) if seconds <= max(step, 1.0))
    part, place = divmod(column, COLUMNS)
    at = start
    for tier in range(2, -1, -1):
        # Older history exists only in coarser tiers: they answer first, up to where finer ones begin.
        stop = tiles.first(tier - 1) if tier > coarsest else end
        until = end if stop is None else min(stop, end)
        seconds, span = STEPS[tier], SPANS[tier]
        reached = at
        for begin, data in tiles.blocks(tier, MOST if most and tier else MEAN, part, at - span, until):
            for index, value in enumerate(decode(data, place).get(place, ())):
                when = begin + index * seconds
                if at - seconds < when < until and value == value:  # noqa: PLR0124 - NaN differs from itself
                    yield max(float(when), at), value, seconds
            reached = max(reached, float(begin + span))
        at = min(reached, until)
    for second, value in newest:
        if at <= second < end:
            yield second, value, 1
