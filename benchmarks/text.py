"""The row of the scrape: many series to Prometheus text, against prometheus_client in the same process."""

from __future__ import annotations

from benchmarks.calls import OURS, PEER
from benchmarks.rows import Line, NotMeasured, Plan, Row
from benchmarks.running import probe
from benchmarks.statistics import estimate

MS = 1e-6
BUDGET = 0.03


def text(plan: Plan) -> list[Line]:
    """Measure 10 000 counters and gauges, which the budget is about, and 500 histograms, for information."""
    lines: list[Line] = []
    for kind, series, budget in (("scalars", 10_000, BUDGET), ("histograms", 500, None)):
        plan.say(f"text: {series} {kind}")
        sizes = ["--kind", kind, "--series", str(series), "--rounds", str(plan.pick(20, 6))]
        try:
            found = [probe(["benchmarks.probes.text", *sizes]) for _ in range(plan.pick(4, 2))]
        except NotMeasured as error:
            lines.append(Line(f"text: {series} {kind}", None, "ratio", budget, str(error)))
            continue
        pairs = [[a / b for a, b in zip(one["ns"][OURS], one["ns"][PEER], strict=True)] for one in found]
        size = found[0]["bytes"]
        note = f"every figure new each time; {size[OURS] / 1000:.0f} kB against {size[PEER] / 1000:.0f} kB"
        lines.append(Line(f"text: {series} {kind}, ours / {PEER}", estimate(pairs), "ratio", budget, note))
        lines += [
            Line(f"text: {series} {kind}, {arm}", estimate([one["ns"][arm] for one in found]).scaled(MS), "ms")
            for arm in found[0]["ns"]
        ]
    return lines


ROWS = (Row("text", "10 000 series to Prometheus text", text),)
