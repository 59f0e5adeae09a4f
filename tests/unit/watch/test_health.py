"""From evidence to the one verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest

from roadworthy.types import (
    CheckResult,
    ExitStatus,
    Finding,
    Liveness,
    Resources,
    Startup,
    StartupStep,
    Status,
    System,
    Worker,
    WorkerState,
)
from roadworthy.watch.health import Evidence, Hung, failed_again, slow_starts, verdict
from roadworthy.watch.operations import Window

NOW = 1_000_000.0


def worker(slot=0, state=WorkerState.READY, liveness=Liveness.WORKING, **more):
    base = Worker(slot, 1, 100 + slot, state, NOW - 500, NOW - 500, liveness, "", Resources(), 0, injected=True)
    return replace(base, **more)


def check(status, *, row=0, kind="readiness", at=NOW):
    return CheckResult("db", kind, status, "said so", at, 0.1, 60, 5, failures_in_row=row, outage=row >= 3)


def work(attempts, failures):
    return Window(attempts=attempts, failures=failures, error_share=failures / attempts if attempts >= 20 else None)


def evidence(*workers, **more):
    return Evidence(now=NOW, workers=workers or (worker(),), started=True, **more)


DIED = ExitStatus(signal=9, words="killed by SIGKILL (9)")
OUTAGE = check(Status.UNHEALTHY, row=3)
INFORMED = check(Status.UNHEALTHY, row=3, kind="informational")
WELL = check(Status.OK)
TABLE = [
    ("all is well", evidence(), Status.OK, True, True),
    ("one worker hangs", evidence(hung=[Hung(0, "no heartbeat")]), Status.UNHEALTHY, False, False),
    ("one of two hangs", evidence(worker(0), worker(1), hung=[Hung(0, "no heartbeat")]), Status.UNHEALTHY, True, True),
    ("crash loop", evidence(worker(state=WorkerState.HELD)), Status.UNHEALTHY, False, False),
    ("down, to come back", evidence(worker(state=WorkerState.BACKOFF)), Status.UNHEALTHY, False, False),
    ("one of two down", evidence(worker(0), worker(1, WorkerState.BACKOFF)), Status.DEGRADED, True, True),
    ("starting for the first time", evidence(worker(state=WorkerState.STARTING)), Status.OK, True, False),
    ("starting again", evidence(worker(state=WorkerState.STARTING, restarts=1)), Status.RECOVERING, True, False),
    ("died just now", evidence(worker(started=NOW - 5, last_exit=DIED), after_death={0}), Status.DEGRADED, True, True),
    ("died long ago", evidence(worker(started=NOW - 100, last_exit=DIED), after_death={0}), Status.OK, True, True),
    ("reloaded just now", evidence(worker(restarts=1, started=NOW - 5, last_exit=DIED)), Status.OK, True, True),
    ("lost", evidence(worker(state=WorkerState.LOST)), Status.UNKNOWN, False, False),
    ("ended badly", evidence(worker(state=WorkerState.EXITED)), Status.UNHEALTHY, False, False),
    ("ended well", evidence(worker(state=WorkerState.EXITED), finished=True), Status.OK, False, False),
    ("alive, not progressing", evidence(worker(liveness=Liveness.NOT_PROGRESSING)), Status.UNHEALTHY, True, False),
    ("loop blocked for a moment", evidence(worker(liveness=Liveness.LOOP_BLOCKED)), Status.DEGRADED, True, True),
    ("the GIL is held: a batch step", evidence(worker(liveness=Liveness.GIL_HELD)), Status.OK, True, True),
    ("idle", evidence(worker(liveness=Liveness.IDLE_OR_BUSY)), Status.OK, True, True),
    ("a check fails once", evidence(checks=[check(Status.UNHEALTHY, row=1)]), Status.DEGRADED, True, True),
    ("a check fails three times: outage, still live", evidence(checks=[OUTAGE]), Status.UNHEALTHY, True, False),
    ("an informational check fails three times", evidence(checks=[INFORMED]), Status.UNHEALTHY, True, True),
    ("a check that cannot tell", evidence(checks=[check(Status.UNKNOWN, row=1)]), Status.UNKNOWN, True, True),
    ("a check that has not run", evidence(checks=[check(Status.UNKNOWN, at=None)]), Status.OK, True, True),
    ("few failures", evidence(work=work(1000, 10)), Status.OK, True, True),
    ("six per cent fail", evidence(work=work(1000, 60)), Status.DEGRADED, True, True),
    ("half fails, checks are green", evidence(work=work(1000, 600), checks=[WELL]), Status.UNHEALTHY, True, False),
    ("too few attempts to say", evidence(work=work(19, 19)), Status.OK, True, True),
    ("memory at 85 %", evidence(system=System(memory_percent=85.0)), Status.DEGRADED, True, True),
    ("disk at 90 %", evidence(system=System(disk_percent=90.0, disk_path="/data")), Status.DEGRADED, True, True),
    ("disk full", evidence(system=System(disk_percent=99.0)), Status.UNHEALTHY, True, True),
    ("the program's own memory at its limit", evidence(memory_percent=98.0), Status.UNHEALTHY, True, True),
    ("descriptors nearly used up", evidence(fds=900, fd_limit=1024), Status.DEGRADED, True, True),
    ("nothing measured for a while", evidence(sampling_age=12.0), Status.UNKNOWN, True, True),
    ("an arena that cannot be read", evidence(broken_arenas=["x.arena: broken"]), Status.DEGRADED, True, True),
    ("from outside", evidence(extra=[Finding("history", Status.DEGRADED, "full")]), Status.DEGRADED, True, True),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "status", "live", "ready"), TABLE, ids=[row[0] for row in TABLE])
def test_the_verdict_follows_from_the_evidence(name, given, status, live, ready):
    found = verdict(given)
    assert (found.status, found.live, found.ready) == (status, live, ready), found
    assert found.reason


@pytest.mark.parametrize(("name", "given", "status", "live", "ready"), TABLE, ids=[row[0] for row in TABLE])
def test_liveness_never_depends_on_a_dependency(name, given, status, live, ready):
    failing = replace(given, checks=[check(Status.UNHEALTHY, row=9)], work=work(1000, 1000))
    assert verdict(failing).live is live


def test_since_stays_while_the_status_and_the_finding_stay():
    first = verdict(evidence(system=System(disk_percent=90.0)))
    later = replace(evidence(system=System(disk_percent=91.0)), now=NOW + 50)
    second = verdict(later, first)
    assert (second.since, second.findings[0].since) == (NOW, NOW)
    well = verdict(replace(evidence(), now=NOW + 60), second)
    assert (well.status, well.since) == (Status.OK, NOW + 60)


def test_the_reason_names_the_worst_and_how_many_more():
    found = verdict(
        evidence(worker(state=WorkerState.HELD, reason="crash loop: 5 deaths"), system=System(disk_percent=90.0))
    )
    assert found.reason == "worker 0: crash loop: 5 deaths (and 1 more)"


def test_two_failures_are_no_outage_three_are_and_one_success_ends_it():
    result = check(Status.UNKNOWN, at=None)
    seen = []
    for status in (Status.UNHEALTHY, Status.UNKNOWN, Status.UNHEALTHY, Status.UNHEALTHY, Status.OK, Status.UNHEALTHY):
        row, outage = failed_again(result, status=status)
        result = replace(result, failures_in_row=row, outage=outage)
        seen.append((row, outage))
    assert seen == [(1, False), (2, False), (3, True), (4, True), (0, False), (1, False)]


@pytest.mark.parametrize(("total", "warned"), [(39.0, False), (41.0, True), (None, False)])
def test_a_start_longer_than_forty_seconds_is_a_warning_that_names_its_slowest_step(total, warned):
    start = Startup(1, 0, NOW, total, (StartupStep("imports", 1.0, 1.0), StartupStep("database", 30.0, 29.0)))
    found = list(slow_starts([start]))
    assert bool(found) is warned
    if warned:
        assert "'database'" in found[0].reason
        assert verdict(evidence(extra=found)).status is Status.OK
