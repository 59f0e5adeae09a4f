"""Unmodified programs that serve nobody, or behave badly, under ``roadworthy run``: what is shown is what they did.

Whether a program of two seconds has a collection of its garbage in them is chance: that one kind may come or not.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from live.hosts.kit import (
    HOSTS,
    PYTHON,
    agree,
    count,
    figures,
    free_port,
    never_came,
    received,
    running,
    signal,
    totals,
)
from roadworthy.errors import EXIT_USAGE
from support import load
from support.running import ROADWORTHY, wait_for

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]

# What measures the tests writes its findings through sqlite3 when a process of the program ends; that is seen too.
MEASURING = {"client calls"} if any(name.startswith("COVERAGE") for name in os.environ) else set()


def logged(snapshot, logger):
    return count(figures(snapshot, "log.records"), logger=logger, level="warning")


def lines(run, start):
    return [line for line in run.text().splitlines() if line.startswith(start)]


def test_a_frame_loop(tmp_path):
    with running(tmp_path / "home", [PYTHON, "frame_loop.py", "100"]) as run:
        wait_for(lambda: len(lines(run, "frame ")) == 110, "a hundred frames are printed, ten of them logged as well")
        snapshot = run.until(lambda s: signal(s, "output") >= size(lines(run, "frame ")), "all output is counted")
        assert signal(snapshot, "output") == size(lines(run, "frame "))
        assert logged(snapshot, "game.loop") == signal(snapshot, "logs", "game") == 10
        assert snapshot["workers"][0]["injected"] is True
        assert snapshot["workers"][0]["liveness"] == "idle_or_busy", "it declares nothing, so nothing is known"
        assert received(snapshot) - {"gc"} == {"logs", "output"}
        assert never_came(snapshot) == set()
        assert snapshot["verdict"]["status"] == "ok"


def size(found):
    return sum(len(line) + 1 for line in found)


def test_a_shell_script(tmp_path):
    with running(tmp_path / "home", ["./lines.sh", "400"]) as run:
        wait_for(lambda: len(lines(run, "out ")) + len(lines(run, "err ")) == 600, "all lines are passed on")
        snapshot = run.until(lambda s: signal(s, "output") >= size(lines(run, "out ") + lines(run, "err ")), "counted")
        worker = snapshot["workers"][0]
        assert (worker["injected"], worker["inject_reason"]) == (False, "sh is no Python interpreter")
        assert received(snapshot) == {"output"}
        assert never_came(snapshot) == set()
        assert signal(snapshot, "output") == size(lines(run, "out ")) + size(lines(run, "err "))
    assert lines(run, "out ") == [f"out {n}" for n in range(400)]
    assert lines(run, "err ") == [f"err {n}" for n in range(0, 400, 2)]


def test_a_program_that_forks(tmp_path):
    with running(tmp_path / "home", [PYTHON, "forks.py", "20"]) as run:
        # "parent before" once, "parent after" by the parent alone, twenty by each of four.
        snapshot = run.until(lambda s: logged(s, "family.member") == 82, "all members have logged")
        assert logged(snapshot, "family.member") == signal(snapshot, "logs", "family") == 82
        assert snapshot["resources"]["processes"] == 5
        assert len(snapshot["workers"]) == 1
        assert received(snapshot) - {"gc"} == {"logs", "output"}
        pids = {one["pid"] for one in snapshot["events"] if one["source"] == "family.member"}
        assert len(pids) == 5
        assert snapshot["agent_pid"] not in pids
        assert snapshot["overhead"]["internal_errors"] == 0
    assert len(lines(run, "child ")) == 80


def test_a_program_that_forks_twice_and_becomes_a_daemon(tmp_path):
    port = free_port()
    with running(tmp_path / "home", [PYTHON, "double_fork.py", str(port)]) as run:
        counts = load.ask(port, ["/lines.sh", "/missing"] * 50)
        snapshot = agree(run, counts)
        worker = snapshot["workers"][0]
        assert logged(snapshot, "daemon") == 1
        assert worker["state"] == "ready"
        # One, or two while the process between them had not ended yet when its parent did.
        assert re.match(r"daemonized: its main process ended, [12] of its processes live on", worker["reason"])
        assert worker["restarts"] == 0
        assert received(snapshot) - MEASURING == {"requests", "logs", "output", "gc"}
        assert snapshot["verdict"]["status"] == "ok"
        assert snapshot["resources"]["processes"] == 1
    assert totals(run) == {200: 50, 404: 50}


def test_a_program_that_closes_its_standard_output(tmp_path):
    with running(tmp_path / "home", [PYTHON, "closes_stdout.py", "120"]) as run:
        snapshot = run.until(lambda s: logged(s, "quiet") >= 120, "all lines are logged")
        assert logged(snapshot, "quiet") == 120
        assert received(snapshot) - {"gc"} == {"logs", "output"}
        assert snapshot["workers"][0]["restarts"] == 0
    assert lines(run, "the last") == ["the last line"]
    assert len(lines(run, "line ")) == 120


def test_a_program_that_closes_all_descriptors_finds_nothing_foreign_in_the_files_that_it_opens_then(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    with running(tmp_path / "home", [PYTHON, "closes_all.py", str(folder), "120"]) as run:
        snapshot = run.until(lambda s: logged(s, "closer") >= 120, "all lines are logged")
        assert logged(snapshot, "closer") == 120
        assert received(snapshot) - {"gc"} == {"logs"}, "nobody sees output where there is no descriptor for it"
        asked = subprocess.run([*ROADWORTHY, "stacks", "app"], env=run.env, capture_output=True, text=True, check=True)
        assert "no stacks: " in asked.stdout, "its descriptor is somebody else's file now: no signal is sent"
        assert run.snapshot()["workers"][0]["restarts"] == 0
    assert {file.read_bytes() for file in folder.iterdir()} == {b"x"}
    assert len(list(folder.iterdir())) == 200


def test_a_program_that_prints_200_mb_without_a_newline(tmp_path):
    size = 3200 * 65536
    with running(tmp_path / "home", [PYTHON, "floods.py", str(size)]) as run:
        wait_for(lambda: run.output.stat().st_size > size and b"done" in run.output.read_bytes(), "all is passed on")
        held = wait_for(lambda: (n := disk(run.arena_dir)) < 16 << 20 and n, "what was passed on is given back")
        snapshot = run.until(lambda s: signal(s, "output") >= size, "all of it is counted")
        assert signal(snapshot, "output") == size + len("done\n")
        assert received(snapshot) - {"gc"} == {"output"}
        assert snapshot["verdict"]["status"] == "ok"
        assert snapshot["overhead"]["agent_rss"] < 80 << 20
        assert snapshot["overhead"]["keeper_rss"] < 24 << 20
        assert held < 16 << 20
    assert letters(run.output) == size
    run.output.unlink()


def disk(folder):
    return sum(path.stat().st_blocks * 512 for path in folder.iterdir())


def letters(path):
    """Return how many of the program's letters were passed on; what we say ourselves goes to the same file."""
    data = path.read_bytes()
    said = [line for line in data.splitlines() if b"dashboard http" in line]
    return data.count(b"x") - sum(line.lstrip(b"x").count(b"x") for line in said)


