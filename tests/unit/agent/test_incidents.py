"""Last words: what is gathered, how it is told, where it is kept."""

from __future__ import annotations

import json

import pytest

from roadworthy.agent import incidents
from roadworthy.agent.history.sqlite import SqliteHistory
from roadworthy.agent.incidents import Incidents
from roadworthy.agent.lastwords import Curves, LastWords, bundle, of_death, of_hang, tail
from roadworthy.agent.oom import was_oom
from roadworthy.errors import RoadworthyError
from roadworthy.types import Event, EventKind, Histogram, InFlight, Kind, Resources, Series

NOW = 1_000_000.0
KILLED = {
    "slot": 0,
    "generation": 3,
    "pid": 42,
    "code": None,
    "signal": 9,
    "core": False,
    "maxrss_kb": 2,
    "user_s": 1.0,
    "system_s": 0.5,
    "leftover": [43],
}


@pytest.fixture
def history(tmp_path):
    made = SqliteHistory(tmp_path / "history", now=NOW)
    yield made
    made.close()


def base():
    events = [Event(EventKind.LOG, NOW - age, "info", "app", f"{age} s before", 42, 0) for age in (90, 30, 1)]
    series = [
        Series("done", Kind.COUNTER, value=7.0),
        Series(
            "operation.duration", Kind.HISTOGRAM, (("operation", "x"),), "s", histogram=Histogram({3: 2}, 6.0, 3.0, 1.0)
        ),
    ]
    in_flight = [InFlight("a", 42, 0, 1.0), InFlight("b", 42, 0, 9.0, "user=7")]
    output = {"stderr": "password=hunter2 rejected\n"}
    return LastWords(NOW, "death", "", 0, 42, events=events, series=series, in_flight=in_flight, output=output)


def test_a_death_is_told_with_its_last_minute_its_operations_and_its_figures():
    words = of_death(KILLED, at=NOW, happened=NOW - 0.2, oom=False, base=base())
    found = json.loads(json.dumps(bundle(words, "demo")))
    assert words.title.startswith("worker 0 killed by SIGKILL (9), sent by somebody")
    assert words.detected_after == pytest.approx(0.2)
    assert [event["text"] for event in found["events"]] == ["30 s before", "1 s before"]
    assert [one["name"] for one in found["in_flight"]] == ["b", "a"]
    assert found["metrics"][0]["value"] == 7.0
    assert (found["metrics"][1]["count"], found["metrics"][1]["mean"]) == (2, 3.0)
    assert (found["leftover"], found["maxrss"], found["cpu_seconds"]) == ([43], 2048, 1.5)


def test_output_in_a_bundle_is_redacted():
    words = of_death(KILLED, at=NOW, happened=NOW, oom=False, base=base())
    assert "hunter2" not in json.dumps(bundle(words, "demo"))


def test_a_hang_says_why_and_carries_stacks_or_the_reason_that_there_are_none():
    words = of_hang(
        base(),
        kind="hang",
        reason="the heartbeat 'main' has not come for 10 s",
        since=NOW - 10,
        stacks="Thread 1",
        no_stacks="",
    )
    assert words.title == "worker 0 hangs: the heartbeat 'main' has not come for 10 s"
    assert (words.stacks, words.detected_after) == ("Thread 1", 10.0)


@pytest.mark.parametrize(
    ("signal", "pid", "before", "now", "kernel", "expected"),
    [
        (9, 42, 0, 1, [], True),
        (9, 42, 1, 1, [], False),
        (9, 42, None, None, [], False),
        (9, 42, None, None, ["4,1,2,-;Out of memory: Killed process 42 (python)"], True),
        (9, 42, None, None, ["4,1,2,-;Out of memory: Killed process 41 (python)"], False),
        (15, 42, 0, 1, [], False),
    ],
)
def test_out_of_memory_is_recognised_only_where_the_kernel_tells(signal, pid, before, now, kernel, expected):
    assert was_oom(signal, pid, before, now, kernel) is expected


def test_an_incident_is_a_file_and_a_row_and_is_completed_by_the_recovery(tmp_path, history):
    kept = Incidents("demo", tmp_path / "incidents", history)
    line = kept.save(of_death(KILLED, at=NOW, happened=NOW - 0.5, oom=False, base=base()))
    assert kept.open_slots() == {0}
    assert not kept.replaced(0, 42)
    assert kept.replaced(0, 43)
    done = kept.recovered(0, NOW + 1.0)
    assert done.recovered_after == pytest.approx(1.5)
    (path,) = (tmp_path / "incidents").glob("*.json")
    assert json.loads(path.read_text())["summary"]["recovered_after"] == pytest.approx(1.5)
    assert history.incidents()[0].recovered_after == pytest.approx(1.5)
    assert kept.recent()[0].id == line.id
    assert kept.recovered(0, NOW + 2) is None


def test_the_kill_of_a_hung_worker_completes_its_incident_instead_of_making_another(tmp_path, history):
    kept = Incidents("demo", tmp_path / "incidents", history)
    kept.save(of_hang(base(), kind="hang", reason="stalled", since=None, stacks="", no_stacks="no"))
    assert kept.reported(0, 42)
    assert kept.ended(0, 42, of_death(KILLED, at=NOW, happened=NOW, oom=False).exit)
    assert not kept.ended(0, 41, of_death(KILLED, at=NOW, happened=NOW, oom=False).exit)
    assert kept.recent()[0].exit.signal == 9


def test_incidents_of_an_earlier_agent_are_still_listed(tmp_path, history):
    Incidents("demo", tmp_path / "incidents", history).save(of_death(KILLED, at=NOW, happened=NOW, oom=False))
    assert len(Incidents("demo", tmp_path / "incidents", history).recent()) == 1


def test_an_incident_that_cannot_be_written_as_a_file_is_an_error_and_still_a_row(tmp_path, history):
    (tmp_path / "incidents").write_text("in the way")
    kept = Incidents("demo", tmp_path / "incidents", history)
    with pytest.raises(RoadworthyError):
        kept.save(of_death(KILLED, at=NOW, happened=NOW, oom=False))
    assert len(history.incidents()) == 1


def test_bundles_are_bounded_in_number(tmp_path, history, monkeypatch):
    monkeypatch.setattr(incidents, "KEPT", 3)
    kept = Incidents("demo", tmp_path / "incidents", history)
    for number in range(6):
        kept.save(of_death({**KILLED, "pid": number}, at=NOW + number, happened=NOW, oom=False))
    assert len(list((tmp_path / "incidents").glob("*.json"))) == 3


def test_the_tail_is_whole_lines_without_the_punched_part(tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"\0" * 100 + b"one\ntwo\n")
    assert tail(path) == "one\ntwo\n"
    assert tail(path, 6) == "two\n"
    assert tail(tmp_path / "none") == ""


def test_a_curve_is_the_last_minute_of_one_process():
    curves = Curves()
    for second in range(70):
        curves.add(float(second), 0, 42, Resources(rss=second))
    assert [point.rss for point in curves.of(0, 42)] == list(range(10, 70))
    curves.forget(0, 42)
    assert curves.of(0, 42) == ()
