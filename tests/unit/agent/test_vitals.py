"""What needs memory between ticks: standing counts, stopped processes, our own absence, and who we only look on at."""

from __future__ import annotations

import pytest

from roadworthy.agent.crew import Member, Watched
from roadworthy.agent.process import Process
from roadworthy.agent.sample import ProcessSample, Sample
from roadworthy.agent.vitals import Vitals
from roadworthy.config.values import HangPolicy
from roadworthy.types import Beat, InFlight, Liveness, WorkerState

SECOND = 1_000_000_000


def process(pid=42, *, slot=0, alive=True, beats=(), turns=None, in_flight=(), recorded=0, descendant=False):
    return Process(
        key=str(pid), pid=pid, start_ticks=1, slot=slot, generation=1, alive=alive, closed=False, injected=True,
        descendant=descendant, info={}, beats=tuple(beats), frames={}, turns=turns or {}, in_flight=tuple(in_flight),
        startup=None, stack_signal=0, stack_fd=-1, python="", created=1.0, created_ns=1, marked_ready=False,
        recorded=recorded,
    )  # fmt: skip


def sample(state="S", pid=42):
    one = ProcessSample(pid, 1, 0, 1, state, "python", "", 0.0, 1, 1, 3, 100, None, None)
    return Sample(processes=(one,))


def member(pid=42):
    return Member(0, 1, pid, 1, WorkerState.READY, 1.0, 1.0)


def run(vitals, ticks, found=process, state="S"):
    """Tick once a second and return the last observation."""
    seen = None
    for tick in ticks:
        made = found(tick) if callable(found) else found
        seen = vitals.judge(tick * SECOND, [member()], [made], sample(state)).get(0)
    return seen


def test_frames_go_on_and_turns_stand_still_for_a_minute():
    def frames(tick):
        return process(beats=[Beat("main", "loop", 42, 0, tick * 60, 0.01)], turns={"main": min(tick, 5)})

    assert run(Vitals(HangPolicy()), range(1, 60), frames).judgement.liveness is Liveness.WORKING
    seen = run(Vitals(HangPolicy()), range(1, 70), frames)
    assert (seen.judgement.liveness, seen.hung) == (Liveness.NOT_PROGRESSING, False)
    assert run(Vitals(HangPolicy(action="restart")), range(1, 70), frames).hung


def test_a_stopped_process_is_hung_after_ten_seconds_and_going_on_forgets_it():
    vitals = Vitals(HangPolicy())
    assert not run(vitals, range(1, 10), process(), "T").hung
    assert run(vitals, range(10, 13), process(), "T").hung
    assert not run(vitals, range(13, 14), process(), "S").hung
    assert not run(vitals, range(14, 20), process(), "T").hung


def test_after_we_were_away_ourselves_nobody_is_called_hung_at_once():
    vitals = Vitals(HangPolicy())
    run(vitals, range(1, 20), process(beats=[Beat("a", "heartbeat", 42, 0, 5, 0.1)]))
    silent = process(beats=[Beat("a", "heartbeat", 42, 0, 5, 30.0)])
    assert not run(vitals, [60], silent).hung
    assert run(vitals, range(61, 75), silent).hung


def test_a_descendants_silence_is_its_own_affair():
    vitals = Vitals(HangPolicy())
    main = process()
    child = process(43, beats=[Beat("a", "heartbeat", 43, 0, 5, 500.0)], descendant=True)
    for tick in range(1, 20):
        seen = vitals.judge(tick * SECOND, [member()], [main, child], sample())[0]
    assert not seen.hung


def test_operations_that_complete_are_work_and_an_old_request_counts_when_asked_for():
    seen = run(Vitals(HangPolicy()), range(1, 4), lambda tick: process(recorded=tick))
    assert seen.judgement.liveness is Liveness.WORKING
    old = process(in_flight=[InFlight("GET /", 42, 0, 50.0)])
    assert not run(Vitals(HangPolicy()), range(1, 60), old).hung
    assert run(Vitals(HangPolicy(request_after=30.0)), range(1, 60), old).hung


@pytest.mark.parametrize("state", [WorkerState.LOST, WorkerState.EXITED])
def test_who_is_gone_is_not_judged(state):
    gone = Member(0, 1, 42, 1, state, 1.0, 1.0)
    assert Vitals(HangPolicy()).judge(SECOND, [gone], [process()], sample()) == {}


def test_a_program_that_we_only_look_on_at_has_its_processes_as_workers_until_they_are_lost():
    crew = Watched()
    crew.see([process(10, slot=None), process(11, slot=None), process(12, slot=None, descendant=True)], 1.0)
    assert [(one.slot, one.pid, one.state) for one in crew.members()] == [
        (0, 10, WorkerState.READY),
        (1, 11, WorkerState.READY),
    ]
    crew.see([process(10, slot=None), process(11, slot=None, alive=False)], 2.0)
    crew.see([process(10, slot=None)], 3.0)
    lost = crew.members()[1]
    assert (lost.state, lost.since) == (WorkerState.LOST, 2.0)
    assert "nobody could collect" in lost.last_exit.words
    assert not crew.expected({})
    crew.observe((), 1.0)
