"""A hundred kills under load: totals exact, no orphan, no leaked file, and how long detection and recovery took."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from live.incident_kit import Heard, bundle_of, marked, nothing_left, successor
from support.ack import THREADS, Truth, counted
from support.running import Running, start_ticks, wait_for

pytestmark = [pytest.mark.soak, pytest.mark.live]

KILLS = int(os.environ.get("ROADWORTHY_SOAK_KILLS", "100"))
WORKERS = 4
SETTLED = 5.3
"""Seconds that a worker lives before it is killed: one that died sooner would rightly count as a crash loop."""

AGENT_EVERY = int(os.environ.get("ROADWORTHY_SOAK_AGENT_EVERY", "10"))
"""Kills of workers after which the agent is killed as well."""


class Killer:
    """Kills workers of one run at random instants and notes how long what follows takes."""

    def __init__(self, run, truth, seed):
        self._run, self._truth = run, truth
        self._chance = random.Random(seed)  # noqa: S311 - instants, not secrets
        self._since = {slot: (run.worker_pid(slot), time.monotonic()) for slot in range(WORKERS)}
        self.killed, self.noticed, self.working = [], [], []
        self.agents = [run.agent()["pid"]]

    def kill_one(self):
        """Kill a worker that has lived long enough and wait until its successor works."""
        run, truth = self._run, self._truth
        due = wait_for(
            lambda: [slot for slot, (_, at) in self._since.items() if time.monotonic() - at > SETTLED], "one to kill"
        )
        time.sleep(self._chance.random() * 0.4)
        slot = self._chance.choice(due)
        pid = self._since[slot][0]
        wait_for(lambda: truth.running(pid, 10), "four threads append")
        before_ns = time.monotonic_ns()
        os.kill(pid, signal.SIGKILL)
        self.killed.append(pid)
        bundle_of(run, slot, pid)
        self.noticed.append((time.monotonic_ns() - before_ns) / 1e9)
        again = successor(run, slot, *self.killed)
        self._since[slot] = (again, time.monotonic())
        wait_for(lambda: truth.of(again), "the successor works")
        self.working.append((truth.of(again)[0].first_ns - before_ns) / 1e9)
        if len(self.killed) % AGENT_EVERY == 0:
            run.until(lambda s: again in {one["pid"] for one in s["workers"] if one["state"] == "ready"}, "it is ready")
            self._kill_agent()

    def _kill_agent(self):
        os.kill(self.agents[-1], signal.SIGKILL)
        self.agents.append(
            wait_for(lambda: (told := self._run.agent())["pid"] not in self.agents and told["pid"], "another agent")
        )


def descriptors(pid):
    """Return how many files a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def megabytes(pid):
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def line(name, values):
    """Return one line of a table: the distribution of a duration in milliseconds."""
    ordered = sorted(values)
    at = [ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000 for part in (0.5, 0.9, 0.99)]
    return f"| {name} | {len(ordered)} | {at[0]:.0f} | {at[1]:.0f} | {at[2]:.0f} | {ordered[-1] * 1000:.0f} |"


def no_orphan_and_no_leak(run, living, fds):
    """While it runs there is one process a worker, and files only of those that live and their predecessors."""
    assert sorted(marked(run)) == sorted(living), "an orphan"
    assert descriptors(run.process.pid) <= fds + 2 * WORKERS, "the output of at most two generations is kept"
    keys = {path.name.partition(".")[0] for path in run.arena_dir.glob("*.arena")}
    assert {int(key.split("-")[-3]) for key in keys} == set(living), "an arena of the dead was left"
    assert len(list(run.arena_dir.glob("out-*"))) <= 2 * WORKERS
    assert {int(path.name.split("-")[1]) for path in run.arena_dir.glob("stacks-*")} == set(living)


