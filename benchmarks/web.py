"""The whole-program rows on a server: Starlette apps on uvicorn, plain against attached with all defaults.

Two weights of request: one of examples/reports (a list from its database, behind its policies), which is what a budget
in per cent is about; and one that does so little (0.3 ms) that the cost of watching a request shows.

This process is the client of both arms and has a CPU of its own: closed loop for the throughput, then open loop at 70 %
of what the plain arm just reached. Which CPU keeper and agent use is the plan's `beside`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.arms import Arm, Command, both
from benchmarks.load import HOST, Load
from benchmarks.rows import Line, NotMeasured, Plan, Row
from benchmarks.running import ROOT, application, python
from benchmarks.whole import LEAD, SHARE, SLICE, Slice, Start, dearer, in_turns, late, lost, starts, taken_beside
from roadworthy._clock import monotonic

CONNECTIONS = 8
WARM = 1.0


@dataclass(frozen=True, slots=True)
class Served:
    """An application, the path that is asked for, options of uvicorn's, and the environment of each arm."""

    app: str
    path: str
    options: Sequence[str] = ()
    environ: Callable[[str], Mapping[str, str]] = lambda _: {}


def reports(plan: Plan) -> list[Line]:
    """Measure the list of examples/reports, a service as people run one, with its policies in both arms."""
    with tempfile.TemporaryDirectory(prefix="roadworthy-bench-") as made:

        def environ(arm: str) -> dict[str, str]:
            """Give each arm a database of its own: one that is suspended may hold a lock."""
            return {"REPORTS_DATABASE": f"sqlite:///{made}/{arm}.db", "REPORTS_SPOOL": f"{made}/{arm}"}

        for arm in ("plain", "attached"):
            prepare = [python(), "-m", "benchmarks.programs.reports", environ(arm)["REPORTS_DATABASE"]]
            subprocess.run(prepare, check=True, cwd=ROOT, env={**os.environ, **environ(arm)})
        return _measure(plan, "reports", Served("reports.app:app", "/reports", ("--app-dir", "examples"), environ))


def web(plan: Plan) -> list[Line]:
    """Measure a request that queries a database and answers JSON, uvicorn's access log on, as it is by default."""
    return _measure(plan, "web", Served("benchmarks.programs.web:app", "/items/7"))


def web_minimal(plan: Plan) -> list[Line]:
    """Measure a request that does nothing, without access log: no request is cheaper, so no share of ours is larger."""
    return _measure(plan, "web-minimal", Served("benchmarks.programs.web:app", "/", ("--no-access-log",)))


def _measure(plan: Plan, what: str, served: Served) -> list[Line]:
    found = starts(plan, what, lambda attached_first: _start(plan, served, attached_first=attached_first))
    return [
        lost(f"{what}: requests/s lost at saturation ({CONNECTIONS} connections)", found, "requests/s"),
        *late(f"{what}: latency at {SHARE:.0%} of saturation", found, "requests/s"),
        dearer(f"{what}: CPU time a request, in the program", found),
        taken_beside(f"{what}: keeper and agent, share of a core", found),
    ]


def _start(plan: Plan, served: Served, *, attached_first: bool) -> Start:
    """Start both servers, load them in turns and end them; raises NotMeasured when a single request failed."""
    ports = {"plain": _free_port(), "attached": _free_port()}
    plain, attached = (_command(served, arm, port) for arm, port in ports.items())
    with both(application("web"), plain, attached, beside=plan.beside) as arms, asyncio.Runner() as client:
        loads = {False: Load(), True: Load()}

        def fast(arm: Arm, lead: float = LEAD, seconds: float = SLICE) -> Slice:
            load = loads[arm.attached]
            client.run(load.closed(lead))
            began, before = monotonic(), arm.used()
            rate = client.run(load.closed(seconds))
            took, after = monotonic() - began, arm.used()
            cpu = (after[0] - before[0]) / max(1, len(load.latencies))
            return Slice(arm.attached, {"rate": rate, "cpu": cpu, "beside": (after[1] - before[1]) / took})

        def calm(arm: Arm, rate: float) -> Slice:
            load = loads[arm.attached]
            client.run(load.open(rate, LEAD))
            return Slice(arm.attached, {}, client.run(load.open(rate, SLICE)))

        for under, port in zip((False, True), ports.values(), strict=True):
            arm = arms.turn(attached=under)
            client.run(loads[under].connect(port, served.path, CONNECTIONS))
            fast(arm, WARM, 0.0)
        found = in_turns(plan, arms, fast, calm, attached_first=attached_first)
        failed = sum(load.errors for load in loads.values())
        for load in loads.values():
            load.close()
    if failed:
        raise NotMeasured(f"{failed} requests failed")
    return found


def _command(served: Served, arm: str, port: int) -> Command:
    argv = [python(), "-m", "uvicorn", served.app, "--host", HOST, "--port", str(port), *served.options]
    argv += ["--timeout-keep-alive", "60"]  # a suspended server must not find its connections too old
    return Command(argv, lambda: _listens(port), served.environ(arm))


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


ROWS = (
    Row("reports", "whole program: a service with policies (examples/reports), attached, defaults", reports),
    Row("web", "whole program: a very short ASGI request (Starlette on uvicorn), attached, defaults", web),
    Row(
        "web-minimal",
        "whole program: the cheapest possible ASGI request, attached (only when asked for)",
        web_minimal,
        usual=False,
    ),
)
