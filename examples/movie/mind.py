"""The wanderer's mind: picks a goal for each scene, an intent for each turn, and words for both.

All chance comes from the seed and the scene's number: the same world and start give the same scenes and words.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import TYPE_CHECKING

from movie.actor import TIRED
from movie.world import distance

if TYPE_CHECKING:
    from movie.actor import Actor
    from movie.world import Landmark, World

log = logging.getLogger("movie.mind")

LIGHTS = ("dawn", "day", "day", "dusk", "night")
RECOVERY = 10  # turns of fatigue that one turn of rest takes away


class Intent(Enum):
    """What a turn is for."""

    WALK = "walk"
    REST = "rest"
    REPLAN = "replan"
    ARRIVE = "arrive"


_LINES = {
    Intent.WALK: (
        "On to {goal}, {steps} steps to go.",
        "{goal} cannot be far beyond those trees.",
        "My boots know the way better than I do.",
        "The wind smells of rain. Onward.",
    ),
    Intent.REST: ("A short rest. {goal} will wait.", "Let me sit and hear the grass grow."),
    Intent.REPLAN: ("The way is shut. I will go around.", "A fallen {obstacle}! Another way, then."),
    Intent.ARRIVE: ("{goal} at last!", "So this is {goal}. Smaller than in the songs."),
}


@dataclass(frozen=True, slots=True)
class Scene:
    """One goal, from the decision to go until the arrival."""

    number: int
    goal: Landmark
    light: str

    @property
    def title(self) -> str:
        """Return the caption of the title strip."""
        return f"Scene {self.number} - The road to {self.goal.name} {self.goal.kind}"


class Mind:
    """Decides; never moves anything itself, except that it makes the actor plan a path."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.seed = seed
        self.resting = False
        self.words = ""
        self._dice = Random(seed)  # noqa: S311 - a story, not a secret

    def open_scene(self, number: int, actor: Actor, goal: int | None = None) -> Scene:
        """Choose a far and reachable landmark, plan the way and announce it; `goal` is a tile to prefer.

        Raises RuntimeError when no landmark can be reached at all: a film without a goal is over.
        """
        self._dice = Random(f"{self.seed}/scene/{number}")  # noqa: S311 - a story, not a secret
        places = [place for place in self.world.landmarks if place.tile != actor.tile]
        self._dice.shuffle(places)
        # Shuffled, then the farther half first: variety, yet no scene that is over in a blink.
        near = self.world.columns // 3
        places.sort(key=lambda place: (place.tile != goal, distance(self.world, actor.tile, place.tile) < near))
        for place in places:
            if actor.plan(self.world, place.tile):
                scene = Scene(number, place, LIGHTS[(number - 1) % len(LIGHTS)])
                log.info(
                    "scene %d starts: to %s",
                    number,
                    place.name,
                    extra={"scene": number, "goal": place.name, "steps": len(actor.path), "light": scene.light},
                )
                self._say(Intent.WALK, scene, actor)
                return scene
            log.warning("%s cannot be reached, trying another goal", place.name, extra={"goal": place.name})
        raise RuntimeError(f"no landmark can be reached from tile {actor.tile}")

    def decide(self, scene: Scene, actor: Actor) -> Intent:
        """Return what this turn is for, and change the words when there is something to say."""
        if actor.tile == scene.goal.tile:
            log.info("goal reached: %s", scene.goal.name, extra={"scene": scene.number, "goal": scene.goal.name})
            return self._say(Intent.ARRIVE, scene, actor)
        obstacle = actor.blocked(self.world)
        if obstacle is not None or not actor.path:
            what = "gap" if obstacle is None else self.world.obstacles.get(obstacle, "gap")
            log.warning(
                "path to %s blocked, replanning",
                scene.goal.name,
                extra={"scene": scene.number, "tile": obstacle, "by": what},
            )
            return self._say(Intent.REPLAN, scene, actor, what)
        if self.resting or actor.fatigue >= TIRED:
            if not self.resting:
                self._say(Intent.REST, scene, actor)
            actor.fatigue = max(0, actor.fatigue - RECOVERY)
            self.resting = actor.fatigue > 0
            return Intent.REST
        if self._dice.random() < 0.03:
            self._say(Intent.WALK, scene, actor)
        return Intent.WALK

    def _say(self, intent: Intent, scene: Scene, actor: Actor, obstacle: str = "tree") -> Intent:
        line = self._dice.choice(_LINES[intent])
        self.words = line.format(goal=scene.goal.name, steps=len(actor.path), obstacle=obstacle)
        return intent
