"""Pauses of the garbage collector, by generation.

The callback runs inside a collection, in whatever code happened to allocate. It creates no container and calls
nothing that could wait. After a fork it stays still until the child's arena exists, because making that is no work
for this place.
"""

from __future__ import annotations

import gc
import os

from roadworthy._clock import monotonic_ns
from roadworthy.app.integrations import series

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from roadworthy.arena.writer import Arena


GENERATION = "cpython.gc.generation"
"""OpenTelemetry's name of the label."""


class Pauses:
    """Times collections; one object lives as long as the process."""

    __slots__ = ("began", "collected_objects", "counts", "durations", "live", "uncollectable")

    def __init__(self) -> None:
        labels = [((GENERATION, str(generation)),) for generation in range(3)]
        self.durations = [_recorder(label) for label in labels]
        self.counts = [
            series.counter("cpython.gc.collections", label, "{collection}", "Times that a generation was collected.")
            for label in labels
        ]
        self.collected_objects = [
            series.counter("cpython.gc.collected_objects", label, "{object}", "Objects that were collected.")
            for label in labels
        ]
        self.uncollectable = [
            series.counter("cpython.gc.uncollectable_objects", label, "{object}", "Objects that cannot be collected.")
            for label in labels
        ]
        self.began = 0
        self.live = True

    def collected(self, phase: str, info: dict[str, int]) -> None:
        """Note the beginning or the end of a collection."""
        if phase == "start":
            self.began = monotonic_ns()
        elif self.began and self.live:
            took = monotonic_ns() - self.began
            generation = info["generation"]
            self.durations[generation](took)
            count = self.counts[generation]
            if count is not None:
                count.add()
            if (number := info.get("collected", 0)) and (freed := self.collected_objects[generation]) is not None:
                freed.add(number)
            if (number := info.get("uncollectable", 0)) and (stuck := self.uncollectable[generation]) is not None:
                stuck.add(number)

    def sleep(self) -> None:
        """Stop recording: this process was just forked and has no arena of its own yet."""
        self.live = False
        self.began = 0

    def wake(self) -> None:
        """Record again."""
        self.live = True


def install(arena: Arena) -> None:
    """Watch the garbage collector of this process and of those it forks."""
    pauses = Pauses()
    os.register_at_fork(after_in_child=pauses.sleep)
    arena.after_fork_hooks.append(pauses.wake)
    gc.callbacks.append(pauses.collected)


def _recorder(labels: series.Pairs) -> Callable[[int], None]:
    duration = series.duration("cpython.gc.duration", labels, "Time the garbage collector took.")
    return duration.record if duration is not None else _nowhere


def _nowhere(_took: int) -> None:
    """Stand in for a histogram where there is no arena."""
