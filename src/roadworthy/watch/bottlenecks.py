"""Where time and memory go, by what the operations recorded (MON-30), and what is measured badly (MON-23). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from roadworthy.types import Operation, Series


MOST: Final = 10
TRIVIAL: Final = 0.001
"""Seconds below which measuring single runs says little (MON-23)."""

TRIVIAL_RATE: Final = 10.0
"""Runs a second from which on they are many: fewer cost too little for an advice."""

LEAST_RUNS: Final = 20
HEAVY_SHARE: Final = 0.2
TAIL: Final = 10.0
"""How many times its median an operation's p99 may be."""

TAIL_LEAST: Final = 0.05
FAILING: Final = 0.05
MANY_NAMES: Final = 5
"""Names that differ only in a number from which on the number counts as part of the name by mistake."""

GROWTH: Final = "operation.memory.growth"
_VARIABLE: Final = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|\b[0-9a-fA-F]{12,}\b|\d+")
_WORD: Final = re.compile(r"[a-z0-9]+")
_CASE: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """An operation that costs: ``load`` is how many of it run at once in the mean, ``share`` its part of all load."""

    operation: str
    load: float
    share: float
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MemoryImpact:
    """What runs of an operation added to the resident memory; bytes. Only those that ask for it are measured."""

    operation: str
    runs: int
    gained: float
    mean: float
    most: float


@dataclass(frozen=True, slots=True)
class Hint:
    """How measuring could tell more, or cost less."""

    operation: str
    hint: str


def bottlenecks(operations: Iterable[Operation], most: int = MOST) -> tuple[Bottleneck, ...]:
    """Return the operations that cost most and why each is one, the most costly first.

    One that contains another also counts the time of that one. What has no rate now is none.
    """
    told = [one for one in operations if one.rate and one.mean is not None]
    loads = {one.name: (one.rate or 0.0) * (one.mean or 0.0) for one in told}
    total = sum(loads.values())
    found = []
    for one in told:
        share = loads[one.name] / total if total > 0 else 0.0
        why = tuple(_why(one, loads[one.name], share))
        if why:
            found.append(Bottleneck(one.name, loads[one.name], share, why))
    return tuple(sorted(found, key=lambda one: (-one.load, one.operation))[:most])


def _why(one: Operation, load: float, share: float) -> Iterable[str]:
    if share >= HEAVY_SHARE and load >= 0.01:  # noqa: PLR2004 - a hundredth of one thread
        yield f"{share:.0%} of the time of all operations"
    if one.p50 and one.p99 is not None and one.p99 >= TAIL_LEAST and one.p99 > TAIL * one.p50:
        yield f"uneven: the p99 is {one.p99 / one.p50:.0f} times the median"
    if one.error_rate is not None and one.error_rate >= FAILING:
        yield f"{one.error_rate:.0%} of its runs fail"


def memory_impact(series: Iterable[Series], most: int = MOST) -> tuple[MemoryImpact, ...]:
    """Return what operations that measure memory added to it, the one that added most first."""
    found = []
    for one in series:
        runs = sum(one.histogram.buckets.values()) if one.name == GROWTH and one.histogram is not None else 0
        if one.histogram is not None and runs:
            scale = one.histogram.scale or 1.0
            gained = one.histogram.sum / scale
            name = dict(one.labels).get("operation", "?")
            found.append(MemoryImpact(name, runs, gained, gained / runs, one.histogram.max / scale))
    return tuple(sorted(found, key=lambda one: (-one.gained, one.operation))[:most])


def hints(operations: Sequence[Operation], most: int = MOST) -> tuple[Hint, ...]:
    """Return what could be measured better: trivial operations, numbers in names, one thing under two names."""
    found = [
        Hint(
            one.name,
            f"half of its runs take less than 1 ms ({one.p50 * 1e6:.1f} µs), {one.rate:.0f} a second: measure the "
            "batch around them, or sample them (--sample-performance)",
        )
        for one in sorted(operations, key=lambda one: -(one.rate or 0.0))
        if one.p50 is not None and one.p50 < TRIVIAL and (one.rate or 0.0) >= TRIVIAL_RATE and one.count >= LEAST_RUNS
    ]
    patterns: dict[str, list[str]] = {}
    spellings: dict[str, list[str]] = {}
    for one in operations:
        pattern = _VARIABLE.sub("#", one.name)
        if pattern != one.name:
            patterns.setdefault(pattern, []).append(one.name)
        words = "".join(_WORD.findall(_CASE.sub(" ", one.name).lower()))
        spellings.setdefault(words, []).append(one.name)
    found += [
        Hint(pattern, f"{len(names)} operations differ only in a number: put it into the context, not into the name")
        for pattern, names in sorted(patterns.items())
        if len(names) >= MANY_NAMES
    ]
    found += [
        Hint(names[0], f"the same thing under several names? {', '.join(sorted(names))}")
        for names in spellings.values()
        if len(names) > 1
    ]
    return tuple(found[:most])
