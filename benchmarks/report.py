"""The table: on the terminal while it is measured, and in RESULTS.md for those who were not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.machine import peers
from benchmarks.statistics import Verdict

if TYPE_CHECKING:
    from benchmarks.rows import Line, Plan, Row

REPEAT = (
    "Repeat it on a quiet machine: `make bench` (about twenty minutes), `make bench ARGS=--quick`, or some rows: "
    '`make bench ARGS="timed web"`. How it is measured and what that cannot show: '
    "[docs/benchmarks.md](../docs/benchmarks.md)."
)
LEGEND = (
    "✓: the whole 95 % interval lies within the budget. ✗: it lies outside, or there is no figure. "
    "?: the interval holds the budget, or the budget's condition was not given: no ✓. No sign: for information."
)
SIGNS = {Verdict.MET: "✓", Verdict.MISSED: "✗", Verdict.UNDECIDED: "?", None: ""}
HEADER = ("what", "figure", "95 % interval", "n", "budget", "", "note")


@dataclass(frozen=True, slots=True)
class Answer:
    """One row with its lines and the seconds that it took."""

    row: Row
    lines: Sequence[Line]
    took: float


def cells(line: Line) -> tuple[str, ...]:
    """Return the table cells of one line."""
    budget = "" if line.budget is None or not line.unit else f"≤ {_number(line.budget, line.unit)}"
    sign = SIGNS[line.verdict]
    if line.figure is None:
        return (line.what, "not measured", "", "", budget, sign, " ".join(line.note.split()))
    found = line.figure
    between = f"{_number(found.low, line.unit)} … {_number(found.high, line.unit)}"
    return (line.what, _number(found.value, line.unit), between, str(found.measurements), budget, sign, line.note)


def plain(lines: Sequence[Line]) -> str:
    """Return lines for the terminal."""
    rows = [cells(line) for line in lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER) - 1)]
    padded = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    ]
    return "\n".join(line.rstrip() for line in padded)


def markdown(answers: Sequence[Answer], plan: Plan, date: str, machine: Mapping[str, str]) -> str:
    """Return RESULTS.md."""
    kind = "a quick run: it shows that everything works, its figures decide nothing" if plan.quick else "a full run"
    about = [
        *(f"- {name}: {text}" for name, text in machine.items()),
        "- against: " + ", ".join(f"{name} {version}" for name, version in peers().items()),
        f"- keeper and agent in the whole-program rows: {_beside(plan)}",
    ]
    parts = [
        "# Benchmarks: what was measured",
        f"{date}, {kind}. {REPEAT}",
        "\n".join(about),
        f"Budgets: {summary(answers)}. {LEGEND}",
        *(f"## {answer.row.title}\n\n{_table(answer.lines)}" for answer in answers),
    ]
    return "\n\n".join(parts) + "\n"


def summary(answers: Sequence[Answer]) -> str:
    """Return how many budgets were met, missed and left undecided, in words."""
    verdicts = [line.verdict for answer in answers for line in answer.lines]
    return ", ".join(f"{verdicts.count(verdict)} {verdict.value}" for verdict in Verdict)


def _beside(plan: Plan) -> str:
    if plan.beside == "same":
        return (
            "on the program's own CPU, the load client alone on another: all that they take is taken from the program"
        )
    return "on whichever CPU the kernel chooses; the program and the load client on one each"


def _table(lines: Sequence[Line]) -> str:
    rows = [HEADER, ["---"] * len(HEADER), *(cells(line) for line in lines)]
    return "\n".join(_table_row(row) for row in rows)


def _table_row(row: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def _number(value: float, unit: str) -> str:
    if unit == "%":
        return f"{100 * value:.2f} %"
    digits = 3 if unit == "ratio" else (0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2)  # noqa: PLR2004 - three figures
    text = f"{value:,.{digits}f}".replace(",", " ")
    return text if unit == "ratio" else f"{text} {unit}"
