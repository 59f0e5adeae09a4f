"""The supervisor's transitions, as tables; no process, no clock."""

from __future__ import annotations

from dataclasses import replace

import pytest

from roadworthy.agent import states
from roadworthy.agent.states import Generation, Policy, Slot
from roadworthy.config.values import RestartPolicy
from roadworthy.types import ExitStatus, WorkerState

W = WorkerState
POLICY = Policy()
ROLLING = Policy(rolling=True)
KILLED = ExitStatus(signal=9, words="killed")
FAILED = ExitStatus(code=1, words="failed")
DONE = ExitStatus(code=0, words="done")


def running(*, at=0.0, number=1, state=W.READY, **more):
    current = Generation(number, at, pid=100 + number, start_ticks=1)
    return Slot(0, state=state, current=current, newest=number, **more)


def start(number):
    return {"do": "start", "slot": 0, "generation": number}


def stop(number):
    return {"do": "stop", "slot": 0, "generation": number, "signal": 15, "grace": 10.0}


def end(slot, status, *, now, policy=POLICY, random=0.5, number=None):
    number = number or slot.current.number
    slot, first = states.exited(slot, number, status, 0, policy, now)
    slot, then = states.gone(slot, number, status, policy, now, random)
    return slot, first + then


@pytest.mark.parametrize(
    ("mode", "status", "state"),
    [
        ("on-failure", DONE, W.EXITED),
        ("on-failure", FAILED, W.BACKOFF),
        ("on-failure", KILLED, W.BACKOFF),
        ("always", DONE, W.BACKOFF),
        ("always", KILLED, W.BACKOFF),
        ("never", DONE, W.EXITED),
        ("never", KILLED, W.EXITED),
    ],
)
def test_the_restart_policy_decides_what_an_end_means(mode, status, state):
    policy = Policy(restart=RestartPolicy(mode=mode))
    slot, commands = end(running(), status, now=100.0, policy=policy)
    assert (slot.state, commands, slot.last_exit) == (state, (), status)


def test_a_worker_that_was_healthy_is_started_again_after_the_first_pause():
    slot, _ = end(running(failures=4, deaths=(99.0,)), KILLED, now=100.0)
    assert (slot.next_start, slot.failures, slot.deaths) == (100.1, 0, ())
    assert states.tick(slot, POLICY, 100.05)[1] == ()
    slot, commands = states.tick(slot, POLICY, 100.1)
    assert commands == (start(2),)
    assert (slot.state, slot.restarts, slot.current.number) == (W.STARTING, 1, 2)


@pytest.mark.parametrize(
    ("failures", "pause"),
    [(0, 0.1), (1, 0.1), (2, 0.2), (3, 0.4), (4, 0.8), (9, 25.6), (10, 30.0), (99, 30.0), (10_000, 30.0)],
)
def test_the_pause_doubles_up_to_its_bound(failures, pause):
    assert states.backoff(RestartPolicy(), failures) == pytest.approx(pause)


@pytest.mark.parametrize(("random", "pause"), [(0.0, 0.08), (0.5, 0.1), (1.0, 0.12)])
def test_jitter_moves_the_pause_by_a_fifth_at_most(random, pause):
    slot, _ = end(running(), KILLED, now=100.0, random=random)
    assert slot.next_start == pytest.approx(100.0 + pause)


def test_five_early_deaths_in_a_minute_are_held_and_tried_slowly():
    slot, now, seen = running(), 1.0, []
    for _ in range(5):
        slot, _ = end(slot, FAILED, now=now)
        seen.append(slot.state)
        now = slot.next_start
        slot, _ = states.tick(slot, POLICY, now)
        now += 1.0
    assert seen == [W.BACKOFF] * 4 + [W.HELD]
    held, commands = end(slot, FAILED, now=now)
    assert (held.state, held.next_start, commands) == (W.HELD, now + 60.0, ())
    again, _ = states.tick(held, POLICY, held.next_start)
    healthy, _ = end(again, FAILED, now=held.next_start + 6.0)
    assert (healthy.state, healthy.held) == (W.BACKOFF, False)


