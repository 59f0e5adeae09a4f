"""The same figures without /proc."""

from __future__ import annotations

import subprocess
import sys

import psutil

from roadworthy.agent.portable import PortableSampler


def test_a_process_and_its_children_are_sampled_and_ended_ones_left_out(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, text=True)
    sampler = PortableSampler(disk_path=str(tmp_path))
    first = sampler.sample(0, {0: child.pid}, agent=psutil.Process().pid)
    second = sampler.sample(0, {0: child.pid})
    assert first.slots[0].rss > 100_000
    assert first.agent.rss > 1_000_000
    assert (first.total.cpu_percent, second.total.cpu_percent is not None) == (None, True)
    assert first.system.memory_percent > 0
    child.communicate("\n")
    assert sampler.sample(0, {0: child.pid}).processes == ()
    sampler.close()
