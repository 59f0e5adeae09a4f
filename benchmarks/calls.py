"""The rows of single calls: @timed, operation, counter, event; attached, on a user's function, over the bare call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from benchmarks.rows import Line, NotMeasured, Plan, Row
from benchmarks.running import application, probe
from benchmarks.statistics import estimate, over, ratios

PEER = "prometheus-client"
OURS = "roadworthy"
BREADCRUMB = "sentry-sdk"
RING = "roadworthy, the ring alone"
EVENT_NS = 500
BREADCRUMB_NS = 1_400


class Measured(NamedTuple):
    """What several processes found, one list of rounds each, by arm; and whether all of them were attached."""

    rounds: list[dict[str, list[float]]]
    attached: bool


def _measure(plan: Plan, case: str, arms: Sequence[str], *, processes: int) -> Measured:
    found = []
    attached = OURS in arms
    for _ in range(processes):
        sizes = ["--rounds", str(plan.pick(40, 10)), "--slice", str(plan.pick(10, 4))]
        argv = ["benchmarks.probes.calls", case, "--arms", ";".join(arms), *sizes]
        found.append(probe(argv, name=application(case) if attached else ""))
    return Measured([one["ns"] for one in found], all(one["attached"] for one in found))


def _cost(found: Measured, arm: str) -> list[list[float]]:
    return [over(one[arm], one["bare"]) for one in found.rounds]


def _against(found: Measured, peer: str) -> list[list[float]]:
    return [ratios(one[OURS], one[peer], one["bare"]) for one in found.rounds]


def _note(found: Measured) -> str:
    return "" if found.attached else "no agent beside it: not the budget's condition"


def _others(plan: Plan, case: str, arms: Sequence[str]) -> Iterator[Line]:
    """Measure peers that change the interpreter around them, each in processes of its own."""
    for arm in arms:
        plan.say(f"{case}: {arm}")
        try:
            found = _measure(plan, case, [arm], processes=plan.pick(2, 1))
        except NotMeasured as error:
            yield Line(f"{case}: {arm}", None, "ns", note=str(error))
            continue
        yield Line(f"{case}: {arm}", estimate(_cost(found, arm)), "ns")


def _ratio_row(
    plan: Plan, case: str, *, budget: float, extra: Sequence[str] = (), others: Sequence[str] = ()
) -> list[Line]:
    plan.say(f"{case}: ours and {PEER}, in turns")
    found = _measure(plan, case, [OURS, *extra, PEER], processes=plan.pick(5, 2))
    ratio = Line(
        f"{case}: ours / {PEER}", estimate(_against(found, PEER)), "ratio", budget, _note(found), found.attached
    )
    each = [Line(f"{case}: {arm}", estimate(_cost(found, arm)), "ns") for arm in (OURS, *extra, PEER)]
    return [ratio, *each, *_others(plan, case, others)]


def timed(plan: Plan) -> list[Line]:
    """Measure ``@timed`` on an empty function, over the bare call."""
    return _ratio_row(plan, "timed", budget=0.22, others=("logfire",))


def operation(plan: Plan) -> list[Line]:
    """Measure an operation around nothing, without and with context, over an empty loop."""
    others = ("opentelemetry-sdk", "sentry-sdk", "logfire")
    return _ratio_row(plan, "operation", budget=0.60, extra=("roadworthy, with context",), others=others)


def counter(plan: Plan) -> list[Line]:
    """Measure a counter whose labels are bound."""
    return _ratio_row(plan, "counter", budget=0.35)


def event(plan: Plan) -> list[Line]:
    """Measure an event into the ring, whose budget is a time, and as a ratio holds on any machine."""
    plan.say("event: ours")
    found = _measure(plan, "event", [OURS, RING, BREADCRUMB], processes=plan.pick(5, 2))
    ours = Line("event: roadworthy", estimate(_cost(found, OURS)), "ns", EVENT_NS, _note(found), found.attached)
    ring = Line(
        f"event: {RING}", estimate(_cost(found, RING)), "ns", note="without redaction and bounds, as our own parts do"
    )
    peer = Line(f"event: {BREADCRUMB}, a breadcrumb", estimate(_cost(found, BREADCRUMB)), "ns")
    note = _note(found) or f"the budget of {EVENT_NS} ns, set where a breadcrumb took {BREADCRUMB_NS} ns"
    return [
        ours,
        ring,
        peer,
        Line(
            f"event: ours / {BREADCRUMB}",
            estimate(_against(found, BREADCRUMB)),
            "ratio",
            EVENT_NS / BREADCRUMB_NS,
            note,
            found.attached,
        ),
    ]


ROWS = (
    Row("timed", "`@timed` on an empty function, over the bare call", timed),
    Row("operation", "`with operation(...)`", operation),
    Row("counter", "counter, labels bound", counter),
    Row("event", "event into the ring", event),
)
