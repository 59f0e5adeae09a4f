"""The movie with a stopwatch on each frame: `examples/movie` as it is, with its faults and its sleep handed in.

python -m benchmarks.programs.film --fps 900 --seconds 4 --out FILE

A frame begins where the loop looks for faults and ends where it goes to sleep, both through what `Film` takes as
arguments; a frame that is too late to sleep ends where the next one begins. Writes {"p50", "p99": seconds, "frames"}.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import roadworthy as rw
from benchmarks.statistics import percentile
from roadworthy._clock import monotonic, sleep

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

from movie import config
from movie.main import Film
from movie.misbehave import Faults

WARM = 0.25


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

    began = 0.0
    took: list[float]


def main() -> None:
    """Play for as long as the command line asks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fps", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    settings = replace(config.load(os.environ), target_fps=options.fps)
    rw.start("movie")
    with tempfile.TemporaryDirectory(prefix="roadworthy-bench-") as made:
        watch = Stopwatch(Path(made, "misbehave"))
        watch.took = []

        def rest(seconds: float) -> None:
            watch.finished(monotonic())
            sleep(seconds)

        film = Film(settings, Path(made), watch, sleep=rest)
        rw.startup.ready()
        film.run(int(WARM * options.seconds * options.fps))
        watch.took.clear()
        watch.began = 0.0
        film.run(film.frame + int(options.seconds * options.fps))
    took = watch.took
    found = {"p50": percentile(took, 0.5), "p99": percentile(took, 0.99), "frames": len(took)}
    options.out.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
