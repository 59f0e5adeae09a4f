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
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from benchmarks.probes.arms import Arm, prepare
from roadworthy._clock import monotonic, sleep

MILLISECOND = 1_000_000
WAIT = 15.0
WARM = 1_000


class Timed(Protocol):
    """What can be measured."""

    def timeit(self, number: int) -> float:
        """Return the seconds that so many calls took."""


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
        name: timeit.Timer(arm.statement, "gc.enable()", globals={**arm.names, **GC}) for name, arm in arms.items()
    }
    return turns(timers, {name: arm.times for name, arm in arms.items()}, rounds, slice_ns)


def turns(
    timers: Mapping[str, Timed], times: Mapping[str, int], rounds: int, slice_ns: float
) -> dict[str, list[float]]:
    """Return the nanoseconds of one call by each timer in each round; ``times``: how often one run of it calls."""
    calls = {name: _calibrated(timer, WARM // times.get(name, 1), slice_ns) for name, timer in timers.items()}
    found: dict[str, list[float]] = {name: [] for name in timers}
    names = list(timers)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds = timers[name].timeit(calls[name])
            found[name].append(seconds * 1e9 / calls[name] / times.get(name, 1))
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


def _calibrated(timer: Timed, warm: int, slice_ns: float) -> int:
    """Return how many calls fill a slice, after ``warm`` calls: the first ones make arenas, metrics and threads."""
    timer.timeit(warm)
    number = 1
    while True:
        took = timer.timeit(number) * 1e9
        if took >= slice_ns / 4:
            return max(1, round(number * slice_ns / took))
        number *= 4


GC = {"gc": __import__("gc")}

if __name__ == "__main__":
    main()
