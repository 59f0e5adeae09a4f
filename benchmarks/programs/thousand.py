"""A program with a thousand series, all of which change ten times a second: counters, gauges and histograms."""

from __future__ import annotations

import random

import roadworthy as rw
from roadworthy._clock import sleep

COUNTERS, GAUGES, HISTOGRAMS = 600, 300, 100


def main() -> None:
    """Change all figures until ended."""
    draw = random.Random(11)  # noqa: S311 - figures, not secrets
    calls = rw.counter("bench.calls", labels=("item",))
    level = rw.gauge("bench.level", labels=("item",))
    duration = rw.histogram("bench.duration", unit="s", labels=("item",))
    counters = [calls.labels(item=str(number)) for number in range(COUNTERS)]
    gauges = [level.labels(item=str(number)) for number in range(GAUGES)]
    histograms = [duration.labels(item=str(number)) for number in range(HISTOGRAMS)]
    progress = rw.heartbeat("bench", every=1.0)
    while True:
        for counter in counters:
            counter.add(draw.randrange(10))
        for gauge in gauges:
            gauge.set(draw.random())
        for histogram in histograms:
            histogram.record(draw.expovariate(100))
        progress.beat()
        sleep(0.1)


if __name__ == "__main__":
    main()
