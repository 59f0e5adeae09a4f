"""examples/reports as it is, and which process answers, so that its CPU time can be read.

uvicorn benchmarks.programs.reports_app:app
"""

from __future__ import annotations

import sys
from pathlib import Path

from starlette.routing import Route

from benchmarks.programs.web import pid

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

from reports.app import app

app.router.routes.append(Route("/pid", pid))
