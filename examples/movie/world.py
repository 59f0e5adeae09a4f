"""A tile world grown from a seed: relief, biomes, rivers, landmarks, and the small mishaps that befall it.

The same seed and size give the same world on every machine: nothing here reads a clock or the global random state.
A tile is named by one number, `y * columns + x`. Each tile has DETAIL x DETAIL samples of relief, so that a painter
and a path-finder see the same land at two scales.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

DETAIL = 4  # relief samples along the edge of a tile
MOST_OBSTACLES = 40  # the oldest is cleared away when one more falls

Field = list[list[float]]


class Biome(IntEnum):
    """What the ground is; the painter's colour ramps are in the same order."""

    DEEP = 0
    SEA = 1
    BEACH = 2
    STEPPE = 3
    MEADOW = 4
    FOREST = 5
    MARSH = 6
    HILLS = 7
    CRAGS = 8
    SNOW = 9
    RIVER = 10


# Turns that crossing a tile takes; 0 is impassable.
COST = {
    Biome.DEEP: 0,
    Biome.SEA: 0,
    Biome.BEACH: 2,
    Biome.STEPPE: 1,
    Biome.MEADOW: 1,
    Biome.FOREST: 2,
    Biome.MARSH: 4,
    Biome.HILLS: 3,
    Biome.CRAGS: 0,
    Biome.SNOW: 0,
    Biome.RIVER: 4,
}

LANDMARKS = ("castle", "village", "tower", "shrine", "village", "castle", "tower", "village")
_SYLLABLES = ("bran", "noch", "el", "dor", "wyn", "mar", "ash", "ford", "tir", "hal", "oss", "ven")


@dataclass(frozen=True, slots=True)
class Landmark:
    """A place worth walking to."""

    kind: str
    name: str
    tile: int


@dataclass(slots=True)
class World:
    """The land, and what has changed on it since it was grown."""

    columns: int
    rows: int
    relief: Field  # 0 is sea level, 1 the highest summit, negative under water
    moisture: Field
    biomes: list[Biome]
    costs: bytearray
    rivers: list[list[int]]
    landmarks: list[Landmark] = field(default_factory=list)
    obstacles: dict[int, str] = field(default_factory=dict)

    def neighbours(self, tile: int) -> Iterator[int]:
        """Yield the tiles that share an edge with this one."""
        x = tile % self.columns
        if x:
            yield tile - 1
        if x + 1 < self.columns:
            yield tile + 1
        if tile >= self.columns:
            yield tile - self.columns
        if tile + self.columns < len(self.costs):
            yield tile + self.columns

    def befall(self, dice: Random, spare: int) -> int:
        """Let a rock or a trunk fall on a passable tile, not on `spare` or a landmark; return the tiles changed."""
        tile = dice.randrange(len(self.costs))
        if not self.costs[tile] or tile == spare or any(place.tile == tile for place in self.landmarks):
            return 0
        self.obstacles[tile] = "trunk" if self.biomes[tile] is Biome.FOREST else "rock"
        self.costs[tile] = 0
        if len(self.obstacles) <= MOST_OBSTACLES:
            return 1
        oldest = next(iter(self.obstacles))
        del self.obstacles[oldest]
        self.costs[oldest] = COST[self.biomes[oldest]]
        return 2


def biome_of(height: float, moisture: float) -> Biome:
    """Name the ground at a height above the sea and a moisture between 0 and 1."""
    if height < 0.0:
        return Biome.DEEP if height < -0.28 else Biome.SEA
    if height < 0.05:
        return Biome.MARSH if moisture > 0.66 else Biome.BEACH
    if height > 0.62:
        return Biome.SNOW if height > 0.8 else Biome.CRAGS
    if height > 0.44:
        return Biome.HILLS
    if moisture > 0.53:
        return Biome.FOREST
    return Biome.MEADOW if moisture > 0.4 else Biome.STEPPE


def noise(width: int, height: int, seed: str, cell: int, octaves: int) -> Field:
    """Return fractal value noise: each octave halves the cell and the strength of the one before."""
    total = [[0.0] * width for _ in range(height)]
    strength = 1.0
    for octave in range(octaves):
        layer = _value_noise(width, height, f"{seed}/{octave}", max(1, cell >> octave))
        for sums, values in zip(total, layer, strict=True):
            sums[:] = [old + strength * value for old, value in zip(sums, values, strict=True)]
        strength /= 2
    return total


