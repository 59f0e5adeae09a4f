"""The row of recovery: kill -9 of a worker until it is detected, and until its successor runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from benchmarks.rows import Line, NotMeasured, Plan, Row
from benchmarks.running import Running, application, arranged, python, running, set_free, wait_until
from benchmarks.statistics import estimate
from roadworthy._clock import NS, monotonic, monotonic_ns, sleep

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "benchmarks/programs/mortal.py"
WORKERS = 4
SETTLED = 5.5
"""Seconds that a worker lives before it is killed: one that died sooner would rightly be suspected of a crash loop."""

WITHIN = 15.0
MS = 1000.0


def kills(plan: Plan) -> list[Line]:
    """Kill workers of one application, one after another, each after it has lived long enough."""
    plan.say("kills: the program's own start")
    starts = [_plain_start() for _ in range(plan.pick(8, 3))]
    detected: list[float] = []
    again: list[float] = []
    rounds = plan.pick(3, 1)
    with running(["true"]) as nothing:
        said = nothing.folder / "said"
        options = ("--workers", str(WORKERS))
        name = application("kills")
        with running(arranged([python(), PROGRAM, str(said)], name=name, options=options), name=name) as run:
            wait_until("all workers run", lambda: len(_pids(said)) == WORKERS and len(_slots(run)) == WORKERS, run)
            wait_until("the agent is up", lambda: set_free(run), run)
            for number in range(rounds):
                sleep(SETTLED)
                for slot in range(WORKERS):
                    found = _kill(run, said, slot)
                    detected.append(found[0])
                    again.append(found[1])
                plan.say(f"kills: {(number + 1) * WORKERS} of {rounds * WORKERS}")
    start = estimate([starts])
    note = f"the program's own start takes {start.value:.0f} ms of it, the policy waits 100 ms and jitter before"
    return [
        Line("kills: kill -9 → detected", estimate([detected]), "ms", 1_000, "until the keeper's account says so"),
        Line("kills: kill -9 → running again", estimate([again]), "ms", 2_000 + start.value, note),
        Line("kills: slowest detection", estimate([[max(detected)]]), "ms", 1_000),
        Line("kills: slowest recovery", estimate([[max(again)]]), "ms", 2_000 + start.value),
    ]


def _kill(run: Running, said: Path, slot: int) -> tuple[float, float]:
    """Kill the worker of one slot; return milliseconds until the keeper says so and until a successor runs."""
    victim = int(_slots(run)[slot]["pid"])
    known = _pids(said)
    began = monotonic_ns()
    os.kill(victim, signal.SIGKILL)
    seen = 0
    deadline = monotonic() + WITHIN
    while monotonic() < deadline:
        if not seen and _is_down(_slots(run).get(slot, {}), victim):
            seen = monotonic_ns()
        fresh = [stamp for pid, stamp in _pids(said).items() if pid not in known]
        if seen and fresh:
            return (seen - began) / NS * MS, (fresh[0] - began) / NS * MS
        sleep(0.001)
    raise NotMeasured(
        f"worker {slot} was killed and is not back after {WITHIN:.0f} s (detected: {bool(seen)}); {run.tail()}"
    )


def _is_down(slot: Mapping[str, Any], victim: int) -> bool:
    return bool(slot) and (slot.get("pid") != victim or slot.get("state") != "running" or slot.get("exit") is not None)


def _slots(run: Running) -> dict[int, dict[str, Any]]:
    return {int(slot["slot"]): slot for slot in run.said_by_keeper().get("slots", ()) if slot.get("pid")}


def _pids(said: Path) -> dict[int, int]:
    """Return which processes have said that they run, and when."""
    if not said.exists():
        return {}
    lines = [line.split() for line in said.read_bytes().splitlines()]
    return {int(pid): int(stamp) for pid, stamp in lines}


def _plain_start() -> float:
    """Return the milliseconds from starting the program plainly until it says that it runs."""
    with running(["true"]) as nothing:
        said = nothing.folder / "said"
        began = monotonic_ns()
        with running([python(), PROGRAM, str(said)]) as run:
            wait_until("it runs", lambda: bool(_pids(said)), run)
            return (next(iter(_pids(said).values())) - began) / NS * MS


ROWS = (Row("kills", "kill -9 → detected, running again", kills),)
