"""What a Snapshot tells besides the program's own metrics, as series: verdict, workers, checks, host, our own overhead.

Processes have OpenTelemetry's names (``process.memory.usage``), and those that every Prometheus dashboard knows
(``process_resident_memory_bytes``, ``process_open_fds``, ``process_start_time_seconds``). The label ``worker`` is the
slot, never the pid, so that a restart does not make a new series.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from roadworthy import __version__
from roadworthy.types import Kind, Labels, Resources, Series, Snapshot, Status, WorkerState


def target(snapshot: Snapshot) -> Labels:
    """Return the labels of ``target_info``: which service this is."""
    return (
        ("service.name", snapshot.app),
        ("telemetry.sdk.name", "roadworthy"),
        ("telemetry.sdk.version", __version__),
    )


def own_series(snapshot: Snapshot) -> tuple[Series, ...]:
    """Return the figures; an unknown one has no value."""
    return (
        *_verdict(snapshot),
        *_workers(snapshot),
        *_checks(snapshot),
        *_operations(snapshot),
        *_system(snapshot),
        *_overhead(snapshot),
    )


def _gauge(name: str, value: float | None, text: str, labels: Labels = ()) -> Series:
    return Series(name, Kind.GAUGE, labels, "", text, value)


def _count(name: str, value: float, text: str, labels: Labels = ()) -> Series:
    return Series(name, Kind.COUNTER, labels, "", text, value)


def _share(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


def _verdict(snapshot: Snapshot) -> Iterator[Series]:
    verdict = snapshot.verdict
    for status in Status:
        labels = (("status", status.value),)
        yield _gauge(
            "roadworthy_verdict",
            float(verdict.status is status),
            "The verdict: 1 for the status that holds now.",
            labels,
        )
    yield _gauge("roadworthy_live", float(verdict.live), "1 while the program is alive and not hung.")
    yield _gauge("roadworthy_ready", float(verdict.ready), "1 while the program can do its work.")
    yield _gauge(
        "roadworthy_snapshot_timestamp_seconds", snapshot.at, "When these figures were taken, seconds since the epoch."
    )


def _workers(snapshot: Snapshot) -> Iterator[Series]:
    states = Counter(worker.state for worker in snapshot.workers)
    for state in WorkerState:
        yield _gauge("roadworthy_workers", states[state], "Workers by state.", (("state", state.value),))
    for worker in snapshot.workers:
        labels = (("worker", str(worker.slot)),)
        yield _count(
            "roadworthy_worker_restarts_total", worker.restarts, "How often the worker was started again.", labels
        )
        yield _gauge(
            "process_start_time_seconds",
            worker.started,
            "When the worker's process began, seconds since the epoch.",
            labels,
        )
        up = max(0.0, snapshot.at - worker.started) if worker.pid is not None and worker.started is not None else None
        yield _gauge("process_uptime_seconds", up, "How long the worker's process runs (process.uptime).", labels)
        yield from _resources(worker.resources, labels)


def _resources(used: Resources, labels: Labels) -> Iterator[Series]:
    yield _gauge("process_cpu_utilization_ratio", _share(used.cpu_percent), "Share of one core in use.", labels)
    yield _gauge("process_resident_memory_bytes", used.rss, "Resident memory.", labels)
    yield _gauge("process_memory_usage_bytes", used.rss, "Resident memory (process.memory.usage).", labels)
    # No "process_thread_count": promtool wants no gauge to end so. "process_threads" is what Python itself counts.
    yield _gauge("process_os_threads", used.threads, "Threads (process.thread.count).", labels)
    yield _gauge("process_open_fds", used.fds, "Open file descriptors.", labels)
    yield _gauge("process_max_fds", used.fd_limit, "Most file descriptors that may be open.", labels)
    yield _gauge("process_disk_read_bytes_per_second", used.read_bytes, "Read from disk.", labels)
    yield _gauge("process_disk_write_bytes_per_second", used.write_bytes, "Written to disk.", labels)


def _checks(snapshot: Snapshot) -> Iterator[Series]:
    for check in snapshot.checks:
        slot = () if check.slot is None else (("worker", str(check.slot)),)
        labels = (("check", check.name), ("kind", check.kind), *slot)
        passed = None if check.status is Status.UNKNOWN else float(check.status in {Status.OK, Status.DEGRADED})
        yield _gauge("roadworthy_check_up", passed, "1 when the check passed the last time it ran.", labels)
        yield _gauge("roadworthy_check_outage", float(check.outage), "1 after three failures in a row.", labels)
        yield _gauge("roadworthy_check_duration_seconds", check.duration, "How long the check took.", labels)


def _operations(snapshot: Snapshot) -> Iterator[Series]:
    for operation in snapshot.operations:
        labels = (("operation", operation.name),)
        yield _gauge(
            "roadworthy_operations_in_flight", operation.in_flight, "Operations that have begun and not ended.", labels
        )


def _system(snapshot: Snapshot) -> Iterator[Series]:
    system = snapshot.system
    yield _gauge("system_cpu_utilization_ratio", _share(system.cpu_percent), "Share of the CPUs in use.")
    yield _gauge("system_cpus", system.cpus, "CPUs, or the container's share of them.")
    yield _gauge("system_load1", system.load1, "Load average of one minute.")
    yield _gauge("system_memory_usage_bytes", system.memory_used, "Memory in use.")
    yield _gauge("system_memory_limit_bytes", system.memory_total, "Memory there is, or the container's limit.")
    for name, size in snapshot.gauges.items():
        if name.startswith("data.bytes{path="):
            where = (("path", name[len("data.bytes{path=") : -1]),)
            yield _gauge("roadworthy_data_directory_bytes", size, "Size of a directory that is watched.", where)
    disk = (("path", system.disk_path),) if system.disk_path else ()
    yield _gauge("system_filesystem_usage_bytes", system.disk_used, "Disk space in use.", disk)
    yield _gauge("system_filesystem_limit_bytes", system.disk_total, "Disk space there is.", disk)


def _overhead(snapshot: Snapshot) -> Iterator[Series]:
    own = snapshot.overhead
    for part, pid, cpu, rss in (
        ("agent", snapshot.agent_pid, own.agent_cpu_percent, own.agent_rss),
        ("keeper", snapshot.keeper_pid, own.keeper_cpu_percent, own.keeper_rss),
    ):
        labels = (("part", part),)
        yield _gauge("roadworthy_pid", pid, "Process id of a part of roadworthy itself.", labels)
        yield _gauge(
            "roadworthy_cpu_utilization_ratio", _share(cpu), "Share of one core that roadworthy itself uses.", labels
        )
        yield _gauge("roadworthy_resident_memory_bytes", rss, "Memory that roadworthy itself uses.", labels)
    yield _gauge("roadworthy_arena_bytes", own.arena_bytes, "Size of the program's arena files.")
    yield _gauge("roadworthy_state_bytes", own.state_bytes, "Size of history and incidents on disk.")
    yield _gauge("roadworthy_series", own.series, "Series that the program records.")
    yield _gauge("roadworthy_tick_seconds", own.tick_seconds, "How long the agent took for this snapshot.")
    yield _count(
        "roadworthy_events_missed_total", own.events_missed, "Events that were overwritten before they were read."
    )
    yield _count("roadworthy_series_overflowed_total", own.series_overflowed, "Series that a limit refused.")
    yield _count(
        "roadworthy_internal_errors_total", own.internal_errors, "Failures of roadworthy's own code in the program."
    )
