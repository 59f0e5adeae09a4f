"""Policies, services, features and recoveries as lines. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from roadworthy.types import BreakerState, FeatureSummary, PolicySummary, ServiceCondition, ServiceSummary
from roadworthy.view.terminal.text import UNKNOWN, Cell, Column, Role, Style, number, rate, share
from roadworthy.watch.words import span

if TYPE_CHECKING:
    from roadworthy.types import Snapshot

REJECTED: Final = ("breaker_open", "rate_limited", "bulkhead_full", "deadline")
"""Outcomes of calls that were refused before they reached the other side."""

_BREAKER: Final[Mapping[BreakerState, Role]] = {
    BreakerState.CLOSED: "good",
    BreakerState.OPEN: "bad",
    BreakerState.HALF_OPEN: "warn",
    BreakerState.FORCED_OPEN: "bad",
    BreakerState.DISABLED: "warn",
    BreakerState.METRICS_ONLY: "warn",
    BreakerState.UNKNOWN: "dim",
}
_SERVICE: Final[Mapping[ServiceCondition, Role]] = {
    ServiceCondition.UP: "good",
    ServiceCondition.DEGRADED: "warn",
    ServiceCondition.DOWN: "bad",
    ServiceCondition.UNKNOWN: "dim",
}


def policies(found: Sequence[PolicySummary], style: Style, now: float) -> list[str]:
    """Return the policies' table at ``now`` (wall seconds), those whose breaker is not closed first."""
    heads = (
        Column("policy"),
        Column("breaker"),
        Column("rate", right=True),
        Column("failing", right=True),
        Column("calls", right=True),
        Column("refused", right=True),
        Column("retries", right=True),
        Column("budget", right=True),
        Column("why", flex=True),
    )
    ordered = sorted(found, key=lambda one: (one.breaker in {None, BreakerState.CLOSED}, one.name))
    return style.table(heads, [_policy(one, now) for one in ordered])


def _policy(one: PolicySummary, now: float) -> list[Cell | str]:
    refused = sum(one.calls.get(outcome, 0) for outcome in REJECTED)
    breaker = Cell("none", "dim") if one.breaker is None else Cell(words(one.breaker), _BREAKER[one.breaker])
    return [
        one.name,
        breaker,
        rate(one.rate),
        share(one.failure_rate),
        number(sum(one.calls.values())),
        Cell(number(refused), "warn" if refused else "dim"),
        UNKNOWN if one.retries is None else number(one.retries),
        UNKNOWN if one.budget_left is None else f"{one.budget_left:.0f}",
        why(one, now),
    ]


def why(one: PolicySummary, now: float) -> str:
    """Return why a breaker stands as it does, since when, and when it lets a call try again."""
    parts = []
    if one.forced is not None:
        reason = f": {one.forced_reason}" if one.forced_reason else ""
        until = f" for {span(max(0.0, one.forced_until - now))} more" if one.forced_until is not None else ""
        parts.append(f"held {words(one.forced)} by people{until}{reason}")
    elif one.breaker not in {None, BreakerState.CLOSED} and one.reason:
        parts.append(one.reason)
    if one.breaker not in {None, BreakerState.CLOSED} and one.since is not None:
        parts.append(f"for {span(max(0.0, now - one.since))}")
    if one.retry_at is not None:
        parts.append(f"tries again in {span(one.retry_at - now)}" if one.retry_at > now else "tries again now")
    return ", ".join(parts)


def services(found: Sequence[ServiceSummary], style: Style, now: float) -> list[str]:
    """Return the services' table, those in trouble first."""
    heads = (
        Column("service"),
        Column("state"),
        Column("breaker"),
        Column("recovered", right=True),
        Column("can"),
        Column("why", flex=True),
    )
    ordered = sorted(found, key=lambda one: (one.state is ServiceCondition.UP, one.name))
    rows: list[list[Cell | str]] = [
        [
            one.name,
            Cell(one.state.value, _SERVICE[one.state]),
            UNKNOWN if one.breaker is None else Cell(words(one.breaker), _BREAKER[one.breaker]),
            f"{one.recovered} of {one.recoveries}" if one.recoveries else UNKNOWN,
            " ".join(word for word, can in (("recover", one.recover), ("restart", one.restart)) if can) or UNKNOWN,
            _held(one.reason or _last_error(one), one.since, one.until, one.by, now),
        ]
        for one in ordered
    ]
    return style.table(heads, rows)


def _last_error(one: ServiceSummary) -> str:
    """Return what is wrong now: of a service that works again the last error explains nothing."""
    return "" if one.state is ServiceCondition.UP else one.last_error


def features(found: Sequence[FeatureSummary], style: Style, now: float) -> list[str]:
    """Return the features' table, those that are off first."""
    heads = (Column("feature"), Column("state"), Column("why", flex=True))
    ordered = sorted(found, key=lambda one: (one.off is not True, one.name))
    rows: list[list[Cell | str]] = []
    for one in ordered:
        state = Cell("unknown", "dim") if one.off is None else Cell("off", "warn") if one.off else Cell("on", "good")
        reason = _held(one.reason, one.since, one.until, one.by, now) if one.off else ""
        rows.append([one.name, state, reason])
    return style.table(heads, rows)


def _held(reason: str, since: float | None, until: float | None, by: str, now: float) -> str:
    parts = [reason] if reason else []
    if by:
        parts.append(f"by {by}")
    if by and since is not None:
        parts.append(f"for {span(max(0.0, now - since))}")
    if until is not None and until > now:
        parts.append(f"ends in {span(until - now)}")
    return ", ".join(parts)


def notable(snapshot: Snapshot, style: Style, now: float) -> list[str]:
    """Return what ``status`` tells: breakers that are not closed, services in trouble, features off, recoveries."""
    stands = [one for one in snapshot.policies if one.breaker not in {None, BreakerState.CLOSED, BreakerState.UNKNOWN}]
    rows: list[list[Cell | str]] = [
        [f"breaker {one.name}", Cell(words(one.breaker), _BREAKER[one.breaker]), why(one, now)]
        for one in stands
        if one.breaker is not None
    ]
    rows += [
        [
            f"service {one.name}",
            Cell(one.state.value, _SERVICE[one.state]),
            _held(one.reason or one.last_error, one.since, one.until, one.by, now),
        ]
        for one in snapshot.services
        if one.state in {ServiceCondition.DEGRADED, ServiceCondition.DOWN}
    ]
    rows += [
        [f"feature {one.name}", Cell("off", "warn"), _held(one.reason, one.since, one.until, one.by, now)]
        for one in snapshot.features
        if one.off
    ]
    lines = style.table((Column("what"), Column("state"), Column("why", flex=True)), rows)
    tried = sum(one.recoveries for one in snapshot.services)
    if tried:
        good = sum(one.recovered for one in snapshot.services)
        text = f"{good} of {tried} recoveries succeeded"
        lines.append(style.line(Cell(text, "" if good == tried else "warn"), indent=2))
    calm = len(snapshot.policies) - len(stands)
    if lines and calm:
        kinds = "policy stands" if calm == 1 else "policies stand"
        lines.append(style.line(Cell(f"{calm} other {kinds} well: roadworthy policy", "dim"), indent=2))
    return lines


def words(state: BreakerState) -> str:
    """Return a state as people write it."""
    return state.value.replace("_", " ")
