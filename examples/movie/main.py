"""The loop: sixty frames and four turns a second, from one scene to the next, until told to stop.

    python examples/movie/main.py                          into the data directory, until SIGTERM or Ctrl-C
    python examples/movie/main.py --frames 600 --out DIR   ten seconds of film
    python examples/movie/main.py --frames 3000 --uncapped as fast as it goes

The order of the set-up is settings, error recovery, monitoring, parts. An exception within a frame is brought to error
recovery and the film goes on, unless the advice is to shut down; on a full disk it does without its pictures for a
while. FAILURES_IN_A_ROW failed frames, or a fault outside of any frame, end it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import roadworthy as rw
from roadworthy.resilience import RecoveryAction, feature, initialize_error_recovery

if not __package__:  # run as a script: the folder that holds the package is not on the path
    sys.path.append(str(Path(__file__).resolve().parent.parent))

from movie import config, misbehave
from movie.actor import Actor
from movie.body import PICTURE_EVERY, Body, Deer
from movie.mind import Intent, Mind
from movie.world import grow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from movie.mind import Scene

log = logging.getLogger("movie.main")

FAILURES_IN_A_ROW = 300
EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h


@dataclass(frozen=True, slots=True)
class Saved:
    """What a later start needs to go on with the film."""

    seed: int
    columns: int
    rows: int
    scene: int
    turn: int
    tile: int
    goal: int


class Film:
    """One run: the parts, the counts, and what is done in each frame and turn."""

    def __init__(
        self,
        settings: config.Config,
        directory: Path,
        faults: misbehave.Faults,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Grow the world, wake the wanderer where the last run left it and open a scene."""
        self.settings = settings
        self.directory = directory
        self.faults = faults
        self.running = True
        self.frame = self.failures = self._failed_in_a_row = 0
        self._clock, self._sleep = clock, sleep
        self._recovery = initialize_error_recovery()
        self._pictures = feature("pictures")
        self._frames_per_turn = max(1, round(settings.turn_seconds * settings.target_fps))
        self._next_save = 0.0
        self._loop = rw.loop("main", target_fps=settings.target_fps)
        self._renderer = rw.heartbeat("renderer")
        self._deltas = rw.counter("world.deltas", unit="1", help="tiles that became passable or impassable")
        self._scenes = rw.counter(
            "movie.scenes", labels=("biome",), help="scenes played to their end, by the goal's ground"
        )
        self._turn_time = rw.timer("turn.duration")

        self.world = grow(settings.seed, settings.columns, settings.rows)
        rw.startup.checkpoint("world generated")
        self.body = Body(self.world, settings.seed, directory)
        rw.startup.checkpoint("background painted")
        saved = self._resume()
        self.turn = saved.turn
        self._dice = Random(f"{settings.seed}/life/{saved.turn}")  # noqa: S311 - a story, not a secret
        grounds = [tile for tile, cost in enumerate(self.world.costs) if cost]
        self._deer = [Deer(self._dice.choice(grounds)) for _ in range(settings.animals)]
        rw.gauge("entities", merge="sum").set(len(self._deer) + 1)
        self.actor = Actor(saved.tile)
        self.mind = Mind(self.world, settings.seed)
        self.scene = self._open(saved.scene, saved.goal)
        rw.startup.checkpoint("first scene opened")

    def run(self, frames: int | None = None, *, capped: bool = True) -> None:
        """Play until `stop`, or for so many frames; uncapped, without waiting for the next frame's time.

        Raises what a fault raises outside of a frame, and the exception of the last of FAILURES_IN_A_ROW failed frames.
        """
        step = 1 / self.settings.target_fps
        due = self._clock()
        while self.running and (frames is None or self.frame < frames):
            self.faults.between_frames()
            try:
                with self._loop.frame():
                    self._advance()
                self._succeed()
            except Exception as exc:  # noqa: BLE001 - whatever a frame raises, the film goes on
                self._survive(exc)
            if capped:
                due += step
                early = due - self._clock()
                if early > 0:
                    self._sleep(early)
                elif early < -0.25:
                    due = self._clock()  # too late to catch up: no burst of frames

    def stop(self) -> None:
        """End the loop after the present frame."""
        self.running = False

    def save(self) -> None:
        """Write the last frame, the film so far and where to go on. Raises OSError."""
        self.body.save_frame()
        self.body.save_film()
        self._save_state()

    def _save_state(self) -> None:
        here = {"scene": self.scene.number, "turn": self.turn, "tile": self.actor.tile, "goal": self.scene.goal.tile}
        state = Saved(*self._world_key(), **here)
        part = self.directory / ".state.json.part"
        part.write_text(json.dumps(asdict(state)), encoding="utf-8")
        part.replace(self.directory / "state.json")

    def _advance(self) -> None:
        """Play one frame: a turn when it is time for one, the picture, and now and then a file."""
        self.frame += 1
        self.faults.within_frame(self.frame)
        into_turn = self.frame % self._frames_per_turn
        if not into_turn:
            with self._turn_time.time():
                self._play_turn()
        moving = self._intent is Intent.WALK and not self.faults.refuses_steps
        at = self.actor.position(self.world, into_turn / self._frames_per_turn if moving else 0.0)
        self.body.draw(self.frame, self.scene, self.actor, self._deer, self.mind.words, at)
        self._renderer.beat()
        if self.frame % PICTURE_EVERY == 0:
            self.body.picture()
        now = self._clock()
        if now >= self._next_save and self._pictures.is_on:
            self._next_save = now + 1.0  # first: a full disk is met once a second, not sixty times
            self.body.save_frame()

    def _play_turn(self) -> None:
        """Let the world change, the animals graze and the wanderer do what it decides."""
        if self.faults.refuses_steps:
            log.debug("step refused", extra={"turn": self.turn, "tile": self.actor.tile})
            return
        if self._dice.random() < 0.5:
            self._deltas.add(self.world.befall(self._dice, self.actor.tile))
        for animal in self._deer:
            if self._dice.random() < 0.1:
                grass = [tile for tile in self.world.neighbours(animal.tile) if self.world.costs[tile]]
                animal.tile = self._dice.choice(grass) if grass else animal.tile
        self._intent = self.mind.decide(self.scene, self.actor)
        if self._intent is Intent.WALK:
            self.actor.step(self.world)
        elif self._intent is Intent.ARRIVE:
            self._close(reached=True)
        elif self._intent is Intent.REPLAN and not self.actor.plan(self.world, self.scene.goal.tile):
            self._close(reached=False)
        self.turn += 1
        self._loop.turn()
        rw.progress("turns", 1)

    def _open(self, number: int, goal: int | None = None) -> Scene:
        self._intent = Intent.WALK
        scene = self.mind.open_scene(number, self.actor, goal)
        self.body.open_scene(scene)
        return scene

    def _close(self, *, reached: bool) -> None:
        """Write the scene's film and go on with the next scene, whether or not the files could be written."""
        rw.usage("scene", "completed" if reached else "given up", success=reached)
        self._scenes.labels(biome=self.world.biomes[self.scene.goal.tile].name.lower()).add(1)
        try:
            if self._pictures.is_on:
                self.body.save_film()
        finally:
            self.scene = self._open(self.scene.number + 1)
        self._save_state()

    def _succeed(self) -> None:
        """Tell error recovery, after a failure, that the next real frame came through."""
        if self._failed_in_a_row:
            self._failed_in_a_row = 0
            self._recovery.succeeded("main_heartbeat", "run_loop")

    def _survive(self, exc: Exception) -> None:
        """Bring a failed frame to error recovery and take its advice; raise when too many have failed in a row."""
        self.failures += 1
        self._failed_in_a_row += 1
        action = self._recovery.handle_error_with_context(exc, "main_heartbeat", "run_loop", self.turn, self.frame)
        told = {"frame": self.frame, "turn": self.turn, "kind": type(exc).__name__, "advice": action.value}
        log.warning("frame failed: %s", exc, extra=told)
        if action is RecoveryAction.SHUTDOWN:
            self.stop()
            return
        if self._failed_in_a_row >= FAILURES_IN_A_ROW:
            log.critical("%d frames failed in a row", self._failed_in_a_row)
            raise exc

    def _world_key(self) -> tuple[int, int, int]:
        return self.settings.seed, self.world.columns, self.world.rows

    def _resume(self) -> Saved:
        """Return where the last run stopped, or the beginning when there is none in this world."""
        beginning = Saved(*self._world_key(), scene=1, turn=0, tile=self.world.landmarks[0].tile, goal=-1)
        file = self.directory / "state.json"
        try:
            saved = Saved(**json.loads(file.read_text(encoding="utf-8")))
            if (saved.seed, saved.columns, saved.rows) != self._world_key():
                return beginning
            ground = self.world.biomes[saved.tile]
        except FileNotFoundError:
            return beginning
        except (OSError, ValueError, TypeError, IndexError) as exc:
            log.warning("%s cannot be resumed, starting over: %s", file, exc)
            return beginning
        if not self.world.costs[saved.tile] or saved.scene < 1:
            log.warning("%s puts the wanderer into %s, starting over", file, ground.name.lower())
            return beginning
        log.info("resuming at scene %d", saved.scene, extra={"scene": saved.scene, "turn": saved.turn})
        return saved


