"""Levels that the operator sets hold until they are taken back, and then the logger has the program's again."""

import logging

import pytest

from roadworthy.app.integrations import log_levels

NAMES = ("levels.a", "levels.a.b", "levels.c")


@pytest.fixture
def loggers(monkeypatch):
    """Loggers that this test made; changes are made at once instead of in a thread."""
    monkeypatch.setattr(log_levels.runs, "start", lambda key, work: work())
    monkeypatch.setattr(log_levels, "_modules", [logging])
    monkeypatch.setattr(log_levels, "_held", {})
    made = {name: logging.getLogger(name) for name in NAMES}
    root = logging.root.level
    yield made
    log_levels.told({})
    logging.root.setLevel(root)
    for logger in made.values():
        logger.setLevel(logging.NOTSET)


def tell(**levels):
    return log_levels.told({"log_levels": {name.replace("_", ".").strip("."): level for name, level in levels.items()}})


def test_a_level_holds_and_goes_back(loggers):
    logger = loggers["levels.a"]
    logger.setLevel(logging.WARNING)
    assert tell(levels_a="DEBUG") is True
    assert logger.isEnabledFor(logging.DEBUG)
    assert loggers["levels.a.b"].isEnabledFor(logging.DEBUG), "and below it"
    assert tell() is False
    assert logger.level == logging.WARNING


def test_what_the_program_sets_meanwhile_is_what_it_gets_back(loggers):
    logger = loggers["levels.a"]
    tell(levels_a="DEBUG")
    logger.setLevel(logging.ERROR)
    tell(levels_a="DEBUG")  # the next look
    assert logger.level == logging.DEBUG
    tell(levels_a="INFO")
    assert logger.level == logging.INFO
    tell()
    assert logger.level == logging.ERROR


def test_what_the_program_set_last_is_left_when_the_level_goes(loggers):
    logger = loggers["levels.a"]
    tell(levels_a="DEBUG")
    logger.setLevel(logging.ERROR)
    tell()
    assert logger.level == logging.ERROR


def test_the_root_loggers_level_is_the_one_without_a_name(loggers):
    logging.root.setLevel(logging.WARNING)
    log_levels.told({"log_levels": {"": "DEBUG"}})
    assert logging.root.level == logging.DEBUG
    log_levels.told({})
    assert logging.root.level == logging.WARNING


def test_a_logger_is_not_made_before_the_program_makes_it(loggers):
    assert tell(levels_unknown="DEBUG") is True
    assert "levels.unknown" not in logging.root.manager.loggerDict
    try:
        assert logging.getLogger("levels.unknown").level == logging.NOTSET
        tell(levels_unknown="DEBUG")  # the next look
        assert logging.getLogger("levels.unknown").level == logging.DEBUG
        tell()
        assert logging.getLogger("levels.unknown").level == logging.NOTSET
    finally:
        logging.root.manager.loggerDict.pop("levels.unknown", None)


def test_a_package_that_is_only_known_by_its_modules_gets_a_level(loggers):
    assert isinstance(logging.root.manager.loggerDict["levels"], logging.PlaceHolder)
    tell(levels="DEBUG")
    assert loggers["levels.c"].isEnabledFor(logging.DEBUG)
    tell()
    assert not loggers["levels.c"].isEnabledFor(logging.DEBUG)


def test_while_nothing_differs_nothing_is_done(loggers, monkeypatch):
    tell(levels_a="DEBUG")
    with monkeypatch.context() as patched:
        patched.setattr(log_levels.runs, "start", None)
        assert tell(levels_a="DEBUG") is True


@pytest.mark.parametrize(
    "asked", [None, [], "DEBUG", {"levels.a": "LOUD"}, {"levels.a": 7}, {7: "DEBUG"}, {"levels.a": None}]
)
def test_what_makes_no_sense_changes_nothing(loggers, asked):
    log_levels.told({"log_levels": asked})
    assert loggers["levels.a"].level == logging.NOTSET


@pytest.mark.parametrize(
    ("until", "kept"),
    [
        (None, {"a": "DEBUG", "b": "DEBUG"}),
        ({"a": [1000.0, ""]}, {"a": "DEBUG", "b": "DEBUG"}),
        ({"a": [900.0, ""]}, {"b": "DEBUG"}),
        ({"a": [900.0, "INFO"], "b": [2000.0, ""]}, {"a": "INFO", "b": "DEBUG"}),
        ({"a": 7, "c": ["x", ""]}, {"a": "DEBUG", "b": "DEBUG"}),
    ],
)
def test_a_level_whose_time_is_over_is_not_in_force_also_without_an_agent(until, kept):
    assert log_levels.in_force({"a": "DEBUG", "b": "DEBUG"}, until, 1000.0) == kept
    assert log_levels.in_force(None, until, 1000.0) is None
