"""Statistics over several starts, and the starts of programs that mark none."""

from __future__ import annotations

import pytest

from roadworthy.types import Liveness, Resources, Startup, StartupStep, Worker, WorkerState
from roadworthy.watch.starts import completed, statistics


def start(pid, *steps, finished=True):
    """Return a start by its steps' labels and durations."""
    at, made = 0.0, []
    for label, took in steps:
        at += took
        made.append(StartupStep(label, at, took))
    return Startup(pid, 0, 1000.0 * pid, at if finished else None, tuple(made))


def worker(pid=7, state=WorkerState.READY, started=100.0, since=102.5):
    return Worker(0, 1, pid, state, since, started, Liveness.WORKING, "", Resources(), 0, injected=False)


def test_the_slow_steps_of_several_starts_are_the_bottlenecks():
    found = statistics([
        start(1, ("config", 0.1), ("database", 2.0), ("ready", 0.1)),
        start(2, ("config", 0.1), ("database", 1.0), ("ready", 0.7)),
    ])  # fmt: skip
    assert (found.finished, found.least, found.most, found.last) == (2, pytest.approx(1.8), 2.2, pytest.approx(1.8))
    assert found.mean == found.median == pytest.approx(2.0)
    assert [(step.label, step.count) for step in found.steps] == [("database", 2), ("ready", 2), ("config", 2)]
    assert [(step.label, step.mean, step.most, step.last) for step in found.bottlenecks] == [
        ("database", 1.5, 2.0, 1.0)
    ]
    assert found.bottlenecks[0].share == pytest.approx(0.75)


def test_a_start_that_never_ended_says_nothing_about_duration():
    found = statistics([start(1, ("config", 5.0), finished=False)])
    assert (found.finished, found.mean, found.steps) == (0, None, ())


def test_a_step_of_milliseconds_is_no_bottleneck_however_large_its_share():
    assert statistics([start(1, ("ready", 0.01))]).bottlenecks == ()


def test_the_steps_of_a_start_add_up_to_its_total():
    (one,) = completed([worker(1, since=1004.0, started=1000.0)], [start(1, ("a", 1.0), ("b", 0.5), finished=False)])
    assert one.total == 4.0
    assert sum(step.took for step in one.steps) == pytest.approx(one.total)
    assert [step.label for step in one.steps] == ["a", "b", "ready"]


@pytest.mark.parametrize(
    ("one", "totals"),
    [
        (worker(), [2.5]),
        (worker(state=WorkerState.STARTING), []),
        (worker(started=None), []),
        (worker(pid=None), []),
    ],
)
def test_a_program_that_marks_nothing_has_started_when_it_was_seen_ready(one, totals):
    assert [found.total for found in completed([one], [])] == totals


def test_a_start_that_the_program_ended_itself_stays_as_it_is():
    told = start(7, ("ready", 0.3))
    assert completed([worker(7)], [told]) == [told]
