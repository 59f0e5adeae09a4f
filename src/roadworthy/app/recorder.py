"""Where durations of one name go: a histogram for each outcome, bound to the arena at the first use.

The hot paths (a block of :mod:`roadworthy.app.operation`, a wrapper of :mod:`roadworthy.app.timed`) record short
durations themselves, with the views and the table that they take from here; everything else (long, first, failed,
sampled, after a fork) goes through :class:`Recorder`. Nothing takes a lock.
"""

# ruff: noqa: SLF001 - the hot paths share views and words with arena.hot

from __future__ import annotations

import os

from roadworthy._clock import monotonic_ns
from roadworthy.app import sampling, start
from roadworthy.arena import files, hot
from roadworthy.arena.layout import BLOCK_MAX, BLOCK_SUM, BLOCK_WORDS, HEADER_BYTES, bucket_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SHORT = 8192
"""Nanoseconds below which a table gives the bucket."""

MOST_KINDS = 4096
"""Different failures that keep a histogram in memory; more are looked up in the arena each time."""

LONGEST_NS = sampling.LONGEST_NS


def _buckets(most: int) -> tuple[int, ...]:
    """Return the bucket of each number below ``most``, a power of two."""
    table = list(range(8))
    while len(table) < most:
        index, width = bucket_of(len(table)), max(1, len(table) >> 3)
        for at in range(8):
            table += [index + at] * width
    return tuple(table)


BUCKET = _buckets(SHORT)

_now = monotonic_ns
_forked_ns = 0
_memory = files.private_memory(HEADER_BYTES + BLOCK_WORDS * 8)
sink_cell = hot.Cell(_memory.q, _memory.d, _memory.b)
"""Memory that nobody reads, for what is recorded before there is an arena, or without one."""

_sink = hot.Histogram(sink_cell, HEADER_BYTES // 8, 0)


class Recorder:
    """Where durations of one name go: a histogram for each outcome, bound to the arena at the first use."""

    __slots__ = ("base", "cell", "d", "failures", "labels", "metric", "name", "number", "q", "record", "top", "turn")

    def __init__(self, name: str, metric: str, labels: tuple[tuple[str, str], ...]) -> None:
        self.name = name
        self.metric = metric
        self.labels = labels
        self.cell: Any = sink_cell
        self.record: Callable[[int], None] = _sink.record
        self.q: Any = None
        self.d: Any = None
        self.base = 0
        self.top = 0
        self.number = 0
        self.failures: dict[str, hot.Histogram] = {}
        self.turn = sampling.turns(name)

    def slow(self, n: int) -> None:
        """Record a success that the fast path does not: bind first if need be; ``n`` may carry a weight above 2^56."""
        weight = n >> sampling.SHIFT
        n &= LONGEST_NS
        if self.q is None:
            self.bind()
        now = _now()
        if now > sampling.next_poll:
            sampling.look(now)
        if weight == sampling.SKIP or now - n < _forked_ns:
            return
        self.record(n)
        if weight > 1:
            self._repeat(n, weight - 1)
        q = self.cell.q
        if q is not self.q:  # a forked child has files of its own since the line before
            self.q, self.d, self.top = q, self.cell.d, 0

    def higher(self, n: int) -> None:
        """Note a maximum of this recorder's, and of the series when it is one."""
        self.top = n
        self.d[self.base + BLOCK_MAX] = max(self.d[self.base + BLOCK_MAX], n)

    def exact(self, n: int) -> None:
        """Record a duration that the caller has measured."""
        if self.q is None:
            self.bind()
        self.record(n)

    def _repeat(self, n: int, times: int) -> None:
        """Record the runs that this one stands for."""
        if self.q is None:
            for _ in range(times):
                self.record(n)
        else:
            q, d = self.cell.q, self.cell.d
            q[self.base + bucket_of(n)] += times
            d[self.base + BLOCK_SUM] += n * times

    def bind(self) -> None:
        """Find the series in the arena, made if need be; without one everything goes to memory nobody reads."""
        arena = start.ensure()
        histogram = _sink if arena is None else arena.histogram(self.metric, self.labels, unit="s", scale=1e9)
        self.record = histogram.record
        self.number = histogram.number
        cell = getattr(histogram, "_cell", None)  # a compiled one shows none: everything is slow(), which is fast then
        if cell is not None and arena is not None:
            self.base = histogram._base
            self.cell = cell
            self.d = cell.d
            self.q = cell.q

    def failed(self, n: int, kind: str) -> None:
        """Record a duration that ended in the outcome or error ``kind``; failures are never sampled."""
        n &= LONGEST_NS
        if _now() - n < _forked_ns:
            return
        found = self.failures.get(kind)
        if found is None:
            arena = start.ensure()
            if arena is None:
                return
            found = arena.histogram(self.metric, self.failure_labels(kind), unit="s", scale=1e9)
            if len(self.failures) < MOST_KINDS:
                self.failures[kind] = found
        found.record(n)

    def failure_labels(self, kind: str) -> tuple[tuple[str, str], ...]:
        """Return the labels of the series for one kind of failure."""
        return (*self.labels, ("error.type", kind))


def _after_fork() -> None:
    global _forked_ns  # noqa: PLW0603 - one clockwork per process
    _forked_ns = _now()


os.register_at_fork(after_in_child=_after_fork)
