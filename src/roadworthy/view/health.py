"""What a Snapshot says about health, in the forms that probes, people and programs ask for. Pure.

``now_ns`` is the monotonic clock.

A snapshot that is missing or older than :data:`STALE_AFTER` says nothing any more: the status is unknown, and unknown
counts as failure wherever somebody decides by it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from roadworthy._clock import NS
from roadworthy.types import CheckResult, ServiceCondition, Snapshot, Status, WorkerState
from roadworthy.view import resilience
from roadworthy.view.snapshot import plain

STALE_AFTER = 5.0
"""Seconds after which a snapshot no longer counts."""

OK, UNAVAILABLE = 200, 503


@dataclass(frozen=True, slots=True)
class ProbeItem:
    """One thing that a probe looks at."""

    name: str
    passed: bool
    reason: str


def age(snapshot: Snapshot, now_ns: int) -> float:
    """Return the snapshot's age in seconds."""
    return max(0.0, (now_ns - snapshot.mono_ns) / NS)


def fresh(snapshot: Snapshot | None, now_ns: int) -> bool:
    """Return whether the snapshot still counts."""
    return snapshot is not None and age(snapshot, now_ns) <= STALE_AFTER


def status(snapshot: Snapshot | None, now_ns: int) -> tuple[Status, str, float | None]:
    """Return status, reason and since when: the verdict, or unknown with what is missing."""
    if snapshot is None:
        return Status.UNKNOWN, "nothing was measured yet", None
    if not fresh(snapshot, now_ns):
        return Status.UNKNOWN, f"the last measurement is {age(snapshot, now_ns):.0f} s old", snapshot.at
    return snapshot.verdict.status, snapshot.verdict.reason, snapshot.verdict.since


def basic(snapshot: Snapshot | None, now_ns: int) -> tuple[int, dict[str, str]]:
    """Return HTTP status and body of ``/health`` (CONFLICTS C-02): ok, degraded or unhealthy, and nothing else.

    A program that recovers is degraded while it can do its work, and unhealthy while it cannot.
    """
    now, _, _ = status(snapshot, now_ns)
    if now is Status.RECOVERING:
        now = Status.DEGRADED if snapshot is not None and snapshot.verdict.ready else Status.UNHEALTHY
    if now is Status.UNKNOWN:
        now = Status.UNHEALTHY
    return UNAVAILABLE if now is Status.UNHEALTHY else OK, {"status": now.value}


# -- Kubernetes-style probes


def alive(snapshot: Snapshot | None, now_ns: int) -> list[ProbeItem]:
    """Return what ``/livez`` looks at: the program itself, never what it depends on."""
    items = [_measured(snapshot, now_ns)]
    if snapshot is not None:
        items.append(
            ProbeItem("program", snapshot.verdict.live, "alive" if snapshot.verdict.live else snapshot.verdict.reason)
        )
    return items


def started(snapshot: Snapshot | None, now_ns: int) -> list[ProbeItem]:
    """Return what ``/startupz`` looks at: whether the start is over."""
    items = [_measured(snapshot, now_ns)]
    if snapshot is not None:
        done = snapshot.verdict.started
        items.append(ProbeItem("started", done, "started" if done else f"starting: {snapshot.verdict.reason}"))
    return items


def ready(snapshot: Snapshot | None, now_ns: int, exclude: Collection[str] = ()) -> list[ProbeItem]:
    """Return what ``/readyz`` looks at: workers, readiness checks, and the verdict.

    The verdict also rests on what ``exclude`` names, so it is asked only when nothing is excluded.
    """
    items = [_measured(snapshot, now_ns)]
    if snapshot is None:
        return items
    able = sum(worker.state is WorkerState.READY for worker in snapshot.workers)
    items.append(ProbeItem("workers", able > 0, f"{able} of {len(snapshot.workers)} ready"))
    items.extend(_check(check) for check in snapshot.checks if check.kind != "informational")
    if not exclude:
        verdict = snapshot.verdict
        items.append(ProbeItem("verdict", verdict.ready, "ready" if verdict.ready else f"not ready: {verdict.reason}"))
    return items


def probe_text(name: str, items: list[ProbeItem], exclude: Collection[str], *, verbose: bool) -> tuple[int, str]:
    """Return HTTP status and plain text: ``ok``, or a line for each item when asked for or when one fails."""
    lines, passed = [], True
    for item in items:
        if item.name in exclude:
            lines.append(f"[+]{item.name} excluded: ok")
        elif item.passed:
            lines.append(f"[+]{item.name} ok")
        else:
            lines.append(f"[-]{item.name} failed: {_line(item.reason)}" if verbose else f"[-]{item.name} failed")
            passed = False
    unknown = sorted(set(exclude) - {item.name for item in items})
    if unknown:
        lines.append(
            "warn: some health checks cannot be excluded: no matches for "
            + ", ".join(repr(one[:80]) for one in unknown)
        )
    if passed and not verbose:
        return OK, "ok"
    lines.append(f"{name} check {'passed' if passed else 'failed'}")
    return OK if passed else UNAVAILABLE, "\n".join(lines) + "\n"


