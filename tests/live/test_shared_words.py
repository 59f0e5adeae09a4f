"""A writer of a shared word that is killed holds nobody up and leaves what was committed."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

from roadworthy import _clock
from roadworthy.arena.shared import SharedWords

pytestmark = pytest.mark.live

HOLDER = textwrap.dedent(
    """
    import sys, time
    from roadworthy.arena.shared import SharedWords
    word = SharedWords(sys.argv[1]).word("breaker")
    word.update(lambda a, b, c: (1, 2, 3))
    def hold(a, b, c):
        print("held", flush=True)
        time.sleep(600)
        return 9, 9, 9
    word.update(hold)
    """
)

# Writes the same number three times: a reader that sees two different ones has seen a mixture.
BUSY = textwrap.dedent(
    """
    import sys
    from roadworthy.arena.shared import SharedWords
    word = SharedWords(sys.argv[1]).word("busy")
    print("ready", flush=True)
    while True:
        word.update(lambda a, b, c: (a + 1, a + 1, a + 1))
    """
)


def test_the_lock_of_a_killed_holder_is_free_at_once_and_its_values_are_the_last_committed(tmp_path, pace):
    word = SharedWords(tmp_path / "arena").word("breaker")
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "arena")], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        assert word.update(lambda a, b, c: (7, 7, 7), patience=0.02) is None
        assert word.read()[:3] == (1, 2, 3)
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    before = _clock.monotonic()
    assert word.update(lambda a, b, c: (a + 1, b, c), patience=5.0) == (2, 2, 3)
    assert pace.spent(before) < 1.0


@pytest.mark.timeout(300)
def test_writers_killed_at_random_instants_never_leave_a_mixture(tmp_path):
    word = SharedWords(tmp_path / "arena").word("busy")
    high = 0
    for _ in range(10):
        writer = subprocess.Popen([sys.executable, "-c", BUSY, str(tmp_path / "arena")], stdout=subprocess.PIPE)
        try:
            assert writer.stdout.readline() == b"ready\n"
            deadline = _clock.monotonic() + 0.1
            while _clock.monotonic() < deadline or word.read()[0] <= high:
                a, b, c, _ = word.read()
                assert a == b == c >= high
                assert _clock.monotonic() < deadline + 30
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            writer.stdout.close()
        a, b, c, stamp = word.read()
        assert a == b == c >= high
        assert stamp > 0
        high = a
    assert word.update(lambda a, b, c: (a + 1, b, c), patience=5.0) == (high + 1, high, high)
