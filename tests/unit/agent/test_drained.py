"""When a lame duck has nothing left to answer: all that serve have said so, and none holds a connection."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from roadworthy.agent.collect import Collector
from roadworthy.agent.host import connections, parse_connections
from roadworthy.arena.writer import Arena

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
ROWS = """\
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1
   1: 0100007F:1F90 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 22 1
   2: 0100007F:1F90 0100007F:C002 08 00000000:00000000 00:00000000 00000000     0        0 33 1
   3: 0100007F:1F90 0100007F:C003 06 00000000:00000000 03:00000000 00000000     0        0 0 3
   4: 0100007F:C001 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 44 1
   5: 0100007F:1F91 0100007F:C005 01 00000000:00000000 00:00000000 00000000     0        0 55 1
"""


def test_connections_that_came_in_and_are_not_closed_are_found():
    assert parse_connections(HEAD + ROWS, 0x1F90) == {"22", "33"}
    assert parse_connections(HEAD, 0x1F90) == set()
    assert parse_connections("", 0x1F90) == set()


def test_the_connections_of_a_process_are_counted_and_those_that_only_wait_in_the_queue_are_not():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert connections([os.getpid()], port) == 0
        with socket.create_connection(("127.0.0.1", port)):
            assert connections([os.getpid()], port) == 0, "nobody has accepted it: it is whoever accepts it next"
            accepted, _ = server.accept()
            assert connections([os.getpid()], port) == 1
            assert connections([], port) == 0
            assert connections([2**22 + 1], port) == 0, "who has ended holds none"
        assert connections([os.getpid()], port) == 1, "the client has gone, what it said may still be read"
        accepted.close()
        assert connections([os.getpid()], port) == 0


def test_where_the_system_does_not_tell_the_number_is_unknown(tmp_path):
    assert connections([1], 80, str(tmp_path)) is None
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text(HEAD + ROWS)
    (tmp_path / "1").mkdir()
    (tmp_path / "1/fd").write_text("no folder")
    assert connections([1], 0x1F90, str(tmp_path)) is None
    assert connections([1], 0x1F92, str(tmp_path)) == 0


CHILD = """
import sys
from roadworthy.arena.writer import Arena
arena = Arena.create(sys.argv[1], "t", slot=3, generation=2)
for _ in sys.stdin:
    arena.mark("checkpoint", "lame duck")
    print("said", flush=True)
"""


@pytest.fixture
def folders(tmp_path):
    for name in ("arena", "state"):
        (tmp_path / name).mkdir(mode=0o700)
    return tmp_path / "arena", tmp_path / "state"


def test_a_worker_is_a_lame_duck_when_all_that_serve_are(folders):
    mine = Arena.create(folders[0], "t", slot=3, generation=2)
    other = Arena.create(folders[0], "t", slot=3, generation=1)
    collector = Collector(*folders)
    try:
        assert collector.lame(3, 2) is None
        other.mark("checkpoint", "lame duck")
        mine.mark("checkpoint", "listening")
        assert collector.lame(3, 2) is None, "another generation is"
        command = [sys.executable, "-c", CHILD, str(folders[0])]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            child.stdin.write("go\n")
            child.stdin.flush()
            assert child.stdout.readline() == "said\n"
            assert set(collector.lame(3, 2) or ()) == {os.getpid(), child.pid}, "a parent only starts those who serve"
            child.stdin.close()
        assert collector.lame(3, 2) is None, "it has ended: who is left has not said so"
        mine.mark("checkpoint", "lame duck")
        assert collector.lame(3, 2) == (os.getpid(),)
    finally:
        collector.close()
        mine.close()
        other.close()


def test_becoming_a_lame_duck_is_no_step_of_a_start(folders):
    from roadworthy import _clock

    mine = Arena.create(folders[0], "t", slot=3, generation=2)
    collector = Collector(*folders)
    try:
        for label in ("listening", "lame duck"):
            mine.mark("checkpoint", label)
        (process,) = collector.collect(_clock.monotonic_ns(), _clock.wall()).processes
        assert [step.label for step in process.startup.steps] == ["listening"]
        assert (process.listening, process.marked_ready) == (True, False)
    finally:
        collector.close()
        mine.close()
