"""What the whole-program rows share: pairs of starts, plain and attached, in alternating order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from benchmarks.rows import Line, Plan
from benchmarks.statistics import estimate, growth, loss, median

Figures = dict[str, float]
BUDGET = 0.01
WIDEST = 0.04
"""An interval of two points to each side: a wider one tells of the machine, and meets no budget of one point."""

SETTLE = 3.0
"""Seconds that both arms run before they are measured: the row is about a program that runs, not about its start."""

PAIRS = 8
QUICK_PAIRS = 3


def pairs(plan: Plan, what: str, start: Callable[[bool], Figures]) -> tuple[list[Figures], list[Figures]]:
    """Measure plain and attached in turns, every second pair the other way round; ``start(attached)`` does one."""
    found: dict[bool, list[Figures]] = {False: [], True: []}
    number = plan.pick(PAIRS, QUICK_PAIRS)
    for pair in range(number):
        for attached in (False, True) if pair % 2 == 0 else (True, False):
            found[attached].append(start(attached))
        shown = ", ".join(
            f"{name} {found[False][-1][name]:.4g} / {found[True][-1][name]:.4g}" for name in found[False][-1]
        )
        plan.say(f"{what}: pair {pair + 1} of {number}, plain / attached: {shown}")
    return found[False], found[True]


def _line(what: str, shares: Sequence[float], budget: float | None, note: str) -> Line:
    """Return a line that may only meet its budget if the machine was quiet enough to see a difference of that size."""
    found = estimate([shares])
    quiet = found.high - found.low <= WIDEST and found.high > -BUDGET
    valid = quiet or found.low > BUDGET
    return Line(what, found, "%", budget, note if valid or budget is None else f"{note}; too noisy to tell", valid)


def lost(what: str, name: str, plain: Sequence[Figures], attached: Sequence[Figures], unit: str) -> Line:
    """Return the line of a throughput: which share of it is lost when attached."""
    figures = _column(plain, name), _column(attached, name)
    return _line(what, loss(*figures), BUDGET, f"{median(figures[0]):.0f} {unit} plain, {_spread(figures[0])}")


def grown(
    what: str,
    name: str,
    plain: Sequence[Figures],
    attached: Sequence[Figures],
    unit: str,
    *,
    budget: float | None = BUDGET,
) -> Line:
    """Return the line of a time: by which share it grows when attached; ``unit`` is a thousandth of the figures'."""
    figures = _column(plain, name), _column(attached, name)
    note = f"{1000 * median(figures[0]):.3g} {unit} plain, {_spread(figures[0])}"
    return _line(what, growth(*figures), budget, note)


def _column(figures: Sequence[Figures], name: str) -> list[float]:
    return [one[name] for one in figures]


def _spread(values: Sequence[float]) -> str:
    """Say by how much the plain runs differ among themselves: no smaller difference can be seen in a single pair."""
    mean = fmean(values)
    return f"whose runs differ by {100 * (max(values) - min(values)) / mean:.1f} %" if mean else "which is nothing"
