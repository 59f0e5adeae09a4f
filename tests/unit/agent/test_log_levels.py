"""Log levels that people set: checked, told on the page, found there by the next agent."""

import pytest

from roadworthy.agent.log_levels import MOST, LogLevels
from roadworthy.arena.control import ControlWriter
from roadworthy.errors import Exhausted, UsageError


def test_what_is_set_is_told_and_taken_back(tmp_path):
    told = []
    levels = LogLevels(tmp_path, lambda: told.append(levels.told()))
    assert levels.verb({"level": "debug", "logger": "pkg.mod"}) == {
        "what": "logger 'pkg.mod' is set to debug",
        "old": "default",
        "new": "debug",
    }
    levels.verb({"level": "Warning"})
    levels.verb({"level": "default", "logger": "pkg.mod"})
    assert told == [{"pkg.mod": "DEBUG"}, {"pkg.mod": "DEBUG", "": "WARNING"}, {"": "WARNING"}]


@pytest.mark.parametrize("message", [{}, {"level": "loud"}, {"level": 7}, {"level": "info", "logger": "x" * 200}])
def test_what_makes_no_sense_is_refused_and_changes_nothing(tmp_path, message):
    levels = LogLevels(tmp_path, lambda: None)
    with pytest.raises(UsageError):
        levels.verb(message)
    assert levels.told() == {}


def test_more_than_the_page_should_hold_is_refused(tmp_path):
    levels = LogLevels(tmp_path, lambda: None)
    for number in range(MOST):
        levels.set(f"logger{number}", "info")
    with pytest.raises(UsageError):
        levels.set("one more", "info")


def test_what_could_not_be_told_is_as_it_was(tmp_path):
    def full():
        raise Exhausted("the control page is full")

    levels = LogLevels(tmp_path, full)
    with pytest.raises(Exhausted):
        levels.set("", "debug")
    assert levels.told() == {}


def test_the_next_agent_goes_on_with_what_the_one_before_has_set(tmp_path):
    page = ControlWriter(tmp_path)
    levels = LogLevels(tmp_path, lambda: page.publish({"log_levels": levels.told()}))
    levels.set("pkg", "debug")
    page.close()
    assert LogLevels(tmp_path, lambda: None).told() == {"pkg": "DEBUG"}
