"""What the policies of a program did and how their breakers stand, from its series and what it tells. Pure.

The program counts (``resilience.*``), all processes together; here counts become rates over the last minute. Since when
a breaker stands as it does, why, and when it lets a call try again is what the event of its change said; a change of
which no event was seen is dated by the tick that saw it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from roadworthy.log.redact import redact
from roadworthy.types import BreakerState, EventKind, Finding, PolicySummary, Severity, Status

if TYPE_CHECKING:
    from roadworthy.types import Event, Series

PREFIX: Final = "resilience."
WINDOW: Final = 60.0
CHUNK: Final = 5.0
"""Seconds over which a rate is told, and between two of the counts that it is made of."""

STATES: Final = tuple(state for state in BreakerState if state is not BreakerState.UNKNOWN)
"""A breaker's state for each code of ``resilience.breaker.state``."""

REACHED: Final = ("success", "failure", "slow")
"""Outcomes of calls that reached the other side and were judged."""

SOURCE: Final = "policy:"
MOST_POLICIES: Final = 256
LONGEST: Final = 200

_OPEN: Final = frozenset({BreakerState.OPEN, BreakerState.FORCED_OPEN})
_COUNTS: Final = {
    "resilience.retries": "retries",
    "resilience.retries.denied": "retries_denied",
    "resilience.fallbacks": "fallbacks",
    "resilience.hedges": "hedges",
}


@dataclass(frozen=True, slots=True)
class Held:
    """What people have set: a state of a breaker, a feature or service taken away; ``until`` in wall seconds."""

    state: str
    reason: str
    at: float
    until: float | None = None


@dataclass(slots=True)
class _Policy:
    calls: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    code: float | None = None
    budget: float | None = None
    state: BreakerState | None = None
    since: float | None = None
    reason: str = ""
    retry_at: float | None = None
    told: Mapping[str, Any] | None = None
    past: deque[tuple[float, int, int, int]] = field(default_factory=deque)

    def sums(self) -> tuple[int, int, int]:
        """Return all calls, those that reached the other side, and those of them that failed."""
        reached = sum(self.calls.get(outcome, 0) for outcome in REACHED)
        return sum(self.calls.values()), reached, self.calls.get("failure", 0)


class Policies:
    """Follows the policies from tick to tick."""

    def __init__(self) -> None:
        self._policies: dict[str, _Policy] = {}

    def take(
        self,
        mono: float,
        now: float,
        changed: Iterable[Series],
        everything: Iterable[Series] | None,
        events: Iterable[Event],
    ) -> None:
        """Take the series that changed, or ``everything`` when some may be gone, and the events of one tick."""
        if everything is not None:
            for one in self._policies.values():
                one.code = one.budget = None  # a gauge goes with its process, what was counted stays
        for series in everything if everything is not None else changed:
            if series.name.startswith(PREFIX) and (series.value is None or finite(series.value) is not None):
                self._series(series)
        for event in events:
            if event.kind is EventKind.STATE and event.source.startswith(SOURCE):
                self._event(event)
        for one in self._policies.values():
            _follow(one, mono, now)

    def _of(self, name: str) -> _Policy | None:
        found = self._policies.get(name)
        if found is None and name and len(self._policies) < MOST_POLICIES:
            found = self._policies[name] = _Policy()
        return found

    def _series(self, series: Series) -> None:
        labels = dict(series.labels)
        policy = self._of(labels.get("policy", ""))
        if policy is None:
            return
        if series.value is None:  # not measured any more: no process has such a policy now
            if series.name == "resilience.breaker.state":
                policy.code = None
            elif series.name == "resilience.retry.budget":
                policy.budget = None
            return
        match series.name:
            case "resilience.calls":
                policy.calls[labels.get("outcome", "unknown")] = int(series.value)
            case "resilience.breaker.state":
                policy.code = series.value
            case "resilience.retry.budget":
                policy.budget = series.value
            case name if name in _COUNTS:
                policy.counts[_COUNTS[name]] = int(series.value)

    def _event(self, event: Event) -> None:
        policy = self._of(event.source.removeprefix(SOURCE))
        told = _state(event.fields.get("to"))
        if policy is None or told is None:
            return
        policy.state, policy.since = told, event.at
        policy.reason = text(event.fields.get("reason"))
        wait = finite(event.fields.get("retry_after")) or finite(event.fields.get("open_for"))
        policy.retry_at = None if wait is None else event.at + wait

    def summaries(
        self, mono: float, declared: Iterable[Mapping[str, Any]], forced: Mapping[str, Held]
    ) -> tuple[PolicySummary, ...]:
        """Return every policy at ``mono``: those that count, those that are declared, and those that are forced."""
        told: dict[str, Mapping[str, Any]] = {}
        for one in declared:
            told.setdefault(text(one.get("name")), one)
        for name, one in told.items():
            if (policy := self._of(name)) is not None:
                policy.told = one
        names = sorted({*self._policies, *forced})
        return tuple(self._summary(name, mono, forced.get(name), lives=name in told) for name in names)

    def _summary(self, name: str, mono: float, held: Held | None, *, lives: bool) -> PolicySummary:
        policy = self._policies.get(name) or _Policy()
        told = policy.told or {}
        none = policy.code is None and policy.state is None and policy.told is not None and not told.get("breaker")
        state = code(policy.code)
        if policy.code is None and lives:
            state = _declared_state(told)
        waiting = state is BreakerState.OPEN
        rate, failing = _rates(policy, mono)
        retry = told.get("retry")
        budget = retry.get("budget") if isinstance(retry, Mapping) else None
        made = PolicySummary(
            name=name,
            breaker=None if none else state,
            since=policy.since,
            reason=policy.reason if state is policy.state else "",
            retry_at=policy.retry_at if waiting else None,
            calls=dict(policy.calls),
            rate=rate,
            failure_rate=failing,
            budget_left=policy.budget,
            budget_most=_most(budget, policy.budget),
            retries=policy.counts.get("retries"),
            retries_denied=policy.counts.get("retries_denied"),
            fallbacks=policy.counts.get("fallbacks"),
            hedges=policy.counts.get("hedges"),
            scope=_scope(told),
            parts=tuple(str(key) for key in PARTS if told.get(key)),
        )
        if held is None:
            return made
        return replace(made, forced=_state(held.state), forced_reason=held.reason, forced_until=held.until)


