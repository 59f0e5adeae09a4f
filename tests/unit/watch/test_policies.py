"""What the series and events of policies become: states, rates, reasons."""

import math

import pytest

from roadworthy.types import BreakerState, Event, EventKind, Kind, Series, Severity, Status
from roadworthy.watch.policies import STATES, Held, Policies, code, findings

NOW = 1_795_000_000.0


def series(name, value, kind=Kind.COUNTER, **labels):
    return Series(f"resilience.{name}", kind, tuple(sorted(labels.items())), value=value)


def calls(policy="db", **outcomes):
    return [series("calls", n, policy=policy, outcome=outcome) for outcome, n in outcomes.items()]


def state(word, policy="db"):
    return series("breaker.state", float(STATES.index(BreakerState(word))), Kind.GAUGE, policy=policy)


def changed(to, at=NOW, policy="db", **fields):
    text = f"breaker {policy}: closed -> {to}"
    return Event(EventKind.STATE, at, "warning", f"policy:{policy}", text, 1, fields={"to": to, **fields})


def one(policies, mono=0.0, declared=(), forced=None):
    (found,) = policies.summaries(mono, declared, forced or {})
    return found


def test_nothing_is_known_of_no_policy():
    assert Policies().summaries(0.0, (), {}) == ()


def test_of_a_policy_that_only_counts_breaker_and_rate_are_unknown():
    policies = Policies()
    policies.take(100.0, NOW, calls(success=3, failure=1), None, ())
    found = one(policies, 100.0)
    assert (found.breaker, found.rate, found.failure_rate, found.retries) == (BreakerState.UNKNOWN, None, None, None)
    assert found.calls == {"success": 3, "failure": 1}


def test_a_policy_that_was_declared_without_a_breaker_has_none_also_when_its_processes_have_gone():
    policies = Policies()
    told = {"name": "db", "breaker": None}
    assert one(policies, declared=[told]).breaker is None
    assert one(policies).breaker is None
    told = {"name": "db", "breaker": {"state": "closed"}}
    assert one(policies, declared=[told]).breaker is BreakerState.CLOSED
    assert one(policies).breaker is BreakerState.UNKNOWN


def test_rates_are_of_the_last_minute_and_refusals_do_not_count_as_failures():
    policies = Policies()
    policies.take(0.0, NOW, calls(success=1000, failure=500), None, ())
    for second in range(10, 130, 10):
        steps = second // 10
        grown = calls(success=1000 + 6 * steps, failure=500 + 2 * steps, breaker_open=2 * steps, neutral=10 * steps)
        policies.take(float(second), NOW + second, grown, None, ())
    found = one(policies, 120.0)
    assert found.rate == pytest.approx(2.0, rel=0.1)
    assert found.failure_rate == pytest.approx(0.25)


def test_a_failure_rate_without_calls_is_unknown_and_not_nought():
    policies = Policies()
    policies.take(0.0, NOW, calls(breaker_open=1), None, ())
    policies.take(30.0, NOW, calls(breaker_open=500), None, ())
    found = one(policies, 30.0)
    assert found.failure_rate is None
    assert found.rate == pytest.approx(499 / 30)


def test_an_event_says_why_since_when_and_until_when_a_breaker_is_open():
    policies = Policies()
    policies.take(
        10.0, NOW, [state("open")], None, [changed("open", NOW - 0.4, reason="6 of 10 failed", open_for="5.0")]
    )
    found = one(policies, 10.0)
    assert (found.breaker, found.since, found.reason, found.retry_at) == (
        BreakerState.OPEN, NOW - 0.4, "6 of 10 failed", NOW + 4.6,
    )  # fmt: skip


def test_a_change_without_an_event_is_dated_by_the_look_that_saw_it():
    policies = Policies()
    policies.take(10.0, NOW, [state("closed")], None, [changed("open", NOW - 60, reason="old", open_for="5")])
    policies.take(11.0, NOW + 1, [state("half_open")], None, ())
    found = one(policies, 11.0)
    assert (found.breaker, found.since, found.reason, found.retry_at) == (BreakerState.HALF_OPEN, NOW + 1, "", None)


