"""What of a tick is recorded, and under which names."""

from __future__ import annotations

from dataclasses import replace

from roadworthy.types import Kind, Operation, Resources, Series, System
from roadworthy.watch.operations import Distribution, series_name
from roadworthy.watch.record import Record

LOAD = Operation("load", 3, 1, 0, 0.5, None, 0.1, None, None, 0.2, None, None, None)


def figures(record, operations=(), distributions=()):
    return record.figures(
        {"in_flight": None, "loop.lag": 0.5},
        Resources(rss=7),
        {0: Resources(rss=5)},
        operations,
        System(load1=0.25),
        distributions,
    )


def test_what_is_recorded_has_names_and_leaves_gaps_out():
    record = Record()
    record.metrics([Series("level", Kind.GAUGE, (("tank", "a"),), value=2.0), Series("unset", Kind.GAUGE)])
    found = figures(record, [LOAD])
    assert found == {
        "loop.lag": 0.5,
        "app.rss": 7,
        "worker.0.rss": 5,
        "system.load1": 0.25,
        "operation.load.rate": 0.5,
        "operation.load.p50": 0.1,
        "operation.load.p95": 0.2,
        "operation.load.failures": 1,
        "operation.load.count": 3,
        "level{tank=a}": 2.0,
    }
    assert series_name("level", (("tank", "a"), ("x", "1"))) == "level{tank=a,x=1}"


def test_what_changed_is_recorded_anew_and_the_rest_stays():
    record = Record()
    record.metrics([Series("a", Kind.COUNTER, value=1.0), Series("b", Kind.GAUGE, value=2.0)])
    figures(record, [LOAD])
    record.metrics([Series("a", Kind.COUNTER, value=3.0)])
    found = figures(record, [replace(LOAD, p95=None, count=4)])
    assert (found["a"], found["b"], found["operation.load.count"]) == (3.0, 2.0, 4)
    assert "operation.load.p95" not in found


def test_what_is_unset_or_gone_becomes_a_gap():
    record = Record()
    a, b = Series("a", Kind.GAUGE, value=1.0), Series("b", Kind.GAUGE, value=2.0)
    record.metrics([a, b])
    record.metrics([replace(a, value=None)])
    assert "a" not in figures(record)
    record.metrics([a], [a])
    assert "b" not in figures(record)


def test_other_histograms_are_recorded_by_their_count_and_95th_percentile():
    found = figures(Record(), (), [Distribution("upload.size", 12, 4096.0), Distribution("idle", 3, None)])
    assert (found["upload.size.count"], found["upload.size.p95"], found["idle.count"]) == (12, 4096.0, 3)
    assert "idle.p95" not in found


def test_an_operation_that_is_no_longer_listed_becomes_a_gap_and_the_order_stays():
    record = Record()
    save = replace(LOAD, name="save")
    first = list(figures(record, [LOAD, save]))
    assert list(figures(record, [save, LOAD])) == first
    assert not [name for name in figures(record, [save]) if name.startswith("operation.load")]
