"""The whole-program row on a frame loop: examples/movie, switched off and plain, against attached with all defaults.

Plain means `ROADWORTHY_ENABLED=0` and no `roadworthy run`: the movie is instrumented with our API, and what that costs
is to be seen too. Saturation: the movie itself, frames uncapped, the same in both arms. p99: frames at 70 % of that
rate.
"""

from __future__ import annotations

import json
import re

from benchmarks.rows import Line, NotMeasured, Plan, Row
from benchmarks.running import application, arranged, finish, python, running
from benchmarks.whole import Figures, grown, lost, pairs

SHARE = 0.7
MOST_FPS = 1000  # what the movie accepts as its target
RATE = re.compile(r"([\d.]+) frames in ([\d.]+) s = ([\d.]+) FPS at ([\d.]+) %")


def movie(plan: Plan) -> list[Line]:
    """Measure throughput and CPU time per frame at saturation, then p99 of the frame time at 70 % of it."""
    plan.say("movie: how fast it goes")
    fps = _uncapped(400, attached=False, beside=plan.beside)["fps"]
    frames = int(fps * (3 if not plan.quick else 1))
    plain, attached = pairs(plan, "movie", lambda under: _uncapped(frames, attached=under, beside=plan.beside))
    target = min(MOST_FPS, int(SHARE * fps))
    seconds = 3.0 if not plan.quick else 1.0
    calm, watched = pairs(
        plan, f"movie at {target} FPS", lambda under: _paced(target, seconds, attached=under, beside=plan.beside)
    )
    return [
        lost(f"movie: frames/s lost at saturation ({frames} frames)", "fps", plain, attached, "frames/s"),
        grown(f"movie: p99 of the frame time at {target} FPS", "p99", calm, watched, "ms"),
        grown(f"movie: median of the frame time at {target} FPS", "p50", calm, watched, "ms", budget=None),
        grown("movie: CPU time a frame, in the program", "cpu_per_frame", plain, attached, "ms", budget=None),
    ]


def _environ(*, attached: bool) -> dict[str, str]:
    return {} if attached else {"ROADWORTHY_ENABLED": "0"}


def _uncapped(frames: int, *, attached: bool, beside: str) -> Figures:
    argv = [python(), "examples/movie/main.py", "--frames", str(frames), "--uncapped"]
    name = application("movie") if attached else ""
    with running(arranged(argv, name=name), name=name, environ=_environ(attached=attached)) as run:
        finish(run, 120, free=attached and beside == "free")
        said = RATE.search(run.output.read_text(encoding="utf-8"))
        if said is None:
            raise NotMeasured(f"the movie did not say how fast it was: {run.tail()}")
    done, seconds, fps, used = (float(figure) for figure in said.groups())
    return {"fps": fps, "cpu_per_frame": seconds * used / 100 / done}


def _paced(fps: int, seconds: float, *, attached: bool, beside: str) -> Figures:
    with running(["true"]) as nothing:  # a folder of its own that outlives the program
        out = nothing.folder / "found.json"
        argv = [
            python(),
            "-m",
            "benchmarks.programs.film",
            "--fps",
            str(fps),
            "--seconds",
            str(seconds),
            "--out",
            str(out),
        ]
        name = application("movie") if attached else ""
        with running(arranged(argv, name=name), name=name, environ=_environ(attached=attached)) as run:
            finish(run, 120, free=attached and beside == "free")
        found = json.loads(out.read_bytes())
    return {"p50": found["p50"], "p99": found["p99"]}


ROWS = (Row("movie", "whole program: a frame loop (examples/movie), attached, defaults", movie),)
