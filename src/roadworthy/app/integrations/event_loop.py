"""The health of asyncio event loops: a beat and the lag of each loop, its tasks, and what blocks it.

Each running loop ticks four times a second: it beats, and records by how much the tick came late. A block of 0.5 s or
more is also seen while it lasts, by the runtime's thread, which notes where the loop's thread stands. Timing every
single callback would cost more than many callbacks do, so it is not done; a block shorter than a quarter of a second
may fall between two ticks.

A loop that has stopped expects no beat any more. Its place is taken by the next loop.
"""

# ruff: noqa: ANN401 - what is wrapped is somebody else's and stays of whatever type it is

from __future__ import annotations

import sys
from _thread import get_ident

from roadworthy._clock import NS, monotonic_ns
from roadworthy.app import guard, pulse, start
from roadworthy.app.inject.patch import wrap
from roadworthy.app.integrations import series

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from roadworthy.arena import hot

TICK = 0.25
TICK_NS = int(TICK * NS)
LATE_NS = 100_000_000
"""Lag from which on an event tells of it, at most one a second."""
BLOCKED_NS = 500_000_000
"""Silence after which the runtime's thread looks where the loop's thread stands."""
GAUGES_NS = 1_000_000_000
DEAR_NS = 500_000
"""Counting tasks that takes longer than this is done a thousand times its own length apart."""
FRAMES = 12

_running: dict[int, Watch] = {}


class Watch:
    """What is known of one running loop."""

    __slots__ = (
        "beat",
        "due_ns",
        "gauges_ns",
        "handle",
        "lag",
        "loop",
        "place",
        "seen_ns",
        "tasks",
        "thread",
        "told_block_ns",
        "told_ns",
    )

    def __init__(self, loop: Any, place: int) -> None:
        arena = start.current()
        self.loop = loop
        self.place = place
        self.thread = get_ident()
        self.seen_ns = monotonic_ns()
        self.due_ns = self.seen_ns
        self.told_ns = 0
        self.told_block_ns = 0
        self.gauges_ns = 0
        self.handle: Any = None
        name = "asyncio" if place == 0 else f"asyncio-{place + 1}"
        self.beat: hot.Beat | None = arena.beat(name, kind="event_loop", every=TICK) if arena is not None else None
        self.lag = series.duration("asyncio.loop.lag", (), "How much later than asked for the event loop came round.")
        self.tasks = series.gauge("asyncio.tasks", (), "{task}", "Tasks that are not done.", merge="sum")

    def tick(self) -> None:
        """Beat, measure, ask to be called again."""
        try:
            now = monotonic_ns()
            lag = now - self.due_ns
            self.seen_ns = now
            if self.beat is not None:
                self.beat.beat(now)
            if self.lag is not None:
                self.lag.record(lag)
            if lag >= LATE_NS and now - self.told_ns >= NS:
                self.told_ns = now
                series.event("lag", 30, "asyncio", f"the event loop came round {lag / NS:.3f} s late")
            if now >= self.gauges_ns:
                self.count_tasks(now)
            self.due_ns = monotonic_ns() + TICK_NS
            self.handle = self.loop.call_later(TICK, self.tick)
        except Exception as error:
            if guard.failed("event loop", error):
                raise

    def count_tasks(self, now: int) -> None:
        """Set the gauges; the dearer the counting, the rarer."""
        tasks = sys.modules.get("asyncio.tasks")
        if tasks is not None and self.tasks is not None:
            self.tasks.set(len(tasks.all_tasks(self.loop)))
        threading = sys.modules.get("threading")
        threads = series.gauge("process.threads", (), "{thread}", "Threads that Python knows.", merge="sum")
        if threading is not None and threads is not None:
            threads.set(len(threading._active))  # noqa: SLF001 - active_count() takes a lock
        took = monotonic_ns() - now
        self.gauges_ns = now + max(GAUGES_NS, took * 1000 if took > DEAR_NS else 0)

    def stop(self) -> None:
        """Expect nothing any more."""
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None
        if self.tasks is not None:
            self.tasks.set(0)
        if self.beat is not None:
            pulse.expect(self.beat, 0)


def install(module: ModuleType) -> None:
    """Watch the standard library's event loops."""
    _watch(module.BaseEventLoop)


def install_uvloop(module: ModuleType) -> None:
    """Watch uvloop's event loops."""
    _watch(module.Loop)


def _watch(loop_class: Any) -> None:
    def make(original: Any) -> Any:
        def run_forever(self: Any) -> Any:
            watch = _begin(self)
            if watch is None:
                return original(self)
            try:
                return original(self)
            finally:
                _end(watch)

        return run_forever

    wrap(loop_class, "run_forever", make)


def _begin(loop: Any) -> Watch | None:
    try:
        if loop.is_closed() or loop.is_running() or start.current() is None or hasattr(loop, guard.OWN_LOOP):
            return None
        place = 0
        while place in _running:
            place += 1
        watch = _running[place] = Watch(loop, place)
        if watch.beat is not None:
            pulse.expect(watch.beat, TICK_NS)
        loop.call_soon(watch.tick)
        pulse.every("event loop", look)
        return watch
    except Exception as error:
        if guard.failed("event loop", error):
            raise
        return None


def _end(watch: Watch) -> None:
    try:
        _running.pop(watch.place, None)
        watch.stop()
    except Exception as error:
        if guard.failed("event loop", error):
            raise


def look(now: int) -> None:
    """Find loops that have been silent for too long and note, once per block, what their threads are doing."""
    for watch in tuple(_running.values()):
        silent = now - watch.seen_ns
        if silent < BLOCKED_NS or watch.told_block_ns == watch.seen_ns:
            continue
        watch.told_block_ns = watch.seen_ns
        frame = sys._current_frames().get(watch.thread)  # noqa: SLF001 - the documented way to see another thread
        series.event(
            "lag", 30, "asyncio", f"the event loop is blocked for {silent / NS:.1f} s", {"stack": _where(frame)}
        )


def after_fork() -> None:
    """Forget the loops of the parent: they do not run in a forked child."""
    _running.clear()


def _where(frame: Any) -> str:
    lines: list[str] = []
    while frame is not None and len(lines) < FRAMES:
        code = frame.f_code
        lines.append(f"{code.co_filename}:{frame.f_lineno} {code.co_qualname}")
        frame = frame.f_back
    return " < ".join(lines)
