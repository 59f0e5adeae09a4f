"""Workers that live and do not work: told apart, stacks saved, replaced; and those that only look so, left alone."""

from __future__ import annotations

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from live.incident_kit import bundle_of, nothing_left, successor
from support.running import Running, start_ticks, wait_for

pytestmark = pytest.mark.live

PY = sys.executable
AFTER = 2.0
"""Seconds of silence that count as a hang here; by default they are ten."""

MOVIE = str(Path(__file__).parents[2] / "examples" / "movie" / "main.py")
LOOP = """
import asyncio, os, signal, time
def stuck_here():
    %s
async def main():
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, stuck_here)
    server = await asyncio.start_server(print, "127.0.0.1", 0)  # by which it is ready at once
    print("up", flush=True)
    while True:
        await asyncio.sleep(0.01)
asyncio.run(main())
"""
FRAMES = """
import signal, time
import roadworthy as rw
stuck = []
signal.signal(signal.SIGUSR1, lambda *_: stuck.append(1))
loop = rw.loop("main", target_fps=60)
def stuck_here():
    while stuck:
        time.sleep(0.1)
print("up", flush=True)
while True:
    with loop.frame():
        loop.turn()
        stuck_here()
    time.sleep(0.01)
"""
BEATS = """
import signal, time
import roadworthy as rw
beat = rw.heartbeat("pump", every=0.2)
stuck = []
signal.signal(signal.SIGUSR1, lambda *_: stuck.append(1))
def stuck_here():
    while True:
        time.sleep(0.1)
print("up", flush=True)
while True:
    beat.beat()
    time.sleep(0.05)
    if stuck:
        stuck_here()
"""
HANGS = {
    "a blocked loop": (LOOP % "time.sleep(600)", "loop_blocked", "a call in it blocks", "stuck_here"),
    "a spinning loop": (LOOP % "[None for _ in iter(int, 1)]", "spinning", "the process is computing", "stuck_here"),
    "the GIL held by C": (
        LOOP % "sum(iter(int, 1))",
        "gil_held",
        "the GIL is held by code that computes",
        "stuck_here",
    ),
    "a frame that never ends": (FRAMES, "stalled", "a frame of the loop 'main' has been under way", "stuck_here"),
    "a heartbeat that stays away": (BEATS, "stalled", "the heartbeat 'pump' has not come for", "stuck_here"),
}


def up(run):
    """Wait until the program has said so and the agent sees it ready; return its pid."""
    run.agent()
    wait_for(lambda: "up" in run.text(), "the program is up")
    return run.until(lambda s: s["workers"][0]["state"] == "ready", "it is ready")["workers"][0]["pid"]


def replaced(run, pid):
    """Wait until another process works in the place of a hung one and return the snapshot."""
    return run.until(
        lambda s: s["workers"][0]["state"] == "ready" and s["workers"][0]["pid"] != pid, "it is replaced", 40
    )


@pytest.mark.parametrize("what", HANGS)
def test_a_hang_is_told_apart_its_stacks_are_saved_and_the_worker_is_replaced(tmp_path, pace, what):
    script, liveness, reason, function = HANGS[what]
    options = ["--hang-after", f"{AFTER:g}s", "--grace", "0.2s"]
    with Running(tmp_path / "home", [PY, "-c", script], options=options) as run:
        pid = up(run)
        time.sleep(0.5)  # a beat or two more, so that the silence has a beginning
        began = time.monotonic()
        os.kill(pid, signal.SIGUSR1)
        seen = run.until(lambda s: s["workers"][0]["liveness"] == liveness, f"it is seen as {liveness}")
        assert pace.spent(began) < AFTER + 3.0
        assert seen["workers"][0]["pid"] == pid
        bundle = bundle_of(run, 0, pid)
        assert pace.spent(began) < AFTER + 3.0, "the limit, a tick, and the time of a dump"
        assert bundle["summary"]["kind"] == "hang"
        assert reason in bundle["reason"]
        assert bundle["summary"]["title"] == f"worker 0 hangs: {bundle['reason']}"
        assert function in bundle["stacks"], bundle["no_stacks"]
        assert AFTER - 0.5 <= bundle["summary"]["detected_after"] < AFTER + 3.0 + pace.lost(began)
        assert bundle["curve"]
        snapshot = replaced(run, pid)
        assert start_ticks(pid) is None
        assert snapshot["workers"][0]["restarts"] == 1
        (incident,) = snapshot["incidents"]
        assert incident["recovered_after"] > incident["detected_after"]
        assert incident["exit"]["signal"] in {signal.SIGTERM, signal.SIGKILL}, "how it was ended is told with the hang"


def test_a_stopped_process_is_seen_its_stacks_are_saved_and_it_is_replaced(tmp_path, pace):
    with Running(tmp_path / "home", [PY, "-c", BEATS], options=["--hang-after", f"{AFTER:g}s", "--grace", "2s"]) as run:
        pid = up(run)
        began = time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        run.until(lambda s: s["workers"][0]["liveness"] == "stopped", "it is seen as stopped")
        bundle = bundle_of(run, 0, pid)
        assert pace.spent(began) < AFTER + 4.0
        assert "the process is stopped by a signal" in bundle["reason"]
        assert "File" in bundle["stacks"], bundle["no_stacks"]
        replaced(run, pid)
        assert start_ticks(pid) is None


