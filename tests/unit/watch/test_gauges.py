"""The chart figures and the names in the history."""

from __future__ import annotations

import pytest

from roadworthy.arena.layout import bucket_of
from roadworthy.types import Beat, Histogram, Kind, Resources, Series
from roadworthy.watch.gauges import GC, KEYS, LOOP_LAG, Gauges
from roadworthy.watch.operations import Windows

MS = 1_000_000


def histogram(name, values, labels=()):
    buckets = {}
    for value in values:
        buckets[bucket_of(int(value * MS))] = buckets.get(bucket_of(int(value * MS)), 0) + 1
    return Series(
        name,
        Kind.HISTOGRAM,
        labels,
        "s",
        histogram=Histogram(buckets, sum(values) * MS, max(values, default=0.0) * MS, 1e9),
    )


def at(gauges, now, series=(), beats=(), windows=None, in_flight=None, resources=None):
    return gauges.at(
        now,
        windows=windows or Windows(),
        series=series,
        beats=beats,
        in_flight=in_flight,
        resources=resources or Resources(),
    )


def test_the_keys_are_fixed_and_what_is_not_measured_is_none():
    found = at(Gauges(), 1.0)
    assert tuple(found) == KEYS
    assert set(found.values()) == {None}


def test_the_loops_lag_is_the_worst_of_the_tick_though_a_better_one_followed():
    gauges = Gauges()
    at(gauges, 1.0, [histogram(LOOP_LAG, [1.0])])
    assert at(gauges, 2.0, [histogram(LOOP_LAG, [1.0, 500.0, 2.0])])["loop.lag"] == pytest.approx(0.5, rel=0.0625)
    assert at(gauges, 3.0, [histogram(LOOP_LAG, [1.0, 500.0, 2.0, 3.0])])["loop.lag"] == pytest.approx(
        0.003, rel=0.0625
    )
    assert at(gauges, 4.0, [histogram(LOOP_LAG, [1.0, 500.0, 2.0, 3.0])])["loop.lag"] is None


def test_frames_a_second_count_the_sleep_and_show_the_slowest_loop():
    gauges = Gauges()
    for second in range(6):
        beats = [Beat("fast", "loop", 1, 0, second * 60, 0.1), Beat("slow", "loop", 1, 0, second * 20, 0.1)]
        found = at(gauges, float(second), beats=beats)
    assert found["loop.fps"] == pytest.approx(20.0)


def test_a_loop_that_restarted_is_not_a_negative_rate():
    gauges = Gauges()
    at(gauges, 1.0, beats=[Beat("a", "loop", 1, 0, 1000, 0.1)])
    at(gauges, 2.0, beats=[Beat("a", "loop", 1, 0, 10, 0.1)])
    assert at(gauges, 3.0, beats=[Beat("a", "loop", 1, 0, 70, 0.1)])["loop.fps"] == pytest.approx(60.0)


def test_collection_time_is_seconds_a_second():
    gauges = Gauges()
    at(gauges, 1.0, [histogram(GC, [10.0])])
    assert at(gauges, 2.0, [histogram(GC, [10.0, 30.0])])["gc.pause"] == pytest.approx(0.03)


def test_requests_are_preferred_to_operations_and_recorded_errors_count():
    windows, gauges = Windows(), Gauges()
    windows.update(0.0, [])
    labels = (("http.request.method", "GET"), ("http.response.status_code", "200"), ("http.route", "/"))
    series = [
        histogram("http.server.request.duration", [10.0] * 20, labels),
        histogram("operation.duration", [1.0] * 500, (("operation", "x"), ("outcome", "success"))),
    ]
    errors = [Series("errors", Kind.COUNTER, (("type", "E"),), value=float(count)) for count in (0, 5)]
    at(gauges, 0.0, [errors[0]], windows=windows)
    windows.update(10.0, series)
    found = at(
        gauges, 10.0, [*series, errors[1]], windows=windows, in_flight=3, resources=Resources(cpu_percent=5.0, rss=7)
    )
    assert found["requests.rate"] == pytest.approx(2.0)
    assert found["latency.p95"] == pytest.approx(0.01, rel=0.0625)
    assert found["errors.rate"] == pytest.approx(0.5)
    assert (found["in_flight"], found["cpu.percent"], found["rss.bytes"]) == (3, 5.0, 7)


def test_timers_count_beside_operations_where_nothing_is_requested():
    windows, gauges = Windows(), Gauges()
    windows.update(0.0, [])
    series = [
        histogram("operation.duration", [1.0], (("operation", "save"), ("outcome", "success"))),
        histogram("frame.time", [4.0] * 600),
    ]
    windows.update(10.0, series)
    found = at(gauges, 10.0, series, windows=windows)
    assert found["requests.rate"] == pytest.approx(60.1)
    assert found["latency.p50"] == pytest.approx(0.004, rel=0.0625)
