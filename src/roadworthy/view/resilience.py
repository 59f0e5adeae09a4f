"""The documents about policies, services and features: states, rates, what is degraded and why. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from roadworthy.types import BreakerState, Kind, ServiceCondition
from roadworthy.view.snapshot import plain

if TYPE_CHECKING:
    from roadworthy.types import Snapshot


def policies(snapshot: Snapshot) -> dict[str, Any]:
    """Return every policy, and how many breakers are not closed."""
    stands = (BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.FORCED_OPEN)
    return {
        "policies": plain(snapshot.policies),
        "open": sum(one.breaker in stands for one in snapshot.policies),
    }


def services(snapshot: Snapshot) -> dict[str, Any]:
    """Return each service as error recovery sees it (PRF-07), by name, and what is degraded."""
    return {
        "services": {one.name: plain(one) for one in snapshot.services},
        "recoveries": recoveries(snapshot),
        "degraded": degraded(snapshot),
    }


def features(snapshot: Snapshot) -> dict[str, Any]:
    """Return every feature that can be switched off, and how many are."""
    return {"features": plain(snapshot.features), "off": sum(one.off is True for one in snapshot.features)}


def breakers(snapshot: Snapshot) -> dict[str, str]:
    """Return the state of each breaker by its policy's name (HLT-21)."""
    return {one.name: one.breaker.value for one in snapshot.policies if one.breaker is not None}


def degraded(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Return every degraded component with its reason (DEG-07), since when, until when and by whom."""
    found = [
        {"name": one.name, "kind": "service", "state": one.state.value, "reason": one.reason, "since": one.since,
         "until": one.until, "by": one.by}
        for one in snapshot.services
        if one.state in {ServiceCondition.DEGRADED, ServiceCondition.DOWN}
    ]  # fmt: skip
    found += [
        {"name": one.name, "kind": "feature", "state": "off", "reason": one.reason, "since": one.since,
         "until": one.until, "by": one.by}
        for one in snapshot.features
        if one.off
    ]  # fmt: skip
    return found


def recoveries(snapshot: Snapshot) -> dict[str, Any]:
    """Return how many recoveries were tried and how many succeeded (ERR-12), in all and by component."""
    components: dict[str, dict[str, Any]] = {}
    for one in snapshot.series:
        if one.name != "resilience.recoveries" or one.kind is not Kind.COUNTER or not one.value:
            continue
        labels = dict(one.labels)
        component = components.setdefault(
            labels.get("component", "unknown"), {"attempts": 0, "succeeded": 0, "by_kind": {}, "by_action": {}}
        )
        count = int(one.value)
        component["attempts"] += count
        component["succeeded"] += count if labels.get("outcome") == "success" else 0
        for key, label in (("by_kind", "kind"), ("by_action", "action")):
            word = labels.get(label) or "unknown"
            component[key][word] = component[key].get(word, 0) + count
    attempts = sum(one["attempts"] for one in components.values())
    succeeded = sum(one["succeeded"] for one in components.values())
    return {
        "attempts": attempts,
        "succeeded": succeeded,
        "success_rate": succeeded / attempts if attempts else None,
        "by_component": components,
    }
