"""Files of dead processes are bounded when nobody takes their last words."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from roadworthy.arena import files
from roadworthy.arena.control import ControlWriter
from roadworthy.arena.identity import boot_id, is_alive, start_ticks, stat_fields
from roadworthy.arena.layout import H_PID, H_TICKS, Sizes
from roadworthy.arena.reader import scan
from roadworthy.arena.writer import Arena

TINY = Sizes(events=2, beats=1, inflight=1, marks=1, series=2, blocks=1)


def dead_arenas(directory, count):
    made = []
    for n in range(count):
        arena = Arena.create(directory, "web", sizes=TINY)
        arena.cell.q[H_TICKS] = 1
        os.utime(arena.path, (n, n))
        made.append(arena.path)
    return made


def test_the_oldest_dead_beyond_sixty_four_go_when_a_program_starts(directory):
    paths = dead_arenas(directory, 70)
    assert len(scan(directory)) <= 66
    mine = Arena.create(directory, "web", sizes=TINY)
    left = [str(path) for path in scan(directory)]
    assert mine.path in left
    assert len(left) <= 66
    assert paths[-1] in left
    assert paths[0] not in left


def test_none_go_while_an_agent_claims_them(directory):
    writer = ControlWriter(directory)
    dead_arenas(directory, 70)
    assert len(scan(directory)) == 70
    writer.close()
    assert files.bound_dead(str(directory)) == 6


def test_living_ones_stay_however_many(directory):
    made = [Arena.create(directory, "web", sizes=TINY) for _ in range(70)]
    assert len(scan(directory)) == len(made)


def test_a_half_made_file_goes_only_when_its_maker_is_gone(directory):
    directory.mkdir()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for n in range(3):
        (directory / f"{boot_id()[:8]}-{ended.pid}-5-{n}.arena").write_bytes(b"\0" * 2048)
        (directory / f"{boot_id()[:8]}-{os.getpid()}-5-{n}.arena").write_bytes(b"\0" * 2048)
    files.bound_dead(str(directory), kept=0)
    assert {path.name.split("-")[1] for path in scan(directory)} >= {str(os.getpid())}


def test_identity_is_boot_pid_and_start_time_together(arena):
    me = os.getpid()
    assert is_alive(boot_id(), me, start_ticks())
    assert not is_alive(boot_id(), me, start_ticks() + 1)
    assert not is_alive("0" * 36, me, start_ticks())
    assert arena.cell.q[H_PID] == me
    assert stat_fields(me)[1] == os.getppid()
    assert start_ticks(2**22 + 1) == 0


def test_a_process_that_waits_to_be_reaped_is_dead():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    ticks = start_ticks(child.pid)
    assert is_alive(boot_id(), child.pid, ticks)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(boot_id(), child.pid, ticks)
    child.stdin.close()
    child.wait()


def test_a_system_without_a_boot_id_has_one_of_zeros(monkeypatch):
    monkeypatch.setattr("roadworthy.arena.identity._boot", "")
    monkeypatch.setattr("roadworthy.arena.identity._BOOT_FILE", "/nonexistent")
    assert boot_id() == "00000000-0000-0000-0000-000000000000"
    monkeypatch.setattr("roadworthy.arena.identity._boot", "")


@pytest.mark.parametrize(
    "name", ["x.arena", "abcdef01-1-2-3.x1", "abcdef01-1-2.arena", "control", "abcdef01-1-2-3.arena.1"]
)
def test_only_base_files_are_found(directory, name):
    directory.mkdir()
    (directory / name).touch()
    (directory / "abcdef01-1-2-3.arena").touch()
    assert [path.name for path in scan(directory)] == ["abcdef01-1-2-3.arena"]
    assert scan(directory / "missing") == []