def test_with_an_alarm_as_the_action_a_hung_worker_is_told_and_left_alone(tmp_path):
    options = ["--hang-after", "1s", "--hang-action", "alarm"]
    with Running(tmp_path / "home", [PY, "-c", BEATS], options=options) as run:
        pid = up(run)
        os.kill(pid, signal.SIGUSR1)
        bundle_of(run, 0, pid)
        first = run.until(lambda s: s["verdict"]["status"] == "unhealthy", "the verdict says it")
        run.until(lambda s: s["tick"] >= first["tick"] + 3, "three more seconds")
        assert run.worker_pid() == pid
        assert run.snapshot()["verdict"]["reason"].startswith("worker 0: hung: ") or any(
            finding["reason"].startswith("hung: ") for finding in run.snapshot()["verdict"]["findings"]
        )
        assert len(run.snapshot()["incidents"]) == 1, "a hang that lasts is one incident"


ASYNC_SERVER = """
import asyncio
async def main():
    await (await asyncio.start_server(print, "127.0.0.1", 0)).serve_forever()
asyncio.run(main())
"""
IDLE = {
    "an idle server": ("-m", "http.server", "0"),
    "an idle asyncio server": ("-c", ASYNC_SERVER),
    "a long step that waits": ("-c", "import subprocess\nsubprocess.run(['sleep', '6000'])"),
}
BUSY = {
    "of a batch, in Python": ("-c", "import json, logging\nwhile True: json.dumps([1] * 1000)"),
    "of a batch, in C, with the GIL": ("-c", "import asyncio, sqlite3, http.server\nsum(iter(int, 1))"),
}


def never_killed(run):
    """Watch a run for eight times the silence that counts as a hang."""
    run.agent()
    first = run.until(lambda s: s["workers"][0]["state"] == "ready", "it is ready")
    pid = first["workers"][0]["pid"]
    seen = set()

    def eight_limits_later(snapshot):
        (worker,) = snapshot["workers"]
        seen.add(worker["liveness"])
        assert (worker["pid"], worker["state"]) == (pid, "ready")
        return snapshot["at"] >= first["at"] + 4.0

    last = run.until(eight_limits_later, "four seconds")
    assert last["incidents"] == []
    assert seen <= {"idle_or_busy", "working", "unknown", "gil_held"}
    assert last["verdict"]["status"] == "ok", last["verdict"]


@pytest.mark.parametrize("what", BUSY)
def test_a_long_step_that_declares_nothing_is_never_killed(tmp_path, what):
    with Running(tmp_path / "home", [PY, *BUSY[what]], options=["--hang-after", "0.5s"]) as run:
        never_killed(run)


def test_who_waits_and_declares_no_signal_that_stalls_is_never_killed(tmp_path):
    """They need no processor, so they are watched at the same time."""
    with ExitStack() as over, ThreadPoolExecutor(len(IDLE)) as watchers:
        runs = [
            over.enter_context(
                Running(tmp_path / f"home {n}", [PY, *command], options=["--hang-after", "0.5s", "--ops-port", "0"])
            )
            for n, command in enumerate(IDLE.values())
        ]
        watched = {what: watchers.submit(never_killed, run) for what, run in zip(IDLE, runs, strict=True)}
        assert {what: one.exception(60) for what, one in watched.items()} == dict.fromkeys(IDLE)


def test_a_livelock_is_a_verdict_of_its_own_and_no_reason_to_kill(tmp_path):
    command = [PY, MOVIE, "--out", str(tmp_path / "film"), "--misbehave", "livelock@1"]
    with Running(tmp_path / "home", command, options=["--hang-after", "2s", "--progress-after", "2s"]) as run:
        run.agent()
        pid = run.until(lambda s: s["workers"][0]["state"] == "ready", "it is ready")["workers"][0]["pid"]
        snapshot = run.until(lambda s: s["workers"][0]["liveness"] == "not_progressing", "it does not progress", 40)
        bundle = bundle_of(run, 0, pid)
        assert bundle["summary"]["kind"] == "no-progress"
        assert bundle["reason"].startswith("alive, but the loop 'main' has not advanced for ")
        assert "File" in bundle["stacks"]
        snapshot = run.until(lambda s: s["tick"] > snapshot["tick"] + 2, "two more seconds")
        (worker,) = snapshot["workers"]
        assert (worker["pid"], worker["state"], worker["liveness"]) == (pid, "ready", "not_progressing")
        assert snapshot["verdict"]["status"] == "unhealthy"
        assert "has not advanced" in snapshot["verdict"]["reason"]
        assert not snapshot["verdict"]["ready"], "who does not get on serves nobody"
        frames = [one["count"] for one in snapshot["beats"] if one["kind"] == "loop"]
        assert frames[0] > 60, "while its frames go on"


def test_progress_that_stands_still_is_replaced_where_that_was_asked_for(tmp_path):
    script = (
        "import time, roadworthy as rw\nprint('up', flush=True)\n"
        "for n in range(10**9):\n    if n < 20: rw.progress('rows')\n    time.sleep(0.05)"
    )
    options = ["--progress-after", "2s", "--hang-action", "restart", "--grace", "1s"]
    with Running(tmp_path / "home", [PY, "-c", script], options=options) as run:
        pid = up(run)
        bundle = bundle_of(run, 0, pid)
        assert "the progress 'rows' has not advanced" in bundle["reason"]
        successor(run, 0, pid)
        run.process.terminate()
        run.process.wait(20)
    nothing_left(run)
