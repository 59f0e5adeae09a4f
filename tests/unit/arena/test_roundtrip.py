"""What the writer writes, the reader reads."""

from __future__ import annotations

import math
import os

import pytest

from roadworthy import _clock
from roadworthy.arena.layout import FLAG_INJECTED, STATE_CLOSED, STATE_LIVE, bucket_of
from roadworthy.arena.reader import Reader, alive, scan
from roadworthy.arena.writer import Arena, Limits, Sizes


def by_name(reader):
    return {(one.name, one.labels): one for one in reader.series()}


def test_the_header_tells_who_writes(directory):
    arena = Arena.create(
        directory, "web", slot=3, generation=7, info={"command": ["python", "app.py"]}, flags=FLAG_INJECTED
    )
    with Reader(arena.path) as reader:
        assert (reader.pid, reader.ppid, reader.slot, reader.generation) == (os.getpid(), os.getppid(), 3, 7)
        assert reader.info == {"app": "web", "command": ["python", "app.py"]}
        assert reader.flags == FLAG_INJECTED
        assert reader.created_ns <= _clock.monotonic_ns()
        assert abs(reader.created_wall_ns - _clock.wall_ns()) < 600 * _clock.NS
        assert alive(reader)
        assert reader.state == STATE_LIVE
        arena.close()
        assert reader.refresh().state == STATE_CLOSED


def test_without_a_worker_slot_there_is_none(arena, read):
    assert read(arena).slot is None


def test_counters_gauges_and_histograms_come_back(arena, read):
    labels = (("method", "GET"), ("route", "/a b=c"))
    arena.counter("requests", labels, "1", "how many").add(2)
    arena.counter("requests", labels).add()
    arena.gauge("depth", merge="max").set(-1.5)
    arena.gauge("unset", merge="per_process")
    histogram = arena.histogram("took", unit="s", scale=1e9)
    for value in (0, 5, 1_000_000, 1_000_000, 2**55):
        histogram.record(value)
    found = by_name(read(arena))
    one = found["requests", labels]
    assert (one.kind, one.value, one.unit, one.help) == ("counter", 3.0, "1", "how many")
    assert (found["depth", ()].value, found["depth", ()].merge) == (-1.5, "max")
    assert found["depth", ()].updated_ns > 0
    assert (found["unset", ()].value, found["unset", ()].merge) == (None, "per_process")
    took = found["took", ()]
    assert took.buckets == {0: 1, 5: 1, bucket_of(1_000_000): 2, 383: 1}
    assert took.sum == 5 + 2_000_000 + 2**50 - 1
    assert (took.max, took.scale, took.value) == (2**50 - 1, 1e9, None)


def test_the_same_declaration_gives_the_same_instrument_whatever_the_order_of_labels(arena):
    first = arena.counter("c", (("b", "2"), ("a", "1")))
    assert arena.counter("c", (("a", "1"), ("b", "2"))) is first
    assert arena.gauge("c", (("a", "1"), ("b", "2"))) is not first


def test_numbers_of_series_are_those_that_the_reader_shows(small, read):
    made = [small.counter("c", (("n", str(n)),)) for n in range(20)]
    found = {one.labels: one.number for one in read(small).series()}
    assert [found[(("n", str(n)),)] for n in range(20)] == [one.number for one in made]


@pytest.mark.parametrize("value", [-1, math.nan, "x", None, object()])
def test_what_no_counter_can_add_is_dropped_and_counted(arena, read, value):
    counter = arena.counter("c")
    counter.add(2)
    counter.add(value)
    reader = read(arena)
    assert by_name(reader)["c", ()].value == 2.0
    assert reader.internal_errors == 1


def test_a_gauge_that_was_never_set_begins_at_zero_when_something_is_added(arena, read):
    gauge = arena.gauge("g")
    gauge.add(2)
    gauge.add(-0.5)
    assert by_name(read(arena))["g", ()].value == 1.5


