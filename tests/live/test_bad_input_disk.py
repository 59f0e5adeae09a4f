"""A really full file system under each of our directories: at the start, and while a program runs."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from support.refused import environment, files, one_error, processes, roadworthy
from support.running import ROADWORTHY, Running, start_ticks, wait_for

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]

SIZE = 12 << 20

PROGRAM = """
import sys, time
import roadworthy as rw
n = 0
while True:
    n += 1
    with rw.operation("work"):
        print("line", n, "x" * 200, flush=True)
    time.sleep(0.01)
"""


@pytest.fixture
def home(tmp_path):
    """A home whose directories can be put on small file systems of their own by the function that is returned."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    place = tmp_path / "home"
    mounted: list[Path] = []

    def mount(part: str) -> Path:
        path = place / part
        path.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", str(path)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"mounting a tmpfs is not allowed here: {done.stderr.strip()}")
        mounted.append(path)
        return place

    yield mount
    for path in mounted:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill(part: Path) -> Path:
    """Take all the room that is left."""
    ballast = part / "ballast"
    with ballast.open("ab") as file:
        for size in (1 << 20, 1 << 16, 4096):
            try:
                while True:
                    os.write(file.fileno(), b"x" * size)
            except OSError:
                continue
    return ballast


@pytest.mark.parametrize("part", ["arena", "run"])
def test_a_disk_that_is_full_at_the_start_is_one_error_and_nothing_is_started(part, home, tmp_path):
    place = home(part)
    fill(place / part)
    started = tmp_path / "started"
    text = one_error(roadworthy(place, "run", "--name", "web", "--", "touch", str(started)), 5)
    assert "full" in text or "No space left" in text
    assert not started.exists()
    assert processes(place) == []
    assert files(place) == [f"{part}/ballast"] * (1 + (part in {"arena", "run"}))


def test_a_full_disk_refuses_a_pid_file_too(home, tmp_path):
    place = home("state")
    fill(place / "state")
    pid_file = place / "state/web.pid"
    text = one_error(roadworthy(place, "run", "--name", "web", "--pid-file", str(pid_file), "--", "true"), 5)
    assert "No space left" in text
    assert not pid_file.exists()


def test_a_full_state_directory_at_the_start_does_not_keep_the_program_from_running(home):
    place = home("state")
    ballast = fill(place / "state")
    with Running(place, [sys.executable, "-c", PROGRAM], name="web") as running:
        running.agent()
        seen = running.until(lambda s: "history" in subjects(s), "the missing history is shown")
        assert "disk" in subjects(running.until(lambda s: "disk" in subjects(s), "the full disk is shown"))
        assert seen["verdict"]["live"]
        ballast.unlink()
        running.until(lambda s: not subjects(s) & {"history", "state"}, "it recovers when there is room again")
        wait_for(
            lambda: running.get("/api/history?seconds=60&points=60&names=operations.rate")["series"],
            "the history is kept from then on",
        )


@pytest.mark.parametrize("part", ["state", "arena", "run"])
def test_a_disk_that_fills_up_does_not_harm_the_program_is_shown_and_recovers(part, home):
    place = home(part)
    with Running(place, [sys.executable, "-c", PROGRAM], name="web", options=["--restart", "never"]) as running:
        running.agent()
        running.until(lambda s: s["operations"], "it works")
        pid = running.worker_pid()
        ballast = fill(place / part)
        shown = {"state": "disk", "arena": "arena directory", "run": "run directory"}[part]
        full = running.until(lambda s: shown in subjects(s), "the full disk is shown")
        fill(place / part)
        work = full["operations"][0]["count"]
        running.until(lambda s: s["operations"][0]["count"] > work + 100, "the program works and prints on")
        ballast.unlink()
        running.until(lambda s: shown not in subjects(s), "it recovers when there is room again")
        assert running.worker_pid() == pid
        assert start_ticks(pid)
        lines = [line.split()[1] for line in running.text().splitlines() if line.startswith("line ")]
        assert lines == [str(n) for n in range(1, len(lines) + 1)], "an output line is missing"
        assert len(lines) > 100


def test_a_full_output_of_our_own_does_not_stop_the_program(home, tmp_path):
    place = home("elsewhere")
    out = place / "elsewhere/out"
    fill(place / "elsewhere")
    done_file = tmp_path / "done"
    with out.open("wb") as file:
        done = subprocess.run(
            [*ROADWORTHY, "run", "--restart", "never", "--", "sh", "-c", f"seq 1000; touch {done_file}; exit 3"],
            env=environment(tmp_path / "other"),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    assert done.returncode == 3
    assert done_file.exists()
    assert b"Traceback" not in done.stderr
    assert b"bytes of output were not read and are lost" in done.stderr


def subjects(snapshot: dict[str, Any]) -> set[str]:
    """Return what the verdict's findings are about."""
    return {finding["subject"] for finding in snapshot["verdict"]["findings"]}
