"""Small state files are replaced as a whole, and what a killed writer left is removed."""

import os
import subprocess
import sys

from roadworthy.agent.statefiles import remove_half_written, write_atomically


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    write_atomically(tmp_path / "switches.json", "old")
    write_atomically(tmp_path / "switches.json", "new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"switches.json": "new"}


def test_what_a_dead_writer_left_is_removed_and_nothing_else(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "incidents").mkdir()
    left = tmp_path / "incidents" / f".one.json.{ended.pid}"
    kept = [tmp_path / f".switches.json.{os.getpid()}", tmp_path / ".hidden.txt", tmp_path / "history.db"]
    for path in (left, *kept):
        path.touch()
    remove_half_written(tmp_path)
    assert not left.exists()
    assert all(path.exists() for path in kept)
