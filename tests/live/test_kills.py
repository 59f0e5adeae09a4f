"""``kill -9`` of workers of the full product: noticed, told, made good, and nothing that was acknowledged is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from live.incident_kit import Heard, bundle_of, exited_with, nothing_left, successor
from support.ack import THREADS, Truth, counted
from support.running import Running, wait_for

pytestmark = pytest.mark.live

PY = sys.executable
PAUSE = 0.03
"""Seconds between two steps of a thread: an arena keeps 1024 events, and an agent may take some seconds to come up."""


def ready(snapshot, *but):
    """Whether every worker is ready and none is one of those pids."""
    workers = snapshot["workers"]
    return bool(workers) and all(one["state"] == "ready" and one["pid"] not in but for one in workers)


def test_kills_at_random_instants_are_noticed_and_made_good_and_nothing_acknowledged_is_lost(tmp_path, pace):
    chance = random.Random(os.environ.get("ROADWORTHY_SEED") or None)  # noqa: S311 - instants, not secrets
    with (
        Truth(tmp_path / "truth") as truth,
        Running(tmp_path / "home", truth.command(PAUSE), options=["--workers", "2"]) as run,
    ):
        run.agent()
        run.until(ready, "both workers are ready")
        with Heard(run) as heard:
            killed = []
            for slot in (0, 1, 0, 1):
                pid = run.worker_pid(slot)
                wait_for(lambda pid=pid: truth.running(pid, 20), "four threads append")
                time.sleep(chance.random() / 2)
                before_ns = time.monotonic_ns()
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                bundle = bundle_of(run, slot, pid)
                assert pace.spent(before_ns / 1e9) < 1.0, "from the kill to saved last words"
                again = successor(run, slot, *killed)
                wait_for(lambda again=again: truth.of(again), "the successor works")
                took = (truth.of(again)[0].first_ns - before_ns) / 1e9
                assert took < 3.0 + pace.lost(before_ns / 1e9), "2 s, and the start of a Python program"
                wait_for(lambda pid=pid: truth.ended(pid), "all that it said is in")
                snapshot = run.until(lambda s: ready(s, *killed), "recovery is shown")
                shown = next(one for one in snapshot["incidents"] if one["pid"] == pid)
                lost = pace.lost(before_ns / 1e9)
                assert shown["detected_after"] < 1.0 + lost
                assert shown["recovered_after"] < 3.0 + lost
                tells_everything(bundle, truth.of(pid), lost)
            least = {key: bound[0] for key, bound in truth.bounds().items()}
            snapshot = run.until(
                lambda s: all(counted(s).get(key, 0) >= count for key, count in least.items()), "all counts are there"
            )
            most = {key: bound[1] for key, bound in truth.bounds().items()}
            shown = counted(snapshot)
            assert all(shown[key] <= count for key, count in most.items()), (shown, most)
            # A dead process's last event is there; so is every one before it, in their order.
            for pid in killed:
                heard.until(
                    lambda pid=pid: all(heard.steps(pid, one.thread)[-1:] >= [one.done] for one in truth.of(pid))
                )
                for one in truth.of(pid):
                    steps = heard.steps(pid, one.thread)
                    assert steps == list(range(1, len(steps) + 1))
                    assert one.done <= len(steps) <= one.begun
            assert len(heard.torn) <= len(killed) * THREADS


def tells_everything(bundle, told, lost):
    """The last words of a worker that four threads had appended to, on a machine that lost so many seconds."""
    pid = told[0].pid
    summary = bundle["summary"]
    assert (summary["kind"], summary["exit"]["signal"], summary["exit"]["oom"]) == ("death", signal.SIGKILL, False)
    words = "killed by SIGKILL (9), sent by somebody, or by the kernel's out-of-memory killer"
    assert summary["title"] == f"worker {summary['slot']} {words}"
    assert 0 <= bundle["summary"]["at"] - bundle["happened"] < 1.0 + lost
    # The newest 500 events of the last 60 s: the last acknowledged event of each thread is there, and none is missing.
    mine = [event for event in bundle["events"] if event["source"] == "step" and event["pid"] == pid]
    assert all(bundle["happened"] - 60 <= event["at"] <= summary["at"] for event in mine)
    for one in told:
        steps = [int(event["text"].split("/")[2]) for event in mine if event["text"].startswith(f"{pid}/{one.thread}/")]
        assert one.done <= steps[-1] <= one.begun
        assert all(later == before + 1 for before, later in pairwise(steps))
    assert sum(event["torn"] for event in mine) <= THREADS
    assert any(event["kind"] == "log" and event["text"].startswith("second ") for event in bundle["events"])
    # What was under way, for how long.
    whole = next(one for one in bundle["in_flight"] if one["name"] == "truth.whole")
    assert whole["context"] == "purpose=being under way"
    assert whole["age"] > 0.1
    # The last figures are exact.
    figures = {
        (one["name"], *sorted(one["labels"].values())): one.get("value", one.get("count")) for one in bundle["metrics"]
    }
    for one in told:
        assert one.done <= figures["truth.apart", str(one.thread)] <= one.begun
    together = sum(one.done for one in told), sum(one.begun for one in told)
    for key in (("truth.together",), ("truth.took",), ("operation.duration", "success", "truth.step")):
        assert together[0] <= figures[key] <= together[1]
    assert "second 0" in bundle["output"]["stderr"]
    assert bundle["output"]["stdout"] == "the truth is being told\n"
    assert bundle["curve"]
    # A tick in the very instant of the death finds nothing to measure, and says so: unknown, never 0.
    measured = [point for point in bundle["curve"] if point["rss"] is not None]
    assert measured
    assert all(point["rss"] > 1 << 20 and point["threads"] >= 1 for point in measured)
    assert bundle["maxrss"] > 1 << 20
    assert bundle["cpu_seconds"] > 0
    assert bundle["no_stacks"] == "", "a dead process has no stacks, which needs no excuse"


def test_after_a_stop_nothing_is_left_but_the_state_and_the_totals_are_exact(tmp_path):
    with Truth(tmp_path / "truth") as truth:
        with Running(tmp_path / "home", truth.program) as run:
            run.agent()
            run.until(ready, "it is ready")
            first = run.worker_pid()
            wait_for(lambda: truth.running(first, 5), "four threads append")
            os.kill(first, signal.SIGKILL)
            second = successor(run, 0, first)
            wait_for(lambda: truth.running(second, 5), "four threads append")
            run.until(lambda s: ready(s, first), "recovery is shown")
            pids = [second, run.agent()["pid"]]
            run.process.terminate()
            run.process.wait(30)
        wait_for(lambda: truth.ended(second), "all that it said is in")
        nothing_left(run, pids)
        with Running(tmp_path / "home", ["sleep", "600"]) as later:
            later.agent()
            shown = counted(later.until(ready, "it is ready"))
        for key, (least, most) in truth.bounds().items():
            assert least <= shown[key] <= most, "what ended processes have counted counts on in the next run"


@pytest.mark.parametrize(
    ("mode", "script", "status", "starts"),
    [
        ("never", "exit 0", 0, 1),
        ("never", "exit 3", 3, 1),
        ("never", "kill -9 $$", 137, 1),
        ("never", "kill -15 $$", 143, 1),
        ("on-failure", "exit 0", 0, 1),
        ("on-failure", "echo . >> starts; [ $(wc -l < starts) -ge 3 ] && exit 0; exit 3", 0, 3),
        ("on-failure", "echo . >> starts; [ $(wc -l < starts) -ge 2 ] && exit 0; kill -11 $$", 0, 2),
    ],
)
def test_the_restart_policy_decides_over_exit_codes_and_signals(tmp_path, monkeypatch, mode, script, status, starts):
    monkeypatch.chdir(tmp_path)
    with Running(tmp_path / "home", ["sh", "-c", script], options=["--restart", mode]) as run:
        assert exited_with(run) == status
    counted_starts = (tmp_path / "starts").read_text().count(".") if (tmp_path / "starts").exists() else 1
    assert counted_starts == starts
    nothing_left(run)


def test_a_program_that_always_restarts_runs_again_after_it_ended_well(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = "echo . >> starts; [ $(wc -l < starts) -ge 2 ] && sleep 600; exit 0"
    with Running(tmp_path / "home", ["sh", "-c", script], options=["--restart", "always"]) as run:
        run.agent()
        snapshot = run.until(lambda s: ready(s) and s["workers"][0]["generation"] == 2, "it runs again")
        assert snapshot["workers"][0]["last_exit"]["words"] == "ended by itself with exit code 0"
        assert snapshot["incidents"] == [], "ending well is no incident"


def test_five_early_deaths_are_a_crash_loop_held_alarmed_and_shown_with_the_next_start(tmp_path):
    with Running(tmp_path / "home", ["sh", "-c", "echo why >&2; exit 3"]) as run:
        run.agent()
        seen = []
        states = set()

        def held(snapshot):
            worker = snapshot["workers"][0]
            states.add(worker["state"])
            if worker["state"] == "backoff" and worker["next_start"] not in seen:
                seen.append(worker["next_start"])
                assert 0 < worker["next_start"] - worker["since"] < 1.5
            return worker["state"] == "held"

        snapshot = run.until(held, "it is held")
        assert seen, "the pause before a start was shown with its end"
        worker = snapshot["workers"][0]
        assert worker["reason"].startswith("crash loop: ")
        assert "exit code 3" in worker["reason"]
        assert worker["next_start"] - snapshot["at"] == pytest.approx(60, abs=20), "it is tried again, slowly"
        assert worker["pid"] is None
        assert worker["generation"] == 5
        assert snapshot["verdict"]["status"] == "unhealthy"
        assert any("crash loop" in finding["reason"] for finding in snapshot["verdict"]["findings"])
        assert len(snapshot["incidents"]) == 5
        assert "why" in bundle_of(run, 0, snapshot["incidents"][0]["pid"])["output"]["stderr"]
        run.process.terminate()
        assert run.process.wait(20) == 3, "what is stopped while held ends with the program's status"
    nothing_left(run)


def test_a_held_program_is_tried_again_and_one_that_then_stays_up_is_no_longer_held(tmp_path):
    flag = tmp_path / "well"
    script = f"[ -e {flag} ] && exec sleep 600; exit 3"
    with Running(tmp_path / "home", ["sh", "-c", script]) as run:
        told = json.loads(wait_for((run.run_dir / "run.json").read_text, "the settings"))
        told["restart"] |= {"held_retry": 0.3, "backoff_first": 0.05, "healthy_after": 0.5}
        run.agent()
        (run.run_dir / "run.json").write_text(json.dumps(told))  # which the next agent reads
        os.kill(run.agent()["pid"], signal.SIGKILL)
        run.until(lambda s: s["workers"][0]["state"] == "held", "it is held")
        run.until(lambda s: s["workers"][0]["generation"] > 7, "it is tried again and again")
        flag.touch()
        snapshot = run.until(ready, "it runs")
        os.kill(snapshot["workers"][0]["pid"], signal.SIGKILL)
        run.until(lambda s: ready(s, snapshot["workers"][0]["pid"]), "a death after a healthy time is no crash loop")


def test_a_kill_for_want_of_memory_is_told_as_such(tmp_path):
    group = Path("/sys/fs/cgroup/memory")
    if not os.access(group / "cgroup.procs", os.W_OK):
        group = Path("/sys/fs/cgroup")
        if not os.access(group / "cgroup.subtree_control", os.W_OK):
            pytest.skip("no cgroup with a memory controller that this user may make groups in")
    own = group / f"roadworthy-test-{os.getpid()}"
    try:
        own.mkdir()
        limit = own / ("memory.limit_in_bytes" if group.name == "memory" else "memory.max")
        limit.write_text(str(192 << 20))
    except OSError as error:
        if own.exists():
            own.rmdir()
        pytest.skip(f"a memory limit cannot be set here: {error}")
    eats = "import time\nkept = []\nwhile True:\n    kept.append(b'x' * (8 << 20))\n    time.sleep(0.01)"
    try:
        with Running(tmp_path / "home", [PY, "-c", eats]) as run:
            (own / "cgroup.procs").write_text(str(run.process.pid))
            run.agent()
            snapshot = run.until(lambda s: s["incidents"], "an incident", 60)
            incident = snapshot["incidents"][-1]
            assert incident["kind"] == "oom", incident
            assert incident["title"] == "worker 0 killed by SIGKILL (9) by the kernel: out of memory"
            assert bundle_of(run, 0, incident["pid"])["summary"]["exit"]["oom"] is True
    finally:
        wait_for(lambda: not (own / "cgroup.procs").read_text().strip(), "the group is empty", 20)
        own.rmdir()
