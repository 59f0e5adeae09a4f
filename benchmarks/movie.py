"""The whole-program row on a frame loop: examples/movie, switched off and plain, against attached with all defaults.

Plain means `ROADWORTHY_ENABLED=0` and no `roadworthy run`: the movie is instrumented with our API, and what that costs
is to be seen too. In every pair of turns both arms play the very same frames: as fast as they go for the throughput,
then at 70 % of the rate that the plain one reached for p99.
"""

from __future__ import annotations

import contextlib
import json
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from benchmarks.arms import Arm, Command, both
from benchmarks.rows import Line, NotMeasured, Plan, Row
from benchmarks.running import application, python
from benchmarks.whole import LEAD, SHARE, SLICE, Slice, Start, dearer, in_turns, late, lost, starts, taken_beside
from roadworthy._clock import monotonic

if TYPE_CHECKING:
    from types import TracebackType

WARM_FRAMES = 300
ANSWERS_WITHIN = 60.0


class Player:
    """The end of the socket over which one arm's film is asked to play."""

    def __init__(self, folder: Path) -> None:
        """Make the folder, in which the film writes, and wait in it."""
        folder.mkdir()
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(folder / "ask"))
        self._door.listen()
        self._door.settimeout(0)
        self._end: socket.socket | None = None
        self.command = Command([python(), "-m", "benchmarks.programs.film", "--folder", str(folder)], self.connected)

    def connected(self) -> bool:
        """Return whether the film has come, without waiting for it."""
        with contextlib.suppress(BlockingIOError):
            self._end, _ = self._door.accept()
            self._end.settimeout(ANSWERS_WITHIN)
            self._lines = self._end.makefile("rw", encoding="utf-8")
        return self._end is not None

    def play(self, frames: int, fps: int = 0) -> dict[str, Any]:
        """Return what the film measured in so many frames; raises NotMeasured when it does not answer."""
        try:
            self._lines.write(json.dumps({"frames": frames, "fps": fps}) + "\n")
            self._lines.flush()
            answer = self._lines.readline()
        except OSError as error:
            raise NotMeasured(f"the movie does not play: {error}") from error
        if not answer:
            raise NotMeasured("the movie ended while it was measured")
        found: dict[str, Any] = json.loads(answer)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._end is not None:
            self._lines.close()
            self._end.close()
        self._door.close()


def movie(plan: Plan) -> list[Line]:
    """Measure throughput and CPU time per frame at saturation, then p99 of the frame time at 70 % of it."""
    found = starts(plan, "movie", lambda attached_first: _start(plan, attached_first=attached_first))
    return [
        lost("movie: frames/s lost at saturation", found, "frames/s"),
        *late(f"movie: frame time at {SHARE:.0%} of saturation", found, "frames/s"),
        dearer("movie: CPU time a frame, in the program", found),
        taken_beside("movie: keeper and agent, share of a core", found),
    ]


def _start(plan: Plan, *, attached_first: bool) -> Start:
    """Start both films, let them play in turns and end them."""
    with (
        tempfile.TemporaryDirectory(prefix="roadworthy-bench-") as made,
        Player(Path(made, "plain")) as plain,
        Player(Path(made, "attached")) as attached,
        both(application("movie"), plain.command, attached.command, beside=plan.beside) as arms,
    ):
        players = {False: plain, True: attached}
        for under in (True, False):
            arms.turn(attached=under)
            players[under].play(WARM_FRAMES)
            frames_a_second = WARM_FRAMES / players[under].play(WARM_FRAMES)["seconds"]

        def fast(arm: Arm) -> Slice:
            player = players[arm.attached]
            player.play(int(LEAD * frames_a_second))
            began, (_, before) = monotonic(), arm.used()
            frames = int(SLICE * frames_a_second)
            answer = player.play(frames)
            took, (_, after) = monotonic() - began, arm.used()
            figures = {"rate": frames / answer["seconds"], "cpu": answer["cpu"] / frames}
            return Slice(arm.attached, figures | {"beside": (after - before) / took})

        def calm(arm: Arm, rate: float) -> Slice:
            player, fps = players[arm.attached], int(rate)
            player.play(int(LEAD * fps), fps)
            return Slice(arm.attached, {}, player.play(int(SLICE * fps), fps)["took"])

        return in_turns(plan, arms, fast, calm, attached_first=attached_first)


ROWS = (Row("movie", "whole program: a frame loop (examples/movie), attached, defaults", movie),)
