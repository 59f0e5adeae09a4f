"""The stacks of real processes that do not answer."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from roadworthy import _clock
from roadworthy.agent.proc import ProcFiles
from roadworthy.agent.stacks import direct, dump

pytestmark = pytest.mark.live

NUMBER = int(signal.SIGRTMIN) + 5

PROGRAM = """
import faulthandler, os, sys, threading, time
file = open(sys.argv[1], "a")
os.set_inheritable(file.fileno(), False)
faulthandler.register(int(sys.argv[2]), file=file, all_threads=True, chain=False)
def a_thread_that_waits():
    threading.Event().wait()
threading.Thread(target=a_thread_that_waits, daemon=True).start()
def stuck_in_here():
    print(file.fileno(), flush=True)
    if sys.argv[3] == "spin":
        while True:
            pass
    if sys.argv[3] == "close":
        os.close(file.fileno())
        other = os.open(sys.argv[1] + ".db", os.O_CREAT | os.O_RDWR)
        assert other == file.fileno()
        print("closed", flush=True)
    time.sleep(3600)
stuck_in_here()
"""


@pytest.fixture
def program(tmp_path):
    started = []

    def start(how):
        path = tmp_path / "stacks"
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(path), str(NUMBER), how], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process, int(process.stdout.readline()), path

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def ticks(pid):
    files = ProcFiles(pid)
    found = files.stat().start_ticks
    files.close()
    return found


def state(pid):
    files = ProcFiles(pid)
    found = files.stat().state
    files.close()
    return found


def ask(process, descriptor, path):
    return asyncio.run(
        dump(process.pid, ticks(process.pid), signal=NUMBER, descriptor=descriptor, path=path, send=direct)
    )


@pytest.mark.parametrize("how", ["sleep", "spin"])
def test_a_stuck_process_tells_the_stacks_of_all_threads_and_lives_on(program, how):
    process, descriptor, path = program(how)
    found = ask(process, descriptor, path)
    assert "stuck_in_here" in found.text
    assert "a_thread_that_waits" in found.text
    assert process.poll() is None


def test_a_stopped_process_tells_them_too_and_stays_stopped(program):
    process, descriptor, path = program("sleep")
    os.kill(process.pid, signal.SIGSTOP)
    deadline = _clock.monotonic() + 10
    while state(process.pid) != "T":
        assert _clock.monotonic() < deadline
    assert "stuck_in_here" in ask(process, descriptor, path).text
    while state(process.pid) != "T":
        assert _clock.monotonic() < deadline
    os.kill(process.pid, signal.SIGCONT)


def test_a_program_that_put_its_database_where_our_file_was_is_left_alone(program):
    process, descriptor, path = program("close")
    process.stdout.readline()
    found = ask(process, descriptor, path)
    assert "is another file now" in found.why_not
    assert path.with_name("stacks.db").read_bytes() == b""
    assert process.poll() is None


def test_a_process_that_ended_is_not_signalled(program):
    process, descriptor, path = program("sleep")
    known = ticks(process.pid)
    process.kill()
    process.wait()
    direct(process.pid, known, NUMBER)
    assert asyncio.run(dump(process.pid, known, signal=NUMBER, descriptor=descriptor, path=path, send=direct)).why_not
