"""examples/reports: what was accepted is found, wherever it is on its way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[3] / "examples"

BETWEEN_TWO_LOOKS = """
import asyncio
from types import SimpleNamespace
from reports import app, guarded, spool, store

guarded.tables.prepare()
spool.keep(guarded.SPOOL, "a7", "2026-03", 1.0)
look = spool.holds

def holds(folder, report):
    for path, *one in spool.waiting(folder):  # as the maker does, just before this look
        guarded.tables.ask(*one)
        path.unlink()
    return look(folder, report)

spool.holds = holds
for report in ("a7", "b8"):
    answer = asyncio.run(app.shown(SimpleNamespace(path_params={"report": report})))
    print(answer.status_code, answer.body.decode())
"""


def test_a_report_that_is_queued_between_two_looks_for_it_is_found(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", BETWEEN_TWO_LOOKS],
        env={
            **os.environ,
            "PYTHONPATH": str(EXAMPLES),
            "ROADWORTHY_HOME": str(tmp_path / "home"),
            "REPORTS_DATABASE": f"sqlite:///{tmp_path}/reports.db",
            "REPORTS_SPOOL": str(tmp_path / "spool"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    first, second = done.stdout.splitlines() or [done.stderr, ""]
    assert first.startswith("200")
    assert '"queued"' in first
    assert second.startswith("404")
