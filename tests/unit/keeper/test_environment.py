"""What the program finds in its environment."""

from __future__ import annotations

import json

import pytest

from roadworthy.config.values import RunSettings
from roadworthy.keeper.environment import program_environment


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, {"ENV": "mine"}),
        ({"environment": "staging"}, {"ENV": "mine", "ROADWORTHY_ENV": "staging"}),
        ({"log_json": True}, {"ENV": "mine", "LOG_FORMAT_JSON": "true"}),
        ({"log_json": False, "port": 8001}, {"ENV": "mine", "LOG_FORMAT_JSON": "false", "PORT": "8001"}),
    ],
)
def test_what_was_set_for_it_is_told_and_nothing_else_changes(settings, told):
    given = json.loads(RunSettings("web", ("x",), "/", inject=False, **settings).to_json())
    made = program_environment(given, {"ENV": "mine"}, -1)
    ours = {"ROADWORTHY_APP", "ROADWORTHY_ARENA_DIR", "ROADWORTHY_RUN_DIR", "ROADWORTHY_KEEPER_PID"}
    assert {name: value for name, value in made.items() if name not in ours} == told
