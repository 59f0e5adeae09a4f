"""What several starts have in common: how long they take, and which steps make them slow (STU-04). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from roadworthy.types import Startup, StartupStep, Worker, WorkerState
from roadworthy.watch.middle import median

BOTTLENECK_SHARE: Final = 0.25
"""A step that takes at least this share of the starts' time is a bottleneck."""

BOTTLENECK_LEAST: Final = 0.05
"""Seconds that a bottleneck takes at the least: below that there is nothing to win."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step over several starts; ``share`` is its part of the time of the starts that had it."""

    label: str
    count: int
    mean: float
    most: float
    last: float
    share: float


@dataclass(frozen=True, slots=True)
class Statistics:
    """Starts that were finished; seconds. None where no start was."""

    finished: int
    least: float | None
    mean: float | None
    median: float | None
    most: float | None
    last: float | None
    steps: tuple[Step, ...]
    bottlenecks: tuple[Step, ...]


def statistics(starts: Sequence[Startup]) -> Statistics:
    """Return figures over the starts that ended in being ready; a start that died before says nothing about duration.

    Steps come slowest first, by their mean.
    """
    finished = [one for one in starts if one.total is not None]
    totals = [one.total for one in finished if one.total is not None]
    steps = tuple(sorted(_steps(finished), key=lambda step: (-step.mean, step.label)))
    return Statistics(
        finished=len(totals),
        least=min(totals, default=None),
        mean=sum(totals) / len(totals) if totals else None,
        median=median(totals) if totals else None,
        most=max(totals, default=None),
        last=totals[-1] if totals else None,
        steps=steps,
        bottlenecks=tuple(step for step in steps if step.share >= BOTTLENECK_SHARE and step.mean >= BOTTLENECK_LEAST),
    )


def _steps(finished: Iterable[Startup]) -> Iterable[Step]:
    took: dict[str, list[float]] = {}
    within: dict[str, float] = {}
    for start in finished:
        mine: dict[str, float] = {}
        for step in start.steps:
            mine[step.label] = mine.get(step.label, 0.0) + step.took
        for label, seconds in mine.items():
            took.setdefault(label, []).append(seconds)
            within[label] = within.get(label, 0.0) + (start.total or 0.0)
    for label, seconds_of in took.items():
        share = sum(seconds_of) / within[label] if within[label] > 0 else 0.0
        mean = sum(seconds_of) / len(seconds_of)
        yield Step(label, len(seconds_of), mean, max(seconds_of), seconds_of[-1], min(1.0, share))


def completed(workers: Iterable[Worker], told: Sequence[Startup]) -> list[Startup]:
    """Return the starts that workers told of, ended where those did not tell it; and one for each that told nothing.

    A worker that does not call ``startup.ready()`` counts as started when we saw it ready.
    """
    ready = {one.pid: one for one in workers if one.pid is not None and one.state is WorkerState.READY}
    found = [_ended(one, ready[one.pid]) if one.total is None and one.pid in ready else one for one in told]
    known = {one.pid for one in told}
    for pid, worker in ready.items():
        if pid not in known and worker.started is not None:
            took = max(0.0, worker.since - worker.started)
            found.append(Startup(pid, worker.slot, worker.started, took, (StartupStep("ready", took, took),)))
    return found


def _ended(start: Startup, worker: Worker) -> Startup:
    before = start.steps[-1].at if start.steps else 0.0
    total = max(before, worker.since - start.at)
    return replace(start, total=total, steps=(*start.steps, StartupStep("ready", total, total - before)))
