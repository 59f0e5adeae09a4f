"""The movie with a stopwatch: `examples/movie` as it is, with its faults and its sleep handed in.

python -m benchmarks.programs.film --fps 900 --seconds 4 --go FILE --out FILE

It plays until the file GO is there: what is measured is a program that runs, not one that starts while an agent starts
beside it. Then as many frames as it can, then frames at a fixed rate, for as many seconds each. A frame begins where
the loop looks for faults and ends where it goes to sleep; one that is too late to sleep ends where the next one begins.
Writes {"fps", "cpu_per_frame", "p50", "p99": seconds, "frames"}; without --go it measures at once, the first two only.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import roadworthy as rw
from benchmarks.statistics import percentile
from roadworthy._clock import monotonic, sleep

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

from movie import config
from movie.main import Film
from movie.misbehave import Faults

STEP = 0.25
"""Seconds of frames between two looks whether the measurement may begin, or is over."""


class Stopwatch(Faults):
    """No fault at all, only the time: when a frame began and how long it took."""

    def between_frames(self) -> None:
        """Note that a frame begins, and that the one before has ended if nothing was said before."""
        now = monotonic()
        self.finished(now)
        self.began = now
        super().between_frames()

    def finished(self, now: float) -> None:
        """Note that the frame under way, if there is one, has ended."""
        if self.began:
            self.took.append(now - self.began)
        self.began = 0.0

    def anew(self) -> None:
        """Forget what was noted."""
        self.took.clear()
        self.began = 0.0

    began = 0.0
    took: list[float]


def uncapped(film: Film, seconds: float, fps: float) -> tuple[float, float]:
    """Play as fast as it goes for about so many seconds; return frames a second and CPU seconds a frame."""
    first, begun, used = film.frame, monotonic(), time.process_time()
    while (took := monotonic() - begun) < seconds or film.frame == first:
        film.run(film.frame + max(1, int(STEP * fps)), capped=False)
    took, used = monotonic() - begun, time.process_time() - used
    return (film.frame - first) / took, used / (film.frame - first)


def main() -> None:
    """Play for as long as the command line asks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fps", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--go", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    settings = replace(config.load(os.environ), target_fps=options.fps)
    rw.start("movie")
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="roadworthy-bench-") as made:
        watch = Stopwatch(Path(made, "misbehave"))
        watch.took = []

        def rest(seconds: float) -> None:
            watch.finished(monotonic())
            sleep(seconds)

        def film(name: str) -> Film:
            return Film(settings, Path(made, name), watch, sleep=rest)

        some = max(1, int(STEP * options.fps))
        warm = film("warm")
        rw.startup.ready()
        warm.run(some)
        while options.go is not None and not options.go.exists():
            warm.run(warm.frame + some)
        fast = film("fast")  # from its first scene: every start measures the same frames
        fast.run(some)
        found["fps"], found["cpu_per_frame"] = uncapped(fast, options.seconds, options.fps)
        if options.go is not None:
            calm = film("calm")
            calm.run(some)
            watch.anew()
            calm.run(calm.frame + int(options.seconds * options.fps))
            took = watch.took
            found |= {"p50": percentile(took, 0.5), "p99": percentile(took, 0.99), "frames": len(took)}
    options.out.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