def test_early_deaths_that_lie_far_apart_are_no_crash_loop():
    slot, now = running(), 1.0
    for _ in range(12):
        slot, _ = end(slot, FAILED, now=now)
        assert slot.state is W.BACKOFF
        now = slot.next_start + 30.0
        slot, _ = states.tick(slot, POLICY, now)
        now += 1.0


def test_a_start_that_the_keeper_could_not_make_is_an_early_death():
    slot, commands = states.start(Slot(0, newest=1), 5.0)
    assert commands == (start(2),)
    slot, _ = states.failed(slot, 2, "no such file", POLICY, 5.0, 0.5)
    assert (slot.state, slot.failures, slot.reason) == (W.BACKOFF, 1, "no such file")


def test_a_main_process_that_leaves_descendants_and_code_0_is_followed():
    slot, commands = states.exited(running(), 1, DONE, 2, POLICY, 10.0)
    assert (slot.state, commands) == (W.READY, ())
    assert "daemonized" in slot.reason
    slot, _ = states.gone(slot, 1, KILLED, POLICY, 20.0, 0.5)
    assert (slot.state, slot.last_exit) == (W.BACKOFF, KILLED)


def test_what_a_crashed_main_process_leaves_is_stopped_before_the_next_start():
    slot, commands = states.exited(running(), 1, KILLED, 2, POLICY, 10.0)
    assert commands == (stop(1),)
    slot, commands = states.gone(slot, 1, KILLED, POLICY, 10.5, 0.5)
    assert (slot.state, commands) == (W.BACKOFF, ())


def test_a_hung_worker_is_stopped_and_replaced_without_a_pause():
    slot, commands = states.hung(running(), 101, "no heartbeat", POLICY, 30.0)
    assert (slot.state, commands, slot.reason) == (W.STOPPING, (stop(1),), "hung: no heartbeat")
    assert states.hung(slot, 101, "no heartbeat", POLICY, 31.0)[1] == ()
    slot, commands = end(slot, KILLED, now=35.0)
    assert (slot.state, commands) == (W.STARTING, (start(2),))


@pytest.mark.parametrize(
    ("slot", "pid", "policy"),
    [(running(), 101, Policy(hang_action="alarm")), (running(), 77, POLICY), (running(ending=True), 101, POLICY)],
    ids=["only an alarm is wanted", "another process", "it ends anyway"],
)
def test_a_hang_that_is_not_acted_on(slot, pid, policy):
    assert states.hung(slot, pid, "why", policy, 1.0) == (slot, ())


def test_a_restart_that_was_asked_for_counts_as_no_death():
    slot, commands = states.restart(running(failures=3), POLICY, 50.0)
    assert commands == (stop(1),)
    slot, commands = end(slot, ExitStatus(signal=15), now=51.0)
    assert (commands, slot.state, slot.failures, slot.deaths) == ((start(2),), W.STARTING, 0, ())


@pytest.mark.parametrize("state", [W.BACKOFF, W.HELD, W.EXITED])
def test_a_restart_starts_at_once_what_waits_or_has_ended(state):
    slot, commands = states.restart(Slot(0, state=state, newest=4, next_start=99.0, held=True), POLICY, 50.0)
    assert (commands, slot.held, slot.next_start) == ((start(5),), False, None)


def test_a_reload_starts_the_new_one_first_and_stops_the_lame_duck():
    slot, commands = states.reload(running(), ROLLING, 10.0)
    assert (commands, slot.state, slot.current.number) == ((start(2),), W.READY, 1)
    slot = states.started(slot, 2, 102, 7, 10.1)
    slot, commands = states.ready(slot, 102, 11.0)
    assert commands == ({"do": "lame_duck", "slot": 0, "pid": 101},)
    assert (slot.current.number, slot.old.number) == (2, 1)
    assert states.tick(slot, ROLLING, 12.0)[1] == ()
    slot, commands = states.tick(slot, ROLLING, 13.0)
    assert commands == (stop(1),)
    slot, commands = end(slot, ExitStatus(signal=15), now=13.1, number=1, policy=ROLLING)
    assert (slot.old, slot.state, commands, slot.restarts) == (None, W.READY, (), 1)


