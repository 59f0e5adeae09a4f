"""The performance documents (PRF-01, 02, 04, 05, 06): resources, trends, starts, errors, all in one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from roadworthy.types import Kind
from roadworthy.view import outside, resilience
from roadworthy.view.health import stamp
from roadworthy.view.snapshot import plain
from roadworthy.watch.bottlenecks import bottlenecks, hints, memory_impact
from roadworthy.watch.operations import worst_first
from roadworthy.watch.starts import statistics
from roadworthy.watch.trends import FIGURES, Points, labels
from roadworthy.watch.trends import trend as judge

if TYPE_CHECKING:
    from roadworthy.types import Series, Snapshot, Startup

WORKER_FIGURES = ("cpu_percent", "rss")
MOST_WORKERS = 16
"""Workers beyond these are in the program's sums only."""

TARGETS = {"cpu": 70.0, "memory": 80.0, "disk": 85.0}
"""Per cent of the machine (or container) below which operating should stay (RES-07, CONFLICTS C-09, C-10)."""

CACHE_RATES = ("hit_rate", "hit.rate", "hit_ratio", "hit.ratio")
Frequency = Callable[[str], Iterable[tuple[float, int]]]


def resources_now(snapshot: Snapshot) -> dict[str, Any]:
    """Return what the program, each worker and the host use now, and what is exchanged with outside services."""
    return {
        "timestamp": stamp(snapshot.at),
        "program": plain(snapshot.resources),
        "workers": [{"slot": worker.slot, "pid": worker.pid, **plain(worker.resources)} for worker in snapshot.workers],
        "system": plain(snapshot.system),
        "targets": targets(snapshot),
        "cache_hit_rates": caches(snapshot.series),
        "outside": outside.services(snapshot),
    }


