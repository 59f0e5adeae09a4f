"""A forked child writes its own file, from its first record on."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from pathlib import Path

import pytest

from roadworthy.arena import files
from roadworthy.arena.layout import FLAG_DESCENDANT, bucket_of
from roadworthy.arena.reader import Reader, alive, scan
from roadworthy.arena.writer import Arena, Sizes


def in_child(work):
    """Run ``work`` in a forked child and wait for it; fails when the child did."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.alarm(60)
            work()
            status = 0
        except BaseException:  # noqa: BLE001 - whatever it is, the child must not go on as pytest
            traceback.print_exc(file=sys.__stderr__)
        os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with {status}"
    return pid


def everything(directory):
    found = {}
    for path in scan(directory):
        with Reader(path) as reader:
            found[reader.pid] = reader
            reader.values = {(one.name, one.labels): one.value for one in reader.series()}
            reader.counts = {one.name: one.buckets for one in reader.series() if one.kind == "histogram"}
            reader.texts = [event.text for event in reader.events(dead=True)[0]]
            reader.kept_beats = [(beat.name, beat.count) for beat in reader.beats()]
            reader.kept_inflight = reader.inflight()
            reader.kept_marks = [mark.label for mark in reader.marks()]
    return found


def content(path):
    return Path(path).read_bytes()


def test_a_child_that_records_nothing_makes_no_file(arena, directory):
    arena.counter("c").add()
    in_child(lambda: None)
    assert len(scan(directory)) == 1


def test_a_child_counts_from_zero_under_the_same_numbers_and_the_parents_file_is_untouched(arena, directory):
    counter, gauge, histogram = arena.counter("c", (("k", "v"),)), arena.gauge("g"), arena.histogram("h")
    counter.add(5)
    gauge.set(5)
    histogram.record(5)
    arena.event("log", 20, "s", "parent")
    before = content(arena.path)

    def work():
        counter.add(7)
        histogram.record(6)
        arena.event("log", 20, "s", "child")
        arena.counter("new").add(1)

    pid = in_child(work)
    assert content(arena.path) == before
    found = everything(directory)
    child = found[pid]
    assert child.values == {("c", (("k", "v"),)): 7.0, ("g", ()): None, ("h", ()): None, ("new", ()): 1.0}
    assert child.counts == {"h": {6: 1}}
    assert child.texts == ["child"]
    assert child.flags & FLAG_DESCENDANT
    assert child.ppid == os.getpid()
    assert not alive(child)
    assert found[os.getpid()].texts == ["parent"]
    assert ("new", ()) not in found[os.getpid()].values


@pytest.mark.parametrize(
    "first",
    [
        "counter",
        "gauge",
        "gauge_add",
        "histogram",
        "beat",
        "frame",
        "event",
        "long_event",
        "mark",
        "declare",
        "info",
        "enter",
        "leave",
    ],
)
def test_whatever_the_child_does_first_makes_its_file(arena, directory, first):
    counter, gauge, histogram, beat = arena.counter("c"), arena.gauge("g"), arena.histogram("h"), arena.beat("b")
    under_way = arena.inflight.enter(histogram.number, 0, b"k=v")
    before = content(arena.path)
    act = {
        "counter": counter.add,
        "gauge": lambda: gauge.set(3),
        "gauge_add": lambda: gauge.add(3),
        "histogram": lambda: histogram.record(30),
        "beat": beat.beat,
        "frame": beat.frame_start,
        "event": lambda: arena.event("log", 20, "s", "x"),
        "long_event": lambda: arena.event("log", 20, "s", "x" * 1000),
        "mark": lambda: arena.mark("ready"),
        "declare": lambda: arena.counter("another"),
        "info": lambda: arena.set_info({"a": "b"}),
        "enter": lambda: arena.inflight.enter(histogram.number, 0, b"a=b"),
        "leave": lambda: arena.inflight.leave(under_way),
    }[first]
    pid = in_child(act)
    assert content(arena.path) == before
    child = everything(directory)[pid]
    if first == "counter":
        assert child.values["c", ()] == 1.0
    if first == "histogram":
        assert child.counts == {"h": {bucket_of(30): 1}}
    if first in {"event", "long_event"}:
        assert len(child.texts) == 1
    if first == "mark":
        assert child.kept_marks == [""]
    assert len(child.kept_inflight) == (1 if first == "enter" else 0)


def test_totals_over_many_children_are_exact(arena, directory):
    counter = arena.counter("c")
    for n in range(5):
        counter.add(1)
        in_child(lambda n=n: [counter.add(1) for _ in range(n + 1)])
    assert sum(reader.values["c", ()] for reader in everything(directory).values()) == 5 + 15


