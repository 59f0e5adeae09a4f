"""What the agent does while a disk is full: a history that waits for room, and findings about the other directories."""

from __future__ import annotations

import os

import pytest

from roadworthy import _clock
from roadworthy.agent import room
from roadworthy.agent.history.late import TRY_EVERY, LateHistory, open_history
from roadworthy.agent.history.sqlite import SqliteHistory
from roadworthy.errors import Exhausted


def test_a_history_that_opens_is_used_as_it_is(tmp_path):
    made = open_history(lambda: SqliteHistory(tmp_path / "history"))
    assert isinstance(made, SqliteHistory)
    made.close()


def test_a_history_that_cannot_open_is_empty_says_why_and_opens_when_it_can(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr(_clock, "monotonic", lambda: now)
    full, tried = True, 0

    def make():
        nonlocal tried
        tried += 1
        if full:
            raise Exhausted(f"no room, {tried}")
        return SqliteHistory(tmp_path / "history")

    made = open_history(make)
    assert isinstance(made, LateHistory)
    assert made.query(["a"], 0, 10, 10) == {"a": []}
    assert (made.incidents(), made.incident("x"), made.notices) == ((), None, [])
    with pytest.raises(Exhausted, match="no room, 1"):
        made.append(1.0, {"a": 1.0})
    assert tried == 1, "it is not tried at every tick"
    now += TRY_EVERY
    with pytest.raises(Exhausted, match="no room, 2"):
        made.append(2.0, {"a": 1.0})
    full = False
    now += TRY_EVERY
    made.append(60.0, {"a": 7.0})
    assert made.query(["a"], 60, 61, 1)["a"][0][1] == 7.0
    made.close()


@pytest.mark.parametrize(
    ("free", "files", "left", "full"),
    [(1 << 30, 100, 50, False), (4096, 100, 50, True), (1 << 30, 100, 0, True), (1 << 30, 0, 0, False)],
)
def test_a_directory_without_room_is_a_finding_that_says_what_it_means(tmp_path, monkeypatch, free, files, left, full):
    space = os.statvfs_result((4096, 4096, 1 << 20, free >> 12, free >> 12, files, left, left, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _path: space)
    found = room.findings({"arena": tmp_path, "run": tmp_path})
    assert [one.subject for one in found] == (["arena directory", "run directory"] if full else [])
    assert all("is full: " in one.reason and one.evidence == str(tmp_path) for one in found)


def test_a_directory_that_cannot_be_asked_is_no_finding(tmp_path):
    assert room.findings({"run": tmp_path / "gone"}) == ()
