"""Logs under what really happens to programs: killed, many, on a full disk, asked while they run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from roadworthy.log import files
from support.running import ROADWORTHY, Running, wait_for

pytestmark = pytest.mark.live

KILLED = """
import os, sys, threading
from roadworthy import log
log.configure("web", json=True, directory=sys.argv[1], stream=None, rotate_bytes=20_000, keep=0)
logger = log.logger("app")
accepted = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def work(thread):
    number = 0
    while True:
        logger.info("line", thread_number=thread, number=number)
        os.write(accepted, b"%d %d\\n" % (thread, number))  # the call has returned
        number += 1
for thread in range(3):
    threading.Thread(target=work, args=(thread,), daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
"""

MANY = """
import sys
from roadworthy import log
log.configure("web", json=True, directory=sys.argv[1], stream=None, rotate_bytes=20_000, keep=0)
logger = log.logger("app")
for number in range(1500):
    logger.info("line", worker=sys.argv[2], number=number)
"""

FULL = """
import logging, os, sys
from roadworthy import log
made = log.configure("web", json=True, directory=sys.argv[1], stream=None)
logger = log.logger("app")
ballast = os.open(sys.argv[1] + "/ballast", os.O_WRONLY | os.O_CREAT)
try:
    while True:
        os.write(ballast, b"x" * 4096)
except OSError:
    pass
for number in range(300):
    logger.info("while it is full", number=number, filling="x" * 100)
    logging.getLogger("std").warning("while it is full %d", number)
assert made.lost > 500, made.lost
os.ftruncate(ballast, 0)
logger.info("there is room again")
print(made.lost)
"""


def entries(folder, name="web.log"):
    """Return all entries, and how many lines are none."""
    found = [Path(path) for path, _ in files.rotated(str(folder / name))]
    if (
        folder / name
    ).exists():  # a program that is killed while its file moves on leaves the next one to its successor
        found.append(folder / name)
    made, broken = [], 0
    for path in found:
        for line in path.read_bytes().splitlines():
            try:
                made.append(json.loads(line))
            except ValueError:
                broken += 1
    return made, broken


def is_busy(place):
    """Return whether enough was written for a kill to fall into the midst of it."""
    moved_on = len(files.rotated(str(place / "logs" / "web.log"))) > 1
    return moved_on and (place / "accepted").read_bytes().count(b"\n") > 100


@pytest.mark.parametrize("trial", range(3))
def test_no_line_whose_call_has_returned_is_lost_when_the_program_is_killed(tmp_path, trial):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "logs"), str(tmp_path / "accepted")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
        assert program.stdout.readline() == b"ready\n"
        wait_for(lambda: is_busy(tmp_path), "it writes, and files have moved on")
        time.sleep(random.uniform(0.0, 0.3))  # noqa: S311 - at any moment
        os.kill(program.pid, signal.SIGKILL)
    accepted = {tuple(map(int, line.split())) for line in (tmp_path / "accepted").read_text().splitlines()}
    written, broken = entries(tmp_path / "logs")
    found = [(entry["thread_number"], entry["number"]) for entry in written]
    assert len(accepted) > 100
    assert len(files.rotated(str(tmp_path / "logs" / "web.log"))) > 1, "it was killed while files moved on"
    assert accepted <= set(found)
    assert len(found) == len(set(found))
    assert broken == 0


def test_processes_that_write_one_file_lose_nothing_while_it_moves_on(tmp_path):
    programs = [subprocess.Popen([sys.executable, "-c", MANY, str(tmp_path), str(number)]) for number in range(4)]
    assert [program.wait(60) for program in programs] == [0] * 4
    written, broken = entries(tmp_path)
    assert (len(written), broken) == (6000, 0)
    assert len({(entry["worker"], entry["number"]) for entry in written}) == 6000
    assert len(files.rotated(str(tmp_path / "web.log"))) > 10


def test_a_full_disk_costs_lines_which_are_told_and_never_the_program(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    place = tmp_path / "tiny"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", str(place)]
    if (done := subprocess.run(mount, check=False, capture_output=True, text=True)).returncode:
        pytest.skip(f"mounting a tmpfs is not allowed here: {done.stderr.strip()}")
    try:
        done = subprocess.run([sys.executable, "-c", FULL, str(place)], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        written, broken = entries(place)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
    lost = int(done.stdout)
    assert done.stderr.count("No space left on device") == 1, done.stderr
    assert [entry["message"] for entry in written[-1:]] == ["there is room again"]
    told = [entry["message"] for entry in written if entry["logger"] == "roadworthy.log"]
    assert len(told) == 1
    assert told[0].startswith(f"{lost} log lines could not be written to ")
    assert broken <= 1, "at most the line that did not fit was cut"


def test_a_file_size_limit_is_survived_too(tmp_path):
    program = textwrap.dedent(
        """
        import resource, sys
        from roadworthy import log
        made = log.configure("web", json=True, directory=sys.argv[1], stream=None)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        for number in range(100):
            log.logger("app").info("line", number=number)
        print(made.lost)
        """
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 80
    assert "File too large" in done.stderr


RUNNING = """
import logging, os, time
from roadworthy import log
log.configure(json=True, stream=None, files=os.environ.get("FILES") == "1")
ours, theirs = log.logger("app.ours"), logging.getLogger("app.theirs")
number = 0
while True:
    number += 1
    with log.CorrelationContext(f"job-{number}"):
        ours.debug("detail", number=number)
        ours.info("turn", number=number, password="hunter22")
        theirs.warning("told by %s", "logging")
    time.sleep(0.05)
"""


@pytest.mark.parametrize("written", ["1", "0"], ids=["from files", "from the flight recorder"])
def test_logs_and_debug_reach_a_program_that_runs(tmp_path, written):
    command = [sys.executable, "-c", RUNNING]
    options = ["--workers", "2"] if written == "1" else []
    with Running(tmp_path / "home", command, options=options, env={"FILES": written}) as run:
        run.agent()
        run.until(lambda s: all(one["state"] == "ready" for one in s["workers"]), "they are ready")

        def roadworthy(*arguments):
            done = subprocess.run([*ROADWORTHY, *arguments], env=run.env, capture_output=True, text=True, check=True)
            return done.stdout

        def shown(*arguments):
            return [json.loads(line) for line in roadworthy("logs", "app", "--json", *arguments).splitlines()]

        found = wait_for(lambda: shown("--grep", "turn", "-n", "20"), "turns are shown")
        assert {entry["password"] for entry in found} == {"[redacted]"}
        if written == "1":
            wait_for(lambda: len({one["pid"] for one in shown("--grep", "turn", "-n", "50")}) == 2, "both workers")
        job = found[-1]["correlation_id"]
        both = wait_for(lambda: len(one := shown("--correlation", job)) >= 2 and one, "all of one job")
        assert {entry["logger"] for entry in both} == {"app.ours", "app.theirs"}
        assert not shown("--grep", "detail")

        said = roadworthy("debug", "app", "--logger", "app.ours", "--for", "3s")
        assert said == "logger 'app.ours' is set to debug for 3 s; then it goes back by itself\n"
        wait_for(lambda: shown("--grep", "detail"), "details are told")
        over = "logger 'app.ours' goes back to what the program gives it: its time is over"
        run.until(lambda s: any(one["text"] == over for one in s["events"]), "it has gone back")
        wait_for(lambda: not shown("--grep", "detail", "--since", "1s"), "no details are told any more")


def test_following_shows_what_comes(tmp_path):
    (tmp_path / "logs").mkdir()
    command = [*ROADWORTHY, "logs", "web", "--dir", str(tmp_path / "logs"), "-f", "--json"]
    (tmp_path / "logs" / "web.log").write_text('{"message":"before"}\n')
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert json.loads(following.stdout.readline())["message"] == "before"
        subprocess.run([sys.executable, "-c", MANY, str(tmp_path / "logs"), "1"], check=True)
        numbers = [json.loads(following.stdout.readline())["number"] for _ in range(1500)]
        following.terminate()
    assert numbers == list(range(1500))
