"""Render series to Prometheus text, ours and prometheus_client's in turns, every figure new each time.

python -m benchmarks.probes.text --kind scalars|histograms --series 10000 --rounds 20 --out FILE

Writes {"ns": {"roadworthy": […], "prometheus-client": […], "read and merge": […]}, "bytes": {…}}. Ours renders what the
agent has already read and merged for its tick; that part is measured separately, from a real arena file.
"""

from __future__ import annotations

import argparse
import atexit
import json
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from roadworthy._clock import monotonic_ns
from roadworthy.arena.layout import bucket_of
from roadworthy.types import Histogram as Distribution
from roadworthy.types import Kind, Series
from roadworthy.view.prometheus import Renderer

PER_NAME = 250
VALUES = 20


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", choices=("scalars", "histograms"), default="scalars")
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    draw = random.Random(7)  # noqa: S311 - figures, not secrets
    arms = (scalars if options.kind == "scalars" else histograms)(options.series, draw)
    found: dict[str, list[int]] = {name: [] for name in arms}
    sizes: dict[str, int] = {}
    for number in range(options.rounds + 2):
        for name, arm in arms.items():
            change, render = arm
            given = change()
            began = monotonic_ns()
            text = render(given)
            took = monotonic_ns() - began
            sizes[name] = len(text)
            if number > 1:  # the first two warm up: templates, caches, the interpreter's own specialisation
                found[name].append(took)
    options.out.write_text(json.dumps({"ns": found, "bytes": sizes}), encoding="utf-8")


Arms = dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]]


def scalars(count: int, draw: random.Random) -> Arms:
    """Return both arms for counters and gauges, half of each, with two labels."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # half of the lines would be those
    registry = CollectorRegistry()
    names = [f"benchmark_{number}" for number in range(count // PER_NAME)]
    metrics: list[Any] = []
    for number, name in enumerate(names):
        make = Counter if number % 2 else Gauge
        metrics.append(make(name, "what the benchmark counts", ["region", "item"], registry=registry))
    children = [metric.labels("north", str(item)) for metric in metrics for item in range(PER_NAME)]

    def change_theirs() -> None:
        for child in children:
            child.inc(draw.randrange(1_000))

    figures = [0.0] * len(children)
    labels = [(("item", str(position % PER_NAME)), ("region", "north")) for position in range(len(figures))]

    def change_ours() -> tuple[Series, ...]:
        for position in range(len(figures)):
            figures[position] += draw.randrange(1_000)
        kinds = (Kind.GAUGE, Kind.COUNTER)
        return tuple(
            Series(
                names[position // PER_NAME],
                kinds[position // PER_NAME % 2],
                labels[position],  # the same objects every time, as from the agent, which reads a slot's text once
                help="what the benchmark counts",
                value=value,
            )
            for position, value in enumerate(figures)
        )

    renderer = Renderer()
    return {
        # As the agent's snapshots do, the series say that they are the same ones as before.
        "roadworthy": (change_ours, lambda series: renderer.render_series(series, layout=1).encode()),
        "prometheus-client": (change_theirs, lambda _: generate_latest(registry)),
        "read and merge": _from_an_arena(count, draw),
    }


def histograms(count: int, draw: random.Random) -> Arms:
    """Return both arms for histograms of durations, each of which gets some values before every rendering."""
    registry = CollectorRegistry()
    names = [f"benchmark_{number}_seconds" for number in range(max(1, count // PER_NAME))]
    metrics = [Histogram(name, "what the benchmark times", ["item"], registry=registry) for name in names]
    children = [metric.labels(str(item)) for metric in metrics for item in range(PER_NAME)]
    buckets: list[dict[int, int]] = [{} for _ in children]

    def change_theirs() -> None:
        for child in children:
            for _ in range(VALUES):
                child.observe(draw.expovariate(100))

    def change_ours() -> tuple[Series, ...]:
        for one in buckets:
            for _ in range(VALUES):
                index = bucket_of(int(draw.expovariate(100) * 1e9))
                one[index] = one.get(index, 0) + 1
        return tuple(
            Series(
                names[position // PER_NAME],
                Kind.HISTOGRAM,
                (("item", str(position % PER_NAME)),),
                unit="s",
                histogram=Distribution(dict(one), sum=1e9 * sum(one.values()), max=1e9, scale=1e9),
            )
            for position, one in enumerate(buckets)
        )

    renderer = Renderer()
    return {
        "roadworthy": (change_ours, lambda series: renderer.render_series(series).encode()),
        "prometheus-client": (change_theirs, lambda _: generate_latest(registry)),
    }


def _from_an_arena(count: int, draw: random.Random) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """Return the agent's part before rendering: read the arena of another program and merge it with what was before."""
    from roadworthy.arena.merge import Merger, Part
    from roadworthy.arena.reader import Reader
    from roadworthy.arena.writer import Arena, Limits

    folder = Path(tempfile.mkdtemp(prefix="roadworthy-bench-", dir="/dev/shm"))
    atexit.register(shutil.rmtree, folder)
    arena = Arena.create(folder, "benchmark", limits=Limits(series=count, per_name=count))
    counters = [
        arena.counter(f"benchmark_{number // PER_NAME}", (("item", str(number % PER_NAME)), ("region", "north")))
        for number in range(count)
    ]
    path = next(folder.glob("*.arena"))
    reader, merger = Reader(path), Merger()

    def change() -> None:
        for one in counters:
            one.add(draw.randrange(1_000))

    def read(_: object) -> str:
        reader.refresh()
        merger.update([Part("1", reader.series(), reader.take_changed())])
        return "." * len(merger.series())

    return change, read


if __name__ == "__main__":
    main()
