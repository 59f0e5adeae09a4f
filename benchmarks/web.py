"""The whole-program rows on a server: Starlette apps on uvicorn, plain against attached with all defaults.

Two weights of request: one of examples/reports (a list from its database, behind its policies), which is what a budget
in per cent is about; and one that does so little (0.3 ms) that the cost of watching a request shows.

Each arm is a start of its own: warm up, closed loop for the throughput, open loop at 70 % of the plain saturation for
p99. The client has a CPU of its own. Which CPU keeper and agent use is the plan's `beside`.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.load import HOST
from benchmarks.rows import Line, NotMeasured, Plan, Row
from benchmarks.running import (
    CLIENT_CPU,
    ROOT,
    Running,
    application,
    arranged,
    cpu_seconds,
    finish,
    pinned,
    python,
    running,
    set_free,
    wait_until,
)
from benchmarks.statistics import estimate
from benchmarks.whole import SETTLE, Figures, grown, lost, pairs
from roadworthy._clock import monotonic, sleep

SHARE = 0.7
CONNECTIONS = 8


@dataclass(frozen=True, slots=True)
class Served:
    """An application, the path that is asked for, options of uvicorn's, and the program's environment."""

    app: str
    path: str
    options: Sequence[str] = ()
    environ: Mapping[str, str] = field(default_factory=dict)


def reports(plan: Plan) -> list[Line]:
    """Measure the list of examples/reports, a service as people run one, with its policies in both arms."""
    with tempfile.TemporaryDirectory(prefix="roadworthy-bench-") as made:
        environ = {
            "REPORTS_DATABASE": f"sqlite:///{made}/reports.db",
            "REPORTS_SPOOL": f"{made}/spool",
        }
        prepare = [python(), "-m", "benchmarks.programs.reports", environ["REPORTS_DATABASE"]]
        subprocess.run(prepare, check=True, cwd=ROOT, env={**os.environ, **environ})
        return _measure(plan, "reports", Served("benchmarks.programs.reports_app:app", "/reports", (), environ))


def web(plan: Plan) -> list[Line]:
    """Measure a request that queries a database and answers JSON, uvicorn's access log on, as it is by default."""
    return _measure(plan, "web", Served("benchmarks.programs.web:app", "/items/7"))


def web_minimal(plan: Plan) -> list[Line]:
    """Measure a request that does nothing, without access log: no request is cheaper, so no share of ours is larger."""
    return _measure(plan, "web-minimal", Served("benchmarks.programs.web:app", "/", ("--no-access-log",)))


def _measure(plan: Plan, what: str, served: Served) -> list[Line]:
    plan.say(f"{what}: how fast it goes")
    seconds = plan.pick(3, 1)
    full = _one(served, rate=0.0, closed=seconds, opened=0, attached=False, beside=plan.beside)["rate"]
    rate = SHARE * full
    calm = plan.pick(4, 2)
    plain, attached = pairs(
        plan,
        what,
        lambda under: _one(served, rate=rate, closed=seconds, opened=calm, attached=under, beside=plan.beside),
    )
    return [
        lost(
            f"{what}: requests/s lost at saturation ({CONNECTIONS} connections)", "rate", plain, attached, "requests/s"
        ),
        grown(f"{what}: p99 at {rate:.0f} requests/s", "p99", plain, attached, "ms"),
        grown(f"{what}: median at {rate:.0f} requests/s", "p50", plain, attached, "ms", budget=None),
        grown(f"{what}: CPU time a request, in the program", "cpu_per_request", plain, attached, "ms", budget=None),
        Line(f"{what}: keeper and agent, share of a core", estimate([[one["beside"] for one in attached]]), "%"),
    ]


def _one(served: Served, *, rate: float, closed: float, opened: float, attached: bool, beside: str) -> Figures:
    """Start the server, load it, end it; raises NotMeasured when a single request failed."""
    port = _free_port()
    argv = [python(), "-m", "uvicorn", served.app, "--host", HOST, "--port", str(port), *served.options]
    name = application("web") if attached else ""
    environ = dict(served.environ) | ({} if attached else {"ROADWORTHY_ENABLED": "0"})
    with running(arranged(argv, name=name), name=name, environ=environ) as server:
        wait_until("it listens", lambda: _listens(port), server)
        if attached:
            up = set_free if beside == "free" else Running.said_by_agent
            wait_until("the agent is up", lambda: bool(up(server)), server)
        sleep(SETTLE)
        out = server.folder / "load.json"
        sizes = ["--path", served.path, "--connections", str(CONNECTIONS), "--closed", str(closed)]
        if opened:
            sizes += ["--rate", str(rate), "--open", str(opened)]
        client = [python(), "-m", "benchmarks.load", "--port", str(port), *sizes, "--out", str(out)]
        began, used = monotonic(), _used_beside(server)
        with running(pinned(CLIENT_CPU, client)) as load:
            finish(load, 60)
        share = (_used_beside(server) - used) / (monotonic() - began)
        found: dict[str, float | None] = json.loads(out.read_bytes())
    if found["errors"]:
        raise NotMeasured(f"{found['errors']} requests failed, attached: {attached}")
    found["beside"] = share
    return {name: value for name, value in found.items() if value is not None and name not in {"pid", "errors"}}


def _used_beside(server: Running) -> float:
    """Return the CPU time that keeper and agent have used; nothing for a plain program, which has none."""
    pids = (server.said_by_keeper().get("pid"), server.said_by_agent().get("pid"))
    return sum(cpu_seconds(int(pid)) for pid in pids if pid is not None)


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
