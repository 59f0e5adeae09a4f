"""The rows of policies: a successful call through breaker, retry, and retry + breaker + timeout, over the bare call."""

from __future__ import annotations

from benchmarks.calls import OURS, Measured
from benchmarks.rows import Line, Plan, Row
from benchmarks.running import application, probe
from benchmarks.statistics import estimate, over, ratios


def _measure(plan: Plan, case: str, peers: tuple[str, ...], processes: int) -> Measured:
    found = []
    for _ in range(processes):
        argv = ["benchmarks.probes.policy", case, "--arms", ";".join((OURS, *peers))]
        sizes = ["--rounds", str(plan.pick(40, 10)), "--slice", str(plan.pick(10, 4))]
        found.append(probe([*argv, *sizes], name=application(case)))
    return Measured([one["ns"] for one in found], all(one["attached"] for one in found))


def _row(plan: Plan, case: str, peers: tuple[str, ...], budget: float | None = None, beside: float = 0.0) -> list[Line]:
    """Measure ours against all peers in turns: what each costs over the bare call, and ours as a share of each.

    ``budget`` is in nanoseconds of the machine on which the first peer took ``beside``: as a share of that peer it
    holds on any.
    """
    plan.say(f"policy, {case}: ours and {', '.join(peers)}, in turns")
    found = _measure(plan, case, peers, plan.pick(5, 2))
    note = "" if found.attached else "no agent beside it: not the budget's condition"
    cost = {arm: estimate([over(one[arm], one["bare"]) for one in found.rounds]) for arm in (OURS, *peers)}
    lines = [Line(f"{case}: {OURS}", cost[OURS], "ns", budget, note, found.attached)]
    for peer in peers:
        share = estimate([ratios(one[OURS], one[peer], one["bare"]) for one in found.rounds])
        lines.append(Line(f"{case}: {peer}", cost[peer], "ns"))
        if budget is None or peer != peers[0]:
            lines.append(Line(f"{case}: ours / {peer}", share, "ratio"))
            continue
        told = f"the budget of {budget:.0f} ns, set where {peer} took {beside:.0f} ns"
        lines.append(Line(f"{case}: ours / {peer}", share, "ratio", budget / beside, note or told, found.attached))
    return lines


def breaker(plan: Plan) -> list[Line]:
    """Measure a success through a closed breaker."""
    return [
        *_row(plan, "breaker", ("pybreaker", "circuitbreaker", "pyresilience"), 200, 1_317),
        *_row(plan, "breaker-async", ("circuitbreaker", "aiobreaker", "purgatory", "hyx", "pyresilience")),
    ]


def retry(plan: Plan) -> list[Line]:
    """Measure a success at the first attempt through a retry."""
    return [
        *_row(plan, "retry", ("tenacity", "stamina", "backoff", "pyresilience"), 150, 10_700),
        *_row(plan, "retry-async", ("tenacity", "stamina", "backoff", "hyx", "pyresilience")),
    ]


def stack(plan: Plan) -> list[Line]:
    """Measure a success through retry, breaker and attempt timeout, awaited."""
    return _row(plan, "stack", ("hyx", "pyresilience", "tenacity+aiobreaker+asyncio.timeout"), 1_500, 9_400)


ROWS = (
    Row("breaker", "a policy with a breaker, success, over the bare call", breaker),
    Row("retry", "a policy with a retry, success, over the bare call", retry),
    Row("stack", "retry + breaker + timeout on a coroutine function, success, over the bare call", stack),
)
