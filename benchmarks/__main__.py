"""Run the benchmarks: all rows of DESIGN's budget table, or those that are named.

python -m benchmarks [ROW …] [--quick] [--beside same|free] [--results FILE]

Exits with 0 when it could measure, whatever the figures are: no budget is a timed test. A run of all rows writes
benchmarks/RESULTS.md; a run of some rows writes only where --results says.
"""

from __future__ import annotations

import argparse
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import beside, calls, kills, log, movie, page, policy, text, web, weight
from benchmarks.machine import described
from benchmarks.report import Answer, markdown, plain, summary
from benchmarks.rows import Line, NotMeasured, Plan, Row
from benchmarks.running import keep_off_the_program
from roadworthy._clock import monotonic, wall

ROWS: tuple[Row, ...] = (
    *calls.ROWS,
    *policy.ROWS,
    *log.ROWS,
    *text.ROWS,
    *weight.ROWS,
    *beside.ROWS,
    *kills.ROWS,
    *movie.ROWS,
    *web.ROWS,
    *page.ROWS,
)
RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> int:
    """Measure, print and write what was asked for; return 2 when a row is unknown."""
    options = _options()
    known = {row.name: row for row in ROWS}
    unknown = [name for name in options.rows if name not in known]
    if unknown:
        print(f"benchmarks: no row is called {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    chosen = [known[name] for name in options.rows] or [row for row in ROWS if row.usual]
    plan = Plan(quick=options.quick, beside=options.beside)
    machine = described()
    keep_off_the_program()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # ends what was started, also the suspended
    answers = [_answer(row, plan) for row in chosen]
    results = options.results or (None if options.rows else RESULTS)
    print(f"\nBudgets: {summary(answers)}; {sum(answer.took for answer in answers):.0f} s")
    if results is not None:
        date = datetime.fromtimestamp(wall(), UTC).strftime("%Y-%m-%d %H:%M UTC")
        results.write_text(markdown(answers, plan, date, machine), encoding="utf-8")
        print(f"Written to {results}")
    return 0


def _answer(row: Row, plan: Plan) -> Answer:
    """Measure one row; what cannot be measured becomes a line that says why, and counts as missed."""
    began = monotonic()
    try:
        lines = list(row.measure(plan))
    except NotMeasured as error:
        lines = [Line(row.name, None, "", budget=0.0, note=str(error))]
    took = monotonic() - began
    print(f"\n{row.title}  ({row.name}, {took:.0f} s)\n{plain(lines)}", flush=True)
    return Answer(row, lines, took)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Ours against the peers, as ratios.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(row.name for row in ROWS))
    parser.add_argument("--quick", action="store_true", help="see that everything runs; the figures decide nothing")
    parser.add_argument("--beside", choices=("same", "free"), default="free", help="the CPU of keeper and agent")
    parser.add_argument("--results", type=Path, metavar="FILE", help="where to write the results")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
