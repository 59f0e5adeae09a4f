"""Reports as files: each whole, named for its time, kept as long as figures are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from roadworthy import _clock
from roadworthy.view import report
from roadworthy.view.export import write_file

if TYPE_CHECKING:
    from pathlib import Path

    from roadworthy.config.values import RunSettings

PREFIX = "report_"


def render(made: Mapping[str, Any], *, as_json: bool) -> str:
    """Return a report as the text of a file."""
    if as_json:
        return json.dumps(made, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    return "\n".join(report.lines(made)) + "\n"


def write(directory: Path, made: Mapping[str, Any], *, as_json: bool) -> Path:
    """Write a report into ``directory`` and return the file; raises as :func:`roadworthy.view.export.write`."""
    when = str(made["made"]).replace("-", "").replace(":", "").replace(".", "")
    return write_file(directory, f"{PREFIX}{when}.{'json' if as_json else 'txt'}", render(made, as_json=as_json))


def keep(directory: Path, made: Mapping[str, Any], settings: RunSettings) -> Path:
    """Write a report as text and as JSON, remove those older than the retention, and return the text's file."""
    write(directory, made, as_json=True)
    path = write(directory, made, as_json=False)
    oldest = _clock.wall() - settings.retention_hours * 3600
    for old in directory.glob(f"{PREFIX}*"):
        if old.stat().st_mtime < oldest:
            old.unlink(missing_ok=True)
    return path
