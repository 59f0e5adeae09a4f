"""Whether there is room left where arenas, output and the index are kept; the state directory has its own check."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from roadworthy.types import Finding, Severity, Status

if TYPE_CHECKING:
    from pathlib import Path

LEAST: Final = 1 << 20
"""Free bytes below which a file system counts as full."""

_MEANS: Final = {
    "arena": "new figures and output may be lost, and a worker that starts now is not measured",
    "run": "the index and the token cannot be written",
}


def findings(places: Mapping[str, Path]) -> tuple[Finding, ...]:
    """Return a finding for each directory, by what it is for, whose file system is full; an unknown one is none."""
    found = []
    for purpose, path in places.items():
        try:
            space = os.statvfs(path)
        except OSError:
            continue
        free = space.f_bavail * space.f_frsize
        if free < LEAST or (space.f_files and not space.f_favail):
            reason = f"the file system of the {purpose} directory is full: {_MEANS[purpose]}"
            found.append(Finding(f"{purpose} directory", Status.DEGRADED, reason, Severity.ERROR, evidence=str(path)))
    return tuple(found)
