"""A really full file system: one clear error or the overflow series, never a SIGBUS."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from roadworthy.arena.reader import Reader, scan
from roadworthy.arena.writer import Arena
from roadworthy.errors import Exhausted

pytestmark = pytest.mark.live


def names(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def tiny(tmp_path):
    """A tmpfs of 2 MiB: room for one base file and one extent."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    place = tmp_path / "tiny"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", str(place)],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        pytest.skip(f"mounting a tmpfs is not allowed here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_no_room_for_a_second_arena_is_one_clear_error_and_leaves_nothing(tiny):
    first = Arena.create(tiny, "web")
    before = names(tiny)
    with pytest.raises(Exhausted, match="cannot make the arena file") as caught:
        Arena.create(tiny, "web")
    assert "No space left" in caught.value.why
    assert names(tiny) == before
    first.counter("c").add()
    first.event("log", 20, "s", "still writing")


def test_a_disk_that_fills_up_under_a_program_costs_it_nothing_but_the_overflow(tiny):
    program = textwrap.dedent(
        """
        import os, sys
        from roadworthy.arena.writer import Arena
        arena = Arena.create(sys.argv[1], "web")
        made = [arena.counter("c", (("n", str(n)),)) for n in range(384)]
        with open(sys.argv[1] + "/ballast", "wb") as ballast:
            try:
                while True:
                    ballast.write(b"x" * 65536)
                    ballast.flush()
            except OSError:
                pass
        os.write(1, b"full")
        for n in range(384, 800):
            arena.counter("c", (("n", str(n)),)).add()
            arena.event("log", 20, "s", "x" * 1000)
            arena.inflight.leave(arena.inflight.enter(0, 0, b"k=v"))
        for counter in made:
            counter.add()
        pid = os.fork()
        if pid == 0:
            made[0].add(5)
            arena.event("log", 20, "s", "unseen")
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        """
    )
    done = subprocess.run([sys.executable, "-c", program, str(tiny)], check=False, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"full"), done.stderr.decode()
    (path,) = scan(tiny)
    with Reader(path) as reader:
        values = [one.value for one in reader.series()]
        assert sum(values) >= 384
        assert reader.overflowed > 0
        assert not reader.problems
        assert len(reader.events(dead=True)[0]) > 300
    assert not [name for name in names(tiny) if name.count(".") > 1]