@pytest.mark.parametrize("value", ["x", None, 1.5, object()])
def test_what_no_histogram_can_count_is_dropped_and_counted(arena, read, value):
    arena.histogram("h").record(value)
    reader = read(arena)
    assert by_name(reader)["h", ()].buckets == {}
    assert reader.internal_errors == 1


def test_a_reader_sees_what_came_since_its_last_refresh(arena, read):
    counter = arena.counter("c")
    histogram = arena.histogram("h")
    reader = read(arena)
    counter.add(5)
    histogram.record(9)
    arena.counter("later").add()
    found = by_name(reader.refresh())
    assert found["c", ()].value == 5.0
    assert found["h", ()].buckets == {9: 1}
    assert found["later", ()].value == 1.0


def test_series_beyond_one_file_go_to_extents(small, read):
    made = [small.counter("c", (("n", str(n)),)) for n in range(100)]
    histograms = [small.histogram("h", (("n", str(n)),)) for n in range(30)]
    for n, counter in enumerate(made):
        counter.add(n)
    for n, histogram in enumerate(histograms):
        histogram.record(n)
    reader = read(small)
    found = by_name(reader)
    assert [found["c", (("n", str(n)),)].value for n in range(100)] == [float(n) for n in range(100)]
    assert [found["h", (("n", str(n)),)].buckets for n in range(30)] == [{bucket_of(n): 1} for n in range(30)]
    assert not reader.problems
    assert scan(small.directory) == [reader.path]


def test_operations_under_way_know_their_parents(arena, read):
    load = arena.histogram("operation.duration", (("operation", "load"), ("outcome", "success")), scale=1e9)
    parse = arena.histogram("operation.duration", (("operation", "parse"), ("outcome", "success")), scale=1e9)
    outer = arena.inflight.enter(load.number, -1, "rom=späß\x1fpart=2".encode())
    inner = arena.inflight.enter(parse.number, outer, b"", 5)
    reader = read(arena)
    newest, oldest = reader.inflight()[1], reader.inflight()[0]
    assert (oldest.name, oldest.parent, oldest.start_ns, oldest.context) == ("parse", "load", 5, "")
    assert (newest.name, newest.parent, newest.context) == ("load", "", "rom=späß part=2")
    assert newest.thread == oldest.thread
    arena.inflight.leave(inner)
    arena.inflight.leave(outer)
    assert reader.refresh().inflight() == []


def test_a_full_in_flight_table_is_counted_and_harmless(small, read):
    handles = [small.inflight.enter(0) for _ in range(6)]
    assert handles.count(-1) == 2
    for handle in handles:
        small.inflight.leave(handle)
    assert read(small).untracked == 2
    assert [small.inflight.enter(0) > 0 for _ in range(4)] == [True] * 4


def test_a_context_is_cut_at_a_characters_border(arena, read):
    arena.inflight.enter(0, 0, ("a" + "ä" * 200).encode())
    assert read(arena).inflight()[0].context == "a" + "ä" * 111


def test_beats_tell_when_they_came_and_what_was_promised(arena, read):
    arena.beat("main", "loop", every=1.0, target_fps=60.0)
    silent = arena.beat("worker")
    assert arena.beat("worker") is silent
    loop = arena.beat("main", "loop")
    loop.frame_start(100)
    reader = read(arena)
    found = {beat.name: beat for beat in reader.beats()}
    assert (found["main"].frame_ns, found["main"].count, found["main"].last_ns) == (100, 0, None)
    assert (found["main"].every_ns, found["main"].target_fps) == (10**9, 60.0)
    assert (found["worker"].last_ns, found["worker"].every_ns, found["worker"].target_fps) == (None, None, None)
    loop.frame_end(200)
    loop.turn(3)
    silent.beat()
    silent.count(4, 999)
    found = {beat.name: beat for beat in reader.refresh().beats()}
    assert (found["main"].frame_ns, found["main"].count, found["main"].last_ns, found["main"].turns) == (
        None,
        1,
        200,
        3,
    )
    assert (found["worker"].count, found["worker"].last_ns) == (5, 999)


