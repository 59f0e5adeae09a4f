"""The strings that the user's program uses name the same places as the paths that everybody else uses."""

import stat

import pytest

from roadworthy.config import places, where

ENVIRONMENTS = [
    {"ROADWORTHY_HOME": "{tmp}/home"},
    {"ROADWORTHY_HOME": "relative"},
    {"RUNTIME_DIRECTORY": "{tmp}/one:{tmp}/two", "STATE_DIRECTORY": "{tmp}/state"},
    {"XDG_RUNTIME_DIR": "{tmp}", "XDG_STATE_HOME": "{tmp}/state"},
    {"HOME": "{tmp}", "TMPDIR": "{tmp}/temp"},
    {},
]


@pytest.mark.parametrize("raw", ENVIRONMENTS)
def test_strings_and_paths_agree(raw, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    env = {key: value.format(tmp=tmp_path) for key, value in raw.items()}
    found = places.places("web", env)
    assert where.arena_root(env) + "/web" == str(found.arena)
    assert where.run_root(env) + "/web" == str(found.run)
    assert where.state_root(env, "web") == str(found.state)


def test_a_private_directory_is_made_with_its_parents_and_closed(tmp_path):
    path = where.private(str(tmp_path / "a" / "b"))
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert where.private(path) == path
