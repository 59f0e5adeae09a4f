"""What a benchmark is asked and what it answers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.statistics import Estimate, Verdict, judge


@dataclass(frozen=True, slots=True)
class Plan:
    """How thoroughly to measure, and where the parts run.

    ``beside`` says which CPU keeper and agent may use in the whole-program rows: "same" puts them on the program's own,
    where all that they take is taken from the program; "free" leaves them to the kernel.
    """

    quick: bool = False
    beside: str = "free"

    def pick(self, full: int, quick: int) -> int:
        """Return the number for this plan."""
        return quick if self.quick else full

    def say(self, text: str) -> None:
        """Tell how far the run is, on standard error."""
        print(f"  {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: a figure, its unit, and the budget that it must not exceed (None: for information)."""

    what: str
    figure: Estimate | None
    unit: str
    budget: float | None = None
    note: str = ""
    valid: bool = True

    @property
    def verdict(self) -> Verdict | None:
        """Return what the figure says about the budget; None without a budget. What was not measured is missed."""
        if self.budget is None:
            return None
        if self.figure is None:
            return Verdict.MISSED
        return judge(self.figure, self.budget) if self.valid else Verdict.UNDECIDED


@dataclass(frozen=True, slots=True)
class Row:
    """One row of DESIGN's budget table."""

    name: str
    title: str
    measure: Callable[[Plan], Sequence[Line]]
    usual: bool = True


class NotMeasured(Exception):
    """A row could not be measured; the message says why and becomes its line in the table."""
