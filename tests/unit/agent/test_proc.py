"""What /proc says, as functions of bytes, and of a recorded tree."""

from __future__ import annotations

import contextlib
import os
import socket

import pytest

from roadworthy.agent.host import listens, parse_cpu, parse_disks, parse_listening, parse_memory, parse_network
from roadworthy.agent.proc import (
    PAGE,
    TICKS,
    Newest,
    ProcFiles,
    catches,
    command_text,
    parse_fd_limit,
    parse_io,
    parse_stat,
    read_file,
)
from roadworthy.agent.sample import Sampler


def stat(pid, *, ppid=1, comm="python", state="S", cpu=10, children=0, rss=100, start=500, threads=1):
    rest = [
        state,
        ppid,
        pid,
        pid,
        0,
        -1,
        0,
        0,
        0,
        0,
        0,
        cpu,
        0,
        children,
        0,
        20,
        0,
        threads,
        0,
        start,
        10_000,
        rss,
        0,
        0,
    ]
    return f"{pid} ({comm}) {' '.join(map(str, rest))}\n".encode()


@pytest.mark.parametrize("comm", ["python", "a b", "evil) S 1 (x", "((", "naïve"])
def test_a_command_name_may_hold_anything(comm):
    found = parse_stat(stat(42, ppid=7, comm=comm, state="T", cpu=11, children=3, rss=5, start=99, threads=4))
    assert (found.pid, found.comm, found.state, found.ppid) == (42, comm, "T", 7)
    assert (found.cpu, found.children_cpu, found.threads, found.start_ticks, found.rss) == (11, 3, 4, 99, 5 * PAGE)


@pytest.mark.parametrize("data", [b"", b"1", b"1 (x", b"1 (x) S 1", b"1 (x) " + b"S " * 40])
def test_what_is_no_stat_line_is_none(data):
    assert parse_stat(data) is None


def test_io_and_limits_are_read():
    assert parse_io(b"rchar: 1\nread_bytes: 4096\nwrite_bytes: 8192\n") == (4096, 8192)
    assert parse_io(b"") is None
    assert (
        parse_fd_limit(b"Limit  Soft Hard\nMax open files            1024                 4096                 files\n")
        == 1024
    )
    assert parse_fd_limit(b"Max open files            unlimited            unlimited            files\n") is None


@pytest.mark.parametrize(
    ("mask", "signal", "caught"),
    [("0", 36, False), (f"{1 << 35:x}", 36, True), (f"{1 << 35:x}", 35, False), ("x", 1, False)],
)
def test_the_mask_of_caught_signals_is_read(mask, signal, caught):
    assert catches(f"Name:\tx\nSigCgt:\t{mask}\n".encode(), signal) is caught


def test_a_command_line_is_one_bounded_printable_line():
    assert command_text(b"python\0app.py\0--x\ny\0") == "python app.py --x?y"
    assert command_text(b"x" * 600).endswith(" …")


def test_the_host_is_read():
    assert parse_cpu("cpu  10 1 5 80 4 0 0 0 0 0\ncpu0 1\n") == (16, 100)
    assert parse_memory("MemTotal: 100 kB\nMemFree: 1 kB\nMemAvailable: 40 kB\n") == (102_400, 40_960)
    lines = "head\nhead\n  lo: 9 0 0 0 0 0 0 0 9 0\neth0: 100 0 0 0 0 0 0 0 50 0 0\n"
    assert parse_network(lines) == (100, 50)
    disks = "8 0 sda 1 0 10 0 1 0 20 0 0 0\n8 1 sda1 1 0 10 0 1 0 20 0 0 0\n"
    assert parse_disks(disks, frozenset({"sda"})) == (5120, 10_240)


def test_a_process_that_ended_is_none_and_its_number_given_away_again_is_not_taken_for_it(tmp_path):
    folder = tmp_path / "42"
    folder.mkdir()
    (folder / "stat").write_bytes(stat(42))
    files = ProcFiles(42, str(tmp_path))
    assert files.stat().pid == 42
    files.close()
    assert ProcFiles(43, str(tmp_path)).stat() is None


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("0.1 0.1 0.1 2/300 4711", "0.2 0.1 0.1 5/300 4711", True),
        ("0.1 0.1 0.1 2/300 4711", "0.1 0.1 0.1 2/300 4712", False),
        ("0.1 0.1 0.1 0/0 0", "0.1 0.1 0.1 0/0 0", False),
        ("nothing", "nothing", False),
    ],
)
def test_the_kernel_tells_whether_a_process_was_made(tmp_path, first, second, same):
    newest = Newest(str(tmp_path))
    assert not newest.same()
    (tmp_path / "loadavg").write_text(first)
    assert not newest.same()
    (tmp_path / "loadavg").write_text(second)
    assert newest.same() is same
    newest.close()


def test_processes_are_listed_again_when_one_was_made_and_now_and_then_anyway(machine):
    sampler = Sampler(disk_path=str(machine.root), root=str(machine.root))
    (machine.root / "loadavg").write_text("0.1 0.1 0.1 2/300 60")
    machine.put(50)
    assert pids_of(sampler.sample(SECOND, {0: 50})) == {50: 0}
    machine.put(61, ppid=50)
    (machine.root / "loadavg").write_text("0.1 0.1 0.1 2/300 61")
    assert pids_of(sampler.sample(2 * SECOND, {0: 50})) == {50: 0, 61: 0}
    machine.put(62, ppid=50)  # and nobody tells
    found = [pids_of(sampler.sample(number * SECOND, {0: 50})) for number in range(3, 13)]
    assert found[0] == {50: 0, 61: 0}
    assert found[-1] == {50: 0, 61: 0, 62: 0}
    sampler.close()


