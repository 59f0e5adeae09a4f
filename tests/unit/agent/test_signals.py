"""Signals really seen, and declared ones that never came."""

from __future__ import annotations

from roadworthy.agent.signals import KINDS, MOST, SignalBook, by_kind
from roadworthy.types import Beat, CheckResult, Event, EventKind, Histogram, Kind, Series, Status


def named(book, kind, now=100.0):
    return {one.name: one for one in book.signals(now) if one.kind == kind}


def operation(name, count):
    labels = (("operation", name), ("outcome", "success"))
    return Series("operation.duration", Kind.HISTOGRAM, labels, "s", histogram=Histogram({3: count}, 1.0, 1.0, 1e9))


def test_every_kind_is_listed_even_when_nothing_came():
    found = SignalBook().signals(1.0)
    assert [one.kind for one in found] == list(KINDS)
    assert all(one.count == 0 and one.last is None and not one.declared for one in found)


def test_a_count_that_moved_is_a_signal_received():
    book = SignalBook()
    book.series(1.0, [operation("load", 0)])
    assert named(book, "operations")["load"].last is None
    book.series(5.0, [operation("load", 3)])
    book.series(9.0, [])
    found = named(book, "operations")["load"]
    assert (found.count, found.last, found.declared) == (3, 5.0, True)


def test_what_was_counted_before_we_watched_has_no_time():
    book = SignalBook()
    book.series(1.0, [operation("load", 30)])
    found = named(book, "operations")["load"]
    assert (found.count, found.last) == (30, None)


def test_a_declared_heartbeat_that_never_came_and_one_that_went_stale():
    book = SignalBook()
    beats = [
        Beat("a", "heartbeat", 1, 0, 0, None, 5.0),
        Beat("b", "heartbeat", 1, 0, 9, 40.0, 5.0),
        Beat("c", "loop", 1, 0, 9, 0.1),
    ]
    book.beats(100.0, beats)
    found = named(book, "heartbeats")
    assert (found["a"].declared, found["a"].last, found["a"].stale) == (True, None, False)
    assert (found["b"].last, found["b"].stale) == (60.0, True)
    assert named(book, "loop")["c"].stale is False


def test_events_are_counted_by_kind_and_source():
    book = SignalBook()
    book.events(
        [Event(EventKind.LOG, 5.0, "info", "app.db.pool", "x", 1), Event(EventKind.ERROR, 6.0, "error", "load", "x", 1)]
    )
    assert named(book, "logs")["app"].last == 5.0
    assert named(book, "errors")["load"].count == 1


def test_checks_output_and_gauges_are_signals_too():
    book = SignalBook()
    book.series(1.0, [Series("level", Kind.GAUGE, value=1.0)])
    book.gauges({"level": 7.0})
    book.output(8.0, 100)
    book.checks([CheckResult("db", "readiness", Status.OK, "", 9.0, 0.1, 60, 5)])
    assert named(book, "metrics")["level"].last == 7.0
    assert named(book, "output")["stdout and stderr"].count == 100
    assert named(book, "checks")["db"].count == 1


def test_names_are_bounded():
    book = SignalBook()
    book.series(1.0, [operation(f"op{number}", 1) for number in range(MOST + 20)])
    found = named(book, "operations")
    assert len(found) == MOST + 1
    assert found["(others)"].count == 20


def test_one_line_per_kind():
    book = SignalBook()
    book.series(1.0, [operation("a", 0), operation("b", 0)])
    book.series(4.0, [operation("a", 1), operation("b", 2)])
    assert by_kind(book.signals(5.0))["operations"].count == 3


def test_what_we_count_for_ourselves_is_nothing_that_somebody_waits_for():
    book = SignalBook()
    ours = ("http.server.active_requests", Kind.GAUGE), ("cpython.gc.uncollectable_objects", Kind.COUNTER)
    book.series(1.0, [Series(name, kind, (), value=None) for name, kind in ours])
    assert [one for one in book.signals(2.0) if one.declared] == []