def _value_noise(width: int, height: int, seed: str, cell: int) -> Iterator[list[float]]:
    """Yield rows of random values that sit every `cell` samples and are joined by smoothsteps."""
    dice = Random(seed)  # noqa: S311 - a landscape, not a secret
    across = width // cell + 2
    lattice = [[dice.random() for _ in range(across)] for _ in range(height // cell + 2)]
    steps = [(x // cell, _smooth(x % cell / cell)) for x in range(width)]
    for y in range(height):
        weight = _smooth(y % cell / cell)
        upper, lower = lattice[y // cell], lattice[y // cell + 1]
        knots = [a + (b - a) * weight for a, b in zip(upper, lower, strict=True)]
        slopes = [b - a for a, b in pairwise(knots)]
        yield [knots[i] + slopes[i] * t for i, t in steps]


def _smooth(t: float) -> float:
    return t * t * (3 - 2 * t)


def grow(seed: int, columns: int = 80, rows: int = 40) -> World:
    """Grow the world of this seed: same arguments, same world."""
    width, height = columns * DETAIL, rows * DETAIL
    relief = _relief(width, height, seed)
    moisture = _stretched(noise(width, height, f"{seed}/moisture", 48, 4))
    middle = DETAIL // 2
    biomes = [
        biome_of(relief[y][x], moisture[y][x])
        for y in range(middle, height, DETAIL)
        for x in range(middle, width, DETAIL)
    ]
    world = World(columns, rows, relief, moisture, biomes, bytearray(len(biomes)), [])
    dice = Random(f"{seed}/rivers")  # noqa: S311 - a landscape, not a secret
    world.rivers = _rivers(world, dice)
    for tile in {tile for river in world.rivers for tile in river}:
        if biomes[tile] not in {Biome.SEA, Biome.DEEP}:
            biomes[tile] = Biome.RIVER
    world.costs[:] = bytes(COST[biome] for biome in biomes)
    world.landmarks = _settle(world, dice)
    return world


def _relief(width: int, height: int, seed: int) -> Field:
    """Return heights cut so that every seed has the same share of sea and of summits, lower towards the borders."""
    heights = noise(width, height, f"{seed}/relief", 64, 6)
    fall_x = [abs(2 * x / width - 1) ** 4 * 0.55 for x in range(width)]
    for y, row in enumerate(heights):
        fall_y = abs(2 * y / height - 1) ** 4 * 0.45
        row[:] = [value - fall - fall_y for value, fall in zip(row, fall_x, strict=True)]
    ranked = sorted(value for row in heights for value in row)
    low, sea, high = ranked[0], ranked[int(len(ranked) * 0.36)], ranked[-1]
    up, down = 1 / (high - sea), 0.8 / (sea - low)
    return [[(v - sea) * (up if v >= sea else down) for v in row] for row in heights]


def _stretched(values: Field) -> Field:
    low, high = min(map(min, values)), max(map(max, values))
    return [[(value - low) / (high - low) for value in row] for row in values]


def _rivers(world: World, dice: Random, most: int = 7) -> list[list[int]]:
    """Let springs run to the sea: flood inland from it, lowest tiles first, and follow that flood back."""
    middle = DETAIL // 2
    samples = (row[x] for row in world.relief[middle::DETAIL] for x in range(middle, len(row), DETAIL))
    heights = [height + 0.12 * dice.random() * (height > 0) for height in samples]  # rough ground makes water meander
    downhill: dict[int, int] = {}
    front = [(height, tile) for tile, height in enumerate(heights) if height < 0]
    seen = {tile for _, tile in front}
    heapq.heapify(front)
    while front:
        _, tile = heapq.heappop(front)
        for other in world.neighbours(tile):
            if other not in seen:
                seen.add(other)
                downhill[other] = tile
                heapq.heappush(front, (max(heights[other], heights[tile]), other))
    springs = [tile for tile, biome in enumerate(world.biomes) if biome in {Biome.HILLS, Biome.CRAGS}]
    rivers: list[list[int]] = []
    for spring in dice.sample(springs, min(most, len(springs))):
        river = [spring]
        while river[-1] in downhill:
            river.append(downhill[river[-1]])
        if len(river) > 6:
            rivers.append(river)
    return rivers


def _settle(world: World, dice: Random) -> list[Landmark]:
    """Found the landmarks on the largest walkable region, each as far as can be from those before it."""
    rest = {tile for tile, cost in enumerate(world.costs) if cost}
    region: set[int] = set()
    while len(rest) > len(region):
        reached, front = set(), [min(rest)]
        while front:
            tile = front.pop()
            if tile in rest:
                rest.remove(tile)
                reached.add(tile)
                front.extend(world.neighbours(tile))
        region = max(region, reached, key=len)
    sites = [tile for tile in sorted(region) if world.biomes[tile] is not Biome.RIVER and _roomy(world, tile)]
    sites = sites or sorted(region)
    chosen: list[int] = []
    for _ in range(min(len(LANDMARKS), len(sites))):
        draws = dice.sample(sites, min(24, len(sites)))
        chosen.append(max(draws, key=lambda tile: min((distance(world, tile, other) for other in chosen), default=0)))
    return [
        Landmark(kind, "".join(dice.sample(_SYLLABLES, 2)).capitalize(), tile)
        for kind, tile in zip(LANDMARKS, chosen, strict=False)
    ]


def _roomy(world: World, tile: int) -> bool:
    x, y = tile % world.columns, tile // world.columns
    return 2 < x < world.columns - 3 and 2 < y < world.rows - 2


def distance(world: World, one: int, other: int) -> int:
    """Return the steps between two tiles on open ground."""
    return abs(one % world.columns - other % world.columns) + abs(one // world.columns - other // world.columns)