def test_a_grandchild_has_its_own_file_too_whether_or_not_its_parent_has_one(arena, directory):
    counter = arena.counter("c")
    counter.add(1)

    def child(records):
        def work():
            if records:
                counter.add(10)
            in_child(lambda: [counter.add(100), arena.counter("late", (("a", "b"),)).add(2)])
            if records:
                counter.add(10)

        return work

    in_child(child(records=False))
    in_child(child(records=True))
    values = sorted(reader.values["c", ()] for reader in everything(directory).values())
    assert values == [1.0, 20.0, 100.0, 100.0]


def test_a_fork_inside_an_operation_leaves_both_sides_sane(small, directory):
    histogram = small.histogram("operation.duration", (("operation", "outer"),))
    outer = small.inflight.enter(histogram.number)

    def work():
        inner = small.inflight.enter(histogram.number, outer)
        assert inner != outer
        small.inflight.leave(inner)
        small.inflight.leave(outer)
        assert len({small.inflight.enter(0) for _ in range(4)} - {-1}) == 4

    pid = in_child(work)
    found = everything(directory)
    assert len(found[os.getpid()].kept_inflight) == 1
    assert len(found[pid].kept_inflight) == 4


def test_a_child_shows_only_the_signals_of_life_that_it_gives_itself(arena, directory):
    parents, both = arena.beat("parents", every=1.0), arena.beat("both", every=1.0)
    parents.beat()
    both.beat()
    arena.mark("ready", "parent is up")
    pid = in_child(both.beat)
    found = everything(directory)
    assert found[pid].kept_beats == [("both", 1)]
    assert found[pid].kept_marks == []
    assert found[os.getpid()].kept_beats == [("parents", 1), ("both", 1)]


def test_series_in_extents_follow_into_the_child(small, directory):
    counters = [small.counter("c", (("n", str(n)),)) for n in range(30)]
    pid = in_child(lambda: [counter.add(n) for n, counter in enumerate(counters)])
    child = everything(directory)[pid]
    assert [child.values["c", (("n", str(n)),)] for n in range(30)] == [float(n) for n in range(30)]
    assert not child.problems


def test_hooks_run_once_when_the_childs_file_is_made_and_may_record(arena, directory):
    counter, hooked = arena.counter("c"), arena.counter("hooked")
    arena.after_fork_hooks.append(lambda: 1 / 0)
    arena.after_fork_hooks.append(hooked.add)

    def work():
        counter.add()
        counter.add()

    pid = in_child(work)
    found = everything(directory)
    assert (found[pid].values["hooked", ()], found[pid].values["c", ()]) == (1.0, 2.0)
    assert found[os.getpid()].values["hooked", ()] == 0.0


def test_threads_that_record_first_at_the_same_moment_share_one_file(arena, directory):
    counter = arena.counter("c")

    def work():
        gate = threading.Barrier(6)

        def run():
            gate.wait()
            for n in range(500):
                counter.add()
                if n % 50 == 0:
                    arena.event("log", 20, "s", str(n))

        threads = [threading.Thread(target=run) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    pid = in_child(work)
    found = everything(directory)
    assert len(found) == len(scan(directory)) == 2
    assert found[pid].values["c", ()] == 3000.0
    assert len(found[pid].texts) == 60


def test_a_child_that_gets_no_file_works_on_unseen(arena, directory, monkeypatch):
    counter = arena.counter("c")
    before = content(arena.path)

    def work():
        def full(path, size):
            raise files.failed(path, OSError(28, "No space left on device"))

        monkeypatch.setattr(files, "create", full)
        counter.add()
        arena.event("log", 20, "s", "x")
        arena.inflight.leave(arena.inflight.enter(0))
        arena.counter("later").add()

    in_child(work)
    assert len(scan(directory)) == 1
    assert content(arena.path) == before


def test_a_closed_parent_is_not_written_by_its_children(arena, directory):
    counter = arena.counter("c")
    arena.close()
    before = content(arena.path)
    pid = in_child(counter.add)
    assert content(arena.path) == before
    assert everything(directory)[pid].values["c", ()] == 1.0


def test_a_child_closes_its_own_file_only(arena, directory):
    def work():
        arena.counter("c").add()
        arena.close()

    pid = in_child(work)
    found = everything(directory)
    assert found[pid].closed
    assert not found[os.getpid()].closed


def test_threads_that_declare_at_once_agree_on_one_instrument(directory):
    arena = Arena.create(directory, "web", sizes=Sizes(series=16, blocks=8))
    gate = threading.Barrier(8)
    got = []

    def run():
        gate.wait()
        for n in range(300):
            counter = arena.counter("c", (("n", str(n)),))
            counter.add()
            arena.histogram("h", (("n", str(n % 40)),)).record(n)
        got.append(counter)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=run) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(set(map(id, got))) == 1
    totals = {}
    with Reader(arena.path) as reader:
        for one in reader.series():
            amount = one.value if one.kind == "counter" else sum(one.buckets.values())
            totals[one.name] = totals.get(one.name, 0) + amount
        assert totals == {"c": 2400.0, "h": 2400}
        assert reader.overflowed == 0
        assert not reader.problems
