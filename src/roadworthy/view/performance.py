"""The performance documents (PRF-01, 02, 04, 05, 06): resources, trends, starts, errors, all in one. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from roadworthy.view.health import stamp
from roadworthy.view.snapshot import plain
from roadworthy.watch.operations import worst_first
from roadworthy.watch.trends import trend as judge

if TYPE_CHECKING:
    from roadworthy.types import Snapshot, Startup

PROGRAM_FIGURES = ("cpu_percent", "rss", "memory_percent", "threads", "fds", "processes", "read_bytes", "write_bytes")
WORKER_FIGURES = ("cpu_percent", "rss")
MOST_WORKERS = 16
"""Workers beyond these are in the program's sums only."""

Points = Sequence[tuple[float, float | None]]


def resources_now(snapshot: Snapshot) -> dict[str, Any]:
    """Return what the program, each worker and the host use now."""
    return {
        "timestamp": stamp(snapshot.at),
        "program": plain(snapshot.resources),
        "workers": [{"slot": worker.slot, "pid": worker.pid, **plain(worker.resources)} for worker in snapshot.workers],
        "system": plain(snapshot.system),
    }


def resource_names(snapshot: Snapshot) -> list[str]:
    """Return what the history calls the resource figures of the program and of its workers (``watch/gauges.py``)."""
    program = [f"app.{figure}" for figure in PROGRAM_FIGURES]
    workers = snapshot.workers[:MOST_WORKERS]
    return [*program, *(f"worker.{worker.slot}.{figure}" for worker in workers for figure in WORKER_FIGURES)]


def trends(hours: float, found: Mapping[str, Points], limits: Mapping[str, float | None]) -> dict[str, Any]:
    """Return where each figure went over the last ``hours``, with its points; slopes are per second."""
    return {
        "hours": hours,
        "trends": {
            name: {**asdict(judge(points, limit=limits.get(name))), "points": [list(point) for point in points]}
            for name, points in found.items()
        },
    }


def limits_of(snapshot: Snapshot) -> dict[str, float | None]:
    """Return the limit that a figure of the history runs against, where there is one."""
    used = snapshot.resources
    return {"app.rss": used.memory_limit, "app.memory_percent": 100.0, "app.fds": used.fd_limit}


def startup_stats(snapshot: Snapshot) -> dict[str, Any]:
    """Return every start that is known, how long they took, and the slowest step of each."""
    totals = [start.total for start in snapshot.startups if start.total is not None]
    return {
        "starts": [{**plain(start), "slowest": _slowest(start)} for start in snapshot.startups],
        "count": len(snapshot.startups),
        "finished": len(totals),
        "min": min(totals, default=None),
        "max": max(totals, default=None),
        "mean": statistics.fmean(totals) if totals else None,
        "last": totals[-1] if totals else None,
    }


def _slowest(start: Startup) -> dict[str, Any] | None:
    slowest = max(start.steps, key=lambda step: step.took, default=None)
    return None if slowest is None else {"label": slowest.label, "took": slowest.took}


def errors_summary(snapshot: Snapshot) -> dict[str, Any]:
    """Return the error groups, most frequent first, and their sums by type and by operation."""
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
        "groups": plain(groups),
    }


def overview(snapshot: Snapshot) -> dict[str, Any]:
    """Return everything in one answer, for diagnosis."""
    return {
        "app": snapshot.app,
        "timestamp": stamp(snapshot.at),
        "uptime_seconds": max(0.0, snapshot.at - snapshot.started),
        "verdict": plain(snapshot.verdict),
        "resources": resources_now(snapshot),
        "operations": plain(sorted(snapshot.operations, key=worst_first)),
        "in_flight": plain(snapshot.in_flight),
        "errors": errors_summary(snapshot),
        "startup": startup_stats(snapshot),
        "checks": plain(snapshot.checks),
        "incidents": plain(snapshot.incidents),
        "overhead": plain(snapshot.overhead),
    }