def data_directory() -> Path:
    """Return where the film goes when nothing was said: the service's state directory, else the user's."""
    for variable in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        if os.environ.get(variable):
            return Path(os.environ[variable]) / "movie"
    return Path.home() / ".local" / "state" / "movie"


def writable(directory: Path) -> str:
    """Describe the directory of the frames. Raises OSError when nothing can be written to it."""
    if not os.access(directory, os.W_OK | os.X_OK):
        raise PermissionError(f"{directory} is missing or not writable")
    files = [entry.stat().st_size for entry in os.scandir(directory) if entry.is_file()]
    return f"{len(files)} files, {sum(files) // 1024} KB in {directory}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the film and return the exit status: 0, or 78 for settings that cannot be used."""
    options = _options(arguments)
    try:
        settings = config.load(os.environ, options.config)
        orders = [misbehave.parse(text) for text in options.misbehave]
    except ValueError as exc:
        print(f"movie: {exc}", file=sys.stderr)
        return EXIT_CONFIG
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    initialize_error_recovery().shed("pictures")  # what the film can do without when the disk is full
    if settings.monitoring:
        rw.start("movie")
    else:
        os.environ["ROADWORTHY_ENABLED"] = "0"  # else the first counter would start it
    directory = options.out or (Path(settings.out) if settings.out else data_directory())
    try:
        directory.mkdir(parents=True, exist_ok=True)
        writable(directory)
    except OSError as exc:
        print(f"movie: --out {directory}: {exc}", file=sys.stderr)
        return EXIT_CONFIG
    rw.check("frames-directory", lambda: writable(directory), kind="readiness", timeout=2, every=15)
    film = Film(settings, directory, misbehave.Faults(directory / "misbehave"))
    for order in orders:
        film.faults.order(order)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: film.stop())
    rw.startup.ready()
    started, used = time.perf_counter(), time.process_time()
    film.run(options.frames, capped=not options.uncapped)
    seconds, used = max(1e-9, time.perf_counter() - started), time.process_time() - used
    film.save()
    print(
        f"movie: {film.frame} frames in {seconds:.1f} s = {film.frame / seconds:.1f} FPS "
        f"at {100 * used / seconds:.0f} % of a core, {film.turn} turns, scene {film.scene.number}, "
        f"{film.failures} failed frames, film in {directory}"
    )
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="An autonomous film, drawn frame by frame.")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where latest.png and movie.gif go")
    parser.add_argument("--frames", type=int, metavar="N", help="stop after so many frames")
    parser.add_argument("--uncapped", action="store_true", help="do not wait for the next frame's time")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings, instead of the stage's own file")
    parser.add_argument(
        "--misbehave", action="append", default=[], metavar="KIND[@SECONDS]", help="commit a fault (see misbehave.py)"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
