"""The wanderer: finds the cheapest way over the tiles and walks it, one step over as many turns as the ground costs."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import roadworthy as rw

if TYPE_CHECKING:
    from movie.world import World

TIRED = 90  # turns of walking after which a rest is due
TRAIL = 40  # tiles of footprints that stay visible


@rw.timed("pathfinding.duration")
def find_path(costs: bytes | bytearray, columns: int, start: int, goal: int) -> list[int]:
    """Return the cheapest tiles from `start` to `goal`, both included, by A*; empty when there is no way.

    Entering a tile costs its entry in `costs`, 0 is impassable; steps go to the four neighbours. The estimate (steps
    that remain, each at the least cost of 1) never exceeds the truth, so the first arrival is optimal.
    """
    goal_x, goal_y = goal % columns, goal // columns
    best = {start: 0}
    came: dict[int, int] = {}
    front = [(0, 0, start)]
    while front:
        _, _, tile = heapq.heappop(front)
        if tile == goal:
            path = [tile]
            while tile != start:
                tile = came[tile]
                path.append(tile)
            return path[::-1]
        x, spent = tile % columns, best[tile]
        for other in (
            tile - 1 if x else -1,
            tile + 1 if x + 1 < columns else -1,
            tile - columns,
            tile + columns,
        ):
            if not 0 <= other < len(costs) or not costs[other]:
                continue
            total = spent + costs[other]
            if total < best.get(other, total + 1):
                best[other] = total
                came[other] = tile
                across, down = abs(goal_x - other % columns), abs(goal_y - other // columns)
                # Among equals take the tile nearest to the straight line: stairs look like a stroll, corners do not.
                heapq.heappush(front, (total + across + down, max(across, down), other))
    return []


@dataclass(slots=True)
class Actor:
    """Where the wanderer is, where it is going and how tired it is."""

    tile: int
    path: list[int] = field(default_factory=list)  # tiles still to enter, nearest first
    trail: list[int] = field(default_factory=list)  # tiles left behind, oldest first
    spent: int = 0  # turns already spent on entering path[0]
    fatigue: int = 0

    def plan(self, world: World, goal: int) -> bool:
        """Replace the path by the cheapest one to `goal`; False, and no path, when there is none."""
        with rw.operation("pathfinding", goal=goal):
            found = find_path(world.costs, world.columns, self.tile, goal)
        self.path = found[1:]
        self.spent = 0
        rw.histogram("path.length", unit="1").record(len(self.path))
        return bool(found)

    def blocked(self, world: World) -> int | None:
        """Return the first tile of the path that has become impassable, or None."""
        return next((tile for tile in self.path if not world.costs[tile]), None)

    def step(self, world: World) -> bool:
        """Spend one turn on the way to the next tile; True when it was entered."""
        self.fatigue += 1
        self.spent += 1
        if self.spent < world.costs[self.path[0]]:
            return False
        self.trail = [*self.trail[1 - TRAIL :], self.tile]
        self.tile = self.path.pop(0)
        self.spent = 0
        return True

    def position(self, world: World, fraction: float) -> tuple[float, float]:
        """Return column and row, between tiles, when `fraction` of the present turn has passed."""
        y, x = divmod(self.tile, world.columns)
        if not self.path or (not self.spent and not fraction):
            return float(x), float(y)
        share = min(1.0, (self.spent + fraction) / max(1, world.costs[self.path[0]]))
        next_y, next_x = divmod(self.path[0], world.columns)
        return x + (next_x - x) * share, y + (next_y - y) * share
