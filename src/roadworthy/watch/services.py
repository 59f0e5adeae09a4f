"""How the services that a program depends on are doing and which of its features are off. Pure.

Each process tells what it knows; the worst that one of them says is what is shown. What people hold degraded or off is
shown as theirs, whether a process has heard of it yet or not. While no process tells of it, as during a restart, a
service or feature is unknown, and after ten minutes forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from roadworthy.types import (
    BreakerState,
    EventKind,
    FeatureSummary,
    Finding,
    ServiceCondition,
    ServiceSummary,
    Severity,
    Status,
)
from roadworthy.watch.policies import finite, text

if TYPE_CHECKING:
    from roadworthy.types import Event, PolicySummary, Series
    from roadworthy.watch.policies import Held

MOST: Final = 256

_STATES: Final = frozenset(state.value for state in BreakerState)
REMEMBERED: Final = 600.0
"""Seconds for which a service or feature is known of which no process tells any more."""

PEOPLE: Final = "people"
PROGRAM: Final = "program"

_RANK: Final = (ServiceCondition.UP, ServiceCondition.UNKNOWN, ServiceCondition.DEGRADED, ServiceCondition.DOWN)
_WORDS: Final[Mapping[str, ServiceCondition]] = {
    "up": ServiceCondition.UP, "ok": ServiceCondition.UP, "healthy": ServiceCondition.UP,
    "normal": ServiceCondition.UP, "closed": ServiceCondition.UP,
    "degraded": ServiceCondition.DEGRADED, "recovering": ServiceCondition.DEGRADED,
    "down": ServiceCondition.DOWN, "failed": ServiceCondition.DOWN, "unhealthy": ServiceCondition.DOWN,
}  # fmt: skip


@dataclass(slots=True)
class _Memory:
    """What events and counters have told of one service or feature."""

    recoveries: int = 0
    recovered: int = 0
    error: str = ""
    error_at: float | None = None
    reason: str = ""
    since: float | None = None
    until: float | None = None
    by: str = ""
    off: float | None = None
    restart: bool = False
    told: float | None = None
    """When a process last told of it (monotonic), None: never."""

    def knows(self, mono: float) -> bool:
        """Return whether it is still worth showing."""
        return self.told is not None and mono - self.told <= REMEMBERED


class Dependencies:
    """Follows services and features from tick to tick."""

    def __init__(self) -> None:
        self._services: dict[str, _Memory] = {}
        self._features: dict[str, _Memory] = {}
        self._counts: dict[tuple[str, str, str, str], int] = {}

    def take(self, changed: Iterable[Series], everything: Iterable[Series] | None, events: Iterable[Event]) -> None:
        """Take the series that changed, or ``everything`` when some may be gone, and the events of one tick."""
        if everything is not None:
            for feature in self._features.values():
                feature.off = None
        for series in everything if everything is not None else changed:
            if finite(series.value) is None:
                continue
            labels = dict(series.labels)
            if series.name == "resilience.feature.off" and (found := _of(self._features, labels.get("feature", ""))):
                found.off = series.value
            elif series.name == "resilience.recoveries":
                self._recovery(labels, int(series.value or 0))
        for event in events:
            if event.kind is EventKind.STATE:
                self._event(event)

    def _recovery(self, labels: Mapping[str, str], value: int) -> None:
        name = labels.get("component", "")
        key = (name, labels.get("kind", ""), labels.get("action", ""), labels.get("outcome", ""))
        service = _of(self._services, name)
        if service is None:
            return
        gained = value - self._counts.get(key, 0)
        self._counts[key] = value
        service.recoveries += gained
        service.recovered += gained if labels.get("outcome") == "success" else 0

    def _event(self, event: Event) -> None:
        kind, _, name = event.source.partition(":")
        found = _of({"service": self._services, "feature": self._features}.get(kind), name)
        if found is None:
            return
        told = event.fields
        if "to" in told:
            found.since, found.reason = event.at, told.get("reason", "")
            found.until, found.by = finite(told.get("until")), told.get("source", "")
        error = told.get("error", "") or (event.text if event.level in {"error", "critical"} else "")
        if kind == "service" and error:
            found.error, found.error_at = error, event.at

    def services(
        self,
        mono: float,
        declared: Iterable[Mapping[str, Any]],
        held: Mapping[str, Held],
        policies: Mapping[str, PolicySummary],
    ) -> tuple[ServiceSummary, ...]:
        """Return every service that a process has registered, or that people hold degraded, at ``mono`` seconds."""
        told: dict[str, list[Mapping[str, Any]]] = {}
        for one in declared:
            told.setdefault(text(one.get("name")), []).append(one)
        for name, ones in told.items():
            if (memory := _of(self._services, name)) is not None:
                memory.told, memory.restart = mono, any(one.get("restart") is True for one in ones)
        known = {name for name, memory in self._services.items() if memory.knows(mono)}
        names = sorted({*told, *known, *held} - {""})[:MOST]
        return tuple(self._service(name, told.get(name, ()), held.get(name), policies) for name in names)

    def _service(
        self, name: str, told: Sequence[Mapping[str, Any]], held: Held | None, policies: Mapping[str, PolicySummary]
    ) -> ServiceSummary:
        memory = self._services.get(name) or _Memory()
        worst = max((_condition(one.get("state")) for one in told), key=_RANK.index, default=ServiceCondition.UNKNOWN)
        speaks = next((one for one in told if _condition(one.get("state")) is worst), {})
        state, by = worst, _who(speaks) if worst is ServiceCondition.DEGRADED else ""
        reason = text(speaks.get("reason") or memory.reason)
        since, until = finite(speaks.get("since")) or memory.since, finite(speaks.get("until"))
        if held is not None:
            state = max(worst, ServiceCondition.DEGRADED, key=_RANK.index)
            reason, since, until, by = held.reason, held.at, held.until, PEOPLE
        return ServiceSummary(
            name=name,
            state=state,
            breaker=_breaker(name, told, policies),
            reason=reason if state is not ServiceCondition.UP else "",
            since=since,
            until=until if state is not ServiceCondition.UP else None,
            by=by,
            last_error=text(speaks.get("last_error") or memory.error),
            last_error_at=finite(speaks.get("last_error_at")) or memory.error_at,
            recover=any(one.get("recover") is True for one in told),
            restart=memory.restart,
            recoveries=memory.recoveries,
            recovered=memory.recovered,
        )

    def features(
        self, mono: float, declared: Iterable[Mapping[str, Any]], held: Mapping[str, Held]
    ) -> tuple[FeatureSummary, ...]:
        """Return every feature that a process has made, or that people hold off; off in one process is off."""
        told: dict[str, Mapping[str, Any]] = {}
        for one in declared:
            name = text(one.get("name"))
            if name not in told or one.get("off") is True:
                told[name] = one
        for name in told:
            if (memory := _of(self._features, name)) is not None:
                memory.told = mono
        known = {name for name, memory in self._features.items() if memory.knows(mono) or memory.off is not None}
        names = sorted({*told, *held, *known} - {""})[:MOST]
        return tuple(self._feature(name, told.get(name), held.get(name)) for name in names)

    def _feature(self, name: str, told: Mapping[str, Any] | None, held: Held | None) -> FeatureSummary:
        if held is not None:
            return FeatureSummary(name, True, held.reason, held.at, held.until, PEOPLE)  # noqa: FBT003 - the field itself
        memory = self._features.get(name) or _Memory()
        off: bool | None = None if memory.off is None else memory.off > 0
        if told is not None and isinstance(told.get("off"), bool) and not off:
            off = told["off"]
        if not off:
            return FeatureSummary(name, off, since=memory.since)
        if told is None or told.get("off") is not True:  # its process has not told that it is off, but an event has
            return FeatureSummary(name, off, memory.reason, memory.since, memory.until, memory.by or PROGRAM)
        since = finite(told.get("since")) or memory.since
        reason = text(told.get("reason") or memory.reason)
        return FeatureSummary(name, off, reason, since, finite(told.get("until")), _who(told))


def findings(services: Iterable[ServiceSummary], features: Iterable[FeatureSummary]) -> Iterable[Finding]:
    """Return what degraded parts say about the program's health: it works on without them (DEG-05)."""
    for service in services:
        if service.state in {ServiceCondition.DEGRADED, ServiceCondition.DOWN}:
            why = service.reason or service.last_error
            words = f"{service.state.value}: {why}" if why else service.state.value
            severity = Severity.ERROR if service.state is ServiceCondition.DOWN else Severity.WARNING
            yield Finding(f"service {service.name}", Status.DEGRADED, words, severity, service.since)
    for feature in features:
        if feature.off:
            words = f"switched off: {feature.reason}" if feature.reason else "switched off"
            yield Finding(f"feature {feature.name}", Status.DEGRADED, words, Severity.WARNING, feature.since)


def _of(book: dict[str, _Memory] | None, name: str) -> _Memory | None:
    if book is None or not name:
        return None
    if name not in book and len(book) < MOST:
        book[name] = _Memory()
    return book.get(name)


def _condition(word: object) -> ServiceCondition:
    return _WORDS.get(str(word), ServiceCondition.UNKNOWN)


def _who(said: Mapping[str, Any]) -> str:
    return text(said.get("by") or said.get("source")) or PROGRAM


def _breaker(
    name: str, told: Iterable[Mapping[str, Any]], policies: Mapping[str, PolicySummary]
) -> BreakerState | None:
    """Return the state of the service's breaker: of the policy that it names or that has its name, or as it says."""
    said = next((one["breaker"] for one in told if one.get("breaker") is not None), None)
    for candidate in (text(said), name):
        if candidate in policies and policies[candidate].breaker is not None:
            return policies[candidate].breaker
    if said is None:
        return None
    return BreakerState(said) if isinstance(said, str) and said in _STATES else BreakerState.UNKNOWN
