"""Resolved settings cross from the command line to keeper and agent as JSON and come back equal."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.config.values import CheckSetting, HangPolicy, RestartPolicy, RunSettings

texts = st.text(max_size=20)
settings = st.builds(
    RunSettings,
    app=texts,
    command=st.lists(texts, max_size=4).map(tuple),
    cwd=texts,
    workers=st.integers(1, 64),
    port=st.none() | st.integers(1, 65535),
    allowed_hosts=st.lists(texts, max_size=3).map(tuple),
    inject=st.booleans(),
    restart=st.builds(RestartPolicy, mode=st.sampled_from(["on-failure", "always", "never"]), jitter=st.floats(0, 1)),
    hang=st.builds(HangPolicy, after=st.floats(0.1, 1e6)),
    checks=st.lists(st.builds(CheckSetting, name=texts, target=texts), max_size=3).map(tuple),
    agent_argv=st.lists(texts, max_size=3).map(tuple),
)


@given(settings)
def test_settings_survive_the_way_through_json(value):
    assert RunSettings.from_json(value.to_json()) == value


def test_settings_of_another_schema_are_refused_by_number():
    raw = json.loads(RunSettings(app="a", command=("x",), cwd="/").to_json())
    raw["schema"] = 99
    with pytest.raises(ValueError, match="schema 99"):
        RunSettings.from_json(json.dumps(raw))


def test_a_setting_that_nobody_knows_is_refused():
    raw = json.loads(RunSettings(app="a", command=("x",), cwd="/").to_json())
    raw["colour"] = "red"
    with pytest.raises(TypeError, match="colour"):
        RunSettings.from_json(json.dumps(raw))


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "3", '"x"', "{}", '{"schema": 1}', '{"schema": "1"}', "\0" * 100, "[" * 100_000,
        '{"schema": 1, "restart": 3, "hang": {}, "checks": []}',
        '{"schema": 1, "restart": {}, "hang": {}, "checks": [1]}',
    ],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_settings_that_are_no_settings_are_refused_in_one_of_the_ways_that_callers_expect(text):
    with pytest.raises((ValueError, TypeError, KeyError, RecursionError)):
        RunSettings.from_json(text)