class Machine:
    """A recorded /proc whose processes a test changes."""

    def __init__(self, root):
        self.root = root

    def put(self, pid, **more):
        folder = self.root / str(pid)
        folder.mkdir(exist_ok=True)
        (folder / "stat").write_bytes(stat(pid, **more))
        (folder / "cmdline").write_bytes(b"program\0--number\0%d" % pid)
        (folder / "fd").mkdir(exist_ok=True)

    def end(self, pid):
        folder = self.root / str(pid)
        (folder / "stat").write_bytes(b"")
        (folder / "stat").unlink()
        (folder / "cmdline").unlink()
        (folder / "fd").rmdir()
        folder.rmdir()


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


SECOND = 1_000_000_000


def pids_of(sample):
    return {one.pid: one.slot for one in sample.processes}


def test_the_program_is_every_descendant_of_its_workers_and_nobody_else(machine):
    machine.put(1, ppid=0)
    machine.put(10, ppid=5)  # worker of slot 0
    machine.put(11, ppid=10)
    machine.put(12, ppid=11)
    machine.put(20, ppid=5)  # worker of slot 1
    machine.put(30, ppid=1)  # somebody else's
    machine.put(5, ppid=1)  # keeper
    machine.put(6, ppid=5)  # agent
    sampler = Sampler(disk_path="/", root=str(machine.root))
    found = sampler.sample(SECOND, {0: 10, 1: 20}, keeper=5, agent=6)
    assert pids_of(found) == {10: 0, 11: 0, 12: 0, 20: 1}
    assert found.slots[0].processes == 3
    assert (found.keeper.pid, found.agent.pid) == (5, 6)
    sampler.close()


def test_an_orphan_stays_with_its_worker_and_ended_processes_are_left_out(machine):
    machine.put(10, ppid=5)
    machine.put(11, ppid=10)
    machine.put(12, ppid=11)
    sampler = Sampler(disk_path="/", root=str(machine.root))
    sampler.sample(SECOND, {0: 10}, keeper=5)
    machine.end(11)
    machine.put(12, ppid=1)
    assert pids_of(sampler.sample(2 * SECOND, {0: 10}, keeper=5)) == {10: 0, 12: 0}
    sampler.close()


def test_an_orphan_that_came_to_the_keeper_unseen_is_the_programs(machine):
    machine.put(10, ppid=5)
    sampler = Sampler(disk_path="/", root=str(machine.root))
    sampler.sample(SECOND, {0: 10, 1: 20}, keeper=5)
    machine.put(40, ppid=5)
    assert pids_of(sampler.sample(2 * SECOND, {0: 10, 1: 20}, keeper=5)) == {10: 0, 40: None}
    sampler.close()


def test_cpu_is_unknown_at_first_then_the_share_of_one_core_with_children_that_came_and_went(machine):
    machine.put(10, cpu=100, children=50)
    sampler = Sampler(disk_path="/", root=str(machine.root))
    assert sampler.sample(SECOND, {0: 10}).total.cpu_percent is None
    machine.put(10, cpu=100 + TICKS // 2, children=50 + TICKS // 4)
    assert sampler.sample(2 * SECOND, {0: 10}).total.cpu_percent == pytest.approx(75.0)
    sampler.close()


def test_cpu_of_a_child_that_was_seen_is_not_counted_again_when_it_is_reaped(machine):
    machine.put(10, cpu=0)
    machine.put(11, ppid=10, cpu=TICKS)
    sampler = Sampler(disk_path="/", root=str(machine.root))
    sampler.sample(SECOND, {0: 10})
    machine.end(11)
    machine.put(10, cpu=0, children=TICKS)
    assert sampler.sample(2 * SECOND, {0: 10}).total.cpu_percent == pytest.approx(0.0)
    sampler.close()


def test_a_zombie_uses_nothing(machine):
    machine.put(10)
    machine.put(11, ppid=10, state="Z", rss=999)
    sampler = Sampler(disk_path="/", root=str(machine.root))
    found = sampler.sample(SECOND, {0: 10})
    assert (found.total.processes, found.total.rss) == (1, 100 * PAGE)
    sampler.close()


def test_command_lines_are_redacted(machine):
    machine.put(10)
    sampler = Sampler(
        disk_path="/", root=str(machine.root), redact=lambda text: text.replace("--number", "--[redacted]")
    )
    assert sampler.sample(SECOND, {0: 10}).processes[0].command == "program --[redacted] 10"
    sampler.close()


def test_our_own_figures_are_real():
    sampler = Sampler(disk_path="/")
    found = sampler.sample(SECOND, {0: os.getpid()})
    one = found.process(os.getpid())
    assert one.rss > 1_000_000
    assert one.fds >= 3
    assert found.system.memory_total > found.system.memory_used > 0
    assert found.system.disk_percent is not None
    sampler.close()


def test_ports_that_somebody_listens_on_are_found(tmp_path):
    rows = (
        "  sl  local_address rem_address   st tx_queue\n"
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n"
        "   1: 0100007F:1F91 0100007F:C000 01 00000000:00000000\n"
        "   2: 00000000000000000000000000000000:0050 0000000000000000:0000 0A 0\n"
        "broken\n"
    )
    assert parse_listening(rows) == {8080, 80}
    assert listens(8080, str(tmp_path)) is None, "nobody can tell"
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp6").write_text(rows)
    assert (listens(8080, str(tmp_path)), listens(8081, str(tmp_path))) == (True, False)


def test_a_table_of_the_kernels_is_read_beyond_its_first_page():
    with contextlib.ExitStack() as over:
        servers = [over.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(60)]
        assert all(listens(server.getsockname()[1]) for server in servers)
        assert len(read_file("/proc/net/tcp") or b"") > 60 * 100
    assert len(read_file("/proc/net/tcp", 50) or b"") == 50
