"""``kill -9`` of a process that appends to the trail: what it said was written is there, and the chain is whole."""

from __future__ import annotations

import subprocess
import sys

import pytest

from roadworthy.log import trail

pytestmark = pytest.mark.live

PROGRAM = """
import itertools, sys
from roadworthy.log import trail
trail.MOST_BYTES = 4000
for number in itertools.count():
    trail.append(sys.argv[1], {"act": f"{sys.argv[2]} {number}"}, patience=30.0)
    print(number, flush=True)
"""


def test_killed_in_the_middle_of_appends_the_trail_is_whole_and_has_all_that_was_acknowledged(tmp_path):
    acknowledged = 0
    for killed in range(4):
        command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
        with (
            subprocess.Popen([*command, f"one {killed}"], stdout=subprocess.PIPE) as one,
            subprocess.Popen([*command, f"two {killed}"], stdout=subprocess.PIPE) as other,
        ):
            for process in (one, other):
                for _ in range(7 + 5 * killed):
                    assert process.stdout.readline()
                    acknowledged += 1
            for process in (one, other):
                process.kill()
            acknowledged += sum(len(process.stdout.readlines()) for process in (one, other))
        found = trail.verify(tmp_path)
        assert found.whole, found
        assert found.records >= acknowledged
    trail.append(tmp_path, {"act": "after"})
    found = trail.verify(tmp_path)
    assert (found.whole, found.notes, len(found.files) > 1) == (True, (), True)
