"""Whatever happens in whatever order: the supervisor against a keeper that does what it is told, by Hypothesis."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from roadworthy.agent.crew import Observation
from roadworthy.agent.supervisor import Supervisor
from roadworthy.config.values import RunSettings
from roadworthy.types import Liveness, WorkerState
from roadworthy.watch.liveness import Judgement

FINE = Judgement(Liveness.WORKING, "")
STUCK = Judgement(Liveness.STALLED, "heartbeat", hung=True)
NS = 1_000_000_000


def seen(slot, pid, judgement=FINE, *, ready=True, quiet=False, hung=False, listening=False, lame=False):
    """Return what a tick found out about a worker."""
    return Observation(
        slot,
        pid,
        judgement,
        marked_ready=ready and not quiet,
        beat_came=False,
        work_seen=False,
        running_for=None,
        hung=hung,
        listening=listening,
        lame=lame,
    )


class Keeper(RuleBasedStateMachine):
    """Processes are numbers; a told stop is done when the machine says so."""

    def __init__(self):
        super().__init__()
        self.now = 1000.0
        self.pids = iter(range(100, 10**6))
        self.alive = {}
        self.told_to_stop = set()
        self.todo = []
        self.exit = None
        self.asked_for_stop = False
        self.reloads = False
        self.supervisor = None

    def begin(self, workers, *, rolling):
        self.reloads = rolling
        run = RunSettings(app="x", command=("x",), cwd="/", workers=workers)
        self.supervisor = Supervisor(
            run, self.todo.append, lame_duck=lambda pids: None, chance=lambda: 0.5, clock=lambda: self.now
        )
        for slot in range(workers):
            self.alive[slot, 1] = next(self.pids)
        rows = [
            {
                "slot": s,
                "generation": g,
                "pid": p,
                "start_ticks": 1,
                "started_ns": int(self.now * NS),
                "state": "running",
            }
            for (s, g), p in self.alive.items()
        ]
        listen = {"host": "h", "port": 1} if rolling else None
        self.supervisor.handle({"t": "state", "slots": rows, "exits": [], "listen": listen}, self.now)

    @precondition(lambda self: self.supervisor is None)
    @rule(workers=st.integers(1, 3), rolling=st.booleans())
    def starts(self, workers, rolling):
        self.begin(workers, rolling=rolling)

    def act(self):
        while self.todo and self.exit is None:
            command = self.todo.pop(0)
            if command["do"] == "start":
                key = command["slot"], command["generation"]
                self.alive[key] = next(self.pids)
                at = {"pid": self.alive[key], "start_ticks": 1, "at_ns": int(self.now * NS)}
                self.supervisor.handle({"t": "started", "slot": key[0], "generation": key[1], **at}, self.now)
            elif command["do"] == "stop":
                self.told_to_stop.add((command["slot"], command["generation"]))
            elif command["do"] == "exit":
                self.exit = command["status"]

    def dies(self, key, code, signal):
        pid = self.alive.pop(key)
        self.told_to_stop.discard(key)
        what = {"slot": key[0], "generation": key[1], "pid": pid, "start_ticks": 1, "code": code, "signal": signal}
        self.supervisor.handle({"t": "exited", **what, "at_ns": int(self.now * NS), "leftover": []}, self.now)
        self.supervisor.handle({"t": "stopped", **what, "killed": []}, self.now)
        self.act()

    @precondition(lambda self: self.supervisor and self.exit is None and self.alive)
    @rule(data=st.data(), status=st.sampled_from([(0, None), (1, None), (None, 9)]))
    def a_process_ends(self, data, status):
        self.dies(data.draw(st.sampled_from(sorted(self.alive))), *status)

    @precondition(lambda self: self.supervisor and self.exit is None and self.told_to_stop)
    @rule(data=st.data())
    def a_stop_is_done(self, data):
        self.dies(data.draw(st.sampled_from(sorted(self.told_to_stop))), None, 15)

    @precondition(lambda self: self.supervisor and self.exit is None)
    @rule(seconds=st.sampled_from([0.05, 0.5, 3.0, 61.0]))
    def time_goes_by(self, seconds):
        self.now += seconds
        self.supervisor.tick(self.now)
        self.act()

    @precondition(lambda self: self.supervisor and self.exit is None)
    @rule(ready=st.booleans(), hung=st.booleans(), listening=st.booleans())
    def a_tick_observes(self, ready, hung, listening):
        found = [
            seen(m.slot, m.pid, STUCK if hung else FINE, ready=ready, hung=hung, listening=listening)
            for m in self.supervisor.members()
            if m.pid is not None
        ]
        self.supervisor.observe(found, self.now)
        self.act()

    @precondition(lambda self: self.supervisor and self.exit is None)
    @rule(what=st.sampled_from(["restart", "reload"]), slot=st.sampled_from([None, 0]))
    def somebody_asks(self, what, slot):
        self.supervisor.request(what, slot, now=self.now)
        self.act()

    @precondition(lambda self: self.supervisor and self.exit is None)
    @rule()
    def the_end_is_asked_for_and_comes(self):
        self.supervisor.request("stop", now=self.now)
        self.act()
        before = set(self.alive)
        while self.alive and self.exit is None:
            assert set(self.alive) <= before, "something was started after the stop"
            assert set(self.alive) <= self.told_to_stop, "something was not told to stop"
            self.dies(min(self.alive), None, 15)
        assert self.exit is not None

    @precondition(lambda self: self.exit is not None)
    @rule()
    def nothing_happens_after_the_end(self):
        self.supervisor.tick(self.now + 1000.0)
        assert not self.todo

    @invariant()
    def two_of_a_slot_live_only_while_one_of_them_goes_or_a_reload_brings_the_other(self):
        for slot in {slot for slot, _ in self.alive}:
            wanted = [key for key in self.alive if key[0] == slot and key not in self.told_to_stop]
            assert len(wanted) <= (2 if self.reloads else 1)
            assert len([key for key in self.alive if key[0] == slot]) <= 3

    @invariant()
    def nobody_leaves_while_something_lives(self):
        if self.exit is not None:
            assert not self.alive


Keeper.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestSupervisor = Keeper.TestCase


def supervised(remember=None, turns=(), **given):
    sent = []
    run = RunSettings(app="x", command=("x",), cwd="/", **given)
    now = [1000.0]
    told = {"remember": remember, "turns": turns}
    return Supervisor(run, sent.append, chance=lambda: 0.5, clock=lambda: now[0], **told), sent


def row(slot=0, generation=1, state="running", **more):
    return {"slot": slot, "generation": generation, "pid": 100 + generation, "start_ticks": 7,
            "started_ns": 1000 * NS, "state": state, **more}  # fmt: skip


def state(*rows, exits=(), **more):
    return {"t": "state", "slots": list(rows), "exits": list(exits), "listen": None, **more}


EXITED = {"t": "exited", "slot": 0, "generation": 1, "pid": 101, "start_ticks": 7, "code": None, "signal": 9,
          "at_ns": 1010 * NS, "leftover": []}  # fmt: skip


def test_an_agent_that_comes_back_adopts_what_runs():
    one, sent = supervised()
    one.handle(state(row(generation=4)), 1020.0)
    member = one.members()[0]
    assert (member.pid, member.generation, member.restarts, member.state) == (104, 4, 3, "starting")
    assert sent == []


def test_an_agent_that_comes_back_tells_the_deaths_that_nobody_took_note_of_and_restarts():
    one, sent = supervised()
    one.handle(state(row(state="down", exit={"code": None, "signal": 9, "core": False}), exits=[EXITED]), 1010.0)
    assert [(death.pid, death.exit.signal, death.expected, death.lived) for death in one.pop_deaths()] == [
        (101, 9, False, 10.0)
    ]
    assert {"do": "seen", "slot": 0, "generation": 1} in sent
    one.tick(1011.0)
    assert sent[-1] == {"do": "start", "slot": 0, "generation": 2}


def test_a_death_that_was_noted_before_is_not_told_twice_and_yet_restarted():
    one, sent = supervised()
    one.handle(state(row(state="down", exit={"code": 1, "signal": None, "core": False})), 1010.0)
    assert one.pop_deaths() == []
    one.tick(1011.0)
    assert sent[-1] == {"do": "start", "slot": 0, "generation": 2}


def test_an_agent_that_comes_back_during_a_reload_goes_on_with_it():
    one, sent = supervised()
    one.handle(state(row(generation=1), row(generation=2), listen={"host": "h", "port": 1}), 1010.0)
    assert one.members()[0].pid == 102
    one.observe([seen(0, 102)], 1011.0)
    one.tick(1014.0)
    assert [command["generation"] for command in sent if command["do"] == "stop"] == [1]


LISTEN = {"host": "h", "port": 1}


def test_a_reload_that_its_agent_did_not_live_to_finish_is_finished_by_the_next_one():
    told = []
    one, sent = supervised(workers=3, remember=told.append)
    rows = [row(slot=slot, pid=200 + slot) for slot in range(3)]
    one.handle(state(*rows, listen=LISTEN), 1010.0)
    one.observe([seen(slot, 200 + slot) for slot in range(3)], 1011.0)
    one.request("reload", now=1012.0)
    assert [(command["slot"], command["generation"]) for command in sent] == [(0, 2)]
    assert told == [((1, 201, 7), (2, 202, 7))]

    heir, sent = supervised(workers=3, turns=told[-1], remember=told.append)
    replaced = row(slot=2, pid=302, generation=2)  # by somebody else meanwhile: its turn is over
    heir.handle(state(row(slot=0, pid=300, generation=2), rows[1], replaced, listen=LISTEN), 1020.0)
    assert sent == [], "nobody knows yet whether its turn's process is ready"
    heir.observe([seen(0, 300), seen(1, 201), seen(2, 302)], 1021.0)
    heir.tick(1022.0)
    assert [(command["slot"], command["generation"]) for command in sent if command["do"] == "start"] == [(1, 2)]
    assert told[-1] == ()


def test_a_finished_program_ends_the_keeper_with_its_status():
    one, sent = supervised()
    one.handle(state(row()), 1001.0)
    one.handle({**EXITED, "code": 0, "signal": None}, 1010.0)
    one.handle({"t": "stopped", "slot": 0, "generation": 1, "code": 0, "signal": None, "killed": []}, 1010.0)
    assert sent[-1] == {"do": "exit", "status": 0}


def test_deaths_in_a_stop_that_the_keeper_was_asked_for_are_expected():
    one, sent = supervised()
    one.handle(state(row()), 1001.0)
    one.handle({"t": "asked", "what": "stop", "signal": 15}, 1002.0)
    assert one.expected(EXITED)
    one.handle(EXITED, 1003.0)
    one.handle({"t": "stopped", "slot": 0, "generation": 1, "code": None, "signal": 9, "killed": []}, 1003.0)
    assert sent[-1] == {"do": "exit", "status": 137}
    assert [command["do"] for command in sent] == ["seen", "exit"], "the keeper stops what it was asked to stop itself"


@pytest.mark.parametrize(("ready_at", "status"), [(1010.0, None), (None, 7)])
def test_the_health_check_ends_a_program_that_is_not_ready_in_time(ready_at, status):
    one, sent = supervised(health_check=True, ready_timeout=30.0)
    one.handle(state(row()), 1001.0)
    assert one.next_due() == 1030.0
    if ready_at:
        one.observe([seen(0, 101)], ready_at)
    one.tick(1031.0)
    if status is None:
        assert (one.ready, sent) == (True, [])
        return
    assert sent[-1]["do"] == "stop"
    one.handle(EXITED, 1032.0)
    one.handle({"t": "stopped", "slot": 0, "generation": 1, "code": None, "signal": 9, "killed": []}, 1032.0)
    assert sent[-1] == {"do": "exit", "status": status}


def test_the_health_url_alone_says_when_it_is_ready():
    answer = [None]
    one = Supervisor(
        RunSettings(app="x", command=("x",), cwd="/", health_url="http://h"),
        lambda _: None,
        healthy=lambda _age: answer[0],
    )
    one.handle(state(row()), 1001.0)
    found = [seen(0, 101)]
    for value, ready in ((None, False), (False, False), (True, True)):
        answer[0] = value
        one.observe(found, 1002.0)
        assert one.ready is ready


def test_a_process_that_declares_nothing_is_ready_when_it_stays_alive():
    one, _ = supervised()
    one.handle(state(row()), 1000.0)
    quiet = [seen(0, 101, quiet=True)]
    one.observe(quiet, 1000.5)
    assert not one.ready
    one.observe(quiet, 1001.0)
    assert one.ready


def test_without_its_keeper_a_program_is_only_watched():
    one, sent = supervised()
    one.handle(state(row()), 1001.0)
    one.keeper_lost(1002.0)
    assert one.request("restart") is False
    one.lost(101, 1003.0)
    member = one.members()[0]
    assert (member.state, member.last_exit.code, member.last_exit.signal) == ("lost", None, None)
    one.tick(2000.0)
    assert sent == []


def test_a_stop_that_somebody_else_carries_out_is_no_death_of_its_own():
    one, sent = supervised(workers=2)
    one.handle(state(row(0), row(1)), 1001.0)
    one.keeper_lost(1002.0)
    one.stop_comes(1003.0)
    assert one.expected(EXITED)
    assert [(member.state, member.reason) for member in one.members()] == [("stopping", "stop was asked for")] * 2
    one.lost(101, 1004.0)
    assert {(member.state, member.pid) for member in one.members() if member.slot == 0} == {("exited", None)}
    assert sent == []


def restarting(*, drained):
    """Return a supervisor whose one server was asked to restart at 1002, and what it told whom."""
    told = []
    one = Supervisor(
        RunSettings(app="x", command=("x",), cwd="/", port=8000),
        told.append,
        lame_duck=told.append,
        drained=drained,
        clock=lambda: 1002.0,
    )
    one.handle(state(row(), listen=HELD), 1001.0)
    one.observe([seen(0, 101, listening=True)], 1001.0)
    assert one.ready
    one.request("restart", now=1002.0)
    assert told == [[101]], "no stop yet"
    return one, told


def test_a_lame_duck_that_held_no_connection_twice_in_a_row_is_stopped_without_waiting_longer():
    asked = []
    answers = iter([True, False, True, True])
    one, told = restarting(drained=lambda slot, generation: asked.append((slot, generation)) or next(answers))
    now = 1002.0
    for _ in range(4):
        assert [entry for entry in told if isinstance(entry, dict)] == []
        assert one.next_due() <= now + 0.1
        one.tick(now)
        one.tick(now)
        now += 0.11
    assert asked == [(0, 1)] * 4, "ten times a second, however often it is ticked"
    stop = {"do": "stop", "slot": 0, "generation": 1, "signal": 15}
    assert told[-1] == {**stop, "grace": pytest.approx(10.0 - 0.33)}
    assert one.next_due() is None


def test_a_lame_duck_that_never_drains_is_stopped_when_its_time_is_over():
    one, told = restarting(drained=lambda slot, generation: False)
    one.tick(1003.9)
    assert told == [[101]]
    one.tick(1004.0)
    assert (told[-1]["do"], told[-1]["grace"]) == ("stop", 8.0)


def test_a_restart_whose_agent_died_while_the_lame_duck_finished_goes_on():
    one, sent = supervised(port=8000)
    one.handle(state(row(), listen=HELD), 1001.0)
    one.observe([seen(0, 101, listening=True, lame=True)], 1002.0)
    one.observe([seen(0, 101, listening=True, lame=True)], 1003.0)
    assert [command["do"] for command in sent] == ["stop"], "it would accept nobody for ever"
    one.handle({**EXITED, "signal": 15}, 1004.0)
    one.handle({"t": "stopped", "slot": 0, "generation": 1, "code": None, "signal": 15, "killed": []}, 1004.0)
    assert sent[-1] == {"do": "start", "slot": 0, "generation": 2}
    assert one.pop_deaths()[0].expected


def test_a_lame_duck_that_a_reload_made_is_not_replaced_once_more():
    one, sent = supervised(port=8000)
    one.handle(state(row(generation=1), row(generation=2), listen=HELD), 1010.0)
    one.observe([seen(0, 102, listening=True)], 1011.0)
    one.observe([seen(0, 102, listening=True)], 1012.0)
    assert sent == []


def test_systemd_hears_of_readiness_once_and_of_states_when_they_change():
    one, sent = supervised(notify_socket="/n", workers=2)
    one.handle(state(row(0), row(1)), 1001.0)
    both = [seen(n, 101) for n in (0, 1)]
    one.observe(both, 1002.0)
    one.observe(both, 1003.0)
    assert [command["text"] for command in sent] == ["STATUS=2 starting", "READY=1\nSTATUS=2 ready"]


def settling(listen, *, port=8000, port_open=None):
    """Return a supervisor of one worker that has not said anything yet."""
    settings = RunSettings(app="demo", command=("x",), cwd="/", port=port)
    one = Supervisor(settings, lambda command: None, port_open=port_open, clock=lambda: 1000.0)
    one.handle(state(row(), listen=listen), 1000.0)
    return one


def state_after(one, seconds, **given):
    one.observe((seen(0, 101, **given),), 1000.0 + seconds)
    return one.members()[0].state


HELD = {"host": "h", "port": 8000}


def test_a_worker_that_shares_a_port_is_ready_when_it_listens_and_not_by_being_alive():
    one = settling(HELD)
    assert state_after(one, 30.0, quiet=True) is WorkerState.STARTING
    assert state_after(one, 31.0) is WorkerState.READY


def test_a_worker_that_binds_a_port_of_its_own_is_ready_when_it_listens():
    one = settling(None, port=None)
    assert state_after(one, 0.2, quiet=True) is WorkerState.STARTING
    assert state_after(one, 0.3, quiet=True, listening=True) is WorkerState.READY


def test_listening_somewhere_else_than_on_the_port_that_was_named_is_not_ready():
    one = settling(None, port_open=lambda: False)
    assert state_after(one, 0.3, quiet=True, listening=True) is WorkerState.STARTING


@pytest.mark.parametrize(
    ("opened", "after"), [(True, WorkerState.READY), (False, WorkerState.STARTING), (None, WorkerState.READY)]
)
def test_a_worker_that_binds_its_port_itself_is_ready_when_somebody_listens_there(opened, after):
    assert state_after(settling(None, port_open=lambda: opened), 30.0, quiet=True) is after


def test_a_worker_without_a_port_is_ready_after_a_second():
    one = settling(None, port=None)
    assert state_after(one, 0.5, quiet=True) is WorkerState.STARTING
    assert state_after(one, 1.0, quiet=True) is WorkerState.READY


def test_a_program_has_not_ended_while_a_lame_duck_of_its_last_reload_still_answers():
    one, sent = supervised()
    one.handle(state(row(generation=1), row(generation=2), listen=HELD), 1000.0)
    one.observe((seen(0, 102),), 1001.0)
    ended = {**EXITED, "generation": 2, "pid": 102, "code": 0, "signal": None}
    one.handle(ended, 1010.0)
    one.handle({**ended, "t": "stopped", "killed": []}, 1010.0)
    assert [command for command in sent if command["do"] == "exit"] == []
    one.handle({**EXITED, "t": "stopped", "killed": []}, 1011.0)
    assert sent[-1] == {"do": "exit", "status": 0}
