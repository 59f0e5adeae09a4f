"""N workers become one application."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.arena.layout import add_buckets, bucket_of, quantile
from roadworthy.arena.merge import Merger, Part, merge
from roadworthy.arena.records import RawSeries
from roadworthy.arena.totals import MOST_RETIRED, Totals, retire
from roadworthy.types import Kind, Series

A, B, C = "abcdef01-10-5-0", "abcdef01-20-5-0", "abcdef01-30-5-0"


def counter(value, name="c", labels=()):
    made = RawSeries(name, "counter", "sum", labels, "1", "help")
    made.value = value
    return made


def gauge(value, merge="last", updated=0, labels=()):
    made = RawSeries("g", "gauge", merge, labels, "1", "help")
    made.value = value
    made.updated_ns = updated
    return made


def histogram(numbers, scale=1e9):
    made = RawSeries("h", "histogram", "sum", (), "s", "help", scale)
    made.buckets = add_buckets({bucket_of(number): 1} for number in numbers)
    made.sum = float(sum(numbers))
    made.max = float(max(numbers, default=0))
    return made


def test_counters_add_up_over_processes_and_over_slots_declared_twice():
    (one,) = merge([(A, [counter(2), counter(0)]), (B, [counter(3)])])
    assert (one.kind, one.value, one.unit, one.help) == (Kind.COUNTER, 5.0, "1", "help")


def test_a_merged_series_is_as_if_it_was_made_by_its_constructor():
    (one,) = merge([(A, [counter(2, labels=(("a", "1"),))])])
    made = Series("c", Kind.COUNTER, (("a", "1"),), "1", "help", 2.0)
    assert (one, hash(one), repr(one)) == (made, hash(made), repr(made))
    assert [name for name in Series.__slots__ if not hasattr(one, name)] == []


def test_labels_and_kinds_stay_apart():
    found = merge([(A, [counter(1, labels=(("a", "1"),)), counter(2, labels=(("a", "2"),)), gauge(7)])])
    assert [(one.name, one.labels, one.value) for one in found] == [
        ("c", (("a", "1"),), 1.0),
        ("c", (("a", "2"),), 2.0),
        ("g", (), 7),
    ]


@pytest.mark.parametrize(("mode", "expected"), [("sum", 9.0), ("max", 6.0), ("min", 1.0), ("last", 2.0)])
def test_gauges_follow_their_merge_mode(mode, expected):
    (one,) = merge([(A, [gauge(6.0, mode, 5)]), (B, [gauge(2.0, mode, 9)]), (C, [gauge(1.0, mode, 7)])])
    assert one.value == expected


def test_a_gauge_for_each_process_carries_its_pid():
    found = merge([(A, [gauge(1.0, "per_process", labels=(("z", "1"),))]), (B, [gauge(2.0, "per_process")])])
    assert {one.labels: one.value for one in found} == {
        (("process.pid", "10"), ("z", "1")): 1.0,
        (("process.pid", "20"),): 2.0,
    }


@pytest.mark.parametrize("mode", ["sum", "max", "min", "last", "per_process"])
def test_a_gauge_that_nobody_set_is_unknown_and_one_unset_takes_no_part(mode):
    (one,) = merge([(A, [gauge(None, mode)])])
    assert one.value is None
    found = merge([(A, [gauge(None, mode)]), (B, [gauge(-3.0, mode)])])
    assert -3.0 in [one.value for one in found]


@given(
    st.lists(st.lists(st.integers(0, 10**12), max_size=20), min_size=1, max_size=4), st.sampled_from([0.5, 0.95, 0.99])
)
def test_percentiles_of_n_workers_are_those_of_all_values(workers, q):
    (one,) = merge([(f"a-{n}-5-0", [histogram(worker)]) for n, worker in enumerate(workers)])
    together = histogram([number for worker in workers for number in worker])
    assert dict(one.histogram.buckets) == together.buckets
    assert quantile(one.histogram.buckets, q) == quantile(together.buckets, q)
    assert one.histogram.sum == pytest.approx(together.sum)
    assert one.histogram.max == together.max
    assert one.histogram.scale == 1e9


def test_histograms_of_two_scales_are_brought_to_the_first():
    (one,) = merge([(A, [histogram([2_000_000_000])]), (B, [histogram([4000], scale=1e3)])])
    assert one.histogram.scale == 1e9
    assert one.histogram.sum == 6_000_000_000
    assert one.histogram.max == 4_000_000_000
    assert quantile(one.histogram.buckets, 1.0) == pytest.approx(4e9, rel=1 / 8)


def test_what_a_dead_process_counted_stays_and_its_gauges_go():
    totals = retire(Totals(), [counter(5), histogram([10, 20]), gauge(9)])
    totals = retire(totals, [counter(1)])
    found = {one.name: one for one in merge([(A, [counter(2), histogram([30])])], totals)}
    assert found["c"].value == 8.0
    assert dict(found["h"].histogram.buckets) == {bucket_of(n): 1 for n in (10, 20, 30)}
    assert "g" not in found
    assert {one.name for one in merge([], totals)} == {"c", "h"}


def test_retiring_changes_no_totals_that_somebody_holds():
    before = retire(Totals(), [counter(5)])
    retire(before, [counter(5)])
    assert merge([], before)[0].value == 5.0


def test_totals_survive_json():
    totals = retire(Totals(), [counter(0.5, labels=(("a", "ü"),)), histogram([1, 2**49])])
    again = Totals.from_json(totals.to_json())
    assert again == totals
    assert merge([], again) == merge([], totals)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "5",
        '{"schema":2,"totals":[]}',
        '{"schema":1,"totals":[[1]]}',
        '{"schema":1,"totals":5}',
        "[" * 100_000,
    ],
)
def test_what_are_no_totals_is_refused(text):
    with pytest.raises(ValueError, match="no totals"):
        Totals.from_json(text)


def test_series_of_the_dead_are_bounded():
    totals = retire(Totals(), (counter(1, labels=(("n", str(n)),)) for n in range(MOST_RETIRED + 10)))
    assert len(totals.entries) == MOST_RETIRED + 1
    assert sum(one.value for one in merge([], totals)) == MOST_RETIRED + 10
    assert json.loads(totals.to_json())["schema"] == 1


def test_unchanged_series_are_the_same_objects_as_before():
    ours = [counter(1), gauge(2), histogram([3])]
    theirs = [counter(4), histogram([5])]
    merger = Merger()
    assert len(merger.update([Part(A, ours, ours), Part(B, theirs, theirs)])) == 3
    first = merger.series()
    assert merger.update([Part(A, ours, ()), Part(B, theirs, ())]) == []
    ours[0].value = 2
    (changed,) = merger.update([Part(A, ours, [ours[0]]), Part(B, theirs, ())])
    assert (changed.name, changed.value) == ("c", 6.0)
    assert [one is other for one, other in zip(first, merger.series(), strict=True)] == [False, True, True]


def test_only_series_that_come_or_go_change_the_layout():
    ours, theirs = [counter(1), gauge(2)], [counter(4, "d")]
    merger = Merger()
    merger.update([Part(A, ours, ours)])
    first = merger.layout
    ours[0].value = 2
    merger.update([Part(A, ours, [ours[0]])])
    assert merger.layout == first
    merger.update([Part(A, ours, ()), Part(B, theirs, theirs)])
    second = merger.layout
    merger.update([Part(A, ours, ()), Part(B, theirs, ())])
    assert first != second == merger.layout
    merger.update([Part(A, ours, ())])
    assert merger.layout != second


def test_a_gauge_that_is_set_to_what_it_was_is_the_last_one():
    ours, theirs = [gauge(5.0, "last", 1)], [gauge(3.0, "last", 2)]
    merger = Merger()
    merger.update([Part(A, ours, ours), Part(B, theirs, theirs)])
    ours[0].updated_ns = 3
    (changed,) = merger.update([Part(A, ours, ours), Part(B, theirs, ())])
    assert changed.value == 5.0


@st.composite
def happenings(draw):
    """What may happen between two readings: figures move, series come, processes come, end and are counted for ever."""
    return draw(
        st.lists(
            st.tuples(
                st.sampled_from(["add", "set", "record", "new", "end", "retire"]), st.integers(0, 2), st.integers(1, 9)
            ),
            max_size=30,
        )
    )


@given(st.lists(happenings(), max_size=6))
def test_step_by_step_gives_what_one_look_at_all_gives(ticks):
    keys = (A, B, C)
    processes: dict[str, list[RawSeries]] = {}
    dead: set[str] = set()
    totals, merger, instants = Totals(), Merger(), itertools.count()
    for tick in ticks:
        changed: dict[str, list[RawSeries]] = {}
        for what, which, number in tick:
            key = keys[which]
            series = processes.get(key)
            if what == "new" or series is None:
                if key in dead:
                    continue
                made = [counter(0, "c" if number % 2 else "d"), gauge(None, "last"), histogram([])][number % 3]
                processes.setdefault(key, []).append(made)
                changed.setdefault(key, []).append(made)
            elif what == "retire" and key in dead:
                totals = retire(totals, processes.pop(key))
                dead.discard(key)
                keys = tuple(f"{one}x" if one == key else one for one in keys)
            elif what == "end":
                dead.add(key)
            elif key not in dead:
                one = series[number % len(series)]
                if one.kind == "counter":
                    one.value += number
                elif one.kind == "gauge":
                    # Of two that were set in the same nanosecond either may be the last one.
                    at = (one.updated_ns // 1000 + number) * 1000 + next(instants)
                    one.value, one.updated_ns = float(number), at
                else:
                    one.buckets = add_buckets([one.buckets, {number: 1}])
                    one.sum, one.max = one.sum + number, max(one.max, number)
                changed.setdefault(key, []).append(one)
        before, layout = merger.series(), merger.layout
        told = merger.update(
            [Part(key, series, changed.get(key, ()), key in dead) for key, series in processes.items()], totals
        )
        expected = merge(
            [
                (key, [one for one in series if key not in dead or one.kind != "gauge"])
                for key, series in processes.items()
            ],
            totals,
        )
        order = lambda one: (one.kind, one.name, one.labels)  # noqa: E731 - short
        assert sorted(merger.series(), key=order) == sorted(expected, key=order)
        assert merger.layout != layout or list(map(order, merger.series())) == list(map(order, before))
        kept = {id(one) for one in before}
        assert [one for one in merger.series() if id(one) not in kept] == sorted(told, key=merger.series().index)
