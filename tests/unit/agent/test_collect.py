"""All arenas together: living, dead, broken, and across a restart of the agent."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from roadworthy import _clock
from roadworthy.agent.collect import Collector
from roadworthy.arena.writer import Arena
from roadworthy.errors import Unavailable

CHILD = """
import sys
from roadworthy.arena.writer import Arena
arena = Arena.create(sys.argv[1], "t", slot=int(sys.argv[2]), generation=1)
arena.counter("done").add(int(sys.argv[3]))
arena.gauge("level").set(5.0)
duration = arena.histogram("operation.duration", (("operation", "x"), ("outcome", "success")), unit="s", scale=1e9)
duration.record(1000)
arena.inflight.enter(duration.number)
arena.event("error", 40, "x", "boom", {"type": "ValueError", "fingerprint": "f"})
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def folders(tmp_path):
    for name in ("arena", "state"):
        (tmp_path / name).mkdir(mode=0o700)
    return tmp_path / "arena", tmp_path / "state"


@pytest.fixture
def mine(folders):
    arena = Arena.create(folders[0], "t", slot=3, generation=2)
    yield arena
    arena.close()


def killed(folders, slot=0, count=7):
    subprocess.run([sys.executable, "-c", CHILD, str(folders[0]), str(slot), str(count)], check=False)


def collect(collector):
    return collector.collect(_clock.monotonic_ns(), _clock.wall())


def value(collected, name):
    return next((one.value for one in collected.series if one.name == name), None)


def test_a_living_process_is_read_again_and_again(folders, mine):
    collector = Collector(*folders)
    counter = mine.counter("done")
    counter.add(2)
    first = collect(collector)
    assert value(first, "done") == 2.0
    counter.add(3)
    mine.event("log", 20, "app.x", "hello")
    second = collect(collector)
    assert value(second, "done") == 5.0
    assert [event.text for event in second.events] == ["hello"]
    assert collect(collector).events == ()
    process = second.of(os.getpid())
    assert (process.alive, process.slot, process.generation) == (True, 3, 2)
    collector.close()


@pytest.mark.parametrize(
    ("number", "word"), [(10, "debug"), (20, "info"), (30, "warning"), (35, "warning"), (40, "error"), (50, "critical")]
)
def test_an_event_keeps_the_level_that_it_was_logged_with(folders, mine, number, word):
    mine.event("log", number, "app.x", "hello")
    assert [event.level for event in collect(Collector(*folders)).events] == [word]


def test_only_series_that_changed_are_named_as_changed(folders, mine):
    collector = Collector(*folders)
    still, moving = mine.counter("still"), mine.counter("moving")
    still.add()
    moving.add()
    assert {one.name for one in collect(collector).changed} == {"still", "moving"}
    moving.add()
    assert {one.name for one in collect(collector).changed} == {"moving"}
    collector.close()


def test_a_killed_process_tells_its_last_words_counts_for_ever_and_its_gauges_go(folders):
    killed(folders)
    collector = Collector(*folders)
    found = collect(collector)
    (process,) = found.processes
    assert not process.alive
    assert [one.name for one in process.in_flight] == ["x"]
    assert [event.text for event in found.events] == ["boom"]
    assert value(found, "level") is None
    collector.retire([process.key])
    assert list(folders[0].iterdir()) == []
    after = collect(collector)
    assert value(after, "done") == 7.0
    assert after.processes == ()
    collector.close()


def test_totals_survive_a_restart_of_the_agent(folders):
    killed(folders)
    first = Collector(*folders)
    first.retire([process.key for process in collect(first).processes])
    first.close()
    killed(folders, count=5)
    second = Collector(*folders)
    assert value(collect(second), "done") == 12.0
    second.close()


def test_an_agent_killed_between_counting_and_removing_counts_nothing_twice(folders, monkeypatch):
    killed(folders)
    first = Collector(*folders)
    found = collect(first)
    monkeypatch.setattr("roadworthy.arena.reader.remove", lambda path: None)
    first.retire([process.key for process in found.processes])
    first.close()
    monkeypatch.undo()
    assert len(list(folders[0].iterdir())) == 1
    second = Collector(*folders)
    assert value(collect(second), "done") == 7.0
    assert list(folders[0].iterdir()) == []
    second.close()


def test_nothing_is_removed_when_the_totals_cannot_be_written(folders, monkeypatch):
    killed(folders)
    collector = Collector(*folders)
    found = collect(collector)

    def full(*_):
        raise Unavailable("cannot write")

    monkeypatch.setattr("roadworthy.agent.collect.write_atomically", full)
    with pytest.raises(Unavailable):
        collector.retire([process.key for process in found.processes])
    assert len(list(folders[0].iterdir())) == 1
    assert value(collect(collector), "done") == 7.0
    collector.close()


def test_a_living_process_is_never_retired(folders, mine):
    mine.counter("done").add(4)
    collector = Collector(*folders)
    keys = [process.key for process in collect(collector).processes]
    collector.retire(keys)
    assert value(collect(collector), "done") == 4.0
    assert len(list(folders[0].iterdir())) == 1
    collector.close()


def test_events_that_an_earlier_agent_counted_are_told_apart(folders, mine):
    mine.event("log", 20, "a", "old")
    first = Collector(*folders)
    collect(first)
    positions = first.positions()
    first.close()
    mine.event("log", 20, "a", "new")
    second = Collector(*folders, positions)
    found = collect(second)
    assert [event.text for event in found.known] == ["old"]
    assert [event.text for event in found.events] == ["new"]
    second.close()


def test_a_broken_file_is_named_after_a_few_seconds_and_harms_no_other(folders, mine):
    (folders[0] / "00000000-1-1-1.arena").write_bytes(b"no arena" * 1000)
    mine.counter("done").add(1)
    collector = Collector(*folders)
    seen = [collect(collector).broken for _ in range(6)]
    assert seen[0] == ()
    assert "00000000-1-1-1.arena" in seen[-1][0]
    assert value(collect(collector), "done") == 1.0
    collector.close()


def test_broken_totals_are_set_aside_with_a_notice(folders):
    (folders[1] / "totals.json").write_text('{"schema": 1')
    collector = Collector(*folders)
    assert "set aside" in collector.notices[0]
    assert (folders[1] / "totals.json.broken").exists()
    collector.close()


def test_start_up_checkpoints_become_steps(folders, mine):
    base = _clock.monotonic_ns()
    mine.mark("began", "", base)
    mine.mark("checkpoint", "imports", base + 2_000_000_000)
    mine.mark("ready", "", base + 3_000_000_000)
    collector = Collector(*folders)
    start = collect(collector).processes[0].startup
    assert start.total == pytest.approx(3.0)
    assert [(step.label, step.took) for step in start.steps] == [("imports", 2.0), ("ready", 1.0)]
    collector.close()


def test_events_that_an_agent_before_us_took_are_not_missed_when_they_are_overwritten_since(folders, mine):
    first = Collector(*folders)
    for number in range(1000):
        mine.event("log", 20, "x", str(number))
    collect(first)
    positions = first.positions()
    for number in range(1000, 1500):
        mine.event("log", 20, "x", str(number))
    second = Collector(*folders, positions)
    found = collect(second)
    assert [event.text for event in found.events] == [str(number) for number in range(1000, 1500)]
    assert found.missed == 0
    assert collect(Collector(*folders)).missed == 500 - 24, "who comes without knowing missed them"
