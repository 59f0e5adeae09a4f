"""Log levels that people set: checked, told on the page, found there by the next agent."""

import pytest

from roadworthy.agent.log_levels import MOST, Ended, LogLevels
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


NOW = 1_767_225_600.0


def told_by(page, levels):
    return {"log_levels": levels.told(), "log_levels_until": levels.until()}


def test_a_level_that_is_set_for_a_while_goes_back_when_that_is_over(tmp_path):
    told = []
    levels = LogLevels(tmp_path, lambda: told.append(levels.told()))
    said = levels.set("pkg", "debug", 600, NOW)
    assert said == "logger 'pkg' is set to debug for 10 min; then it goes back by itself"
    assert levels.expire(NOW + 599) == []
    said = "logger 'pkg' goes back to what the program gives it: its time is over"
    assert levels.expire(NOW + 600) == [Ended("pkg", "debug", "default", said)]
    assert told == [{"pkg": "DEBUG"}, {}]
    assert levels.until() == {}


def test_it_goes_back_to_the_level_that_was_asked_for_before(tmp_path):
    levels = LogLevels(tmp_path, lambda: None)
    levels.set("pkg", "warning")
    levels.set("pkg", "debug", 60, NOW)
    levels.set("pkg", "info", 7200, NOW + 1)
    assert levels.until() == {"pkg": [NOW + 7201, "WARNING"]}
    (ended,) = levels.expire(NOW + 9000)
    assert (ended.new, ended.what) == ("warning", "logger 'pkg' goes back to warning: its time is over")
    assert levels.told() == {"pkg": "WARNING"}


def test_setting_it_without_an_end_or_taking_it_back_forgets_the_end(tmp_path):
    levels = LogLevels(tmp_path, lambda: None)
    levels.set("pkg", "debug", 60, NOW)
    levels.set("pkg", "info")
    levels.set("", "debug", 1.5, NOW)
    levels.set("", "default")
    assert levels.expire(NOW + 9000) == []
    assert levels.told() == {"pkg": "INFO"}


@pytest.mark.parametrize(("level", "seconds"), [("debug", -1), ("debug", 8 * 86_400), ("default", 60), ("debug", 1e99)])
def test_a_time_that_makes_no_sense_is_refused(tmp_path, level, seconds):
    levels = LogLevels(tmp_path, lambda: None)
    with pytest.raises(UsageError):
        levels.set("pkg", level, seconds, NOW)
    assert (levels.told(), levels.until()) == ({}, {})


def test_an_end_survives_the_agents_death(tmp_path):
    page = ControlWriter(tmp_path)
    levels = LogLevels(tmp_path, lambda: page.publish(told_by(page, levels)))
    levels.verb({"logger": "pkg", "level": "debug", "seconds": 60})
    page.close()
    after = LogLevels(tmp_path, lambda: None)
    assert after.until() == levels.until()
    assert len(after.expire(levels.until()["pkg"][0])) == 1


def test_an_end_that_is_not_understood_has_come(tmp_path):
    page = ControlWriter(tmp_path)
    page.publish({"log_levels": {"a": "DEBUG", "b": "DEBUG"}, "log_levels_until": {"a": 7, "b": ["x", "INFO"]}})
    page.close()
    levels = LogLevels(tmp_path, lambda: None)
    assert len(levels.expire(NOW)) == 2
    assert levels.told() == {"b": "INFO"}


def test_an_end_that_could_not_be_told_is_tried_again(tmp_path):
    levels = LogLevels(tmp_path, lambda: None)
    levels.set("pkg", "debug", 60, NOW)

    def full():
        raise Exhausted("the control page is full")

    levels._publish = full
    with pytest.raises(Exhausted):
        levels.expire(NOW + 60)
    levels._publish = lambda: None
    assert len(levels.expire(NOW + 61)) == 1