def test_more_beats_and_marks_than_slots_are_counted_and_harmless(small, read):
    for n in range(6):
        small.beat(f"beat{n}").beat()
        small.mark("checkpoint", f"step {n}")
    reader = read(small)
    assert len(reader.beats()) == 4
    assert len(reader.marks()) == 4
    assert reader.internal_errors == 4


def test_marks_come_in_the_order_of_their_times(arena, read):
    arena.mark("ready", "up", 30)
    arena.mark("checkpoint", "ö" * 40, 20)
    arena.mark("began", "", 10)
    assert [(m.kind, m.label, m.at_ns) for m in read(arena).marks()] == [
        ("began", "", 10),
        ("checkpoint", "ö" * 20, 20),
        ("ready", "up", 30),
    ]


def test_a_description_that_is_too_long_is_shortened_and_stays_readable(arena, read):
    arena.set_info({"command": ["x" * 50] * 200, "reason": "y" * 5000, "python": "3.11"})
    info = read(arena).info
    assert info["python"] == "3.11"
    assert 0 < len(info["command"]) < 200


def test_the_stack_signal_is_told(arena, read):
    assert (read(arena).stack_signal, read(arena).stack_fd) == (0, -1)
    arena.set_stack(40, 9)
    assert (read(arena).stack_signal, read(arena).stack_fd) == (40, 9)


def test_beyond_a_limit_the_overflow_series_takes_the_values(directory, read):
    arena = Arena.create(directory, "web", limits=Limits(series=10, per_name=4))
    for n in range(7):
        arena.counter("c", (("n", str(n)),)).add()
    assert arena.counter("c", (("n", "5"),)) is arena.counter("c", (("n", "6"),))
    reader = read(arena)
    found = by_name(reader)
    assert found["c", (("otel.metric.overflow", "true"),)].value == 3.0
    assert len(found) == 5
    assert reader.overflowed == 5


def test_names_made_up_without_end_stay_bounded_in_the_file_and_in_memory(directory, read):
    arena = Arena.create(directory, "web", limits=Limits(series=10, per_name=4))
    for n in range(500):
        arena.counter(f"made.up.{n}").add()
        arena.histogram(f"made.up.{n}").record(1)
        arena.gauge(f"made.up.{n}").set(1)
    assert len(read(arena).series()) <= 26
    assert len(arena._registry.known) <= 26
    assert read(arena).overflowed > 1000


def test_labels_that_do_not_fit_go_to_the_overflow_series(arena, read):
    arena.counter("c", (("k", "v" * 400),)).add()
    assert by_name(read(arena))["c", (("otel.metric.overflow", "true"),)].value == 1.0


def test_a_help_that_does_not_fit_is_cut_at_a_characters_border(arena, read):
    arena.counter("c", help="é" * 300)
    shown = by_name(read(arena))["c", ()].help
    assert 100 < len(shown) < 160
    assert set(shown) == {"é"}


@pytest.mark.parametrize("text", ["a\x1fb", "\udc80", "日本", "a=b", "\0"])
def test_odd_text_does_not_break_a_series_apart(arena, read, text):
    arena.counter("c", (("k" + text, text),), unit=text, help=text).add()
    (one,) = read(arena).series()
    assert one.name == "c"
    assert len(one.labels) == 1
    assert one.value == 1.0


def test_an_instrument_outlives_its_closed_arena(arena):
    counter = arena.counter("c")
    arena.close()
    counter.add()
    arena.event("log", 20, "late", "still harmless")


def test_ten_thousand_series_are_possible(directory, read):
    arena = Arena.create(directory, "web", sizes=Sizes(series=2048, blocks=16), limits=Limits(per_name=20_000))
    for n in range(10_000):
        arena.counter("c", (("n", str(n)),)).add(n)
    reader = read(arena)
    assert len(reader.series()) == 10_000
    assert sum(one.value for one in reader.series()) == sum(range(10_000))
