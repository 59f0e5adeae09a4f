"""Measure calls of some nanoseconds, round by round: bare, ours, peer, and again bare, ours, peer.

    python -m benchmarks.probes.calls CASE --arms "roadworthy;prometheus-client" --rounds 40 --slice 10 --out FILE

Writes {"attached": bool, "ns": {arm: [nanoseconds per call in each round]}}. The order within a round moves on by one
each round, so that no arm is always the one after the garbage of another.
"""

from __future__ import annotations

import argparse
import json
import os
import timeit
from pathlib import Path

from benchmarks.probes.arms import Arm, prepare
from roadworthy._clock import monotonic, sleep

MILLISECOND = 1_000_000
WAIT = 15.0
WARM = 1_000


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("case")
    parser.add_argument("--arms", required=True, help="separated by semicolons")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--slice", type=float, default=10.0, help="milliseconds that one arm runs in one round")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    who = [name.strip() for name in options.arms.split(";")]
    arms = prepare(options.case, who)
    attached = wait_for_agent()
    found = measure(arms, options.rounds, options.slice * MILLISECOND)
    options.out.write_text(json.dumps({"attached": attached, "ns": found}), encoding="utf-8")


def measure(arms: dict[str, Arm], rounds: int, slice_ns: float) -> dict[str, list[float]]:
    """Return the nanoseconds of one call of each arm in each round, with garbage collection as in a real program."""
    timers = {
        name: timeit.Timer(arm.statement, "gc.enable()", globals={**arm.names, **_GC}) for name, arm in arms.items()
    }
    calls = {name: _calibrated(timers[name], WARM // arm.times, slice_ns) for name, arm in arms.items()}
    found: dict[str, list[float]] = {name: [] for name in arms}
    names = list(arms)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds = timers[name].timeit(calls[name])
            found[name].append(seconds * 1e9 / calls[name] / arms[name].times)
    return found


def wait_for_agent() -> bool:
    """Wait until the agent beside this process is up; return False when there is none, or none in time."""
    run = os.environ.get("ROADWORTHY_RUN_DIR")
    if not run:
        return False
    deadline = monotonic() + WAIT
    while not Path(run, "agent.json").exists():
        if monotonic() > deadline:
            return False
        sleep(0.02)
    return True


def _calibrated(timer: timeit.Timer, warm: int, slice_ns: float) -> int:
    """Return how many calls fill a slice, after ``warm`` calls: the first ones make arenas, metrics and threads."""
    timer.timeit(warm)
    number = 1
    while True:
        took = timer.timeit(number) * 1e9
        if took >= slice_ns / 4:
            return max(1, round(number * slice_ns / took))
        number *= 4


_GC = {"gc": __import__("gc")}

if __name__ == "__main__":
    main()