# -- where the runtime goes, and where not

VERSIONS = {"3.12": "3.12.1", "3.13": "3.13.0"}


def interpreter(version):
    """Return another Python of this machine; the test is skipped where there is none."""
    found = Path.home() / f".pyenv/versions/{version}/bin/python{'.'.join(version.split('.')[:2])}"
    if not found.exists():
        pytest.skip(f"needs Python {version}, which is not on this machine")
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_a_program_in_another_virtual_environment_and_python_version(tmp_path, version):
    venv = tmp_path / "venv"
    subprocess.run([interpreter(VERSIONS[version]), "-m", "venv", "--without-pip", str(venv)], check=True)
    (venv / f"lib/python{version}/site-packages/only_there.py").write_text((HOSTS / "only_there.txt").read_text())
    port = free_port()
    command = [str(venv / "bin/python"), "-m", "only_there", str(port)]
    with running(tmp_path / "home", command, "--port", str(port)) as run:
        counts = load.ask(port, ["/", "/broken"] * 50)
        snapshot = agree(run, counts)
        worker = snapshot["workers"][0]
        assert (worker["injected"], worker["python"]) == (True, VERSIONS[version])
        assert counts.bodies["/", str(venv.name)] == 50, "it runs in its own environment"
        assert counts.status(200) == counts.status(500) == 50
        assert logged(snapshot, "only.there") == 50
        assert received(snapshot) == {"requests", "logs", "output", "gc"}
        assert "error" not in run.text().lower()
    assert totals(run) == {200: 50, 500: 50}


def without(tmp_path, python, *options, before=()):
    """Run ``http.server`` where the runtime cannot be; returns the snapshot after some requests."""
    port = free_port()
    command = [str(python), *before, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with running(tmp_path / "home", command, *options) as run:
        # Nothing tells when such a program listens: ready means that it lives.
        wait_for(lambda: load.ask(port, ["/lines.sh"], clients=1).requests == 1, "it answers")
        assert load.ask(port, ["/lines.sh", "/missing"] * 20).failures == []
        wait_for(lambda: len(its_log(run)) == 61, "a line for each of 41 requests, two for those that found nothing")
        snapshot = run.until(lambda s: signal(s, "output") >= size(its_log(run)), "its own log is counted")
        assert snapshot["workers"][0]["injected"] is False
        assert received(snapshot) == {"output"}
        assert never_came(snapshot) == set()
        assert [one for one in snapshot["series"] if one["name"].startswith("http.")] == []
        assert snapshot["verdict"]["status"] == "ok"
        return snapshot["workers"][0]


def its_log(run):
    return lines(run, "127.0.0.1 - - [")


def test_no_inject_keeps_the_runtime_out(tmp_path):
    worker = without(tmp_path, PYTHON, "--no-inject")
    assert worker["inject_reason"] == "--no-inject keeps our runtime out"


def test_an_older_python_runs_without_the_runtime_and_says_so(tmp_path):
    worker = without(tmp_path, interpreter("3.10.13"))
    assert worker["inject_reason"] == "Python 3.10 is older than 3.11"
    assert worker["python"] == "3.10.13"


def test_an_isolated_python_runs_without_the_runtime_and_says_so(tmp_path):
    worker = without(tmp_path, PYTHON, before=["-I"])
    assert worker["inject_reason"] == "python -I ignores PYTHONPATH, by which the runtime comes in"


@pytest.mark.parametrize(
    ("command", "options", "why"),
    [
        (["./lines.sh", "1"], [], "not started by a Python interpreter"),
        ([PYTHON, "-I", "frame_loop.py", "1"], [], "Python is started with -I"),
        ([PYTHON, "frame_loop.py", "1"], ["--no-inject"], "--no-inject keeps our runtime out"),
    ],
)
def test_three_workers_are_refused_a_port_that_they_could_not_share(tmp_path, command, options, why):
    port = free_port()
    told = subprocess.run(
        [*ROADWORTHY, "run", "--workers", "3", "--port", str(port), *options, "--", *command],
        env={**os.environ, "ROADWORTHY_HOME": str(tmp_path)},
        cwd=HOSTS,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert told.returncode == EXIT_USAGE
    assert f"3 workers cannot share port {port}" in told.stderr
    assert why.lower() in told.stderr.lower()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
