"""Error groups by fingerprint."""

from __future__ import annotations

from roadworthy.agent.errorlog import MOST_GROUPS, ErrorLog
from roadworthy.types import Event, EventKind


def error(at, fingerprint="f", text="boom", **fields):
    said = {"fingerprint": fingerprint, "type": "ValueError", **fields}
    return Event(EventKind.ERROR, at, "error", "load", text, 1, 0, fields=said)


def test_errors_with_one_fingerprint_are_one_group():
    log = ErrorLog()
    assert log.take([error(10.0), error(20.0, operation="parse", handled="false", traceback="Traceback")]) == 2
    (group,) = log.groups()
    assert (group.count, group.first, group.last, group.operation) == (2, 10.0, 20.0, "parse")
    assert (group.type, group.message, group.handled, group.traceback) == ("ValueError", "boom", False, "Traceback")
    assert log.operations("f") == {"load": 1, "parse": 1}


def test_other_events_and_torn_ones_are_not_counted():
    log = ErrorLog()
    torn = Event(EventKind.ERROR, 1.0, "error", "", "", 1, torn=True)
    assert log.take([torn, Event(EventKind.LOG, 1.0, "error", "a", "b", 1)]) == 0
    assert log.groups() == ()


def test_the_frequency_is_per_minute():
    log = ErrorLog()
    log.take([error(at) for at in (60, 61, 119, 120, 300)])
    assert log.frequency("f") == ((60.0, 3), (120.0, 1), (300.0, 1))
    assert log.frequency("unknown") == ()


def test_the_group_seen_longest_ago_makes_room():
    log = ErrorLog()
    log.take(error(float(number), f"f{number}") for number in range(MOST_GROUPS + 1))
    assert len(log.groups()) == MOST_GROUPS
    assert log.frequency("f0") == ()
    assert log.groups()[0].fingerprint == f"f{MOST_GROUPS}"
    assert log.dropped_groups == 1


def test_what_was_saved_is_loaded_back_equal():
    log = ErrorLog()
    log.take([error(10.0), error(70.0, "g")])
    again = ErrorLog()
    again.load(log.to_json())
    assert again.groups() == log.groups()
    assert again.frequency("f") == log.frequency("f")


def test_a_sampled_error_stands_for_those_before_it_and_one_told_before_for_none():
    log = ErrorLog()
    log.take([error(60.0), error(61.0, weight="9"), error(62.0, again="true", handled="false"), error(63, weight="x")])
    (group,) = log.groups()
    assert (group.count, group.handled) == (11, True)
    assert log.frequency("f") == ((60.0, 11),)
