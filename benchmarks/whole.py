"""What the whole-program rows share: starts of both arms at once, short slices in turns, and what is made of them.

In each start plain and attached are alive together and run in turns of a second, plain, attached, attached, plain, and
so on; the arm whose turn it is not is suspended. Two neighbours are a pair: the machine had no time to become another
one between them. Half of the starts begin with the other arm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from benchmarks.arms import Disturbed
from benchmarks.rows import Line, NotMeasured, Plan
from benchmarks.statistics import estimate, growth, loss, median, percentile

if TYPE_CHECKING:
    from benchmarks.arms import Arm, Arms

Figures = dict[str, float]
Compare = Callable[[Sequence[float], Sequence[float]], list[float]]
BUDGET = 0.01
WIDEST = 0.04
"""An interval of two points to each side: a wider one tells of the machine, and meets no budget of one point."""

SLICE = 1.0
"""Seconds of each turn that are counted: a whole number of the agent's ticks, whose times suspending does not move."""

LEAD = 0.15
"""Seconds at the beginning of each turn that are not counted: caches fill, and what became due meanwhile is done."""

SHARE = 0.7
STARTS, QUICK_STARTS = 6, 3
"""With fewer than six the true median lies beyond all of them once in sixteen times or more: they decide nothing."""

SPARE = 2
"""More starts at the most, in the place of those in which suspending showed."""

FAST, QUICK_FAST = 12, 8
CALM, QUICK_CALM = 8, 4


@dataclass(frozen=True, slots=True)
class Slice:
    """What was measured of one arm in one turn: figures, and times of single requests or frames in seconds."""

    attached: bool
    figures: Figures
    times: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Start:
    """The turns of one start, at saturation and at a fixed rate, in the order in which they were taken."""

    fast: Sequence[Slice]
    calm: Sequence[Slice]
    rate: float


def starts(plan: Plan, what: str, measure: Callable[[bool], Start]) -> list[Start]:
    """Measure some starts, every second of which begins with the attached arm (``measure(True)``).

    Another one takes the place of one in which suspending showed; raises NotMeasured when there are too many of those.
    """
    number = plan.pick(STARTS, QUICK_STARTS)
    found: list[Start] = []
    for _ in range(number + SPARE):
        told = f"{what}: start {len(found) + 1} of {number}"
        try:
            found.append(measure(len(found) % 2 == 1))
        except Disturbed as error:
            plan.say(f"{told} does not count: {error}")
            continue
        lost_by = ", ".join(f"{100 * one:.1f}" for one in _pairwise(found[-1].fast, _rate, loss))
        plan.say(f"{told}: lost, pair by pair: {lost_by} %; p99 {100 * grown_tail(found[-1:], 0.99)[0]:+.1f} %")
        if len(found) == number:
            return found
    raise NotMeasured(f"suspending disturbed {number + SPARE - len(found)} of {number + SPARE} starts")


def in_turns(
    plan: Plan,
    arms: Arms,
    fast: Callable[[Arm], Slice],
    calm: Callable[[Arm, float], Slice],
    *,
    attached_first: bool,
) -> Start:
    """Let both arms take turns as fast as they go, then at 70 % of the rate that the plain one reached."""
    whose = order(plan.pick(FAST, QUICK_FAST), attached_first=attached_first)
    measured = [fast(arms.turn(attached=attached)) for attached in whose]
    rate = SHARE * median([one.figures["rate"] for one in measured if not one.attached])
    whose = order(plan.pick(CALM, QUICK_CALM), attached_first=attached_first)
    found = Start(measured, [calm(arms.turn(attached=attached), rate) for attached in whose], rate)
    arms.check()
    return found


def order(number: int, *, attached_first: bool) -> list[bool]:
    """Return whose turn it is, True for attached: A B B A A B B A, so that neither is the later one of every pair."""
    return [attached_first ^ (place % 4 in {1, 2}) for place in range(number)]


