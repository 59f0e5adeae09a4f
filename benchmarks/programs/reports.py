"""Prepare a database for examples/reports: its shop, and as many finished reports as one list shows.

python -m benchmarks.programs.reports sqlite:///PATH
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

from reports.store import Store

SHOWN = 20


def main() -> None:
    """Fill the database at the URL."""
    store = Store(sys.argv[1])
    store.prepare()
    for number in range(SHOWN):
        store.ask(f"report{number}", f"2026-{number % 12 + 1:02}", float(number))
        store.finish(f"report{number}", {"regions": [], "total_euro": 0.0})


if __name__ == "__main__":
    main()
