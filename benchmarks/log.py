"""The row of the logs: one JSON line with redaction and correlation against structlog's fast way without redaction."""

from __future__ import annotations

from benchmarks.calls import OURS, Measured
from benchmarks.rows import Line, Plan, Row
from benchmarks.running import application, probe
from benchmarks.statistics import estimate, over, ratios

PEER = "structlog"
STANDARD = "python-json-logger"
THROUGH = "roadworthy, through logging"
BUDGET = 1.0


def _measure(plan: Plan, arms: tuple[str, ...], *, attached: bool) -> Measured:
    found = []
    for _ in range(plan.pick(5, 2)):
        sizes = ["--rounds", str(plan.pick(40, 10)), "--slice", str(plan.pick(10, 4))]
        argv = ["benchmarks.probes.log", "line", "--arms", ";".join(arms), *sizes]
        found.append(probe(argv, name=application("log") if attached else ""))
    return Measured([one["ns"] for one in found], all(one["attached"] for one in found))


def log(plan: Plan) -> list[Line]:
    """Measure a line under ``roadworthy run``, where it goes into the flight recorder too, and in a plain program."""
    arms = (OURS, THROUGH, PEER, STANDARD)
    plan.say(f"log: ours, {PEER} and {STANDARD}, in turns")
    found = _measure(plan, arms, attached=True)
    plain = _measure(plan, arms, attached=False)
    note = "" if found.attached else "no agent beside it: not the budget's condition"

    def share(of: Measured, ours: str, peer: str) -> list[list[float]]:
        return [ratios(one[ours], one[peer], one["bare"]) for one in of.rounds]

    cost = {arm: estimate([over(one[arm], one["bare"]) for one in found.rounds]) for arm in arms}
    return [
        Line(f"log: ours / {PEER}", estimate(share(found, OURS, PEER)), "ratio", BUDGET, note, found.attached),
        Line(
            f"log: ours / {PEER}, without an agent",
            estimate(share(plain, OURS, PEER)),
            "ratio",
            note="as a program has it that only calls roadworthy.log",
        ),
        Line(f"log: ours / {STANDARD}", estimate(share(plain, OURS, STANDARD)), "ratio"),
        Line(
            f"log: {THROUGH} / {STANDARD}",
            estimate(share(plain, THROUGH, STANDARD)),
            "ratio",
            note="the same records of logging, through our handler",
        ),
        *[Line(f"log: {arm}", cost[arm], "ns") for arm in arms],
    ]


ROWS = (Row("log", "a JSON log line with redaction and correlation, over the bare statement", log),)
