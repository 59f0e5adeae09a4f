"""What the requirement lists ask for and only a real run can show: reports, baseline, sampling, starts, settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from support.running import ROADWORTHY, Running, wait_for

pytestmark = pytest.mark.live

PROGRAM = [sys.executable, str(Path(__file__).parent / "hosts" / "measured.py")]


def command(running, *words, fails=False):
    """Return what a command of ours printed about the running program."""
    done = subprocess.run(
        [*ROADWORTHY, *words], env=running.env, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode != 0) is fails, done.stderr
    return done.stdout + done.stderr if fails else done.stdout


def extracted(snapshot, least=40):
    return next((one for one in snapshot["operations"] if one["name"] == "extraction" and one["count"] >= least), None)


def turns(snapshot):
    return next((one["value"] for one in snapshot["series"] if one["name"] == "loop.turns"), 0)


HANG_AFTER = 3.0


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """One run that is only asked: nobody changes it."""
    place = tmp_path_factory.mktemp("measured")
    data = place / "data"
    data.mkdir()
    (data / "rows").write_bytes(b"x" * 12345)
    options = ["--check-every", "1s", "--data-dir", str(data), "--check", "secrets=env://HOME,NOT_SET_ANYWHERE",
               "--report-every", "3s", "--hang-after", f"{HANG_AFTER:g}s"]  # fmt: skip
    with Running(place / "home", PROGRAM, options=options) as made:
        made.agent()
        yield made


def test_the_figures_of_a_run_are_in_every_output(running):
    snapshot = running.until(
        lambda one: extracted(one) and any(found["name"] == "world.entities" for found in one["series"]),
        "work is measured and the collector was asked",
    )
    report = running.get("/api/performance/report")
    assert {step["label"] for step in report["startup"]["steps"]} == {"initialized", "database_connected", "ready"}
    assert report["resources"]["cache_hit_rates"]["tiles.cache.hit_rate"] == 0.93
    assert any(one["operation"] == "trivial" for one in report["hints"])
    assert report["memory_impact"][0]["operation"] == "extraction"
    assert sum(count for _, count in report["errors"]["groups"][0]["per_minute"]) > 0
    assert report["usage"]["features"]["batch"]["count"] > 0
    assert "hunter2" not in json.dumps(running.snapshot()) + json.dumps(report)
    series = {one["name"]: one["value"] for one in snapshot["series"]}
    assert series["world.entities"] == 42
    text = metrics(running)
    assert "\nworld_entities 42" in text
    assert "\nroadworthy_pid{" in text
    running.until(lambda _one: data_bytes(running), "the directory is measured", 90)
    assert data_bytes(running) == 12345.0
    exported = json.loads(command(running, "export", "app", "--path", "-"))
    assert any(one["name"] == "world.entities" for one in exported["series"])
    assert "world" in attempt(running, "status", "app", "--signals")
    assert f"pid {exported['agent_pid']}" in attempt(running, "status", "app", "--self")


def metrics(running):
    told = json.loads((running.run_dir / "agent.json").read_text())
    with urllib.request.urlopen(told["url"].rstrip("/") + "/metrics", timeout=5) as answer:  # noqa: S310 - our own agent
        return answer.read().decode()


def data_bytes(running):
    gauges = running.snapshot()["gauges"]
    return next((value for name, value in gauges.items() if name.startswith("data.bytes{") and value is not None), None)


def test_settings_that_are_missing_make_the_program_unready_by_name(running):
    snapshot = running.until(lambda one: any(check["outage"] for check in one["checks"]), "the outage is seen", 20)
    (check,) = [check for check in snapshot["checks"] if check["outage"]]
    assert (check["name"], check["detail"]) == ("secrets", "not set: NOT_SET_ANYWHERE")
    assert snapshot["verdict"]["ready"] is False


def test_an_event_loop_that_has_ended_and_the_loops_of_our_own_checks_are_no_hang(running):
    running.until(extracted, "work is measured")
    until = time.monotonic() + HANG_AFTER + 2  # longer than --hang-after, and a tick
    pid = running.worker_pid()
    while time.monotonic() < until:
        snapshot = running.snapshot()
        (worker,) = snapshot["workers"]
        assert (worker["liveness"], worker["restarts"], worker["pid"]) == ("working", 0, pid), worker["reason"]
        time.sleep(0.5)
    assert snapshot["incidents"] == []


def test_reports_are_written_by_themselves_and_by_command(running, tmp_path):
    folder = running.state_dir / "reports"
    wait_for(lambda: len(list(folder.glob("*.txt"))) >= 2, "two reports are written", 30)
    newest = max(folder.glob("*.txt")).read_text()
    assert "Operations, worst first" in newest
    assert json.loads(max(folder.glob("*.json")).read_text())["app"] == "app"
    assert "Trends over 1 h" in command(running, "report", "app")
    path = Path(command(running, "report", "app", "--json", "--path", str(tmp_path / "out")).strip())
    assert json.loads(path.read_text())["schema"] == 1
    every = subprocess.Popen(
        [*ROADWORTHY, "export", "app", "--path", str(tmp_path / "kept"), "--every", "1s"],
        env=running.env, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        wait_for(lambda: len(list((tmp_path / "kept").glob("metrics_*.json"))) >= 2, "two exports are written")
    finally:
        every.terminate()
        every.communicate(timeout=10)


def test_a_baseline_is_taken_and_compared_by_command(running):
    assert "no baseline was taken yet" in command(running, "baseline", "app")
    wait_for(lambda: "now holds" in attempt(running, "baseline", "app", "--take"), "the baseline is taken", 30)
    told = json.loads(command(running, "baseline", "app", "--json"))
    assert any(one["figure"] == "app.rss" for one in told["figures"])


def attempt(running, *words):
    done = subprocess.run(
        [*ROADWORTHY, *words], env=running.env, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout


def test_another_process_reads_the_programs_state_in_one_line(running):
    running.until(extracted, "work is measured")
    line = (
        "from roadworthy.view.monitor import Monitor; import json; m = Monitor('app'); "
        "print(json.dumps([m.health_status(), m.metrics()['resources'], m.snapshot().workers[0].pid])); "
        "m.print_status()"
    )
    done = subprocess.run(
        [sys.executable, "-c", line], env=running.env, capture_output=True, text=True, timeout=60, check=True
    )
    status, resources, pid = json.loads(done.stdout.splitlines()[0])
    assert {"status", "checks", "degraded", "breakers", "timestamp"} <= set(status)
    assert resources["rss"] > 1_000_000
    assert pid == running.worker_pid() != os.getpid()
    assert "extraction" in done.stdout


def test_starts_are_remembered_over_runs_also_of_programs_that_mark_none(tmp_path):
    for run in (1, 2):
        with Running(tmp_path / "home", PROGRAM) as running:
            running.agent()
            running.until(lambda one, run=run: len([s for s in one["startups"] if s["total"]]) >= run, f"start {run}")
    told_of = [sys.executable, "-c", "import time; time.sleep(60)"]
    with Running(tmp_path / "home", told_of, name="plain") as running:
        running.agent()
        running.until(lambda one: one["startups"], "the start of a program that marks none")
        (start,) = running.get("/api/performance/startup/stats")["starts"]
        assert start["total"] > 0
    with Running(tmp_path / "home", PROGRAM) as running:
        running.agent()
        told = wait_for(lambda: found if (found := stats(running))["finished"] >= 3 else None, "three starts")
    assert told["count"] == 3
    assert {step["label"] for step in told["steps"]} >= {"initialized", "database_connected", "ready"}
    assert {step["label"]: step["count"] for step in told["steps"]}["database_connected"] == 3


def stats(running):
    return running.get("/api/performance/startup/stats")


def test_sampled_operations_and_errors_are_still_counted_right(tmp_path):
    options = ["--sample-performance", "0.25", "--sample-errors", "0.1"]
    with Running(tmp_path / "home", PROGRAM, options=options) as running:
        running.agent()
        snapshot = running.until(lambda one: turns(one) >= 300, "three hundred turns", 60)
        count = extracted(snapshot)["count"]
        errors = next(one["value"] for one in snapshot["series"] if one["name"] == "errors")
        assert count == pytest.approx(turns(snapshot), abs=30)
        assert errors == pytest.approx(turns(snapshot) / 5, abs=3)
        kept = [one for one in snapshot["events"] if one["kind"] == "error"]
        assert 1 <= len(kept) < errors / 2
        assert "some errors will be counted and not kept" in running.text()


@pytest.mark.parametrize(("options", "seen"), [((), {"warning"}), (("--log-level", "info"), {"warning", "info"})])
def test_the_log_level_that_the_operator_asks_for_is_the_root_loggers(tmp_path, options, seen):
    text = "import logging, time; logging.info('told'); logging.debug('not told'); logging.warning('w'); time.sleep(60)"
    with Running(tmp_path / "home", [sys.executable, "-c", text], options=options) as running:
        running.agent()
        snapshot = running.until(
            lambda one: any(found["name"] == "log.records" for found in one["series"]), "records are counted"
        )
    levels = {found["labels"]["level"] for found in snapshot["series"] if found["name"] == "log.records"}
    assert levels == seen
