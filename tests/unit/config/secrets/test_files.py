"""A file of secrets that cannot be written stays as it was."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from roadworthy.config.secrets import files
from roadworthy.errors import EXIT_EXHAUSTED, EXIT_UNAVAILABLE, Exhausted, Unavailable


@pytest.mark.parametrize("failing", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize(
    ("code", "expected", "exit_code"),
    [(errno.ENOSPC, Exhausted, EXIT_EXHAUSTED), (errno.EROFS, Unavailable, EXIT_UNAVAILABLE)],
)
def test_a_file_that_cannot_be_replaced_stays_and_nothing_is_left_beside_it(
    tmp_path, monkeypatch, failing, code, expected, exit_code
):
    path = tmp_path / "secrets"
    path.write_text("old")

    def fails(*_args, **_kwargs):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, failing, fails)
        with pytest.raises(expected, match="cannot write") as caught:
            files.replace(path, b"new")
    assert caught.value.exit_code == exit_code
    assert [each.name for each in tmp_path.iterdir()] == ["secrets"]
    assert path.read_text() == "old"


def test_what_is_written_in_pieces_arrives_whole(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:3]))
    files.replace(tmp_path / "secrets", b"0123456789")
    assert (tmp_path / "secrets").read_bytes() == b"0123456789"


def test_a_lock_that_cannot_be_had_is_said(tmp_path):
    with pytest.raises(Unavailable, match="cannot write"), files.locked(tmp_path / "absent" / "secrets"):
        pass


def test_one_process_at_a_time_changes_a_file(tmp_path):
    path = tmp_path / "secrets"
    program = (
        "import sys; from pathlib import Path; from roadworthy.config.secrets import files\n"
        "print('ready', flush=True)\n"
        "with files.locked(Path(sys.argv[1])): print(Path(sys.argv[1]).read_text())\n"
    )
    with files.locked(path):
        other = subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True)
        assert other.stdout.readline() == "ready\n"
        files.replace(path, b"written under the lock")
    assert other.communicate(timeout=60)[0] == "written under the lock\n"


def test_a_child_that_was_forked_under_the_lock_does_not_keep_it(tmp_path):
    reader, writer = os.pipe()
    with files.locked(tmp_path / "secrets"):
        child = os.fork()
        if child == 0:
            os.read(reader, 1)
            os._exit(0)
    with files.locked(tmp_path / "secrets"):
        os.write(writer, b"x")
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)


def test_nothing_stays_beside_a_file_that_was_changed(tmp_path):
    with files.locked(tmp_path / ".env"):
        assert [path.name for path in tmp_path.iterdir()] == [".roadworthy-env.lock"]
        files.replace(tmp_path / ".env", b"A=1")
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_a_lock_whose_file_has_gone_while_it_was_waited_for_is_taken_anew(tmp_path, monkeypatch):
    real = fcntl.flock
    gone = []

    def flock(handle, how):
        real(handle, how)
        if how == fcntl.LOCK_EX and not gone:
            gone.append(True)
            (tmp_path / ".roadworthy-env.lock").unlink()

    monkeypatch.setattr(fcntl, "flock", flock)
    with files.locked(tmp_path / ".env"):
        assert (tmp_path / ".roadworthy-env.lock").exists()


def test_a_lock_that_is_interrupted_leaves_no_descriptor_open(tmp_path, monkeypatch):
    def interrupted(_handle, _how):
        raise KeyboardInterrupt

    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(fcntl, "flock", interrupted)
    with pytest.raises(KeyboardInterrupt), files.locked(tmp_path / ".env"):
        pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before
