"""From findings to the one verdict: how is the program, why, and since when. Pure.

Liveness never depends on a dependency: it is about processes alone. Readiness does, and it also turns red while real
work fails, whatever the checks say (with a full disk, nine of nine servers failed every write and still said 200).
Unknown is its own status: it is never shown as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from roadworthy.types import (
    CheckResult,
    Finding,
    Liveness,
    Severity,
    Startup,
    Status,
    System,
    Verdict,
    Worker,
    WorkerState,
)
from roadworthy.watch.operations import Window
from roadworthy.watch.words import span

OUTAGE_AFTER: Final = 3
"""Failures of one check in a row that make an outage (HLT-17), counted on that check's own interval."""

ERROR_SHARE_BAD: Final = 0.05
ERROR_SHARE_RED: Final = 0.5
MEMORY_WARN: Final = 80.0
MEMORY_RED: Final = 97.0
DISK_WARN: Final = 85.0
DISK_RED: Final = 98.0
FDS_WARN: Final = 0.8
START_SLOW: Final = 40.0
RECENT_DEATH: Final = 60.0

_RANK: Final = {Status.OK: 0, Status.UNKNOWN: 1, Status.RECOVERING: 2, Status.DEGRADED: 3, Status.UNHEALTHY: 4}


@dataclass(frozen=True, slots=True)
class Hung:
    """A worker that counts as hung, by slot, with why."""

    slot: int
    reason: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a verdict is made from; times in wall seconds.

    ``after_death`` are the slots whose process replaces one that ended unasked; a restart or reload is no death.
    """

    now: float
    workers: Sequence[Worker] = ()
    hung: Sequence[Hung] = ()
    after_death: frozenset[int] = frozenset()
    checks: Sequence[CheckResult] = ()
    work: Window = field(default_factory=Window)
    system: System = field(default_factory=System)
    memory_percent: float | None = None
    fds: int | None = None
    fd_limit: int | None = None
    started: bool = False
    finished: bool = False
    sampling_age: float = 0.0
    broken_arenas: Sequence[str] = ()
    extra: Sequence[Finding] = ()


def failed_again(result: CheckResult, *, status: Status) -> tuple[int, bool]:
    """Return (failures in a row, outage) after another run of a check ended with ``status``; unknown is a failure."""
    row = 0 if status is Status.OK else result.failures_in_row + (status is not Status.DEGRADED)
    return row, row >= OUTAGE_AFTER


def verdict(evidence: Evidence, before: Verdict | None = None) -> Verdict:
    """Return the verdict at ``evidence.now``; ``before`` tells since when its status and each finding stand."""
    findings = tuple(_dated(_findings(evidence), evidence.now, before))
    worst = max((finding.status for finding in findings), key=_RANK.__getitem__, default=Status.OK)
    live = _live(evidence)
    ready = live and _ready(evidence, findings)
    if evidence.sampling_age > 5:  # noqa: PLR2004 - five missed ticks
        worst = max(worst, Status.UNKNOWN, key=_RANK.__getitem__)
    reason = _reason(worst, findings, evidence)
    since = before.since if before is not None and before.status is worst else evidence.now
    return Verdict(worst, reason, since, findings, live=live, ready=ready, started=evidence.started)


def _findings(evidence: Evidence) -> Iterable[Finding]:
    found = [
        *_workers(evidence),
        *(_check(check) for check in evidence.checks if _tells(check)),
        *_work(evidence.work),
        *_machine(evidence),
        *evidence.extra,
    ]
    return sorted(found, key=lambda one: (-_RANK[one.status], -_SEVERITY.index(one.severity), one.subject))


_SEVERITY: Final = tuple(Severity)


def _workers(evidence: Evidence) -> Iterable[Finding]:
    hung = {one.slot: one.reason for one in evidence.hung}
    for worker in evidence.workers:
        subject = f"worker {worker.slot}"
        if worker.slot in hung:
            yield Finding(subject, Status.UNHEALTHY, f"hung: {hung[worker.slot]}", Severity.CRITICAL)
            continue
        match worker.state:
            case WorkerState.HELD:
                yield Finding(
                    subject,
                    Status.UNHEALTHY,
                    worker.reason or "crash loop, held",
                    Severity.CRITICAL,
                    evidence=_last(worker),
                )
            case WorkerState.BACKOFF:
                yield Finding(
                    subject,
                    _down(evidence),
                    f"down, to be started again: {worker.reason}",
                    Severity.ERROR,
                    evidence=_last(worker),
                )
            case WorkerState.LOST:
                yield Finding(
                    subject, Status.UNKNOWN, worker.reason or "nobody knows what became of it", Severity.ERROR
                )
            case WorkerState.EXITED if not evidence.finished:
                yield Finding(
                    subject, _down(evidence), f"ended: {worker.reason}", Severity.ERROR, evidence=_last(worker)
                )
            case WorkerState.STARTING if worker.restarts:
                yield Finding(subject, Status.RECOVERING, "starting again", Severity.WARNING, evidence=_last(worker))
            case _:
                yield from _living(worker, evidence, subject)


def _living(worker: Worker, evidence: Evidence, subject: str) -> Iterable[Finding]:
    age = None if worker.started is None else max(0.0, evidence.now - worker.started)
    if worker.liveness in _TROUBLED:
        status = Status.UNHEALTHY if worker.liveness is Liveness.NOT_PROGRESSING else Status.DEGRADED
        yield Finding(subject, status, worker.reason or worker.liveness.value.replace("_", " "), Severity.ERROR)
    fell = worker.slot in evidence.after_death and worker.state is WorkerState.READY
    if fell and age is not None and age < RECENT_DEATH:
        ended = worker.last_exit.words if worker.last_exit else "it ended"
        yield Finding(subject, Status.DEGRADED, f"restarted {span(age)} ago: {ended}", Severity.WARNING)


_TROUBLED: Final = frozenset({
    Liveness.STOPPED,
    Liveness.LOOP_BLOCKED,
    Liveness.SPINNING,
    Liveness.STALLED,
    Liveness.NOT_PROGRESSING,
})  # fmt: skip


def _down(evidence: Evidence) -> Status:
    """Return how bad a worker that is down is: a degradation while another one serves."""
    up = any(worker.state is WorkerState.READY for worker in evidence.workers)
    return Status.DEGRADED if up else Status.UNHEALTHY


def _last(worker: Worker) -> str:
    return worker.last_exit.words if worker.last_exit else ""


def _tells(check: CheckResult) -> bool:
    return check.at is not None and check.status is not Status.OK


def _check(check: CheckResult) -> Finding:
    status = check.status
    if status is Status.UNHEALTHY and not check.outage:
        status = Status.DEGRADED
    times = f", {check.failures_in_row} times in a row" if check.failures_in_row > 1 else ""
    severity = Severity.CRITICAL if check.outage else Severity.WARNING
    return Finding(f"check {check.name}", status, check.detail + times, severity, since=None)


def _work(work: Window) -> Iterable[Finding]:
    share = work.error_share
    if share is None or share < ERROR_SHARE_BAD:
        return
    status = Status.UNHEALTHY if share >= ERROR_SHARE_RED else Status.DEGRADED
    yield Finding(
        "work",
        status,
        f"{share:.0%} of the work fails ({work.failures} of {work.attempts} in 5 min)",
        Severity.CRITICAL if status is Status.UNHEALTHY else Severity.ERROR,
    )


def _machine(evidence: Evidence) -> Iterable[Finding]:
    system = evidence.system
    for subject, value, warn, red in (
        ("memory", system.memory_percent, MEMORY_WARN, MEMORY_RED),
        ("program memory", evidence.memory_percent, MEMORY_WARN, MEMORY_RED),
        ("disk", system.disk_percent, DISK_WARN, DISK_RED),
    ):
        if value is not None and value >= warn:
            status = Status.UNHEALTHY if value >= red else Status.DEGRADED
            yield Finding(
                subject, status, f"{value:.0f} % used", evidence=system.disk_path if subject == "disk" else ""
            )
    if evidence.fds is not None and evidence.fd_limit and evidence.fds >= FDS_WARN * evidence.fd_limit:
        yield Finding(
            "descriptors", Status.DEGRADED, f"{evidence.fds} of {evidence.fd_limit} file descriptors are open"
        )
    for path in evidence.broken_arenas:
        yield Finding("arena", Status.DEGRADED, path)


def slow_starts(startups: Iterable[Startup]) -> Iterable[Finding]:
    """Return a warning for a start that took longer than 40 s (STU-05, C-28); it does not make the program degraded."""
    newest: dict[int | None, Startup] = {}
    for one in startups:
        if one.slot not in newest or one.at >= newest[one.slot].at:
            newest[one.slot] = one
    for slot, one in newest.items():
        took = one.total
        if took is not None and took > START_SLOW:
            slowest = max(one.steps, key=lambda step: step.took, default=None)
            where = f"; the slowest step was {slowest.label!r} with {span(slowest.took)}" if slowest else ""
            reason = f"took {span(took)}, more than {START_SLOW:.0f} s{where}"
            yield Finding(f"start of worker {slot}", Status.OK, reason, since=one.at + took)


def _live(evidence: Evidence) -> bool:
    """Return whether one worker lives and is not hung."""
    hung = {one.slot for one in evidence.hung}
    alive = {WorkerState.STARTING, WorkerState.READY, WorkerState.STOPPING}
    return any(worker.state in alive and worker.slot not in hung for worker in evidence.workers)


def _ready(evidence: Evidence, findings: Sequence[Finding]) -> bool:
    hung = {one.slot for one in evidence.hung}
    serving = any(worker.state is WorkerState.READY and worker.slot not in hung for worker in evidence.workers)
    outage = any(check.outage and check.kind != "informational" for check in evidence.checks)
    failing = any(finding.subject == "work" and finding.status is Status.UNHEALTHY for finding in findings)
    return serving and not outage and not failing and not any(_not_advancing(finding, evidence) for finding in findings)


def _not_advancing(finding: Finding, evidence: Evidence) -> bool:
    """Return whether the finding says that the only workers that serve do not advance."""
    stuck = [worker for worker in evidence.workers if worker.liveness is Liveness.NOT_PROGRESSING]
    serving = [worker for worker in evidence.workers if worker.state is WorkerState.READY]
    return bool(stuck) and len(stuck) == len(serving) and finding.subject == f"worker {stuck[0].slot}"


def _dated(findings: Iterable[Finding], now: float, before: Verdict | None) -> Iterable[Finding]:
    known = {(old.subject, old.status): old.since for old in before.findings} if before else {}
    for finding in findings:
        yield replace(finding, since=known.get((finding.subject, finding.status)) or finding.since or now)


def _reason(status: Status, findings: Sequence[Finding], evidence: Evidence) -> str:
    if evidence.sampling_age > 5 and status is Status.UNKNOWN:  # noqa: PLR2004 - five missed ticks
        return f"no figures for {span(evidence.sampling_age)}"
    bad = [finding for finding in findings if finding.status is not Status.OK]
    if bad:
        first = bad[0]
        more = len(bad) - 1
        return f"{first.subject}: {first.reason}" + (f" (and {more} more)" if more else "")
    if evidence.finished:
        return "the program has ended by itself"
    if not evidence.started:
        return "starting"
    ready = sum(worker.state is WorkerState.READY for worker in evidence.workers)
    return (
        f"{ready} of {len(evidence.workers)} workers ready, nothing is wrong"
        if len(evidence.workers) > 1
        else "nothing is wrong"
    )
