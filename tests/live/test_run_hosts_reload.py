"""Reload and restart while a closed-loop client asks: what is replaced without a gap, and what a restart costs."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from live.hosts.kit import PYTHON, agree, count, figures, free_port, running, totals
from support import load
from support.running import ROADWORTHY, wait_for

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]


def verb(run, *words):
    done = subprocess.run([*ROADWORTHY, *words], env=run.env, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def generations(snapshot):
    return [one["generation"] for one in snapshot["workers"]]


def replaced(run, generation, before):
    """Wait until every slot has this generation, ready, and nothing of those before lives."""
    snapshot = run.until(
        lambda s: generations(s) == [generation] * len(before) and all(one["state"] == "ready" for one in s["workers"]),
        f"generation {generation} is ready",
        45,
    )
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before), "the ones before have ended")
    return snapshot


COMMANDS = {
    "uvicorn": lambda port: [PYTHON, "-m", "uvicorn", "--port", str(port), "starlette_shop:app"],
    "gunicorn": lambda port: [
        *[PYTHON, "-m", "gunicorn", "-k", "gthread", "--threads", "2", "-b", f"127.0.0.1:{port}"],
        *["--no-control-socket", "flask_shop:app"],
    ],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_rolling_reload_of_two_workers_fails_no_request(tmp_path, name, record_property):
    port = free_port()
    with running(tmp_path / "home", COMMANDS[name](port), "--port", str(port), "--workers", "2") as run:
        first = [one["pid"] for one in run.snapshot()["workers"]]
        with (
            load.Asking(port, ["/", "/item/1", "/who"], clients=3) as kept,
            load.Asking(port, ["/", "/item/2"], clients=2, keep=False) as fresh,
        ):
            wait_for(lambda: kept.so_far > 50 and fresh.so_far > 50, "the load runs")
            assert "has begun" in verb(run, "reload", "app")
            second = [one["pid"] for one in replaced(run, 2, first)["workers"]]
            seen = kept.so_far + fresh.so_far
            wait_for(lambda: kept.so_far + fresh.so_far > seen + 50, "the load goes on")
        kept.counts.add(fresh.counts)
        print(f"\nreload of {name}: {kept.counts}")
        record_property("reload", str(kept.counts))
        assert kept.counts.failures == []
        assert kept.counts.again == 0
        assert kept.counts.status(200) == kept.counts.requests
        assert not set(first) & set(second)
        snapshot = agree(run, kept.counts)
        items = kept.counts.path("/item/1") + kept.counts.path("/item/2")
        assert count(figures(snapshot, "log.records"), logger="shop.orders") == items
        assert snapshot["incidents"] == [], "a reload is no incident"
        assert (snapshot["verdict"]["status"], snapshot["verdict"]["ready"]) == ("ok", True), "and no trouble"
    assert totals(run) == {200: kept.counts.requests}


RESTARTED = {
    **COMMANDS,
    "gunicorn sync": lambda port: [
        *[PYTHON, "-m", "gunicorn", "-w", "2", "-b", f"127.0.0.1:{port}", "--no-control-socket", "flask_shop:app"],
    ],
}


@pytest.mark.parametrize("name", RESTARTED)
def test_a_restart_of_two_workers_answers_everything_that_it_accepted(tmp_path, name, record_property):
    port = free_port()
    with running(tmp_path / "home", RESTARTED[name](port), "--port", str(port), "--workers", "2") as run:
        first = [one["pid"] for one in run.snapshot()["workers"]]
        with (
            load.Asking(port, ["/", "/item/1"], clients=3, keep=False) as fresh,
            load.Asking(port, ["/", "/who"], clients=2) as kept,
        ):
            wait_for(lambda: fresh.so_far > 50 and kept.so_far > 20, "the load runs")
            verb(run, "restart", "app")
            began = time.monotonic()
            replaced(run, 2, first)
            took = time.monotonic() - began
            seen = fresh.so_far
            wait_for(lambda: fresh.so_far > seen + 50, "the load goes on")
        fresh.counts.add(kept.counts)
        print(f"\nrestart of {name} in {took:.2f} s: {fresh.counts}")
        record_property("restart", str(fresh.counts))
        assert fresh.counts.failures == []
        assert fresh.counts.again == 0
        assert fresh.counts.status(200) == fresh.counts.requests
        snapshot = agree(run, fresh.counts)
        assert snapshot["incidents"] == [], "a restart that was asked for is no incident"
        assert [one["restarts"] for one in snapshot["workers"]] == [1, 1]
    assert totals(run) == {200: fresh.counts.requests}


def test_an_old_worker_serves_until_its_successor_listens_however_long_that_takes_to_import(tmp_path, pace):
    port = free_port()
    command = [PYTHON, "-m", "uvicorn", "--port", str(port), "slow_shop:app"]
    with running(tmp_path / "home", command, "--port", str(port)) as run:
        first = [one["pid"] for one in run.snapshot()["workers"]]
        began = time.monotonic()
        with load.Asking(port, ["/"], clients=2, keep=False) as asking:
            wait_for(lambda: asking.so_far > 50, "the load runs")
            verb(run, "reload", "app")
            replaced(run, 2, first)
        assert asking.counts.failures == []
        assert max(asking.counts.latencies) < 2.0 + pace.lost(began), "nobody waited for an import of 2.5 s"
        agree(run, asking.counts)
    assert totals(run) == {200: asking.counts.requests}
