"""The whole-program row on a frame loop: examples/movie, switched off and plain, against attached with all defaults.

Plain means `ROADWORTHY_ENABLED=0` and no `roadworthy run`: the movie is instrumented with our API, and what that costs
is to be seen too. Each arm is a start of its own that plays until it, and the agent beside it, have settled; then
frames uncapped for the throughput, and frames at 70 % of the plain rate for p99.
"""

from __future__ import annotations

import json

from benchmarks.rows import Line, Plan, Row
from benchmarks.running import Running, application, arranged, finish, python, running, set_free, wait_until
from benchmarks.whole import SETTLE, Figures, grown, lost, pairs
from roadworthy._clock import sleep

SHARE = 0.7
MOST_FPS = 1000  # what the movie accepts as its target
FPS = 60


def movie(plan: Plan) -> list[Line]:
    """Measure throughput and CPU time per frame at saturation, then p99 of the frame time at 70 % of it."""
    plan.say("movie: how fast it goes")
    fps = _one(FPS, plan.pick(3, 1), attached=False, beside=plan.beside, measured=False)["fps"]
    target = min(MOST_FPS, int(SHARE * fps))
    seconds = plan.pick(4, 1)
    plain, attached = pairs(plan, "movie", lambda under: _one(target, seconds, attached=under, beside=plan.beside))
    return [
        lost("movie: frames/s lost at saturation", "fps", plain, attached, "frames/s"),
        grown(f"movie: p99 of the frame time at {target} FPS", "p99", plain, attached, "ms"),
        grown(f"movie: median of the frame time at {target} FPS", "p50", plain, attached, "ms", budget=None),
        grown("movie: CPU time a frame, in the program", "cpu_per_frame", plain, attached, "ms", budget=None),
    ]


def _one(fps: int, seconds: float, *, attached: bool, beside: str, measured: bool = True) -> Figures:
    """Play once; ``measured`` with its time to settle and its frames at a fixed rate."""
    with running(["true"]) as nothing:  # a folder of its own that outlives the program
        out, go = nothing.folder / "found.json", nothing.folder / "go"
        argv = [python(), "-m", "benchmarks.programs.film", "--fps", str(fps), "--seconds", str(seconds)]
        argv += ["--out", str(out), *(["--go", str(go)] if measured else [])]
        name = application("movie") if attached else ""
        with running(arranged(argv, name=name), name=name, environ=_environ(attached=attached)) as run:
            if attached:
                up = set_free if beside == "free" else Running.said_by_agent
                wait_until("the agent is up", lambda: bool(up(run)), run)
            if measured:
                sleep(SETTLE)
            go.touch()
            finish(run, 120)
        found: Figures = json.loads(out.read_bytes())
    return found


def _environ(*, attached: bool) -> dict[str, str]:
    return {} if attached else {"ROADWORTHY_ENABLED": "0"}


ROWS = (Row("movie", "whole program: a frame loop (examples/movie), attached, defaults", movie),)
