"""The loop: one tick from real arenas and real processes, and what survives."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from roadworthy import _clock
from roadworthy.agent.crew import Member
from roadworthy.agent.history.sqlite import SqliteHistory
from roadworthy.agent.loop import Agent
from roadworthy.arena.writer import Arena
from roadworthy.config.places import make, places
from roadworthy.config.values import HangPolicy, RunSettings, Thresholds
from roadworthy.errors import Exhausted
from roadworthy.types import EventKind, Liveness, Status, WorkerState
from roadworthy.watch.gauges import KEYS


class Crew:
    """One worker, whose member a test sets."""

    def __init__(self, member):
        self.member = member
        self.observed = []
        self.asked = False

    def members(self):
        return (self.member,) if self.member else ()

    def observe(self, observations, now):
        self.observed.append(observations)

    def expected(self, message):
        return self.asked


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ROADWORTHY_HOME", str(tmp_path))
    return make(places("demo"))


@pytest.fixture
def arena(home):
    made = Arena.create(home.arena, "demo", slot=0, generation=1)
    yield made
    made.close()


def member(pid=None):
    return Member(0, 1, pid or os.getpid(), 0, WorkerState.READY, _clock.wall(), _clock.wall())


@pytest.fixture
def made(home):
    agents = []

    def build(crew=None, **settings):
        history = SqliteHistory(home.state / "history")
        agent = Agent(
            RunSettings(app="demo", command=("python", "app.py"), cwd=str(home.state), **settings), home, history, crew
        )
        agents.append((agent, history))
        return agent

    yield build
    for agent, history in agents:
        asyncio.run(agent.close())
        history.close()


LIVING = """
import sys
from roadworthy.arena.writer import Arena
arena = Arena.create(sys.argv[1], "demo", slot=0, generation=1)
duration = arena.histogram("operation.duration", (("operation", "load"), ("outcome", "success")), unit="s", scale=1e9)
arena.beat("main", "heartbeat").beat()
print("here", flush=True)
sys.stdin.readline()
duration.record(2_000_000)
arena.inflight.enter(duration.number, 0, b"user=7")
arena.event("error", 40, "load", "boom", {"type": "ValueError", "fingerprint": "f"})
print("done", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def living(home):
    child = subprocess.Popen(
        [sys.executable, "-c", LIVING, str(home.arena)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    child.stdout.readline()
    yield child
    child.communicate("\n\n", timeout=20)


def test_a_tick_is_a_snapshot_of_what_really_is(made, living):
    agent = made(Crew(member(living.pid)))
    agent.tick()
    living.stdin.write("\n")
    living.stdin.flush()
    living.stdout.readline()
    snapshot = agent.tick()
    (worker,) = snapshot.workers
    assert (worker.pid, worker.liveness, worker.injected) == (living.pid, Liveness.WORKING, False)
    assert worker.resources.rss > 1_000_000
    (operation,) = snapshot.operations
    assert (operation.name, operation.count, operation.in_flight) == ("load", 1, 1)
    assert operation.p95 == pytest.approx(0.002, rel=0.0625)
    assert snapshot.in_flight[0].context == "user=7"
    assert snapshot.errors[0].count == 1
    assert snapshot.verdict.status is Status.OK
    assert set(snapshot.gauges) == {*KEYS, "roadworthy.agent_rss", "roadworthy.keeper_rss"}
    assert snapshot.gauges["in_flight"] == 1
    assert snapshot.overhead.tick_seconds > 0
    assert agent.latest() is snapshot


def test_what_is_not_measured_is_none(made):
    snapshot = made(Crew(None)).tick()
    assert [name for name, value in snapshot.gauges.items() if value == 0] == []
    assert snapshot.gauges["requests.rate"] is None
    assert snapshot.resources.rss is None


def test_subscribers_get_every_snapshot_until_they_end_it_and_a_broken_one_is_dropped_and_shown(made):
    agent = made(Crew(None))
    seen = []

    def broken(snapshot):
        raise ZeroDivisionError

    end = agent.subscribe(seen.append)
    agent.subscribe(broken)
    agent.tick()
    agent.tick()
    end()
    snapshot = agent.tick()
    assert [one.tick for one in seen] == [1, 2]
    assert any("subscriber was dropped" in finding.reason for finding in snapshot.verdict.findings)


def test_events_have_running_ids(made, arena):
    agent = made(Crew(member()))
    for number in range(5):
        arena.event("log", 20, "app", f"line {number}")
    agent.tick()
    found = [(number, event) for number, event in agent.recent_events(0, 100) if event.kind is EventKind.LOG]
    assert [event.text for _, event in found] == [f"line {number}" for number in range(5)]
    assert [event.text for _, event in agent.recent_events(found[2][0], 100)] == ["line 3", "line 4"]


def killed_child(home):
    code = (
        "import os, signal, sys\nfrom roadworthy.arena.writer import Arena\n"
        "a = Arena.create(sys.argv[1], 'demo', slot=0, generation=1)\na.counter('done').add(7)\n"
        "a.event('log', 20, 'app', 'last word')\n"
        "h = a.histogram('operation.duration', (('operation', 'x'), ('outcome', 'success')), unit='s')\n"
        "a.inflight.enter(h.number)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(home.arena)])
    child.wait()
    return child.pid


def exited(pid, **more):
    base = {
        "t": "exited",
        "slot": 0,
        "generation": 1,
        "pid": pid,
        "start_ticks": 1,
        "code": None,
        "signal": 9,
        "at_ns": _clock.monotonic_ns(),
    }
    return base | more


def test_a_death_leaves_an_incident_with_last_words_and_the_counts_stay(made, home):
    pid = killed_child(home)
    crew = Crew(replace(member(), pid=pid))
    agent = made(crew)
    agent.tick()
    (home.arena / "err-0-1").write_text("the end is near\n")
    agent.keeper_says(exited(pid))
    crew.member = replace(member(), generation=2, state=WorkerState.READY)
    snapshot = agent.tick()
    (incident,) = snapshot.incidents
    assert incident.title.startswith("worker 0 killed by SIGKILL")
    assert incident.detected_after < 1
    assert incident.recovered_after is not None
    bundle = agent._history.incident(incident.id)
    assert "last word" in [event["text"] for event in bundle["events"]]
    assert [one["name"] for one in bundle["in_flight"]] == ["x"]
    assert {"name": "done", "labels": {}, "unit": "", "value": 7.0} in bundle["metrics"]
    assert "the end is near" in bundle["output"]["stderr"]
    assert next(one.value for one in agent.tick().series if one.name == "done") == 7.0
    assert not list(home.arena.glob("*.arena"))


@pytest.mark.parametrize(("asked", "more"), [(True, {}), (False, {"code": 0, "signal": None})])
def test_a_death_that_was_asked_for_or_went_well_is_no_incident(made, home, asked, more):
    pid = killed_child(home)
    crew = Crew(replace(member(), pid=pid))
    crew.asked = asked
    agent = made(crew)
    agent.tick()
    agent.keeper_says(exited(pid, **more))
    assert agent.tick().incidents == ()


def test_an_agent_that_was_down_takes_last_words_when_the_keeper_tells(made, home):
    pid = killed_child(home)
    agent = made(Crew(None))
    agent.tick()
    assert list(home.arena.glob("*.arena")), "kept until the keeper has told how it ended"
    agent.keeper_says({"t": "state", "pid": 1, "started_wall": 5.0, "exits": [exited(pid)]})
    snapshot = agent.tick()
    assert len(snapshot.incidents) == 1
    assert (snapshot.keeper_pid, snapshot.started) == (1, 5.0)
    assert not list(home.arena.glob("*.arena"))


def test_errors_are_counted_once_over_a_restart_of_the_agent(made, arena):
    arena.event("error", 40, "load", "boom", {"type": "ValueError", "fingerprint": "f"})
    first = made(Crew(member()))
    first.tick()
    asyncio.run(first.close())
    arena.event("error", 40, "load", "boom", {"type": "ValueError", "fingerprint": "f"})
    again = made(Crew(member()))
    assert again.tick().errors[0].count == 2


def test_a_hung_worker_is_reported_as_hung_only_after_its_incident_is_saved(made, arena):
    arena.beat("main", "heartbeat").beat(1)
    crew = Crew(member())
    agent = made(crew, hang=HangPolicy(after=0.05))

    async def work():
        agent.tick()
        deadline = _clock.monotonic() + 10
        while not any(one.hung for one in crew.observed[-1]):
            assert _clock.monotonic() < deadline
            assert not agent.latest().incidents or len(agent.latest().incidents) == 1
            await asyncio.sleep(0.02)
            agent.tick()

    asyncio.run(work())
    (incident,) = agent.tick().incidents
    assert incident.kind == "hang"
    assert "the heartbeat 'main' has not come" in incident.title
    bundle = agent._history.incident(incident.id)
    assert bundle["no_stacks"]


def test_a_full_disk_is_a_finding_and_the_watching_goes_on(made, monkeypatch):
    agent = made(Crew(None))

    def full(*_):
        raise Exhausted("cannot write the history", why="full")

    with monkeypatch.context() as patch:
        patch.setattr(agent._history, "append", full)
        agent.tick()
        snapshot = agent.tick()
    assert any(finding.subject == "history" for finding in snapshot.verdict.findings)
    agent.tick()
    assert not any(finding.subject == "history" for finding in agent.tick().verdict.findings)


def test_lines_of_output_are_events_and_redacted(made, home):
    agent = made(Crew(member()))
    agent.tick()
    (home.arena / "out-0-1").write_text("hello\npassword=hunter2\nunfinished")
    agent.tick()
    lines = [event.text for _, event in agent.recent_events(0, 100) if event.kind is EventKind.OUTPUT]
    assert lines[0] == "hello"
    assert "hunter2" not in lines[1]
    assert len(lines) == 2


def test_ticks_keep_to_their_schedule_and_a_wake_makes_one_at_once(made):
    agent = made(Crew(None))
    seen = []

    async def work():
        agent.subscribe(lambda snapshot: seen.append(snapshot.tick))
        running = asyncio.create_task(agent.run())
        deadline = _clock.monotonic() + 10
        while len(seen) < 1:  # noqa: ASYNC110 - the loop is to be left alone
            await asyncio.sleep(0.01)
        agent.wake()
        while len(seen) < 3:
            assert _clock.monotonic() < deadline
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(work())
    assert seen[:3] == [1, 2, 3]


def test_trends_come_from_the_history_and_tell_the_time_to_the_limit(made):
    agent = made(Crew(None))
    snapshot = agent.tick()
    for second in range(600):
        agent._history.append(snapshot.at - 600 + second, {"app.rss": 1e9 + second * 1e6})
    limited = replace(snapshot, at=snapshot.at, resources=replace(snapshot.resources, memory_limit=int(2.6e9)))
    agent._snapshot = limited
    found = agent.trends(hours=600 / 3600)
    assert found["app.rss"].label == "increasing"
    assert found["app.rss"].limit_in == pytest.approx(1000, rel=0.1)
    assert found["app.threads"].label == "unknown"


def test_the_command_is_shown_word_by_word_without_secrets(home):
    settings = RunSettings(app="demo", command=("python", "my app.py", "--password", "hunter2", "--fast"), cwd="/")
    history = SqliteHistory(home.state / "history")
    agent = Agent(settings, home, history)
    command = agent.tick().command
    asyncio.run(agent.close())
    history.close()
    assert command == ("python", "my app.py", "--password", "[redacted]", "--fast")


def test_figures_counted_just_before_a_death_are_in_the_windows(made, home):
    agent = made(Crew(None))
    agent.tick()
    pid = killed_child(home)
    agent.keeper_says(exited(pid))
    assert next(one.count for one in agent.tick().signals if one.name == "done") == 7


def test_at_its_end_the_agent_leaves_no_arena_of_an_ended_process_behind(home):
    crew = Crew(None)
    history = SqliteHistory(home.state / "history")
    agent = Agent(RunSettings(app="demo", command=(), cwd="/"), home, history, crew)
    agent.tick()
    pid = killed_child(home)
    crew.asked = True
    agent.died(exited(pid))
    asyncio.run(agent.close())
    history.close()
    assert not list(home.arena.glob("*.arena"))


class Starting(Crew):
    """A crew whose worker starts until the tick finds something out about it."""

    def observe(self, observations, now):
        super().observe(observations, now)
        if observations and (observations[0].beat_came or observations[0].marked_ready):
            self.member = replace(self.member, state=WorkerState.READY)


def test_a_worker_that_starts_is_shown_ready_by_the_tick_that_finds_it_so(made, arena):
    agent = made(Starting(replace(member(), state=WorkerState.STARTING)))
    assert agent.tick().workers[0].state is WorkerState.STARTING
    arena.beat("main", "heartbeat").beat(_clock.monotonic_ns())
    assert agent.tick().workers[0].state is WorkerState.READY, "not a second later: recovery is measured by this"


@pytest.mark.parametrize("sign", ["heartbeat", "ready", "operation"])
def test_the_first_sign_of_work_is_found_between_two_ticks_without_taking_anything(made, arena, sign):
    agent = made(Crew(None))
    agent.tick()
    arena.beat("asyncio", "event_loop").beat(_clock.monotonic_ns())
    arena.event("log", 20, "app", "hello")
    look = agent._intake.collector.shows_work
    assert not look(os.getpid(), 0, 1), "an interpreter that is well is no work"
    if sign == "heartbeat":
        arena.beat("main", "heartbeat").beat(_clock.monotonic_ns())
    elif sign == "ready":
        arena.mark("ready", "ready")
    else:
        duration = arena.histogram("operation.duration", (("operation", "x"), ("outcome", "success")), unit="s")
        arena.inflight.enter(duration.number, 0, b"")
    assert look(os.getpid(), 5, 1), "its main process"
    assert look(1, 0, 1), "or a process that its main process has started, by its marks"
    assert not look(1, 0, 2), "not what another generation does"
    agent.tick()
    assert [e.text for _, e in agent.recent_events(0, 100) if e.kind is EventKind.LOG] == ["hello"]


def test_while_a_worker_starts_readiness_does_not_wait_for_the_next_second(made, arena):
    crew = Starting(replace(member(), state=WorkerState.STARTING, started=_clock.wall() - 0.5))
    agent = made(crew)

    async def work():
        running = asyncio.create_task(agent.run())
        deadline = _clock.monotonic() + 10
        while agent.latest() is None:  # noqa: ASYNC110 - the loop is to be left alone
            await asyncio.sleep(0.01)
        first = agent.latest().at
        arena.beat("main", "heartbeat").beat(_clock.monotonic_ns())
        while agent.latest().workers[0].state is not WorkerState.READY:
            assert _clock.monotonic() < deadline
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return agent.latest().at - first

    assert asyncio.run(work()) < 0.9


def test_an_answer_of_the_health_url_from_before_a_start_does_not_count(made):
    agent = made(Crew(None), health_url="http://127.0.0.1:9/")
    assert agent.health_url_answered(0.0) is None, "not asked yet"
    asyncio.run(agent._checks.run_all())
    assert agent.health_url_answered(0.0) is False
    assert agent.health_url_answered(_clock.wall() + 1.0) is None, "that was its predecessor's"


def test_a_keeper_that_died_is_a_finding_for_as_long_as_the_agent_lives(made):
    agent = made(Crew(member()))
    agent.keeper_pid = 17
    agent.keeper_lost()
    for _ in range(2):
        snapshot = agent.tick()
        assert snapshot.keeper_pid is None
        assert snapshot.verdict.status is Status.DEGRADED
        assert any("the keeper has died" in finding.reason for finding in snapshot.verdict.findings)


def test_checks_that_are_switched_off_do_not_run(made):
    agent = made(Crew(None), checks_on=False)

    async def ticks():
        agent.tick()
        off = len(agent._checks._tasks)
        agent.follow(replace(agent.settings, checks_on=True))
        agent.tick()
        on = len(agent._checks._tasks)
        await agent._checks.close()
        return off, on

    assert asyncio.run(ticks()) == (0, 3)


def test_changed_settings_are_followed_at_once(made):
    agent = made(Crew(None))
    hang = HangPolicy(after=99.0)
    agent.follow(replace(agent.settings, hang=hang, check_every=7.0, thresholds=Thresholds(cpu_warning=1.0)))
    assert agent._vitals._limits.after == 99.0
    assert agent._outlook.thresholds.cpu_warning == 1.0
    assert {one.name: one.every for one in agent._checks.results()} == {"disk": 7.0, "memory": 7.0, "directories": 7.0}
