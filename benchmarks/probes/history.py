"""Keep an hour of a thousand series, tick by tick at the times that they would have, and look at the disk.

python -m benchmarks.probes.history --minutes 60 --out FILE

Writes {"bytes_per_minute": [one figure], "once": bytes, "milliseconds": [of each tick]}. What is allocated once and
then used again (the mapped head file, the write-ahead log) is told apart from what grows: the figure compares a closed
history with a closed empty one.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from pathlib import Path

from roadworthy._clock import monotonic_ns
from roadworthy.agent.history.sqlite import SqliteHistory

SERIES = 1_000
BEGAN = 1_790_000_000 - 1_790_000_000 % 3_600
SELDOM = 0.001


def main() -> None:
    """Keep and measure what the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    draw = random.Random(options.seed)  # noqa: S311 - figures, not secrets
    values = {
        f"bench.{kind}.{number}": 0.0 for kind in ("rate", "level", "p99", "flag") for number in range(SERIES // 4)
    }
    ticks: list[float] = []
    with tempfile.TemporaryDirectory(prefix="roadworthy-bench-") as made:
        folder = Path(made, "history")
        SqliteHistory(folder, now=BEGAN).close()
        empty = _bytes(folder)
        history = SqliteHistory(folder, now=BEGAN)
        for second in range(options.minutes * 60):
            change(values, draw)
            began = monotonic_ns()
            history.append(BEGAN + second, values)
            ticks.append((monotonic_ns() - began) / 1e6)
        most = _bytes(folder)
        history.close()
        kept = _bytes(folder)
    found = {"bytes_per_minute": [(kept - empty) / options.minutes], "once": most - kept + empty, "milliseconds": ticks}
    options.out.write_text(json.dumps(found), encoding="utf-8")


def change(values: dict[str, float], draw: random.Random) -> None:
    """Let a second pass: rates tremble, levels walk, percentiles jump between bucket middles, flags mostly stay."""
    for name, value in values.items():
        match name.split(".")[1]:
            case "rate":
                fresh = float(draw.randrange(90, 110))
            case "level":
                fresh = value + draw.choice((-1.0, 0.0, 1.0))
            case "p99":
                fresh = draw.choice((0.00106, 0.00114, 0.00122))
            case _:
                fresh = 1.0 - value if draw.random() < SELDOM else value
        values[name] = fresh


def _bytes(folder: Path) -> int:
    """Return the disk blocks of everything below a folder in bytes."""
    return sum(entry.stat().st_blocks * 512 for entry in folder.rglob("*") if entry.is_file())


if __name__ == "__main__":
    main()