PARTS: Final = (
    "fallback", "deadline", "retry", "breaker", "rate_limit", "bulkhead", "hedge", "attempt_timeout",
)  # fmt: skip
"""What a policy may be made of, in the order in which a call passes it."""


def findings(policies: Iterable[PolicySummary]) -> Iterable[Finding]:
    """Return what open breakers say about the program's health: it works on without what they guard."""
    for one in policies:
        if one.breaker not in _OPEN:
            continue
        by_hand = one.breaker is BreakerState.FORCED_OPEN
        why = one.forced_reason if by_hand else one.reason
        words = "breaker forced open" if by_hand else "breaker open"
        severity = Severity.WARNING if by_hand else Severity.ERROR
        yield Finding(f"policy {one.name}", Status.DEGRADED, f"{words}: {why}" if why else words, severity, one.since)


def code(value: float | None) -> BreakerState:
    """Return the state that a code stands for; one that this version does not know is unknown."""
    return STATES[int(value)] if value is not None and 0 <= value < len(STATES) else BreakerState.UNKNOWN


def _follow(policy: _Policy, mono: float, now: float) -> None:
    """Date a change that no event told, and remember the counts."""
    state = None if policy.code is None else code(policy.code)
    if state is not None and state is not policy.state:
        policy.state, policy.since, policy.reason, policy.retry_at = state, now, "", None
    if policy.past and mono - policy.past[-1][0] < CHUNK:
        return
    policy.past.append((mono, *policy.sums()))
    while len(policy.past) > 1 and policy.past[1][0] <= mono - WINDOW:
        policy.past.popleft()


def _rates(policy: _Policy, mono: float) -> tuple[float | None, float | None]:
    """Return calls a second and the share that failed, of the last minute; None where nothing can be told."""
    if not policy.past:
        return None, None
    at, calls, reached, failed = policy.past[0]
    if mono - at < 1.0:
        return None, None
    all_now, reached_now, failed_now = policy.sums()
    tried = reached_now - reached
    return max(0, all_now - calls) / (mono - at), max(0, failed_now - failed) / tried if tried > 0 else None


def _state(word: object) -> BreakerState | None:
    try:
        return BreakerState(str(word))
    except ValueError:
        return None


def _declared_state(told: Mapping[str, Any]) -> BreakerState:
    breaker = told.get("breaker")
    word = breaker.get("state") if isinstance(breaker, Mapping) else told.get("state")
    return _state(word) or BreakerState.UNKNOWN


def _scope(told: Mapping[str, Any]) -> str:
    breaker = told.get("breaker")
    found = breaker.get("scope") if isinstance(breaker, Mapping) else None
    return text(found or "")


def _most(budget: object, left: float | None) -> float | None:
    """Return how full a retry budget can be, as far as it was told."""
    most = None
    if isinstance(budget, Mapping):
        most = finite(next((budget[key] for key in ("most", "capacity", "minimum") if key in budget), None))
    return most if most is None or left is None else max(most, left)


def finite(value: object) -> float | None:
    """Return a number, or a text that is one, as a finite float; None for anything else that a program may tell."""
    try:
        found = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        return None
    return found if found is not None and found - found == 0 else None


def text(value: object) -> str:
    """Return what a program tells as one line of at most :data:`LONGEST` characters, without secrets."""
    return "" if value is None else _line(str(value)[: 4 * LONGEST])


@lru_cache(2048)
def _line(given: str) -> str:
    return redact(" ".join(given.split()))[:LONGEST]
