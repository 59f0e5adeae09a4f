"""The public API as type checkers see it; checked by mypy --strict, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

import roadworthy as rw
from roadworthy.app.cache import Cache
from roadworthy.app.loop import Heartbeat, Loop
from roadworthy.app.metrics import Counter, Gauge, Histogram, Timer, Timing
from roadworthy.app.operation import Operation
from roadworthy.app.startup import Profile, Startup, Step

assert_type(rw.start(), None)
rw.start("app")

with rw.operation("sprite_extraction", rom="game.sfc", size=3) as block:
    assert_type(block, Operation)
    assert_type(block.name, str)


async def asynchronous() -> None:
    """Use an operation in a coroutine."""
    async with rw.operation("load", memory=True, kind="client") as inside:
        assert_type(inside, Operation)


@rw.timed("pathfinding.duration")
def plain(a: int, *, b: str = "") -> float:
    """Keep parameters and result."""
    return float(a) + len(b)


@rw.timed("fetch")
async def coroutine(a: int) -> str:
    """Stay a coroutine function."""
    return str(a)


@rw.timed("items")
def generator() -> Iterator[int]:
    """Stay a generator."""
    yield 1


@rw.timed("stream")
async def async_generator() -> AsyncIterator[bytes]:
    """Stay an async generator."""
    yield b""


class Actor:
    """A class with a timed method."""

    @rw.timed("actor.step")
    def step(self, dt: float) -> bool:
        """Stay a method."""
        return dt > 0


assert_type(plain(1, b="x"), float)
plain("1")  # type: ignore[arg-type]  # the parameters are checked as before
plain(1, c=2)  # type: ignore[call-arg]  # and so are their names
assert_type(generator(), Iterator[int])
assert_type(async_generator(), AsyncIterator[bytes])
assert_type(Actor().step(0.1), bool)


async def awaits() -> None:
    """Get the result's type."""
    assert_type(await coroutine(1), str)


assert_type(rw.counter("turns", unit="{turn}", help="turns played"), Counter)
assert_type(rw.counter("requests", labels=["scene"]).labels(scene="cave"), Counter)
rw.counter("turns").add()
rw.counter("turns").add(2.5)
assert_type(rw.gauge("entities", merge="sum"), Gauge)
rw.gauge("entities").set(3)
rw.gauge("entities").add(-1)
assert_type(rw.histogram("rom.size", unit="By").labels(kind="sfc"), Histogram)
rw.histogram("rom.size").record(1.5)
assert_type(rw.timer("db.query"), Timer)
with rw.timer("db.query").time() as timing:
    assert_type(timing, Timing)
rw.counter("turns").add("x")  # type: ignore[arg-type]  # a number is asked for
rw.gauge("entities", merge=3)  # type: ignore[arg-type]  # a merge mode is text

assert_type(rw.error(ValueError("x")), str)
assert_type(rw.error(KeyError, "gone", "loading", rom="a"), str)
assert_type(rw.error("ExtractionError", "tile 7", "sprite_extraction"), str)
rw.usage("batch_extraction", "completed", success=True)
rw.usage("export")
rw.event("save game loaded", level="warning", slot=3)

main = rw.loop("main", target_fps=60)
assert_type(main, Loop)
with main.frame():
    main.turn()
assert_type(rw.heartbeat("worker", every=2.0), Heartbeat)
rw.heartbeat("worker").beat()
rw.progress("rows", 500)

assert_type(rw.startup, Startup)
rw.startup.checkpoint("database_connected")
rw.startup.ready()
profile = rw.startup.finish_profiling(rw.startup.start_profiling("my_service"))
assert_type(profile, Profile | None)
if profile is not None:
    assert_type(profile.slowest, tuple[Step, ...])


@rw.check("database", kind="readiness", timeout=1.0, every=30)
def ping() -> tuple[bool, str]:
    """Stay the function."""
    return True, "pong"


assert_type(ping(), tuple[bool, str])
assert_type(rw.check("again", ping)(), tuple[bool, str])
rw.collector(Actor())

kept = rw.cache("titles", max_size=10, ttl="5m", url=None)
assert_type(kept, Cache)
assert_type(kept.hit_rate, float | None)


@rw.cache("answers")
def answer(query: str, *, limit: int = 3) -> list[str]:
    """Keep parameters and result."""
    return [query] * limit


@kept
async def asked(query: str) -> str:
    """Stay a coroutine function."""
    return query


assert_type(answer("x", limit=2), list[str])
answer(1)  # type: ignore[arg-type]  # the parameters are checked as before


async def awaits_cached() -> None:
    """Get the result's type."""
    assert_type(await asked("x"), str)