def missing(run, truth, heard, pids):
    """Return which acknowledged events are neither in the stream nor in the last words, as "pid/thread: steps".

    An agent that is killed takes with it what a slow reader of its stream has not been sent; the last words are saved.
    """
    gaps = []
    for number, pid in enumerate(pids):
        (path,) = (run.state_dir / "incidents").glob(f"*-{pid}.json")
        told = [event["text"] for event in json.loads(path.read_text())["events"] if event["source"] == "step"]
        for one in truth.of(pid):
            own = f"{pid}/{one.thread}/"
            steps = {int(text.removeprefix(own)) for text in told if text.startswith(own)}
            assert one.done <= max(steps) <= one.begun, "the last words end with the last step"
            steps |= set(heard.steps(pid, one.thread))
            if lost := [step for step in range(1, one.done + 1) if step not in steps]:
                gaps.append(f"kill {number}, {own} {lost[0]} to {lost[-1]} ({len(lost)} of {one.done})")
    return gaps


@pytest.mark.timeout(900)
def test_a_hundred_random_kills_under_load_lose_nothing_and_leave_nothing(tmp_path):
    seed = os.environ.get("ROADWORTHY_SEED") or str(time.time_ns())
    options = ["--workers", str(WORKERS)]
    with Truth(tmp_path / "truth") as truth, Running(tmp_path / "home", truth.command(0.02), options=options) as run:
        run.agent()
        run.until(lambda s: [one["state"] for one in s["workers"]] == ["ready"] * WORKERS, "all are ready")
        killer = Killer(run, truth, seed)
        fds, began = descriptors(run.process.pid), time.monotonic()
        with Heard(run) as heard:
            while len(killer.killed) < KILLS:
                killer.kill_one()
            took = time.monotonic() - began
            for pid in killer.killed:
                wait_for(lambda pid=pid: truth.ended(pid), "its last word")
            least = {key: bound[0] for key, bound in truth.bounds().items()}
            run.until(lambda s: all(counted(s).get(key, 0) >= n for key, n in least.items()), "all counts")
            gaps, torn = missing(run, truth, heard, killer.killed), len(heard.torn)
        living = [run.worker_pid(slot) for slot in range(WORKERS)]
        no_orphan_and_no_leak(run, living, fds)
        sizes = megabytes(run.process.pid), megabytes(killer.agents[-1])
        run.process.terminate()
        run.process.wait(30)
        for pid in living:
            wait_for(lambda pid=pid: truth.ended(pid), "its last word")
    nothing_left(run, [*living, *killer.agents])
    assert not [pid for pid in killer.killed if start_ticks(pid) is not None]
    with Running(tmp_path / "home", ["sleep", "600"]) as later:
        later.agent()
        shown = counted(later.until(lambda s: s["workers"] and "together" in counted(s), "the next run"))
    bounds = truth.bounds()
    for key, (fewest, most) in bounds.items():
        assert fewest <= shown[key] <= most, key
        assert most - fewest <= (KILLS + WORKERS) * (THREADS if key == "together" else 1)
    bundles = [json.loads(path.read_text())["summary"] for path in (run.state_dir / "incidents").glob("*.json")]
    mine = [one for one in bundles if one["pid"] in killer.killed]
    assert len(mine) == KILLS, "one incident a death"
    rows = (
        "| ms | n | p50 | p90 | p99 | max |",
        "|---|---|---|---|---|---|",
        line("kill -9 → last words are in their file (seen from outside)", killer.noticed),
        line("kill -9 → noticed (as the incident says)", [one["detected_after"] for one in mine]),
        line("kill -9 → the successor's first step (seen from outside)", killer.working),
        line("kill -9 → shown as ready (as the incident says)", [one["recovered_after"] for one in mine]),
        "",
        f"{KILLS} kills of workers and {len(killer.agents) - 1} of the agent in {took:.0f} s, seed {seed}.",
        f"Steps: {bounds['together'][0]} acknowledged, {shown['together']} counted, {bounds['together'][1]} begun.",
        f"Events: {len(gaps)} stretches of the acknowledged missing, {torn} torn. {gaps or ''}",
        f"At the end: keeper {sizes[0]:.1f} MB, agent {sizes[1]:.1f} MB.",
    )
    print("", *rows, sep="\n")
    if where := os.environ.get("ROADWORTHY_SOAK_RESULTS"):
        Path(where).write_text("\n".join(rows) + "\n", encoding="utf-8")
    assert gaps == []
    assert max(killer.noticed) < 1.0
    assert max(killer.working) < 3.0
