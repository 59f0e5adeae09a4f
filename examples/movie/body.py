"""The camera: paints the world once, then draws each frame on a copy of it and keeps the film within bounds.

A frame is a few kilobytes of bytes copied and a few hundred short slices set, so that sixty a second are cheap.
Encoding and writing happen far less often: `latest.png` once a second, a picture of the scene's GIF every PICTURE_EVERY
frames, `movie.gif` when the scene ends.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

import roadworthy as rw
from movie import art, film
from movie.world import DETAIL, Biome, biome_of

if TYPE_CHECKING:
    from pathlib import Path

    from movie.actor import Actor
    from movie.mind import Scene
    from movie.world import World

SCALE = 2
STRIP = 20  # rows of the title strip under the land
PICTURE_EVERY = 10  # frames
MOST_PICTURES = 150  # of one GIF; older ones are dropped
MOST_FILM_BYTES = 4_000_000
_DITHER = (0, 8, 2, 10, 12, 4, 14, 6, 3, 11, 1, 9, 15, 7, 13, 5)  # Bayer's 4 x 4 matrix
_STEEPNESS = 20.0  # shades per unit of slope


@dataclass(slots=True)
class Deer:
    """An animal that grazes and now and then takes a step."""

    tile: int


class Body:
    """Draws frames and writes pictures of them to a directory."""

    def __init__(self, world: World, seed: int, directory: Path) -> None:
        self.world = world
        self.directory = directory
        self.width = world.columns * DETAIL
        self.height = world.rows * DETAIL + STRIP
        self.background = paint(world)
        self.canvas = bytearray(self.background)
        self._cloudless = bytes(self.background)
        self._film_background = film.lzw(film.enlarge(self.background, self.width, SCALE))
        self._pictures: deque[bytes] = deque(maxlen=MOST_PICTURES)
        self._palette = art.palette("day")
        self._strip = bytes(self.background[-STRIP * self.width :])
        self._strip_texts = ("", "", "")
        dice = Random(f"{seed}/scenery")  # noqa: S311 - scenery, not a secret
        land = self.width * world.rows * DETAIL
        water = [i for i in range(land) if self.background[i] < 2 * art.SHADES]
        self._sparks = dice.sample(water, min(len(water), 2400))
        self._clouds = [_cloud(dice, self.width, world.rows * DETAIL) for _ in range(5)]

    def open_scene(self, scene: Scene) -> None:
        """Start a new film in the light of this scene."""
        self._palette = art.palette(scene.light)
        self._pictures.clear()

    @rw.timed("render.duration")
    def draw(
        self, frame: int, scene: Scene, actor: Actor, deer: list[Deer], words: str, at: tuple[float, float]
    ) -> None:
        """Draw one frame on the canvas; `at` is the actor's column and row, between tiles."""
        canvas, world = self.canvas, self.world
        canvas[:] = self.background
        self._sparkle(frame)
        for tile in actor.trail[::2]:
            self._dot(tile, "trail", 1)
        beat = frame // 6
        for steps, tile in enumerate(actor.path[:-1]):
            self._dot(tile, "path" if (steps - beat) % 4 else "path dim", 2)
        for tile, kind in world.obstacles.items():
            self._stamp(art.TRUNK if kind == "trunk" else art.ROCK, *self._centre(tile, 5, 4))
        for animal in deer:
            self._stamp(art.DEER, *self._centre(animal.tile, 4, 3))
        goal_x, goal_y = self._centre(scene.goal.tile, 5, 6)
        self._stamp(art.FLAG[frame // 20 % 2], goal_x, goal_y - 8)
        moving = bool(actor.path) and actor.spent + at[0] % 1 + at[1] % 1 > 0
        x, y = int(at[0] * DETAIL) - 1, int(at[1] * DETAIL) - 4
        self._stamp(art.WALKER[frame // 8 % 2 if moving else 0], x, y)
        self._caption(scene.title, scene.light, words)
        self._cloudless = bytes(canvas)
        self._shade(frame)

    def picture(self) -> None:
        """Add the frame to the scene's film, without its clouds: moving shadows would be four fifths of the bytes."""
        changed = film.difference(self._cloudless, self.background)
        self._pictures.append(film.lzw(film.enlarge(changed, self.width, SCALE)))

    def save_frame(self) -> int:
        """Write `latest.png` whole or not at all; return its bytes. Raises OSError."""
        return self._write("latest.png", film.png(self.canvas, self.width, self._palette, SCALE))

    def save_film(self) -> int:
        """Write `movie.gif` whole or not at all; return its bytes. Raises OSError."""
        while self._pictures and sum(map(len, self._pictures)) > MOST_FILM_BYTES:
            self._pictures.popleft()
        size = self.width * SCALE, self.height * SCALE
        return self._write("movie.gif", film.gif(*size, self._palette, self._film_background, self._pictures, delay=12))

    def _write(self, name: str, data: bytes) -> int:
        self.directory.mkdir(parents=True, exist_ok=True)  # someone may have tidied it away while the film ran
        part = self.directory / f".{name}.part"
        part.write_bytes(data)
        part.replace(self.directory / name)
        return len(data)

    def _centre(self, tile: int, width: int, height: int) -> tuple[int, int]:
        y, x = divmod(tile, self.world.columns)
        return x * DETAIL + (DETAIL - width) // 2, y * DETAIL + DETAIL - height

    def _dot(self, tile: int, colour: str, size: int) -> None:
        y, x = divmod(tile, self.world.columns)
        start = (y * DETAIL + 1) * self.width + x * DETAIL + 1
        ink = bytes([art.COLOURS[colour]]) * size
        for row in range(size):
            self.canvas[start + row * self.width : start + row * self.width + size] = ink

    def _stamp(self, sprite: art.Spans, x: int, y: int) -> None:
        stamp(self.canvas, self.width, self.height - STRIP, sprite, x, y)

    def _sparkle(self, frame: int) -> None:
        """Let some drops of the sea catch the light, others a moment later."""
        if self._sparks:
            first = frame // 12 * 60 % len(self._sparks)
            for spot in self._sparks[first : first + 60]:
                self.canvas[spot] = art.COLOURS["spark"]

    def _shade(self, frame: int) -> None:
        """Darken what lies under the drifting clouds."""
        for start, speed, rows in self._clouds:
            middle = int(start + frame * speed) % (self.width + 160) - 80
            for y, left, right in rows:
                first, last = max(0, middle + left), min(self.width, middle + right)
                if first < last:
                    span = slice(y * self.width + first, y * self.width + last)
                    self.canvas[span] = self.canvas[span].translate(art.SHADED)

    def _caption(self, title: str, light: str, words: str) -> None:
        """Lay the title strip under the land; its letters are set only when a text changes."""
        if (title, light, words) != self._strip_texts:
            self._strip_texts = (title, light, words)
            strip = bytearray(self.background[-STRIP * self.width :])
            letter(strip, self.width, title, 5, 4, art.COLOURS["title"])
            letter(strip, self.width, light, self.width - 4 * len(light) - 4, 4, art.COLOURS["lamp"])
            letter(strip, self.width, words, 5, 12, art.COLOURS["words"])
            self._strip = bytes(strip)
        self.canvas[-STRIP * self.width :] = self._strip


def _cloud(dice: Random, width: int, height: int) -> tuple[float, float, list[tuple[int, int, int]]]:
    """Return where a cloud starts, its pixels per frame, and the rows of its shadow: a few puffs side by side."""
    top = dice.randrange(height)
    puffs = [(dice.randrange(-34, 34), top + dice.randrange(-5, 6), dice.randrange(8, 15)) for _ in range(5)]
    rows = []
    for y in range(max(0, top - 12), min(height, top + 12)):
        halves = [
            (x, 1.7 * (size**2 - 4 * (y - middle) ** 2) ** 0.5)
            for x, middle, size in puffs
            if size > 2 * abs(y - middle)
        ]
        if halves:
            rows.append((y, int(min(x - half for x, half in halves)), int(max(x + half for x, half in halves))))
    return dice.random() * width, dice.uniform(0.08, 0.16), rows


def stamp(canvas: bytearray, width: int, height: int, sprite: art.Spans, x: int, y: int) -> None:
    """Set a sprite with its upper left corner at (x, y); what would fall outside is not drawn."""
    for down, right, inks in sprite:
        column, row = x + right, y + down
        if 0 <= row < height and 0 <= column <= width - len(inks):
            start = row * width + column
            canvas[start : start + len(inks)] = inks


def letter(canvas: bytearray, width: int, text: str, x: int, y: int, ink: int) -> None:
    """Set a line of text, as many letters as fit; a character without a glyph becomes a question mark."""
    for place, character in enumerate(text.upper()[: (width - x) // 4]):
        for down, right in art.GLYPHS.get(character, art.GLYPHS["?"]):
            canvas[(y + down) * width + x + 4 * place + right] = ink


def paint(world: World) -> bytearray:
    """Paint everything that never moves: shaded ground, rivers, trees, landmarks and the empty title strip."""
    width, height = world.columns * DETAIL, world.rows * DETAIL
    canvas = bytearray()
    for y in range(height):
        canvas += _ground(world, y)
    dice = Random(f"{world.columns}/trees/{len(world.rivers)}")  # noqa: S311 - scenery, not a secret
    for tile, biome in enumerate(world.biomes):
        _plant(canvas, world, tile, biome, dice)
    _draw_rivers(world, canvas, width)
    for place in world.landmarks:
        y, x = divmod(place.tile, world.columns)
        sprite = art.PLACES[place.kind]
        wide = max(right + len(inks) for _, right, inks in sprite)
        stamp(canvas, width, height, sprite, x * DETAIL + (DETAIL - wide) // 2, y * DETAIL - len(sprite) // 4)
    edge, panel = art.COLOURS["panel edge"], art.COLOURS["panel"]
    return canvas + bytes([edge]) * width + bytes([panel]) * width * (STRIP - 1)


def _ground(world: World, y: int) -> bytes:
    """Return one row of shaded ground: water by its depth, land by how it faces the light from the north-west."""
    here, moisture = world.relief[y], world.moisture[y]
    above, below = world.relief[max(0, y - 1)], world.relief[min(len(world.relief) - 1, y + 1)]
    last, row = len(here) - 1, bytearray()
    for x, height in enumerate(here):
        biome = biome_of(height, moisture[x])
        if biome is Biome.DEEP:
            level = (height + 0.8) * 9
        elif biome is Biome.SEA:
            level = 5.4 + height * 20
        else:
            level = 2.4 + (below[min(last, x + 1)] - above[max(0, x - 1)]) * _STEEPNESS
        shade = int(level + _DITHER[(y & 3) << 2 | x & 3] / 16)
        row.append(biome * art.SHADES + min(art.SHADES - 1, max(0, shade)))
    return bytes(row)


def _draw_rivers(world: World, canvas: bytearray, width: int) -> None:
    """Draw each river from edge to edge of its tiles, so that bends become diagonals; it widens towards its mouth."""
    first_water, ink = 2 * art.SHADES, Biome.RIVER * art.SHADES
    for river in world.rivers:
        points = [((tile % world.columns) * DETAIL + 2, tile // world.columns * DETAIL + 2) for tile in river]
        bends = [((x + next_x) // 2, (y + next_y) // 2) for (x, y), (next_x, next_y) in pairwise(points)]
        for step, ((x, y), (next_x, next_y)) in enumerate(pairwise(bends)):
            wide = 2 if step < len(river) // 2 else 3
            for part in range(DETAIL + 1):
                left, top = x + (next_x - x) * part // DETAIL, y + (next_y - y) * part // DETAIL
                for row in range(top, top + wide):
                    start = row * width + left
                    for spot in range(start, min(start + wide, len(canvas))):
                        if canvas[spot] >= first_water:
                            canvas[spot] = ink + 2 + (spot + row) % 3 // 2 + (row == top)


def _plant(canvas: bytearray, world: World, tile: int, biome: Biome, dice: Random) -> None:
    """Put trees, reeds, mounds or a peak on a tile, shifted a little so that no grid shows."""
    y, x = divmod(tile, world.columns)
    kinds: dict[Biome, tuple[float, tuple[art.Spans, ...]]] = {
        Biome.FOREST: (0.9, (art.PINE, art.PINE, art.OAK)),
        Biome.MEADOW: (0.04, (art.OAK,)),
        Biome.MARSH: (0.4, (art.REED,)),
        Biome.CRAGS: (0.34, (art.PEAK,)),
    }
    share, sprites = kinds.get(biome, (0.0, (art.OAK,)))
    if dice.random() < share:
        left, top = x * DETAIL + dice.randrange(-2, 2), y * DETAIL + dice.randrange(-3, 0)
        stamp(canvas, world.columns * DETAIL, world.rows * DETAIL, dice.choice(sprites), left, top)
