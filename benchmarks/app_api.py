"""The app API against prometheus_client, interleaved in one process: nanoseconds over the bare call, and ratios.

Run: ``python benchmarks/app_api.py [rounds]``. Each round measures every subject once, so that a change of the
machine's speed hits all alike; the figure is the median over the rounds of the ratio within a round, with the
quartiles.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import timeit
from importlib.metadata import version

os.environ["ROADWORTHY_HOME"] = tempfile.mkdtemp(prefix="rw-bench-")

from prometheus_client import Counter, Histogram

import roadworthy as rw

CALLS = 20_000
rw.start("bench")

histogram = Histogram("bench_seconds", "bench")
bound = Counter("bench_total", "bench", ["kind"]).labels("a")
ours = rw.counter("bench.total", labels=("kind",)).labels(kind="a")
hist = rw.histogram("bench.size", unit="By")


def bare() -> None:
    """Do nothing."""


@histogram.time()
def prometheus_timed() -> None:
    """Do nothing, timed by prometheus_client."""


@rw.timed("bench.duration")
def timed() -> None:
    """Do nothing, timed by us."""


def prometheus_with() -> None:
    """Measure an empty block with prometheus_client."""
    with histogram.time():
        pass


def operation() -> None:
    """Measure an empty block with us."""
    with rw.operation("bench"):
        pass


def operation_context() -> None:
    """Measure an empty block with context with us."""
    with rw.operation("bench", rom="game.sfc"):
        pass


def no_op() -> None:
    """Enter a block of ours that is switched off."""
    with off("bench"):
        pass


from roadworthy.app.off import operation as off  # noqa: E402 - beside what it is compared with

SUBJECTS = {
    "@timed": (timed, prometheus_timed, 0.22),
    "with operation": (operation, prometheus_with, 0.60),
    "with operation, context": (operation_context, prometheus_with, None),
    "with operation, off": (no_op, prometheus_with, None),
    "counter.add, bound": (ours.add, bound.inc, 0.35),
    "histogram.record": (lambda: hist.record(12345), lambda: histogram.observe(12345.0), None),
}


def cost(function: object) -> float:
    """Return the nanoseconds of one call, fastest of three runs."""
    return min(timeit.repeat("f()", globals={"f": function}, number=CALLS, repeat=3)) / CALLS * 1e9


def main() -> None:
    """Print one line for each subject."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in SUBJECTS}
    for _ in range(rounds):
        empty = cost(bare)
        for name, (mine, peer, _) in SUBJECTS.items():
            figures[name].append((cost(mine) - empty, cost(peer) - empty))
    print(
        f"CPython {sys.version.split()[0]}, prometheus_client {version('prometheus_client')}, "
        f"{rounds} rounds of {CALLS} calls"
    )
    print(f"{'':26}{'ours ns':>9}{'peer ns':>9}{'ratio':>8}{'quartiles':>14}{'budget':>8}")
    for name, pairs in figures.items():
        ratios = sorted(mine / peer for mine, peer in pairs)
        low, middle, high = statistics.quantiles(ratios, n=4)
        our_ns = statistics.median(pair[0] for pair in pairs)
        peer_ns = statistics.median(pair[1] for pair in pairs)
        budget = SUBJECTS[name][2]
        print(f"{name:26}{our_ns:9.0f}{peer_ns:9.0f}{middle:8.3f}{low:7.3f}-{high:.3f}{budget or '':>8}")


if __name__ == "__main__":
    main()
