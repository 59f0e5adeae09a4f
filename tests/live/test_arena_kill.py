"""kill -9 at random instants: everything that was acknowledged is there, and at most one record is torn."""

from __future__ import annotations

import random
import select
import signal
import socket
import struct
import subprocess
import sys
import textwrap

import pytest

from roadworthy import _clock
from roadworthy.arena.reader import Reader, alive, scan
from roadworthy.errors import ArenaBroken

pytestmark = pytest.mark.live

THREADS = 4
KILLS = 20
ACKNOWLEDGED = struct.Struct("=BQ")

# Each thread appends an event, counts it and only then tells the parent: what the parent has read was written before.
PROGRAM = textwrap.dedent(
    """
    import socket, struct, sys, threading
    from roadworthy.arena.writer import Arena, Sizes

    arena = Arena.create(sys.argv[1], "web", sizes=Sizes(events=65536))
    counter = arena.counter("acknowledged")
    each = [arena.counter("each", (("thread", str(n)),)) for n in range(4)]
    took = arena.histogram("took", unit="s", scale=1e9)
    out = socket.socket(fileno=int(sys.argv[2]))
    pack = struct.Struct("=BQ").pack

    def run(thread):
        n = 0
        while True:
            n += 1
            arena.event("log", 20, f"t{thread}", f"{n}:" + "x" * (n % 300))
            counter.add()
            each[thread].add()
            took.record(n)
            out.send(pack(thread, n))

    for thread in range(4):
        threading.Thread(target=run, args=(thread,), daemon=True).start()
    threading.Event().wait()
    """
)


def run_until_killed(directory, least):
    """Kill the program at a random instant after ``least`` acknowledgements; returns pid and each thread's last."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        command = [sys.executable, "-c", PROGRAM, str(directory), str(theirs.fileno())]
        child = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        last = [0] * THREADS
        kill_at = None
        deadline = _clock.monotonic() + 60
        try:
            while _clock.monotonic() < deadline:
                if kill_at is not None and _clock.monotonic() >= kill_at:
                    break
                if not select.select([ours], [], [], 0.01)[0]:
                    assert child.poll() is None, "the program ended by itself"
                    continue
                thread, n = ACKNOWLEDGED.unpack(ours.recv(64))
                last[thread] = n
                if kill_at is None and sum(last) >= least:
                    kill_at = _clock.monotonic() + random.random() * 0.05  # noqa: S311 - an instant, no secret
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
        ours.settimeout(0)
        while True:
            try:
                data = ours.recv(64)
            except (BlockingIOError, ConnectionResetError):
                break
            if not data:
                break
            thread, n = ACKNOWLEDGED.unpack(data)
            last[thread] = n
    assert sum(last) >= least, "the program was too slow to be tested"
    return child.pid, last


@pytest.mark.timeout(600)
def test_every_acknowledged_event_and_count_survives_kill_nine(tmp_path):
    for _ in range(KILLS):
        directory = tmp_path / "arena"
        pid, last = run_until_killed(directory, random.randrange(20, 1500))  # noqa: S311 - as above
        (path,) = [path for path in scan(directory) if path.name.split("-")[1] == str(pid)]
        with Reader(path) as reader:
            assert not alive(reader)
            assert not reader.closed
            events, missed = reader.events()
            values = {(one.name, one.labels): one.value for one in reader.series()}
            counted = sum(next(one.buckets for one in reader.series() if one.name == "took").values())
        torn = [event for event in events if event.torn]
        assert len(torn) <= 1
        # A thread that had reserved a number and written nothing leaves a gap: an event that never was.
        assert missed <= THREADS
        told = 0
        for thread in range(THREADS):
            texts = [event.text for event in events if event.source == f"t{thread}" and not event.torn]
            assert texts == [f"{n}:" + "x" * (n % 300) for n in range(1, len(texts) + 1)]
            assert len(texts) >= last[thread]
            assert last[thread] <= values["each", (("thread", str(thread)),)] <= len(texts)
            told += len(texts)
        assert sum(last) <= values["acknowledged", ()] <= told
        assert sum(last) <= counted <= told
        path.unlink()


def test_a_process_killed_while_it_makes_its_arena_leaves_nothing_that_harms(tmp_path):
    program = textwrap.dedent(
        """
        import os, signal, sys
        from roadworthy.arena import store, writer
        made = store.Store._fill_header
        def fill(self, *rest):
            made(self, *rest)
            os.kill(os.getpid(), signal.SIGKILL)
        store.Store._fill_header = fill
        writer.Arena.create(sys.argv[1], "web")
        """
    )
    directory = tmp_path / "arena"
    ended = subprocess.run([sys.executable, "-c", program, str(directory)], check=False)
    assert ended.returncode == -signal.SIGKILL
    (path,) = scan(directory)
    with pytest.raises(ArenaBroken, match="died while making it"):
        Reader(path)
