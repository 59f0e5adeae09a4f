from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.arms import Arm, Arms, family
from benchmarks.rows import NotMeasured
from benchmarks.running import Running, cpu_seconds

from support.running import wait_for

pytestmark = pytest.mark.live

BUSY = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "print(flush=True)\\nwhile True: pass"])
while True: pass
"""


@pytest.fixture
def busy(tmp_path):
    """Start programs that, with a child of their own, never rest; end them all."""
    begun = []

    def start():
        process = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, start_new_session=True)
        begun.append(process)
        assert process.stdout is not None
        process.stdout.readline()  # the child's
        return Arm(Running(process, tmp_path, tmp_path / "output", None), process.pid)

    yield start
    for process in begun:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2][0]


def states(arm):
    return [state(pid) for pid in family(arm.run.process.pid)]


def used(arm):
    return [cpu_seconds(pid) for pid in family(arm.run.process.pid)]


def test_while_one_arm_has_its_turn_nothing_of_the_other_runs(busy):
    arms = Arms(busy(), busy())
    for attached in (False, True, True, False):
        mine, other = (arms.attached, arms.plain) if attached else (arms.plain, arms.attached)
        assert arms.turn(attached=attached) is mine
        assert states(other) == ["T", "T"]
        standing, before = used(other), used(mine)
        wait_for(
            lambda before=before, mine=mine: all(a < b for a, b in zip(before, used(mine), strict=True)), "it runs"
        )
        assert used(other) == standing


def test_an_arm_that_has_ended_cannot_be_suspended_and_has_used_nothing_that_is_known(busy):
    arm = busy()
    os.killpg(arm.program, signal.SIGKILL)
    arm.run.process.wait()
    for ask in (arm.suspend, arm.used):
        with pytest.raises(NotMeasured, match=f"process {arm.program} ended"):
            ask()