def test_a_restart_of_a_server_makes_it_a_lame_duck_before_it_is_stopped_within_its_grace():
    slot, commands = states.restart(running(), ROLLING, 10.0, serves=True)
    assert commands == ({"do": "lame_duck", "slot": 0, "pid": 101},)
    assert (slot.state, slot.again, states.due(slot, ROLLING)) == (W.STOPPING, True, 12.0)
    assert states.restart(slot, ROLLING, 10.5, serves=True)[1] == (), "asked twice is asked once"
    assert states.tick(slot, ROLLING, 11.9)[1] == ()
    slot, commands = states.tick(slot, ROLLING, 12.0)
    assert commands == ({**stop(1), "grace": 8.0},), "what it took as a lame duck is of its grace"
    assert states.due(slot, ROLLING) is None
    slot, commands = end(slot, ExitStatus(signal=15), now=12.1, policy=ROLLING)
    assert (commands, slot.state, slot.failures, slot.after_death) == ((start(2),), W.STARTING, 0, False)


@pytest.mark.parametrize(
    ("policy", "serves"), [(POLICY, True), (ROLLING, False)], ids=["a socket of its own", "it serves nobody"]
)
def test_a_restart_of_what_cannot_hand_its_clients_on_stops_it_at_once(policy, serves):
    assert states.restart(running(), policy, 10.0, serves=serves)[1] == (stop(1),)


@pytest.mark.parametrize(("grace", "until"), [(10.0, 12.0), (3.0, 11.5), (0.0, 10.0)])
def test_a_short_grace_leaves_a_lame_duck_half_of_it(grace, until):
    policy = Policy(rolling=True, grace=grace)
    slot, _ = states.restart(running(), policy, 10.0, serves=True)
    assert states.due(slot, policy) == until


def test_a_lame_duck_with_nothing_left_to_answer_is_stopped_at_once():
    slot, _ = states.restart(running(), ROLLING, 10.0, serves=True)
    assert states.drained(slot, 7, 10.3) == slot, "not this one"
    slot = states.drained(slot, 1, 10.3)
    assert states.due(slot, ROLLING) == 10.3
    assert states.tick(slot, ROLLING, 10.3)[1] == ({**stop(1), "grace": pytest.approx(9.7)},)
    assert states.drained(running(), 1, 10.3) == running(), "who is no lame duck stays"


def test_a_stop_or_a_hang_does_not_wait_for_a_lame_duck():
    slot, _ = states.restart(running(), ROLLING, 10.0, serves=True)
    assert states.stop(slot, ROLLING, 10.5)[1] == (stop(1),)
    assert states.hung(slot, 101, "no heartbeat", ROLLING, 10.5)[1] == (stop(1),)


def test_a_restart_during_a_reload_stops_what_is_lame_already():
    slot, _ = states.reload(running(), ROLLING, 10.0)
    slot, _ = states.ready(states.started(slot, 2, 102, 7, 10.1), 102, 11.0)
    slot, commands = states.restart(slot, ROLLING, 11.5, serves=True)
    assert commands == ({"do": "lame_duck", "slot": 0, "pid": 102}, stop(1))


def test_a_reload_whose_new_generation_ends_keeps_the_old_one():
    slot, _ = states.reload(running(), ROLLING, 10.0)
    slot, commands = end(states.started(slot, 2, 102, 7, 10.1), FAILED, now=11.0, number=2, policy=ROLLING)
    assert (slot.current.number, slot.fresh, slot.state, commands) == (1, None, W.READY, ())
    assert slot.reason.startswith("reload given up")


