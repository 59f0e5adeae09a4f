"""The agent and the keeper, killed: the program is unharmed, what happens meanwhile is told, and all comes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from time import monotonic

import pytest

from live.incident_kit import Heard, bundle_of, marked, nothing_left, successor
from support.ack import Truth, counted
from support.running import ROADWORTHY, Running, start_ticks, wait_for
from support.servers import free_port

pytestmark = pytest.mark.live

PY = sys.executable
PRINTS = """
import logging, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
number = 0
while True:
    print("line", number, flush=True)
    sys.stderr.write(f"other {number}\\n")
    with open(sys.argv[1], "w") as file:
        file.write(str(number))
    number += 1
    time.sleep(0.005)
"""


FLOODS = """
import signal, sys, time
from pathlib import Path
go = Path(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
told = None
while True:
    if (asked := go.read_text() if go.exists() else "") != told:
        told = asked
        if asked == "lines":
            print(*(f"line {n}" for n in range(150)), sep="\\n", flush=True)
        elif asked == "end":
            print("the end", flush=True)
    if asked == "flood":
        print(*["x" * 99] * 1000, sep="\\n", flush=True)
    time.sleep(0.008)
"""


def incidents(run):
    """Return the names of the last words that were saved."""
    return [path.name for path in (run.state_dir / "incidents").glob("*.json")]


def ready(snapshot, *but):
    """Whether every worker is ready and none is one of those pids."""
    workers = snapshot["workers"]
    return bool(workers) and all(one["state"] == "ready" and one["pid"] not in but for one in workers)


def another_agent(run, *but):
    """Wait until an agent with another pid answers and return its pid."""
    return wait_for(lambda: (told := run.agent())["pid"] not in but and told["pid"], "another agent", 30)


def attach(run):
    """Start an agent beside a program whose keeper is dead, as a person would."""
    return subprocess.Popen(
        [*ROADWORTHY, "attach", run.name], env=run.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def said(run, *words):
    """Run one of our commands as a person would and return how it ended."""
    argv = [*ROADWORTHY, *words]
    return subprocess.run(argv, env=run.env, capture_output=True, text=True, timeout=60, check=False)


def stop(run):
    """Stop a program as a person would and return what was said."""
    done = said(run, "stop", run.name)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_agent_killed_again_and_again_harms_nobody_and_counts_nothing_twice(tmp_path):
    own = ["--ops-host", "127.0.99.1"]  # where no other test's agent can take its port while it is dead
    with Truth(tmp_path / "truth") as truth, Running(tmp_path / "home", truth.program, options=own) as run:
        address = run.agent()["url"]
        pid = run.until(ready, "it is ready")["workers"][0]["pid"]
        agents = [run.agent()["pid"]]
        for _ in range(3):
            wait_for(lambda: truth.running(pid, 10), "four threads append")
            os.kill(agents[-1], signal.SIGKILL)
            before = truth.of(pid)[0].done
            wait_for(lambda before=before: truth.of(pid)[0].done > before, "the program does not wait")
            agents.append(another_agent(run, *agents))
        assert run.agent()["url"] == address, "pages that are open find the next one"
        assert run.worker_pid() == pid
        least = {key: bound[0] for key, bound in truth.bounds().items()}
        shown = counted(run.until(lambda s: all(counted(s).get(key, 0) >= n for key, n in least.items()), "the counts"))
        assert all(shown[key] <= bound[1] for key, bound in truth.bounds().items())
        snapshot = run.snapshot()
        assert snapshot["incidents"] == []
        assert snapshot["keeper_pid"] == run.process.pid


def test_a_death_while_the_agent_is_dying_is_recorded_by_the_next_one(tmp_path):
    with Truth(tmp_path / "truth") as truth, Running(tmp_path / "home", truth.program) as run:
        agent = run.agent()["pid"]
        pid = run.until(ready, "it is ready")["workers"][0]["pid"]
        wait_for(lambda: truth.running(pid, 10), "four threads append")
        os.kill(agent, signal.SIGSTOP)  # it hears of nothing from here on
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: start_ticks(pid) is None, "the death")
        os.kill(agent, signal.SIGKILL)
        bundle = bundle_of(run, 0, pid)
        assert bundle["summary"]["exit"]["signal"] == signal.SIGKILL
        told = wait_for(lambda: truth.ended(pid) and truth.of(pid), "its last word")
        steps = [event["text"] for event in bundle["events"] if event["source"] == "step"]
        assert all(f"{pid}/{one.thread}/{one.done}" in steps for one in told)
        assert [one["name"] for one in bundle["in_flight"] if one["name"] == "truth.whole"] == ["truth.whole"]
        second = successor(run, 0, pid)
        snapshot = run.until(lambda s: ready(s, pid), "it runs again")
        assert [one["pid"] for one in snapshot["incidents"]] == [pid], "told once"
        wait_for(lambda: truth.running(second, 5), "the successor appends")
        os.kill(run.agent()["pid"], signal.SIGKILL)
        another_agent(run, agent)
        run.until(lambda s: ready(s, pid), "the third agent sees it")
        assert [one["pid"] for one in run.snapshot()["incidents"]] == [pid], "and not again by the one after that"


def test_after_its_keepers_death_the_program_goes_on_and_its_end_is_told_as_unknown(tmp_path, pace):
    count = tmp_path / "count"
    with Running(tmp_path / "home", [PY, "-c", PRINTS, str(count)]) as run:
        agent = run.agent()["pid"]
        pid = run.until(ready, "it is ready")["workers"][0]["pid"]
        run.process.kill()
        run.process.wait()
        before = int(wait_for(count.read_text, "the count"))
        wait_for(lambda: int(count.read_text() or 0) > before + 400, "400 more printed lines than a pipe would take")
        snapshot = run.until(lambda s: s["keeper_pid"] is None, "the agent says it")
        assert snapshot["agent_pid"] == agent, "the agent goes on"
        assert snapshot["workers"][0]["state"] == "ready"
        assert snapshot["verdict"]["status"] == "degraded"
        assert any("the keeper has died" in finding["reason"] for finding in snapshot["verdict"]["findings"])
        lines = [event["text"] for event in snapshot["events"] if event["kind"] == "output"]
        assert lines, "what it prints is still shown"
        killed = monotonic()
        os.kill(pid, signal.SIGKILL)
        bundle = bundle_of(run, 0, pid)
        assert bundle["summary"]["exit"] | {"words": ""} == {
            "code": None, "signal": None, "core": False, "oom": False, "words": ""
        }  # fmt: skip
        assert "nobody could collect its exit status" in bundle["summary"]["exit"]["words"]
        assert bundle["summary"]["detected_after"] < 1.0 + pace.lost(killed)
        wait_for(lambda: start_ticks(agent) is None, "the agent ends when there is nothing left to look at")
    nothing_left(run)


def test_a_keeper_that_dies_before_its_agent_has_come_up_leaves_the_program_watched(tmp_path):
    with Running(tmp_path / "home", ["sleep", "600"]) as run:
        pid = wait_for(run.worker_pid, "the program is started")
        run.process.kill()  # an agent takes longer than that to come up
        run.process.wait()
        told = run.agent()
        snapshot = run.until(lambda s: s["keeper_pid"] is None and s["workers"], "the agent shows the program")
        assert [one["pid"] for one in snapshot["workers"]] == [pid]
        os.kill(told["pid"], signal.SIGKILL)
        wait_for(lambda: start_ticks(told["pid"]) is None, "the agent's death")
        shown = said(run, "status", run.name)
        assert str(pid) in shown.stdout, "without anybody left it is shown, too"
        assert "is stopped" in stop(run)
        wait_for(lambda: start_ticks(pid) is None, "its end")
    nothing_left(run, [pid])


def test_a_keeper_that_was_stopped_ends_its_program_when_that_is_asked_for(tmp_path):
    with Running(tmp_path / "home", ["sleep", "600"]) as run:
        run.agent()
        pid = run.worker_pid()
        run.process.send_signal(signal.SIGSTOP)
        assert "is stopped" in stop(run)
        run.process.wait(10)
    nothing_left(run, [pid])


def test_a_stop_whose_keeper_is_killed_meanwhile_still_ends_the_program(tmp_path):
    command = ["sh", "-c", "trap '' TERM; echo trapped; while :; do sleep 1; done"]
    with Running(tmp_path / "home", command, options=["--grace", "2s"]) as run:
        run.agent()
        pid = run.worker_pid()
        wait_for(lambda: "trapped" in run.text(), "it ignores SIGTERM")
        stopping = subprocess.Popen([*ROADWORTHY, "stop", run.name], env=run.env, stdout=subprocess.PIPE, text=True)
        index = run.run_dir / "keeper.json"
        wait_for(lambda: json.loads(index.read_text())["stopping"], "it is stopping")
        run.process.kill()
        run.process.wait()
        assert stopping.communicate(timeout=60)[0] == f"{run.name} is stopped\n"
        assert stopping.returncode == 0
        assert start_ticks(pid) is None, "it says so only once nothing is left"
    nothing_left(run, [pid])


def test_a_reload_is_finished_although_its_agent_is_killed_in_the_middle(tmp_path):
    port = str(free_port())
    options = ["--workers", "2", "--port", port]
    with Running(tmp_path / "home", [PY, "-m", "http.server", port], options=options) as run:
        told = run.agent()
        before = {one["pid"] for one in run.until(ready, "both are ready")["workers"]}
        assert "has begun" in said(run, "reload", run.name).stdout
        os.kill(told["pid"], signal.SIGKILL)
        another_agent(run, told["pid"])
        run.until(lambda s: ready(s, *before) and len(s["workers"]) == 2, "both have been replaced", 60)
        wait_for(lambda: not (run.run_dir / "reload.json").exists(), "nothing more is to come")


def test_attach_shows_a_program_whose_keeper_and_agent_are_dead_and_stop_ends_it_all(tmp_path):
    with Truth(tmp_path / "truth") as truth, Running(tmp_path / "home", truth.program) as run:
        agent = run.agent()["pid"]
        pid = run.until(ready, "it is ready")["workers"][0]["pid"]
        wait_for(lambda: truth.running(pid, 10), "four threads append")
        run.process.kill()
        run.process.wait()
        os.kill(agent, signal.SIGKILL)
        wait_for(lambda: start_ticks(agent) is None, "the agent's death")
        taken = said(run, "run", "--name", run.name, "--", "true")
        assert taken.returncode == 4
        assert "attach" in taken.stderr, "a second run is refused with what can be done"
        with attach(run) as attached:
            try:
                told = another_agent(run, agent)
                assert told == attached.pid
                with Heard(run) as heard:
                    least = {key: bound[0] for key, bound in truth.bounds().items()}
                    snapshot = run.until(
                        lambda s: ready(s) and all(counted(s).get(key, 0) >= n for key, n in least.items()),
                        "the program and its counts are shown",
                    )
                    assert snapshot["workers"][0]["pid"] == pid
                    assert snapshot["keeper_pid"] is None
                    heard.until(lambda: heard.steps(pid, 0), "its events")
                shown = said(run, "status", run.name)
                assert str(pid) in shown.stdout
                second = said(run, "attach", run.name)
                assert second.returncode == 4
                assert "watched already" in second.stderr
                stop(run)
                attached.wait(20)
            finally:
                if attached.poll() is None:
                    attached.kill()
        assert incidents(run) == [], "its end was asked for"
    nothing_left(run, [pid])


def test_a_stop_without_a_keeper_is_recorded_as_one_that_was_asked_for(tmp_path):
    with Running(tmp_path / "home", [PY, "-c", PRINTS, str(tmp_path / "count")], options=["--workers", "2"]) as run:
        agent = run.agent()["pid"]
        workers = [one["pid"] for one in run.until(ready, "both are ready")["workers"]]
        run.process.kill()
        run.process.wait()
        run.until(lambda s: s["keeper_pid"] is None, "the agent says it")
        with Heard(run) as heard:
            heard.until(lambda: heard.texts, "the stream")
            assert "is stopped" in stop(run)
            heard.until(lambda: "stop was asked for" in heard.texts, "what was asked")
        wait_for(lambda: start_ticks(agent) is None, "the agent's end")
        assert incidents(run) == []
    nothing_left(run, workers)


def test_an_attached_agent_bounds_the_output_of_a_program_and_shows_what_nobody_had_read(tmp_path):
    with Running(tmp_path / "home", [PY, "-c", FLOODS, str(tmp_path / "go")]) as run:
        agent = run.agent()["pid"]
        run.until(ready, "it is ready")
        output = run.arena_dir / "out-0-1"
        run.process.kill()
        run.process.wait()
        os.kill(agent, signal.SIGKILL)
        wait_for(lambda: start_ticks(agent) is None, "the agent's death")
        (tmp_path / "go").write_text("lines")
        wait_for(lambda: b"line 149\n" in output.read_bytes(), "150 lines that nobody reads")
        with attach(run) as attached:
            try:
                another_agent(run, agent)
                shown = run.until(
                    lambda s: f"line {149}" in {event["text"] for event in s["events"]}, "what was printed meanwhile"
                )
                texts = [event["text"] for event in shown["events"] if event["kind"] == "output"]
                assert [text for text in texts if text.startswith("line")] == [f"line {n}" for n in range(150)]
                (tmp_path / "go").write_text("flood")
                most = 0

                def flooded():
                    nonlocal most
                    found = output.stat()
                    most = max(most, found.st_blocks * 512)
                    return found.st_size > 16 << 20

                wait_for(flooded, "16 MiB of output", 60, 0.005)
                print(f"\n16 MiB were printed, at most {most / 2**20:.2f} MiB of it were on the disk")
                assert most <= 4 << 20
                (tmp_path / "go").write_text("end")
                run.until(lambda s: "the end" in {event["text"] for event in s["events"]}, "the last line")
                with output.open("rb") as file:
                    file.seek(-(1 << 20), os.SEEK_END)
                    assert b"\0" not in file.read(), "the newest mebibyte stays"
                stop(run)
                attached.wait(20)
            finally:
                if attached.poll() is None:
                    attached.kill()
    nothing_left(run)


def test_stop_ends_a_program_without_keeper_and_agent_with_all_that_it_started(tmp_path):
    script = (
        "import os, signal, subprocess, sys, time\n"
        "subprocess.Popen(['sleep', '600'])\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork():\n        os._exit(0)\n"
        "    os.closerange(0, 3)\n    time.sleep(600)\n"
        "print('up', flush=True)\ntime.sleep(600)"
    )
    with Running(tmp_path / "home", [PY, "-c", script], options=["--no-inject"]) as run:
        agent = run.agent()["pid"]
        wait_for(lambda: "up" in run.text(), "it is up")
        family = wait_for(lambda: len(found := marked(run)) >= 3 and found, "three processes")
        run.process.kill()
        run.process.wait()
        os.kill(agent, signal.SIGKILL)
        wait_for(lambda: start_ticks(agent) is None, "the agent's death")
        assert "is stopped" in stop(run)
        assert not [pid for pid in family if start_ticks(pid) is not None]
    nothing_left(run)


def test_stop_of_a_whole_run_leaves_no_process_and_no_file(tmp_path):
    script = "import subprocess, time\nsubprocess.Popen(['sleep', '600'])\nprint('up', flush=True)\ntime.sleep(600)"
    with Running(tmp_path / "home", [PY, "-c", script], options=["--workers", "2"]) as run:
        agent = run.agent()["pid"]
        run.until(ready, "both are ready")
        family = wait_for(lambda: len(found := marked(run)) >= 4 and found, "four processes")
        stop(run)
        run.process.wait(10)
    nothing_left(run, [agent, *family])


def test_keeper_and_agent_killed_at_once_while_threads_append_lose_nothing(tmp_path):
    with Truth(tmp_path / "truth") as truth, Running(tmp_path / "home", truth.program) as run:
        agent = run.agent()["pid"]
        pid = run.until(ready, "it is ready")["workers"][0]["pid"]
        wait_for(lambda: truth.running(pid, 10), "four threads append")
        os.kill(agent, signal.SIGKILL)
        run.process.kill()
        run.process.wait()
        before = truth.of(pid)[0].done
        wait_for(lambda: truth.of(pid)[0].done > before + 50, "the program goes on")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: truth.ended(pid), "its last word")
        with Running(tmp_path / "home", ["sleep", "600"]) as later:
            later.agent()
            shown = counted(later.until(lambda s: ready(s) and "together" in counted(s), "the next run", 40))
            for key, (least, most) in truth.bounds().items():
                assert least <= shown[key] <= most
            later.process.terminate()
            later.process.wait(20)
        nothing_left(later)
