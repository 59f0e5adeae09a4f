"""What a dead keeper left goes when nothing of the program lives, and never under somebody who runs it again."""

from __future__ import annotations

import os

import pytest

from roadworthy.cli.running import claim, clear_away
from roadworthy.config.places import make, places

LEFT = ("keeper.json", "agent.json", "run.json", "token")


@pytest.fixture
def app(tmp_path, monkeypatch):
    monkeypatch.setenv("ROADWORTHY_HOME", str(tmp_path))
    app = make(places("demo"))
    for name in LEFT:
        (app.run / name).write_text("{}")
    for name in ("control", "shared", "out-0-1", "err-0-1", "stacks-17"):
        (app.arena / name).write_text("")
    return app


def test_all_that_a_dead_keeper_left_goes_and_the_state_stays(app):
    (app.state / "totals.json").write_text("{}")
    clear_away(app)
    assert not app.run.exists()
    assert not app.arena.exists()
    assert (app.state / "totals.json").exists()
    clear_away(app)


def test_an_arena_that_nobody_has_read_stays_for_the_next_agent(app):
    (app.arena / "boot-1-2-0.arena").write_text("")
    clear_away(app)
    assert [path.name for path in app.arena.iterdir()] == ["boot-1-2-0.arena"]


def test_nothing_is_touched_while_somebody_runs_it_again(app):
    lock = claim(app)
    try:
        clear_away(app)
        assert all((app.run / name).exists() for name in LEFT)
        assert (app.arena / "control").exists()
    finally:
        os.close(lock)
