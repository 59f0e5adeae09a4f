"""The arena's primitives: nanoseconds over an empty call, and milliseconds for a reader of 10 000 series.

Run: ``python -m benchmarks.hot_path [rounds]``. Standard library only, so that every interpreter can run it; where
prometheus_client is installed its bound counter stands beside ours. Each round measures every subject once, so that a
change of the machine's speed hits all alike; shown are the median over the rounds and the quartiles.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import timeit
from collections.abc import Callable

from roadworthy.arena import hot
from roadworthy.arena.reader import Reader
from roadworthy.arena.writer import Arena, Limits

CALLS = 20_000
SERIES = 10_000


def empty(n: int = 1) -> None:
    """Do nothing: what any call costs."""


def subjects(arena: Arena) -> dict[str, tuple[str, dict[str, object]]]:
    """Return what is measured: a name to a statement and its names."""
    loop = arena.beat("loop", "loop")
    found: dict[str, tuple[str, dict[str, object]]] = {
        "empty call": ("f(5)", {"f": empty}),
        "clock": ("f()", {"f": hot.now}),
        "counter.add()": ("f()", {"f": arena.counter("c").add}),
        "counter.add(1)": ("f(1)", {"f": arena.counter("c").add}),
        "gauge.set": ("f(1.5)", {"f": arena.gauge("g").set}),
        "histogram.record": ("f(123456)", {"f": arena.histogram("h", scale=1e9).record}),
        "beat (own stamp)": ("f(5)", {"f": arena.beat("b").beat}),
        "frame start + end": ("s(5); e(6)", {"s": loop.frame_start, "e": loop.frame_end}),
        "enter + leave": ("l(e(5, 0, b'', 9))", {"e": arena.inflight.enter, "l": arena.inflight.leave}),
        "enter + leave, context": (
            "l(e(5, 0, c, 9))",
            {"e": arena.inflight.enter, "l": arena.inflight.leave, "c": b"k=v"},
        ),
        "ring.put, 100 bytes": ("f(1, 2, p)", {"f": arena.ring.put, "p": b"x" * 100}),
        "event with one field": ("f('log', 20, 's', 't', k)", {"f": arena.event, "k": {"a": "b"}}),
        "look up a counter": ("f('c')", {"f": arena.counter}),
    }
    try:
        from prometheus_client import CollectorRegistry, Counter
    except ImportError:
        return found
    theirs = Counter("c", "c", ["k"], registry=CollectorRegistry()).labels("v")
    found["prometheus_client counter.inc()"] = ("f()", {"f": theirs.inc})
    return found


def measure(arena: Arena, rounds: int) -> None:
    """Print nanoseconds of each primitive over the empty call of the same round."""
    timers = {name: timeit.Timer(code, globals=names) for name, (code, names) in subjects(arena).items()}
    taken: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, timer in timers.items():
            taken[name].append(min(timer.repeat(3, CALLS)) / CALLS * 1e9)
    for name, values in taken.items():
        bare = taken["empty call"] if name != "empty call" else [0.0] * rounds
        low, middle, high = statistics.quantiles([a - b for a, b in zip(values, bare, strict=True)], n=4)
        print(f"{name:34} {middle:7.0f} ns   ({low:.0f} to {high:.0f})")


def measure_reader(directory: str, rounds: int) -> None:
    """Print milliseconds of a reader's refresh: first, idle, and after a twentieth of the series moved."""
    arena = Arena.create(directory, "bench", limits=Limits(per_name=SERIES))
    counters = [arena.counter("c", (("n", str(n)),)) for n in range(SERIES * 7 // 10)]
    histograms = [arena.histogram("h", (("n", str(n)),)) for n in range(SERIES * 3 // 10)]
    for n, histogram in enumerate(histograms):
        histogram.record(n * 1000)
    with Reader(arena.path) as warm:
        first = _milliseconds(lambda: Reader(arena.path).close())
        idle = [_milliseconds(warm.refresh) for _ in range(rounds)]
        busy = []
        for _ in range(rounds):
            for counter in counters[::20]:
                counter.add()
            for n, histogram in enumerate(histograms[::20]):
                histogram.record(n * 999)
            busy.append(_milliseconds(warm.refresh))
    for name, value in (("first", first), ("idle", statistics.median(idle)), ("busy", statistics.median(busy))):
        print(f"read {SERIES} series, {name:17} {value:7.2f} ms")


def _milliseconds(act: Callable[[], object]) -> float:
    return timeit.timeit(act, number=1) * 1e3


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    directory = tempfile.mkdtemp(prefix="rw-bench-")
    try:
        print(f"CPython {sys.version.split()[0]}, over an empty call, median of {rounds} rounds (quartiles)")
        measure(Arena.create(directory, "bench"), rounds)
        measure_reader(directory, rounds)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