def targets(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """Return the operating targets and whether they are met; None where the figure is not known."""
    system = snapshot.system
    used = {"cpu": system.cpu_percent, "memory": system.memory_percent, "disk": system.disk_percent}
    return {
        name: {"percent": used[name], "target": most, "met": None if used[name] is None else (used[name] or 0.0) < most}
        for name, most in TARGETS.items()
    }


def caches(series: Iterable[Series]) -> dict[str, float]:
    """Return the hit rates of caches: gauges that end in ``hit_rate``, and pairs of counters ``….hits``, ``….misses``.

    The program says these; without such a metric there is none. Of counters it is the rate over the whole time.
    """
    found: dict[str, float] = {}
    counts: dict[tuple[str, str], float] = {}
    for one in series:
        if one.value is None:
            continue
        if one.kind is Kind.GAUGE and one.name.endswith(CACHE_RATES):
            found[_named(one.name, one)] = one.value
        elif one.kind is Kind.COUNTER and one.name.endswith((".hits", "_hits", ".misses", "_misses")):
            what = "hits" if one.name.endswith("hits") else "misses"
            key = (_named(f"{one.name[: -len(what) - 1]}.hit_rate", one), what)
            counts[key] = counts.get(key, 0.0) + one.value
    for name in {name for name, _ in counts}:
        hits, misses = counts.get((name, "hits")), counts.get((name, "misses"))
        if hits is not None and misses is not None and hits + misses > 0:
            found.setdefault(name, hits / (hits + misses))
    return found


def _named(name: str, one: Series) -> str:
    return name + ("{" + ",".join(f"{key}={value}" for key, value in one.labels) + "}" if one.labels else "")


def resource_names(snapshot: Snapshot) -> list[str]:
    """Return the figures of the history whose trends are told: program, host, us, workers, watched directories."""
    workers = snapshot.workers[:MOST_WORKERS]
    data = [name for name in snapshot.gauges if name.startswith("data.bytes{")]
    return [*FIGURES, *(f"worker.{worker.slot}.{figure}" for worker in workers for figure in WORKER_FIGURES), *data]


def trends(
    hours: float, found: Mapping[str, Points], limits: Mapping[str, float | None], shown: Mapping[str, Points]
) -> dict[str, Any]:
    """Return where each figure went over the last ``hours``; slopes are per second, ``shown`` are the points told.

    ``labels`` has the names under which conditions know a label: ``memory_trend``, ``cpu_trend`` ….
    """
    judged = {name: judge(points, limit=limits.get(name)) for name, points in found.items()}
    return {
        "hours": hours,
        "labels": labels(judged),
        "trends": {
            name: {**asdict(one), "points": [list(point) for point in shown.get(name, ())]}
            for name, one in judged.items()
        },
    }


def known_since(found: Mapping[str, Points]) -> float | None:
    """Return when the first of these figures was told, None when none was."""
    return min((at for points in found.values() for at, value in points if value is not None), default=None)


def startup_stats(snapshot: Snapshot) -> dict[str, Any]:
    """Return every start that is known, how long they took, and the steps that make them slow, over all of them."""
    over_all = statistics(snapshot.startups)
    return {
        "starts": [{**plain(start), "slowest": _slowest(start)} for start in snapshot.startups],
        "count": len(snapshot.startups),
        "finished": over_all.finished,
        "min": over_all.least,
        "max": over_all.most,
        "mean": over_all.mean,
        "median": over_all.median,
        "last": over_all.last,
        "steps": [asdict(step) for step in over_all.steps],
        "bottlenecks": [asdict(step) for step in over_all.bottlenecks],
    }


def _slowest(start: Startup) -> dict[str, Any] | None:
    slowest = max(start.steps, key=lambda step: step.took, default=None)
    return None if slowest is None else {"label": slowest.label, "took": slowest.took}


def errors_summary(snapshot: Snapshot, frequency: Frequency | None = None) -> dict[str, Any]:
    """Return the error groups, most frequent first, and their sums by type and by operation.

    ``frequency`` tells the errors a minute of one fingerprint: (start of the minute, how many).
    """
    groups = sorted(snapshot.errors, key=lambda group: group.count, reverse=True)
    by_type: dict[str, int] = {}
    by_operation: dict[str, int] = {}
    for group in groups:
        by_type[group.type] = by_type.get(group.type, 0) + group.count
        by_operation[group.operation] = by_operation.get(group.operation, 0) + group.count
    return {
        "total": sum(group.count for group in groups),
        "unhandled": sum(group.count for group in groups if not group.handled),
        "by_type": by_type,
        "by_operation": by_operation,
        "last": max((group.last for group in groups), default=None),
        "error_rate": snapshot.gauges.get("errors.rate"),
        "recovery": resilience.recoveries(snapshot),
        "groups": [
            {**plain(group), "per_minute": [list(pair) for pair in frequency(group.fingerprint)] if frequency else []}
            for group in groups
        ],
    }


def usage(snapshot: Snapshot) -> dict[str, Any]:
    """Return which features are used how often, with which outcome, how long, and which follows which (MON-11)."""
    features: dict[str, dict[str, Any]] = {}
    steps: dict[str, float] = {}
    for one in snapshot.series:
        said = dict(one.labels)
        if one.name == "usage":
            feature = features.setdefault(said.get("feature", "?"), {"count": 0.0, "outcomes": {}, "success": {}})
            feature["count"] += one.value or 0.0
            for kind, key in (("outcomes", said.get("outcome") or "(none)"), ("success", said.get("success", "?"))):
                feature[kind][key] = feature[kind].get(key, 0.0) + (one.value or 0.0)
        elif one.name == "usage.transition":
            steps[f"{said.get('from', '?')} → {said.get('to', '?')}"] = one.value or 0.0
        elif one.name == "usage.duration" and one.histogram is not None:
            runs = sum(one.histogram.buckets.values())
            feature = features.setdefault(said.get("feature", "?"), {"count": 0.0, "outcomes": {}, "success": {}})
            feature["mean_seconds"] = one.histogram.sum / (one.histogram.scale or 1.0) / runs if runs else None
    return {"features": features, "workflow": dict(sorted(steps.items(), key=lambda item: -item[1]))}


def overview(snapshot: Snapshot, frequency: Frequency | None = None) -> dict[str, Any]:
    """Return everything in one answer, for diagnosis."""
    return {
        "app": snapshot.app,
        "timestamp": stamp(snapshot.at),
        "uptime_seconds": max(0.0, snapshot.at - snapshot.started),
        "verdict": plain(snapshot.verdict),
        "resources": resources_now(snapshot),
        "operations": plain(sorted(snapshot.operations, key=worst_first)),
        "in_flight": plain(snapshot.in_flight),
        "bottlenecks": [asdict(one) for one in bottlenecks(snapshot.operations)],
        "memory_impact": [asdict(one) for one in memory_impact(snapshot.series)],
        "hints": [asdict(one) for one in hints(snapshot.operations)],
        "usage": usage(snapshot),
        "errors": errors_summary(snapshot, frequency),
        "startup": startup_stats(snapshot),
        "checks": plain(snapshot.checks),
        "incidents": plain(snapshot.incidents),
        "overhead": plain(snapshot.overhead),
    }
