"""Sliding windows over the differences of merged histograms."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from roadworthy.arena.layout import bucket_of, quantile
from roadworthy.types import Histogram, Kind, Series
from roadworthy.watch.operations import MEMORY, MOST_DISTRIBUTIONS, OPERATIONS, REQUESTS, Windows, attempt, worst_first
from roadworthy.watch.sliding import quantiles

MS = 1_000_000


class Program:
    """Counts durations as the merged series of a program would."""

    def __init__(self):
        self.figures = {}

    def record(self, name, milliseconds, times=1, *, failed=False, **labels):
        outcome = (("operation", name), ("outcome", "failure" if failed else "success"))
        key = (labels.pop("series", OPERATIONS), tuple(sorted(labels.items())) if labels else outcome)
        buckets, total, most = self.figures.get(key, ({}, 0.0, 0.0))
        value = int(milliseconds * MS)
        buckets = dict(buckets)
        buckets[bucket_of(value)] = buckets.get(bucket_of(value), 0) + times
        self.figures[key] = (buckets, total + value * times, max(most, value))

    def series(self):
        return [
            Series(name, Kind.HISTOGRAM, labels, "s", histogram=Histogram(dict(buckets), total, float(most), 1e9))
            for (name, labels), (buckets, total, most) in self.figures.items()
        ]


@pytest.fixture
def program():
    return Program()


@pytest.fixture
def windows():
    made = Windows()
    made.update(0.0, [])
    return made


def only(windows, now, in_flight=None):
    (found,) = windows.operations(now, in_flight or {})
    return found


def test_a_known_load_is_shown_with_its_true_rate_and_percentiles(program, windows):
    for second in range(1, 11):
        for milliseconds in range(1, 101):
            program.record("x", milliseconds)
        windows.update(float(second), program.series())
    found = only(windows, 10.0)
    assert found.count == 1000
    assert found.rate == pytest.approx(100.0)
    assert found.p50 == pytest.approx(0.050, rel=0.0625)
    assert found.p95 == pytest.approx(0.095, rel=0.0625)
    assert found.p99 == pytest.approx(0.099, rel=0.0625)
    assert found.max == pytest.approx(0.100, rel=1e-6)
    assert found.mean == pytest.approx(0.0505, rel=1e-6)


def test_what_was_counted_before_we_watched_is_in_the_totals_and_not_in_the_windows(program):
    program.record("x", 500, times=100)
    windows = Windows()
    windows.update(1.0, program.series())
    windows.update(2.0, [])
    found = only(windows, 2.0)
    assert (found.count, found.rate, found.p50) == (100, 0.0, None)


def test_percentiles_forget_after_a_minute_rates_after_ten_seconds_errors_after_five_minutes(program, windows):
    program.record("x", 10, times=30, failed=True)
    windows.update(1.0, program.series())
    windows.update(12.0, [])
    assert (only(windows, 12.0).rate, only(windows, 12.0).error_rate) == (0.0, 1.0)
    assert only(windows, 12.0).p50 is not None
    windows.update(62.0, [])
    assert (only(windows, 62.0).p50, only(windows, 62.0).error_rate) == (None, 1.0)
    windows.update(302.0, [])
    found = only(windows, 302.0)
    assert (found.error_rate, found.count, found.failures) == (None, 30, 30)


@pytest.mark.parametrize(
    ("attempts", "failures", "rate"), [(19, 19, None), (20, 1, 0.05), (20, 0, 0.0), (100, 50, 0.5)]
)
def test_an_error_rate_needs_twenty_attempts(program, windows, attempts, failures, rate):
    if attempts - failures:
        program.record("x", 1, times=attempts - failures)
    if failures:
        program.record("x", 1, times=failures, failed=True)
    windows.update(1.0, program.series())
    assert only(windows, 1.0).error_rate == rate


def test_operations_that_only_started_are_listed_without_figures(windows):
    found = only(windows, 5.0, {"upload": 2})
    assert (found.name, found.in_flight, found.count, found.p95) == ("upload", 2, 0, None)


def test_the_worst_comes_first(program, windows):
    program.record("well", 1, times=100)
    program.record("slow", 100, times=100)
    program.record("failing", 1, times=90)
    program.record("failing", 1, times=10, failed=True)
    windows.update(1.0, program.series())
    assert [one.name for one in windows.operations(1.0, {})] == ["failing", "slow", "well"]
    assert min(windows.operations(1.0, {}), key=worst_first).name == "failing"


def answered(status):
    return {"http.request.method": "GET", "http.route": "/a", "http.response.status_code": status}


@pytest.mark.parametrize(
    ("name", "labels", "unit", "expected"),
    [
        (OPERATIONS, {"operation": "load", "outcome": "failure"}, "s", ("load", True, "operation")),
        (REQUESTS, answered("200"), "s", ("GET /a", False, "request")),
        (REQUESTS, answered("404"), "s", ("GET /a", False, "request")),
        (REQUESTS, answered("503"), "s", ("GET /a", True, "request")),
        (REQUESTS, {"http.request.method": "GET", "error.type": "E"}, "s", ("GET (no route)", True, "request")),
        ("path.duration", {}, "s", ("path.duration", False, "timer")),
        ("path.duration", {"map": "a"}, "s", ("path.duration {map=a}", False, "timer")),
        ("asyncio.loop.lag", {}, "s", None),
        ("cpython.gc.duration", {"generation": "0"}, "s", None),
        ("loop.frame.duration", {"loop": "main"}, "s", None),
        ("upload.size", {}, "By", None),
    ],
)  # fmt: skip
def test_series_are_told_apart_as_operations_requests_timers_and_our_own(name, labels, unit, expected):
    found = attempt(name, tuple(sorted(labels.items())), unit)
    assert (None if found is None else (found.name, found.failed, found.kind)) == expected


def test_quantiles_in_one_pass_are_those_of_the_arena():
    buckets = {bucket_of(value * value): value % 7 + 1 for value in range(1, 400)}
    shares = (0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
    assert quantiles(buckets, shares, 150_000.0, 1.0) == [quantile(buckets, share, 150_000.0) for share in shares]
    assert quantiles({}, shares, None, 1.0) == [None] * 6


def test_memory_is_bounded_by_names(windows):
    program = Program()
    for number in range(2_010):
        program.record(f"op{number}", 1)
    windows.update(1.0, program.series())
    assert len(windows.operations(1.0, {})) == 2_000
    assert windows.untracked == 10
    assert math.isclose(windows.window(1.0, frozenset({"operation"})).rate or 0.0, 2_000.0)


def test_an_operations_memory_change_is_that_of_its_last_run_also_when_it_is_quiet(program, windows):
    change = Series(MEMORY, Kind.GAUGE, (("operation", "x"),), "By", value=4096.0)
    program.record("x", 1)
    program.record("y", 1)
    windows.update(1.0, [*program.series(), change])
    assert {one.name: one.memory_change for one in windows.operations(1.0, {})} == {"x": 4096.0, "y": None}
    windows.update(400.0, [])
    windows.operations(400.0, {})
    windows.update(401.0, [replace(change, value=-512.0)])
    assert {one.name: one.memory_change for one in windows.operations(401.0, {})} == {"x": -512.0, "y": None}


def test_histograms_that_are_no_operations_have_a_count_and_a_95th_percentile_of_the_last_minute(program, windows):
    def upload(sizes):
        buckets = {}
        for size in sizes:
            buckets[bucket_of(size)] = buckets.get(bucket_of(size), 0) + 1
        histogram = Histogram(buckets, float(sum(sizes)), float(max(sizes)), 1.0)
        return Series("upload.size", Kind.HISTOGRAM, (("to", "disk"),), "By", histogram=histogram)

    program.record("x", 1)
    windows.update(1.0, [*program.series(), upload(range(1000, 2001))])
    (found,) = windows.distributions()
    assert (found.name, found.count) == ("upload.size{to=disk}", 1001)
    assert found.p95 == pytest.approx(1950, rel=0.0625)
    assert [one.name for one in windows.operations(1.0, {})] == ["x"]
    assert windows.kinds() == {"operation"}
    windows.update(62.0, [])
    assert windows.distributions()[0].p95 is None


def test_distributions_leave_room_for_operations(windows):
    series = [
        Series(f"size{number}", Kind.HISTOGRAM, (), "By", histogram=Histogram({3: 1}, 3.0, 3.0))
        for number in range(MOST_DISTRIBUTIONS + 7)
    ]
    windows.update(1.0, series)
    assert (len(windows.distributions()), windows.untracked) == (MOST_DISTRIBUTIONS, 7)