def test_a_breaker_whose_processes_have_gone_is_unknown_and_its_counts_stay():
    policies = Policies()
    policies.take(1.0, NOW, [state("closed"), *calls(success=7)], None, ())
    policies.take(2.0, NOW + 1, (), calls(success=7), ())
    found = one(policies, 2.0)
    assert (found.breaker, found.calls) == (BreakerState.UNKNOWN, {"success": 7})


def test_a_breaker_whose_policy_has_gone_is_unknown_though_its_process_lives():
    policies = Policies()
    policies.take(0.0, NOW, [state("open")], None, [])
    assert one(policies).breaker == "open"
    policies.take(1.0, NOW + 1, [series("breaker.state", None, Kind.GAUGE, policy="db")], None, [])
    assert one(policies).breaker == "unknown"


def test_what_people_force_is_shown_before_any_process_has_heard_of_it():
    held = Held("forced_open", "maintenance", NOW, NOW + 60)
    found = one(
        Policies(), declared=[{"name": "db", "breaker": {"state": "closed", "scope": "host"}}], forced={"db": held}
    )
    assert (found.breaker, found.forced, found.forced_reason, found.forced_until, found.scope) == (
        BreakerState.CLOSED, BreakerState.FORCED_OPEN, "maintenance", NOW + 60, "host",
    )  # fmt: skip


def test_the_parts_and_the_budget_come_from_the_declaration_and_the_gauge():
    policies = Policies()
    policies.take(
        1.0, NOW, [series("retry.budget", 2.5, Kind.GAUGE, policy="db"), series("retries", 4.0, policy="db")], None, ()
    )
    told = {"name": "db", "deadline": 10, "retry": {"budget": {"ratio": 0.1, "minimum": 3}}, "breaker": None}
    found = one(policies, 1.0, [told])
    assert (found.budget_left, found.budget_most, found.retries, found.parts) == (2.5, 3.0, 4, ("deadline", "retry"))


@pytest.mark.parametrize(
    ("value", "word"),
    [(0, "closed"), (1, "open"), (2, "half_open"), (3, "forced_open"), (4, "disabled"), (5, "metrics_only"),
     (6, "unknown"), (-1, "unknown"), (math.nan, "unknown"), (None, "unknown")],
)  # fmt: skip
def test_each_code_has_its_state_and_any_other_is_unknown(value, word):
    assert code(value) is BreakerState(word)


@pytest.mark.parametrize(
    "told",
    [
        {"name": {"a": 1}, "breaker": [1], "retry": 7},
        {"name": "db", "breaker": {"state": {}, "scope": {"x": []}}, "retry": {"budget": {"minimum": "x"}}},
        {"name": "db", "breaker": {"state": 1e400}, "retry": {"budget": {"minimum": 10**400}}},
        {"name": "db " * 500, "deadline": math.nan, "fallback": {"a": {}}},
    ],
)
def test_whatever_a_program_declares_does_no_harm(told):
    found = Policies().summaries(1.0, [told], {})
    assert all(len(policy.name) <= 200 for policy in found)


def test_figures_that_are_none_are_passed_over():
    policies = Policies()
    odd = [*calls(success=math.nan, failure=None), state("closed"), series("retries", math.inf, policy="db")]
    policies.take(1.0, NOW, odd, None, [changed("no such state"), changed("open", open_for="soon", policy="")])
    assert one(policies, 1.0).calls == {}


@pytest.mark.parametrize(
    ("word", "severity"),
    [("open", Severity.ERROR), ("forced_open", Severity.WARNING), ("half_open", None), ("disabled", None)],
)
def test_an_open_breaker_is_a_finding_that_degrades(word, severity):
    policies = Policies()
    policies.take(1.0, NOW, [state(word)], None, [changed(word, reason="refused")])
    found = list(findings(policies.summaries(1.0, (), {})))
    assert [(f.subject, f.status, f.severity) for f in found] == (
        [("policy db", Status.DEGRADED, severity)] if severity else []
    )
