"""Why the runtime is not in a worker."""

from __future__ import annotations

import json
import os

import pytest

from roadworthy.agent.injection import Absence, Absences, why_absent
from roadworthy.arena.identity import start_ticks


def note(folder, pid, ticks, reason="Python 3.10 is older than 3.11"):
    told = {"pid": pid, "start_ticks": ticks, "reason": reason, "python": "3.10.13"}
    (folder / f"declined-{pid}.json").write_text(json.dumps(told))


def test_an_interpreter_that_declined_is_believed(tmp_path):
    ticks = start_ticks(os.getpid())
    note(tmp_path, os.getpid(), ticks)
    found = Absences(tmp_path, inject=True).of(os.getpid(), ticks)
    assert found == Absence("Python 3.10 is older than 3.11", "3.10.13")


def test_a_note_of_a_process_that_had_the_same_number_before_is_not_believed(tmp_path):
    note(tmp_path, os.getpid(), 7)
    assert Absences(tmp_path, inject=False).of(os.getpid(), 8).reason == "--no-inject keeps our runtime out"


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', '{"pid": 1}'])
def test_a_note_that_cannot_be_read_explains_nothing(tmp_path, text):
    (tmp_path / f"declined-{os.getpid()}.json").write_text(text)
    assert Absences(tmp_path, inject=True).of(os.getpid(), 1) == Absence()


def test_notes_of_ended_processes_are_removed(tmp_path):
    note(tmp_path, os.getpid(), 1)
    note(tmp_path, 2**22 + 1, 1)
    (tmp_path / "declined-what.json").write_text("{}")
    (tmp_path / "control").write_text("")
    Absences(tmp_path, inject=True).sweep()
    assert {path.name for path in tmp_path.iterdir()} == {f"declined-{os.getpid()}.json", "control"}


@pytest.mark.parametrize(
    ("argv", "inject", "why"),
    [
        (["python", "app.py"], False, "--no-inject keeps our runtime out"),
        (["/bin/sh", "run.sh"], True, "sh is no Python interpreter"),
        (["python3", "-I", "app.py"], True, "python -I ignores PYTHONPATH, by which the runtime comes in"),
        (["python3", "app.py"], True, ""),
        ([], True, ""),
        ([""], True, ""),
    ],
)
def test_the_command_line_tells_what_no_note_tells(argv, inject, why):
    assert why_absent(argv, inject=inject) == why