def pairs(slices: Sequence[Slice]) -> Iterator[tuple[Slice, Slice]]:
    """Return neighbours as (plain, attached); raises ValueError when they are of the same arm, or one is alone."""
    for one, other in zip(slices[::2], slices[1::2], strict=True):
        if one.attached == other.attached:
            raise ValueError("two neighbours of the same arm are no pair")
        yield (other, one) if one.attached else (one, other)


def grown_tail(found: Sequence[Start], share: float) -> list[float]:
    """Return, start by start, by which share a percentile of the times at the fixed rate grows when attached.

    All times of an arm in a start count together: what happens in few of its turns is not lost.
    """
    tails: dict[bool, list[float]] = {False: [], True: []}
    for start in found:
        for attached, tail in tails.items():
            pooled = [took for one in start.calm if one.attached == attached for took in one.times]
            tail.append(percentile(pooled, share))
    return growth(tails[False], tails[True])


def lost(what: str, found: Sequence[Start], unit: str) -> Line:
    """Return the line of the throughput at saturation: which share of it is lost when attached."""
    shares = [_pairwise(start.fast, _rate, loss) for start in found]
    return _line(what, shares, BUDGET, _note(found, _rate, 1.0, unit))


def late(what: str, found: Sequence[Start], unit: str) -> list[Line]:
    """Return the lines of the time at the fixed rate: p99, which has a budget, and what says more about a noisy one."""
    plain = [took for start in found for one in start.calm if not one.attached for took in one.times]
    rate = median([start.rate for start in found])
    tail = [[one] for one in grown_tail(found, 0.99)]
    lines = [
        _line(f"{what}, p99", tail, BUDGET, f"{_three(1000 * percentile(plain, 0.99))} ms plain, at {rate:.0f} {unit}")
    ]
    for name, share in (("p99 of a second", 0.99), ("median", 0.5)):

        def of_times(one: Slice, share: float = share) -> float:
            return percentile(one.times, share)

        shares = [_pairwise(start.calm, of_times, growth) for start in found]
        lines.append(Line(f"{what}, {name}", estimate(shares), "%"))
    return lines


def dearer(what: str, found: Sequence[Start]) -> Line:
    """Return the line of the CPU time that the program uses for one request or frame at saturation."""
    shares = [_pairwise(start.fast, _cpu, growth) for start in found]
    return Line(what, estimate(shares), "%", note=_note(found, _cpu, 1000.0, "ms"))


def taken_beside(what: str, found: Sequence[Start]) -> Line:
    """Return the line of what keeper and agent take of a core while the program is at saturation."""
    return Line(what, estimate([[one.figures["beside"] for one in start.fast if one.attached] for start in found]), "%")


def _pairwise(slices: Sequence[Slice], figure: Callable[[Slice], float], compare: Compare) -> list[float]:
    both = [(figure(plain), figure(attached)) for plain, attached in pairs(slices)]
    return compare([one for one, _ in both], [other for _, other in both])


def _rate(one: Slice) -> float:
    return one.figures["rate"]


def _cpu(one: Slice) -> float:
    return one.figures["cpu"]


def _line(what: str, shares: Sequence[Sequence[float]], budget: float, note: str) -> Line:
    """Return a line that only decides about its budget on enough starts, and only meets it on a quiet machine."""
    found = estimate(shares)
    quiet = found.high - found.low <= WIDEST and found.high > -BUDGET
    if len(shares) < STARTS:
        note, valid = f"{note}; too few starts to tell", False
    elif not (valid := quiet or found.low > BUDGET):
        note = f"{note}; too noisy to tell"
    return Line(what, found, "%", budget, note, valid)


def _note(found: Sequence[Start], figure: Callable[[Slice], float], factor: float, unit: str) -> str:
    """Say what the plain slices measured, and by how much neighbours of the same arm differ from each other."""
    plain = [[figure(one) for one in start.fast if not one.attached] for start in found]
    middle = median([value for one in plain for value in one])
    apart = median([abs(b / a - 1) for one in plain for a, b in pairwise(one)])
    return f"{_three(factor * middle)} {unit} plain, whose turns differ by {100 * apart:.1f} % from one to the next"


def _three(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three figures
