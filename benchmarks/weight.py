"""The row of what we weigh in the user's program: time and memory of the import, against the peers' imports.

Ours is measured with more than the import: `start`, which makes the arena, a counter and an operation, so that nothing
that is loaded lazily is left out. The peers are imported only.
"""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.rows import Line, NotMeasured, Plan, Row
from benchmarks.running import application, running
from benchmarks.statistics import Estimate, estimate

CODE = {
    "roadworthy, started and used": (
        "import roadworthy as rw\nrw.start(sys.argv[2])\nwith rw.operation('first'): rw.counter('calls').add()"
    ),
    "prometheus-client": "import prometheus_client",
    "structlog": "import structlog",
    "opentelemetry-sdk": "import opentelemetry.sdk.trace, opentelemetry.sdk.metrics",
    "sentry-sdk": "import sentry_sdk",
    "logfire": "import logfire",
    "python-json-logger": "import pythonjsonlogger.json",
}

MEASURE = """
import json, os, sys, time
def resident():
    with open("/proc/self/statm", "rb") as f: return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
before = resident(); began = time.monotonic_ns()
exec(sys.argv[1])
took = time.monotonic_ns() - began
print(json.dumps([took / 1e6, (resident() - before) / 1e6]))
"""

BUDGETS = (("time", "ms", 15.0), ("memory", "MB", 5.0))


def weight(plan: Plan) -> list[Line]:
    """Measure fresh interpreters, one after another and in turns, their byte code already compiled."""
    plan.say("weight: fresh interpreters")
    found: dict[str, list[list[float]]] = {name: [] for name in CODE}
    for number in range(plan.pick(15, 4) + 1):
        for name, code in CODE.items():
            measured = _fresh(code)
            if number:  # the first writes the byte code and fills the page cache
                found[name].append(measured)
    lines = []
    for name, rounds in found.items():
        ours = name.startswith("roadworthy")
        for position, (what, unit, budget) in enumerate(BUDGETS):
            figure: Estimate = estimate([[one[position] for one in rounds]])
            lines.append(Line(f"weight: {name}, {what}", figure, unit, budget if ours else None))
    return lines


def _fresh(code: str) -> list[float]:
    """Return milliseconds and megabytes that ``code`` adds to an interpreter that has just started."""
    name = application("weight")
    with running([sys.executable, "-c", MEASURE, code, name], name=name) as run:
        try:
            status = run.process.wait(60)
        except subprocess.TimeoutExpired:
            raise NotMeasured(f"not done after 60 s: {code!r}") from None
        if status:
            raise NotMeasured(f"{code!r} failed: {run.tail()}")
        measured: list[float] = json.loads(run.output.read_text(encoding="utf-8").strip().splitlines()[-1])
        return measured


ROWS = (Row("weight", "in the app: import, time and memory", weight),)