def _measured(snapshot: Snapshot | None, now_ns: int) -> ProbeItem:
    _, reason, _ = status(snapshot, now_ns)
    good = fresh(snapshot, now_ns)
    return ProbeItem("measured", good, "" if good else reason)


def _check(check: CheckResult) -> ProbeItem:
    """Fail on an outage, which is three failures in a row (CONFLICTS C-14), and on a check that has never run."""
    name = f"check-{check.name}"
    if check.at is None:
        return ProbeItem(name, passed=False, reason=check.detail or "not known yet")
    return ProbeItem(name, not check.outage, check.detail)


def _line(text: str) -> str:
    return " ".join(text.split())


# -- documents


def health_status(snapshot: Snapshot | None, now_ns: int) -> dict[str, Any]:
    """Return the dict of CONFLICTS C-18 (status, checks, degraded, breakers, timestamp) and what it rests on."""
    now, reason, since = status(snapshot, now_ns)
    document: dict[str, Any] = {
        "status": now.value,
        "reason": reason,
        "since": since,
        "checks": {},
        "degraded": [],
        "degraded_components": [],
        "breakers": {},
        "timestamp": None,
    }
    if snapshot is None:
        return document
    troubled = [finding.subject for finding in snapshot.verdict.findings if finding.status is not Status.OK]
    return {
        **document,
        "app": snapshot.app,
        "checks": {check.name: plain(check) for check in snapshot.checks},
        "degraded": troubled,
        "degraded_components": resilience.degraded(snapshot),
        "breakers": resilience.breakers(snapshot),
        "timestamp": stamp(snapshot.at),
        "age_seconds": age(snapshot, now_ns),
        "live": snapshot.verdict.live,
        "ready": snapshot.verdict.ready,
        "started": snapshot.verdict.started,
        "findings": plain(snapshot.verdict.findings),
        "workers": plain(snapshot.workers),
        "resources": plain(snapshot.resources),
        "system": plain(snapshot.system),
    }


def services(snapshot: Snapshot | None, now_ns: int) -> dict[str, Any]:
    """Return the state of each service: workers, checks, and those registered for recovery, by name (CONFLICTS C-54).

    A registered service goes before a check of the same name.
    """
    now, reason, _ = status(snapshot, now_ns)
    found: dict[str, dict[str, Any]] = {}
    if snapshot is not None:
        old = not fresh(snapshot, now_ns)
        for worker in snapshot.workers:
            state = Status.UNKNOWN if old else _WORKER_STATUS[worker.state]
            found[f"worker-{worker.slot}"] = {
                "status": state.value,
                "kind": "worker",
                "detail": worker.reason,
                "since": worker.since,
            }
        for check in snapshot.checks:
            name = check.name if check.slot is None else f"{check.name}-{check.slot}"
            state = Status.UNKNOWN if old or check.at is None else check.status
            found[name] = {
                "status": state.value,
                "kind": "check",
                "detail": check.detail,
                "checked": check.at,
                "outage": check.outage,
            }
        for service in snapshot.services:
            state = Status.UNKNOWN if old else _SERVICE_STATUS[service.state]
            found[service.name] = {
                "status": state.value,
                "kind": "service",
                "detail": service.reason or service.last_error,
                "since": service.since,
                "breaker": None if service.breaker is None else service.breaker.value,
            }
    return {"status": now.value, "reason": reason, "services": found}


_SERVICE_STATUS = {
    ServiceCondition.UP: Status.OK,
    ServiceCondition.DEGRADED: Status.DEGRADED,
    ServiceCondition.DOWN: Status.UNHEALTHY,
    ServiceCondition.UNKNOWN: Status.UNKNOWN,
}

_WORKER_STATUS = {
    WorkerState.STARTING: Status.RECOVERING,
    WorkerState.READY: Status.OK,
    WorkerState.STOPPING: Status.DEGRADED,
    WorkerState.BACKOFF: Status.RECOVERING,
    WorkerState.HELD: Status.UNHEALTHY,
    WorkerState.EXITED: Status.UNHEALTHY,
    WorkerState.LOST: Status.UNKNOWN,
}


def stamp(at: float) -> str:
    """Return wall seconds as ISO 8601 in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
