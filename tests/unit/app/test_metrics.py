"""Counters, gauges, histograms and timers under the caller's names."""

import math
import threading

import pytest

import roadworthy as rw
from roadworthy.app import metrics


def test_the_four_kinds_record(seen):
    rw.counter("m.turns").add()
    rw.counter("m.turns").add(2.5)
    rw.gauge("m.entities").set(42)
    rw.gauge("m.entities").add(-2)
    rw.histogram("m.delta", unit="{tile}").record(7)
    rw.timer("m.query").record(0.25)
    with rw.timer("m.query").time():
        pass
    assert seen.value("m.turns") == 3.5
    assert seen.gauge("m.entities") == 40
    assert seen.count("m.delta") == 1
    assert seen.count("m.query") == 2


def test_labels_make_series_and_the_same_labels_the_same_handle(seen):
    requests = rw.counter("m.requests", labels=["scene", "character"])
    requests.labels(scene="cave", character="owl").add()
    requests.labels(scene="cave", character="fox").add(3)
    assert requests.labels(scene="cave", character="owl") is requests.labels(scene="cave", character="owl")
    assert seen.count("m.requests", character="fox") == 3
    assert seen.count("m.requests", scene="cave") == 4
    assert [found.labels for found in seen._series() if found.name == "m.requests"] == [
        (("character", "owl"), ("scene", "cave")),
        (("character", "fox"), ("scene", "cave")),
    ]


def test_label_values_are_bounded_redacted_text(seen):
    counter = rw.counter("m.labels")
    for value in ("x" * 1000, None, 7, 2.5, ["a"], "a\nb", "bob@example.com"):
        counter.labels(value=value).add()
    counter.labels(password="hunter2", token="hunter2").add()
    found = [dict(series.labels) for series in seen._series() if series.name == "m.labels"]
    assert all(len(value) <= 64 for labels in found for value in labels.values())
    assert not any("hunter2" in str(labels) or "bob@" in str(labels) or "\n" in str(labels) for labels in found)
    assert seen.count("m.labels") == 8


def test_labels_without_bound_end_in_the_overflow_series(seen):
    counter = rw.counter("m.paths")
    for n in range(2000):
        counter.labels(path=f"/{n}").add()
    series = [found for found in seen._series() if found.name == "m.paths"]
    assert len(series) <= 501
    assert seen.count("m.paths") == 2000
    assert seen.count("m.paths", otel__metric__overflow="true") >= 1499
    assert len(counter._children) <= metrics.MOST_CHILDREN


@pytest.mark.parametrize("bad", [math.nan, -1, "x", None, 10**400, [], object()])
def test_what_is_no_number_is_dropped_and_never_raises(seen, bad):
    counter = rw.counter("m.bad.counter")
    counter.add(bad)
    counter.add(1)
    rw.gauge("m.bad.gauge").set(bad)
    rw.histogram("m.bad.histogram").record(bad)
    rw.timer("m.bad.timer").record(bad)
    assert seen.value("m.bad.counter") == 1


@pytest.mark.parametrize("value", [0, 1e-12, 1e-3, 1, 1e12, 1e300, math.inf])
def test_extreme_values_never_raise(value):
    rw.histogram("m.extreme").record(value)
    rw.timer("m.extreme.timer").record(value)
    rw.gauge("m.extreme.gauge").set(value)


@pytest.mark.parametrize(
    ("unit", "value"), [("s", 0.0123), ("ms", 12.3), ("By", 123_456), ("", 0.37), ("1", 0.02), ("{tile}", 12)]
)
def test_a_histogram_keeps_values_of_its_unit(seen, unit, value):
    name = f"m.unit.{unit or 'none'}"
    rw.histogram(name, unit=unit).record(value)
    (series,) = [found for found in seen._series() if found.name == name]
    assert series.sum / series.scale == pytest.approx(value, rel=1e-3)
    assert series.unit == unit


def test_an_unknown_merge_is_last(seen):
    rw.gauge("m.merge", merge="average").set(1)
    assert [found.merge for found in seen._series() if found.name == "m.merge"] == ["last"]


def test_a_timed_block_that_raises_names_the_error_and_passes_it_on(seen):
    with pytest.raises(KeyError), rw.timer("m.block").time():
        raise KeyError
    assert seen.count("m.block", error__type="KeyError") == 1


def test_four_threads_lose_nothing(seen):
    counter, histogram = rw.counter("m.threads"), rw.histogram("m.threads.values", unit="By")

    def work():
        for n in range(5000):
            counter.add()
            histogram.record(n)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen.count("m.threads") == 20_000
    assert seen.count("m.threads.values") == 20_000


def test_handles_made_before_the_start_record_after_it(program):
    done = program("""
        import roadworthy as rw
        from roadworthy.app import start
        turns, level, sizes = rw.counter("turns"), rw.gauge("level"), rw.histogram("size", unit="By")
        query, beat = rw.timer("query"), rw.heartbeat("beat", 1)
        add = turns.add

        @rw.timed("work")
        def work():
            pass

        assert start.current() is None
        rw.start("late")
        assert start.name() == "late"
        add(); turns.add(); level.set(2); sizes.record(3); query.record(0.1); beat.beat(); work()
        from roadworthy.arena.reader import Reader
        reader = Reader(start.current().path)
        print({found.name: found.value if found.buckets is None else sum(found.buckets.values())
               for found in reader.series()})
        print([found.count for found in reader.beats() if found.name == "beat"])
    """)
    assert done.stdout.splitlines() == [
        "{'turns': 2.0, 'level': 2.0, 'size': 1, 'query': 1, 'work': 1}",
        "[1]",
    ]
