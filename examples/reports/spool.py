"""Reports that were asked for while the database was away: a file each, until they can be queued.

A file is written whole or not at all and reaches the disk before the answer goes out, so "queued" is true even when
the process is killed a moment later. Queueing one twice is no harm: its id is the table's key.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def keep(folder: Path, report: str, month: str, asked: float) -> None:
    """Keep what was asked for; raises OSError when the disk does not take it."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{report}.part"
    with part.open("w", encoding="utf-8") as file:
        json.dump({"report": report, "month": month, "asked": asked}, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / f"{report}.json")


def waiting(folder: Path) -> list[tuple[Path, str, str, float]]:
    """Return what is kept: file, id, month and when it was asked for; oldest first."""
    found = []
    for path in folder.glob("*.json"):
        try:
            kept = json.loads(path.read_bytes())
        except FileNotFoundError:
            continue  # another worker has queued it meanwhile
        found.append((path, str(kept["report"]), str(kept["month"]), float(kept["asked"])))
    return sorted(found, key=lambda one: one[3])


def holds(folder: Path, report: str) -> bool:
    """Tell whether that report is kept here, not queued yet."""
    return report.isalnum() and (folder / f"{report}.json").exists()
