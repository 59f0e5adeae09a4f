"""The movie with a stopwatch: `examples/movie` as it is, with its faults and its sleep handed in.

python -m benchmarks.programs.film --folder FOLDER

It writes below the folder, connects to the Unix socket "ask" in it and plays what it is asked for, one line of JSON at
a time: {"frames": N, "fps": 0} plays as many more frames of a first film as fast as they go; with another rate, of a
second film at that rate. In between it waits. Both begin with their first scene and turn as often as in the example, so
that two programs that are asked for the same play the same frames. A frame begins where the loop looks for faults and
ends where it goes to sleep; one that is too late to sleep ends where the next one begins. Answers {"seconds", "cpu":
seconds of all threads, "took": seconds of each frame}; ends when the socket does.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

import roadworthy as rw
from roadworthy._clock import monotonic, sleep

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

from movie import config
from movie.main import Film
from movie.misbehave import Faults


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

    def rest(self, seconds: float) -> None:
        """Sleep as the film asks; the frame under way has ended."""
        self.finished(monotonic())
        sleep(seconds)

    began = 0.0
    took: list[float]


def play(film: Film, watch: Stopwatch, frames: int, *, capped: bool) -> dict[str, float | list[float]]:
    """Play so many frames more; return how long that took, the CPU time, and the time of each frame."""
    watch.took, watch.began = [], 0.0
    begun, used = monotonic(), time.process_time()
    film.run(film.frame + frames, capped=capped)
    ended = monotonic()
    watch.finished(ended)
    return {"seconds": ended - begun, "cpu": time.process_time() - used, "took": watch.took}


def main() -> None:
    """Play what is asked for until nobody asks any more."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    settings = config.load(os.environ)
    rw.start("movie")
    films: dict[int, Film] = {}
    watch = Stopwatch(options.folder / "misbehave")

    def film(fps: int) -> Film:
        if fps not in films:
            rate = fps or settings.target_fps
            as_often = settings.turn_seconds * settings.target_fps / rate
            paced = replace(settings, target_fps=rate, turn_seconds=as_often)
            films[fps] = Film(paced, options.folder / str(fps), watch, sleep=watch.rest)
        return films[fps]

    film(0)
    rw.startup.ready()
    with socket.socket(socket.AF_UNIX) as end:
        end.connect(str(options.folder / "ask"))
        with end.makefile("rw", encoding="utf-8") as lines:
            for line in lines:
                asked = json.loads(line)
                fps = asked["fps"]
                lines.write(json.dumps(play(film(fps), watch, asked["frames"], capped=fps > 0)) + "\n")
                lines.flush()


if __name__ == "__main__":
    main()