def test_a_reload_whose_new_generation_is_not_ready_in_time_keeps_the_old_one():
    slot, _ = states.reload(running(), ROLLING, 10.0)
    slot = states.started(slot, 2, 102, 7, 10.0)
    assert states.due(slot, ROLLING) == 50.0
    slot, commands = states.tick(slot, ROLLING, 50.0)
    assert (commands, slot.current.number, states.due(slot, ROLLING)) == ((stop(2),), 1, None)


def test_a_reload_whose_old_generation_ends_goes_on_with_the_new_one():
    slot, _ = states.reload(running(), ROLLING, 10.0)
    slot, commands = end(states.started(slot, 2, 102, 7, 10.1), KILLED, now=11.0, number=1, policy=ROLLING)
    assert (slot.current.number, slot.fresh, slot.state, commands) == (2, None, W.STARTING, ())


def test_a_reload_without_a_shared_socket_is_a_restart():
    slot, commands = states.reload(running(), POLICY, 10.0)
    assert (commands, slot.again) == ((stop(1),), True)


def test_a_stop_ends_everything_and_nothing_is_started_again():
    slot, _ = states.reload(running(), ROLLING, 10.0)
    slot, commands = states.stop(states.started(slot, 2, 102, 7, 10.1), ROLLING, 11.0)
    assert commands == (stop(1), stop(2))
    slot, _ = end(slot, KILLED, now=12.0, number=1)
    assert slot.state is W.STOPPING
    slot, _ = end(slot, KILLED, now=13.0, number=2)
    assert slot.state is W.EXITED
    assert states.restart(slot, POLICY, 14.0) == (slot, ())
    assert states.tick(slot, POLICY, 1e6) == (slot, ())


def test_a_stop_of_a_held_slot_ends_it_at_once():
    slot, commands = states.stop(Slot(0, state=W.HELD, newest=3, next_start=99.0, reason="crash loop"), POLICY, 1.0)
    assert (slot.state, slot.next_start, commands) == (W.EXITED, None, ())


def test_readiness_of_somebody_elses_pid_means_nothing():
    slot = running(state=W.STARTING)
    assert states.ready(slot, 999, 1.0) == (slot, ())
    assert states.ready(slot, 101, 1.0)[0].state is W.READY


def test_the_programs_status_is_that_of_the_first_slot_that_failed():
    ended = {n: Slot(n, last_exit=e) for n, e in enumerate([DONE, KILLED, FAILED])}
    assert states.program_status(ended) == 137
    assert states.program_status({0: replace(ended[0])}) == 0


def test_a_program_that_daemonized_before_it_was_ready_is_still_said_to_have_done_so():
    slot, _ = states.exited(running(state=W.STARTING), 1, DONE, 1, POLICY, 10.0)
    slot, _ = states.ready(slot, 101, 11.0)
    assert slot.state is W.READY
    assert slot.reason.startswith("daemonized")


def after(slot, status):
    """Return the slot when its process has ended with this status and the next one is ready."""
    slot, _ = end(slot, status, now=100.0)
    if slot.current is None:
        slot, _ = states.tick(slot, POLICY, slot.next_start)
    slot = states.started(slot, slot.newest, 900, 1, 101.0)
    return states.ready(slot, 900, 102.0)[0]


def test_a_death_is_remembered_until_something_that_was_asked_for_takes_its_place():
    fell = after(running(), KILLED)
    assert (fell.state, fell.after_death) == (W.READY, True)
    asked, _ = states.restart(fell, POLICY, 110.0)
    assert after(asked, DONE).after_death is False
    hung, _ = states.hung(running(), 101, "stuck", POLICY, 110.0)
    assert after(hung, KILLED).after_death is True


def test_a_reload_is_no_death_and_the_end_of_the_old_process_during_one_is():
    rolling = replace(POLICY, rolling=True)
    slot, _ = states.reload(running(after_death=True), rolling, 10.0)
    slot = states.started(slot, 2, 102, 1, 10.0)
    assert states.ready(slot, 102, 11.0)[0].after_death is False
    assert states.gone(slot, 1, KILLED, rolling, 11.0, 0.5)[0].after_death is True
