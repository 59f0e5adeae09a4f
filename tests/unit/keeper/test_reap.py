"""The process table and who descends from whom."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from live.keeper_kit import wait_for
from roadworthy.keeper import reap
from roadworthy.keeper.environment import program_environment
from roadworthy.keeper.reap import Process
from roadworthy.keeper.spawn import spawn


def rows(*given):
    return {pid: Process(pid, parent, pid, pid, 1, state) for pid, parent, state in given}


FAMILY = rows((1, 0, "S"), (10, 1, "S"), (11, 10, "S"), (12, 11, "R"), (13, 10, "Z"), (14, 13, "S"), (20, 1, "S"))


@pytest.mark.parametrize(
    ("roots", "skip", "found"),
    [
        ([10], [], [10, 11, 12, 14]),
        ([10], [11], [10, 14]),
        ([13], [], [14]),
        ([20], [20], []),
        ([99], [], []),
        ([10, 11], [], [10, 11, 12, 14]),
    ],
)
def test_descendants_are_found_through_the_dead(roots, skip, found):
    assert [process.pid for process in reap.below(FAMILY, roots, skip)] == found


def test_a_loop_in_the_table_ends():
    assert len(reap.below(rows((5, 6, "S"), (6, 5, "S")), [5])) == 2


def test_a_name_with_spaces_and_parentheses_is_read(tmp_path):
    program = tmp_path / "a) (b c"
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    with subprocess.Popen([program, "60"]) as child:
        found = reap.read(child.pid)
        child.kill()
    assert found is not None
    assert (found.pid, found.parent) == (child.pid, os.getpid())


def test_a_signal_goes_only_to_the_process_that_is_meant():
    with subprocess.Popen(["sleep", "60"]) as child:
        ticks = reap.start_ticks(child.pid)
        assert reap.send(child.pid, ticks + 1, signal.SIGKILL) is False
        assert child.poll() is None
        assert reap.send(child.pid, ticks, signal.SIGKILL) is True
        assert child.wait() == -9
    assert reap.send(child.pid, ticks, signal.SIGKILL) is False


def test_marks_are_read_from_the_environment_a_process_was_started_with():
    with subprocess.Popen(["sleep", "60"], env={"ROADWORTHY_SLOT": "3", "OTHER": "x"}) as child:
        found = wait_for(lambda: reap.marks(child.pid))  # the kernel shows it a moment after exec has begun
        child.kill()
    assert found == {"ROADWORTHY_SLOT": "3"}
    assert reap.marks(child.pid) == {}


def test_a_spawned_program_has_its_own_group_default_signals_and_only_what_it_is_to_inherit(tmp_path):
    out = str(tmp_path / "out")
    read, write = os.pipe()
    kept, closed = os.pipe()
    pid = spawn(
        [
            "sh",
            "-c",
            "echo $$; cut -d' ' -f5 /proc/$$/stat; ls /proc/$$/fd; exec grep -E 'SigIgn|SigBlk' /proc/self/status",
        ],
        os.environ,
        stdin=None,
        stdout=out,
        stderr=out,
        keep=(write,),
    )
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    words = (tmp_path / "out").read_text().split()
    assert words[0] == words[1] == str(pid)
    assert int(words[words.index("SigBlk:") + 1], 16) == 0
    assert int(words[words.index("SigIgn:") + 1], 16) & (1 << (signal.SIGPIPE - 1)) == 0
    inherited = words[2 : words.index("SigBlk:")]
    assert str(write) in inherited
    assert not {str(read), str(kept), str(closed)} & set(inherited)
    for fd in (read, write, kept, closed):
        os.close(fd)


def test_a_program_that_is_not_there_is_an_error_at_once(tmp_path):
    with pytest.raises(FileNotFoundError):
        spawn(["no-such-program"], os.environ, stdin=None, stdout=str(tmp_path / "o"), stderr=str(tmp_path / "o"))


SETTINGS = {
    "app": "a",
    "arena_dir": "/a",
    "run_dir": "/r",
    "inject": True,
    "log_level": "debug",
    "port": 80,
    "bind": "::1",
}


def test_the_program_is_told_where_our_runtime_is_and_keeps_its_own_path():
    env = program_environment(SETTINGS, {"PYTHONPATH": "/mine", "NOTIFY_SOCKET": "/n", "HOME": "/h"}, 100)
    site, mine = env["PYTHONPATH"].split(":")
    assert (site.endswith("/app/inject/site"), mine) == (True, "/mine")
    assert env["ROADWORTHY_INJECT"].endswith("/roadworthy")
    assert env["ROADWORTHY_LISTEN"] == "100:::1:80"
    assert (env["PORT"], env["ROADWORTHY_LOG_LEVEL"], env["HOME"]) == ("80", "debug", "/h")
    assert "NOTIFY_SOCKET" not in env


def test_a_program_that_is_not_to_be_injected_does_not_inherit_it_from_a_keeper_above():
    above = program_environment(SETTINGS, {}, 100)
    env = program_environment({**SETTINGS, "inject": False, "port": None, "log_level": ""}, above, -1)
    assert not {"ROADWORTHY_INJECT", "ROADWORTHY_LISTEN", "PYTHONPATH"} & env.keys()
