"""A program that is stuck asks for a new process, which goes on from the state that the old one saved."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.running import Running, wait_for

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]

HOST = Path(__file__).parent / "hosts/stuck_world.py"


def test_a_stuck_program_is_restarted_and_goes_on_from_its_emergency_state(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()

    def said() -> list[list[str]]:
        return [line.split(" ", 1) for line in (folder / "said.txt").read_text().splitlines()]

    with Running(tmp_path / "home", [sys.executable, str(HOST), str(folder)], name="world") as running:
        running.agent()
        running.until(lambda s: s["verdict"]["ready"] and said(), "the program runs under the agent")
        assert said()[0][1] == "began at turn 40"
        (folder / "stuck").touch()
        wait_for(lambda: len({pid for pid, _ in said()}) == 2, "another process has begun", 60)
        lines = said()
        assert {line for pid, line in lines[1:] if pid == lines[0][0]} <= {
            "restart advised: the same error came 10 times in a row"
        }
        turn = int(lines[-1][1].rpartition(" ")[2])
        assert turn > 40, "from the saved state"
        assert lines[-1][1].startswith("began at turn")
        assert lines[-1][0] != lines[0][0]
        snapshot = running.until(lambda s: s["workers"][0]["generation"] == 2, "the agent sees the new one")
        assert any("asks for a restart: world" in event["text"] for event in snapshot["events"])

        (folder / "music").touch()  # and it switches off a feature of its own accord, which people see, with the reason
        shown = running.until(lambda s: any(one["off"] and one["until"] for one in s["features"]), "it is shown as off")
        music = next(one for one in shown["features"] if one["name"] == "music")
        assert (music["reason"], music["by"]) == ("too loud", "program")
        assert music["until"] - music["since"] == pytest.approx(60, abs=2)
        assert any(finding["subject"] == "feature music" for finding in shown["verdict"]["findings"])
