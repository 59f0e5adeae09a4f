"""Public names change only on purpose."""

from __future__ import annotations

import subprocess
import sys

import pytest

import roadworthy
from roadworthy import errors

PROMISED = {
    "__version__", "cache", "check", "collector", "counter", "error", "event", "gauge", "heartbeat", "histogram",
    "loop", "operation", "progress", "start", "startup", "timed", "timer", "usage",
}  # fmt: skip


def test_the_promised_names_are_there_and_no_others():
    assert set(roadworthy.__all__) == PROMISED
    assert set(dir(roadworthy)) == PROMISED
    for name in PROMISED:
        assert getattr(roadworthy, name) is not None


@pytest.mark.parametrize("name", ["nonsense", "_private", "Policyy"])
def test_an_unknown_name_is_an_attribute_error_that_names_it(name):
    with pytest.raises(AttributeError, match=name):
        getattr(roadworthy, name)


def test_importing_the_package_loads_nothing_else_of_ours():
    script = "import sys, roadworthy; print([m for m in sys.modules if m.startswith('roadworthy.')])"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


EXIT_CODES = {
    errors.RoadworthyError: 1, errors.UsageError: 2, errors.NotFound: 2, errors.ConfigurationError: 3,
    errors.Unavailable: 4,
    errors.NotRunning: 4, errors.PortInUse: 4, errors.Exhausted: 5, errors.Refused: 6, errors.Unhealthy: 7,
    errors.ArenaError: 1, errors.ArenaVersion: 1, errors.ArenaBroken: 1, errors.Temporary: 75,
}  # fmt: skip


def test_every_error_has_its_exit_code_and_stands_in_the_drawn_tree():
    kinds = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.RoadworthyError)
    }
    assert kinds == set(EXIT_CODES)
    for kind, code in EXIT_CODES.items():
        assert kind.exit_code == code
        assert kind.__name__ in errors.__doc__


def test_an_error_reads_as_what_why_and_hint_one_line_each():
    error = errors.Unavailable("no answer", why="It took 2 s.", hint="Try again.")
    assert str(error).splitlines() == ["no answer", "It took 2 s.", "Try again."]
    assert str(errors.Unavailable("no answer")) == "no answer"
