"""Parts of the Snapshot from what a tick found."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from roadworthy.log.redact import redact_argv
from roadworthy.types import Liveness, Overhead, Resources, Worker, WorkerState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from roadworthy.agent.collect import Collected
    from roadworthy.agent.crew import Member, Observation
    from roadworthy.agent.injection import Absences
    from roadworthy.agent.sample import ProcessSample, Sample
    from roadworthy.types import InFlight, Startup
    from roadworthy.watch.liveness import Judgement

TIME_TO_IMPORT = 5.0
"""Seconds after which a process without an arena counts as one that we are not in."""


def worker(
    member: Member, seen: Observation | None, collected: Collected, sample: Sample, now: float, absences: Absences
) -> Worker:
    """Return one worker as the views show it."""
    process = collected.of(member.pid) if member.pid is not None else None
    sampled = sample.process(member.pid)
    judgement = seen.judgement if seen is not None else None
    up = member.state in {WorkerState.READY, WorkerState.STARTING}
    injected: bool | None = process.injected if process is not None else None
    reason = str(process.info.get("reason", "")) if process is not None else ""
    python = process.python if process is not None else ""
    if process is None and member.pid is not None and up:
        absence = absences.of(member.pid, member.start_ticks)
        waited = member.started is not None and now - member.started > TIME_TO_IMPORT
        injected = False if absence.reason or waited else None
        reason = absence.reason or "no runtime of ours reported from it"
        python = absence.python
    return Worker(
        slot=member.slot,
        generation=member.generation,
        pid=member.pid,
        state=member.state,
        since=member.since,
        started=member.started,
        liveness=judgement.liveness if judgement is not None else Liveness.UNKNOWN,
        reason=_reason(member, judgement if up else None),
        resources=sample.slots.get(member.slot, Resources()),
        restarts=member.restarts,
        injected=injected,
        inject_reason=reason,
        last_exit=member.last_exit,
        next_start=member.next_start,
        python=python,
        command=sampled.command if sampled is not None else "",
    )


def _reason(member: Member, judgement: Judgement | None) -> str:
    """Return what is known of a worker; of a ready one also what happened to it, such as a reload given up."""
    if judgement is None:
        return member.reason
    told = member.reason if member.state is WorkerState.READY else ""
    return "; ".join(part for part in (told, judgement.reason) if part)


def ended_well(one: Worker) -> bool:
    """Return whether a worker has come to its own good end."""
    return one.state is WorkerState.EXITED and one.last_exit is not None and one.last_exit.code == 0


def fullest(sample: Sample) -> tuple[int | None, int | None]:
    """Return the open descriptors and the limit of the process that is nearest to its own limit."""
    told = [(one.fds, one.fd_limit) for one in sample.processes if one.fds is not None and one.fd_limit]
    return max(told, key=lambda pair: (pair[0] or 0) / (pair[1] or 1), default=(None, None))


def counted(in_flight: Iterable[InFlight]) -> dict[str, int]:
    """Return how many operations of each name are under way."""
    counts: dict[str, int] = {}
    for one in in_flight:
        counts[one.name] = counts.get(one.name, 0) + 1
    return counts


def merge_startups(known: Iterable[Startup], seen: Iterable[Startup], most: int) -> list[Startup]:
    """Return the newest starts, one a process; one that goes on replaces what was known of it."""
    starts = list(known)
    for one in seen:
        for index, old in enumerate(starts):
            if old.pid == one.pid and abs(old.at - one.at) < 1:
                starts[index] = one
                break
        else:
            starts.append(one)
    return starts[-most:]


def overhead(
    sample: Sample, collected: Collected, *, tick_seconds: float | None, state_bytes: float | None
) -> Overhead:
    """Return what roadworthy itself uses."""

    def used(process: ProcessSample | None) -> tuple[float | None, int | None]:
        return (process.cpu_percent, process.rss) if process is not None else (None, None)

    return Overhead(
        *used(sample.agent),
        *used(sample.keeper),
        arena_bytes=collected.arena_bytes,
        state_bytes=None if state_bytes is None else int(state_bytes),
        series=len(collected.series),
        tick_seconds=tick_seconds,
        events_missed=collected.missed,
        series_overflowed=collected.overflowed,
        internal_errors=collected.internal_errors,
    )


def shown(command: Sequence[str]) -> tuple[str, ...]:
    """Return a command line word by word, without secrets; whether a word is one may depend on the word before."""
    words = [redact_argv(command[:1])] if command else []
    for before, word in pairwise(command):
        words.append(redact_argv((before, word))[len(redact_argv((before,))) + 1 :])
    return tuple(words)
