"""Where the words that processes share are found."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from roadworthy.app import host_state, start
from roadworthy.arena.shared import SharedWords
from roadworthy.testing import recording

PROGRAM = textwrap.dedent(
    """
    import sys
    from roadworthy.app import host_state
    store = host_state.store()
    assert store is host_state.store()
    print(store.word("breaker:db").update(lambda a, b, c: (a + 1, b, c)))
    """
)


def _run(program, **env):
    return subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def env(tmp_path):
    return {"ROADWORTHY_HOME": str(tmp_path / "home"), "ROADWORTHY_APP": "hosts"}


def test_processes_of_one_application_that_were_started_independently_share_their_words(env):
    first, second = _run(PROGRAM, **env), _run(PROGRAM, **env)
    assert (first.stdout, second.stdout) == ("(1, 0, 0)\n", "(2, 0, 0)\n")
    assert first.stderr == second.stderr == ""


def test_another_application_has_its_own(env):
    _run(PROGRAM, **env)
    assert _run(PROGRAM, **{**env, "ROADWORTHY_APP": "others"}).stdout == "(1, 0, 0)\n"


def test_there_is_no_store_where_roadworthy_is_switched_off(env):
    program = "from roadworthy.app import host_state\nprint(host_state.store())"
    done = _run(program, **env, ROADWORTHY_ENABLED="0")
    assert (done.stdout, done.stderr) == ("None\n", "")


def test_a_file_that_cannot_be_used_is_told_once_and_harms_nobody(env, tmp_path):
    program = textwrap.dedent(
        """
        import os
        from roadworthy.app import host_state, start
        path = os.path.join(os.fspath(start.ensure().directory), "shared")
        open(path, "wb").write(b"too short")
        print(host_state.store(), host_state.store())
        """
    )
    done = _run(program, **env)
    assert done.stdout == "None None\n"
    assert done.stderr.count("host_state") == 1
    assert "your program is fine" in done.stderr.lower()


def test_the_words_are_those_in_the_directory_of_this_process():
    with recording():
        mine = host_state.store()
        other = SharedWords(start.current().directory)
        assert mine.word("w").update(lambda a, b, c: (a, b, 3)) == other.word("w").read()[:3] == (0, 0, 3)
