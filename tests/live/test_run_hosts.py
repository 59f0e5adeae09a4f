"""Unmodified web servers under ``roadworthy run``: what is shown is what the load client counted."""

from __future__ import annotations

import os
import signal as signals
from pathlib import Path

import pytest

from live.hosts.kit import (
    PYTHON,
    agree,
    by_status,
    count,
    counted,
    figures,
    free_port,
    never_came,
    received,
    running,
    signal,
    totals,
)
from support import load

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]

PATHS = ["/", "/item/1", "/item/22", "/broken", "/nowhere"] * 40
"""Of five requests one fails, one finds nothing, and two write a log line."""

WEB = {"requests", "logs", "errors", "output", "gc"}
"""What a web application that was not changed lets us receive, at the least."""


def gunicorn(port, *more):
    return [PYTHON, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", "--no-control-socket", *more, "flask_shop:app"]


def uvicorn(port, *more):
    return [PYTHON, "-m", "uvicorn", "--port", str(port), *more, "starlette_shop:app"]


def aiohttp(port):
    return [PYTHON, "aiohttp_shop.py", str(port)]


def shop_agrees(snapshot, counts, template):
    """Assert that routes, errors and log lines are the client's."""
    requests = figures(snapshot, "http.server.request.duration")
    items = counts.path("/item/1") + counts.path("/item/22")
    assert count(requests, http__route=template, http__response__status_code=200) == items
    assert count(requests, http__route="/broken", http__response__status_code=500) == counts.status(500)
    assert count(requests, http__route="/", http__response__status_code=200) == counts.path("/")
    assert count(requests, http__route="other", http__response__status_code=404) == counts.status(404)
    assert count(figures(snapshot, "log.records"), logger="shop.orders", level="warning") == items
    assert signal(snapshot, "logs", "shop") == items
    assert count(figures(snapshot, "errors"), type="ValueError") == counts.status(500)
    assert [(one["type"], one["count"]) for one in snapshot["errors"]] == [("ValueError", counts.status(500))]
    assert signal(snapshot, "requests") == counts.requests
    assert sum(one["count"] for one in snapshot["operations"]) == counts.requests
    assert sum(one["failures"] for one in snapshot["operations"]) == counts.status(500)


def test_http_server(tmp_path):
    port = free_port()
    command = [PYTHON, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with running(tmp_path / "home", command) as run:
        counts = load.ask(port, ["/flask_shop.py", "/missing"] * 100)
        snapshot = agree(run, counts)
        assert counts.status(200) == counts.status(404) == 100
        assert snapshot["verdict"]["status"] == "ok"
        assert snapshot["verdict"]["ready"] is True
        assert snapshot["workers"][0]["injected"] is True
        assert received(snapshot) == {"requests", "output", "gc"}
        assert never_came(snapshot) == set()
        (start,) = snapshot["startups"]
        assert [step["label"] for step in start["steps"]][:1] == ["listening"], "nobody waited for it to be of some age"
    lines = [line for line in run.text().splitlines() if '"GET /' in line]
    assert len(lines) == counts.requests
    assert totals(run) == {200: 100, 404: 100}


def test_flask_on_gunicorn_with_four_workers(tmp_path):
    port = free_port()
    with running(tmp_path / "home", gunicorn(port, "-w", "4"), "--port", str(port)) as run:
        counts = load.ask(port, PATHS, clients=6)
        who = load.ask(port, ["/who"] * 120, clients=8)
        pids = {int(body) for _, body in who.bodies}
        counts.add(who)
        snapshot = agree(run, counts)
        shop_agrees(snapshot, counts, "/item/<int:number>")
        worker = snapshot["workers"][0]
        assert len(snapshot["workers"]) == 1
        assert len(pids) == 4, "all four of gunicorn's workers answered, and their figures are one"
        assert not pids & {snapshot["agent_pid"], snapshot["keeper_pid"], worker["pid"], os.getpid()}
        assert {parent_of(pid) for pid in pids} == {worker["pid"]}
        assert {one["pid"] for one in snapshot["events"] if one["source"] == "shop.orders"} <= pids
        assert snapshot["verdict"]["reason"].startswith("work: 12% of the work fails")
        assert received(snapshot) == WEB
        assert never_came(snapshot) == set()
    assert totals(run) == by_status(snapshot)


def test_starlette_on_uvicorn(tmp_path):
    port = free_port()
    with running(tmp_path / "home", uvicorn(port)) as run:
        counts = load.ask(port, PATHS)
        snapshot = agree(run, counts)
        shop_agrees(snapshot, counts, "/item/{number:int}")
        logs = figures(snapshot, "log.records")
        assert count(logs, logger="uvicorn.access", level="info") == counts.requests
        assert count(logs, logger="uvicorn.error", level="error") == counts.status(500)
        assert received(snapshot) == WEB | {"event loop", "runtime thread"}
        assert never_came(snapshot) == set()
        assert snapshot["verdict"]["reason"].startswith("work: 20% of the work fails")
    assert totals(run) == by_status(snapshot)


def test_an_aiohttp_application(tmp_path):
    port = free_port()
    with running(tmp_path / "home", aiohttp(port), "--port", str(port)) as run:
        counts = load.ask(port, PATHS)
        snapshot = agree(run, counts)
        shop_agrees(snapshot, counts, "/item/{number}")
        assert received(snapshot) == WEB | {"event loop", "runtime thread"}
        assert never_came(snapshot) == set()
    assert totals(run) == by_status(snapshot)


SHARING = {
    "http.server": lambda port: [PYTHON, "-m", "http.server", str(port)],
    "uvicorn": uvicorn,
    "aiohttp": aiohttp,
    "gunicorn": lambda port: gunicorn(port, "-w", "1"),
}


@pytest.mark.parametrize("name", SHARING)
def test_three_workers_share_the_port_and_one_of_them_may_be_killed(tmp_path, name):
    port = free_port()
    with running(tmp_path / "home", SHARING[name](port), "--port", str(port), "--workers", "3") as run:
        counts = load.ask(port, ["/"] * 150, clients=6, keep=False)
        snapshot = counted(run, counts)
        before = [one["pid"] for one in snapshot["workers"]]
        assert [one["slot"] for one in snapshot["workers"]] == [0, 1, 2]
        assert all(one["injected"] for one in snapshot["workers"])
        assert snapshot["agent_pid"] not in before
        assert snapshot["verdict"]["reason"] == "3 of 3 workers ready, nothing is wrong"
        os.kill(before[0], signals.SIGKILL)  # what it was answering is lost; what others hold and what waits is not
        run.until(
            lambda s: s["workers"][0]["pid"] not in {None, before[0]} and s["workers"][0]["state"] == "ready",
            "the killed worker is replaced",
        )
        counts.add(load.ask(port, ["/"] * 150, clients=6, keep=False))
        snapshot = agree(run, counts)
        assert [one["pid"] for one in snapshot["workers"]][1:] == before[1:]
        assert [one["restarts"] for one in snapshot["workers"]] == [1, 0, 0]
    assert totals(run) == {200: 300}


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
