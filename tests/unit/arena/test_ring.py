"""The flight recorder: whole events in order, whoever interrupts whom."""

from __future__ import annotations

import gc
import signal
import threading

import pytest

from roadworthy import _clock
from roadworthy.arena import ring
from roadworthy.arena.layout import EVENT_BYTES, H_EVENTS
from roadworthy.arena.writer import Arena, Sizes

SLOT_WORDS = EVENT_BYTES // 8


def texts(reader, after=-1, **how):
    return [event.text for event in reader.refresh().events(after, **how)[0]]


def test_an_event_comes_back_with_all_its_parts(arena, read):
    before = _clock.monotonic_ns()
    arena.event("error", 40, "app.db", "häppened", {"type": "ValueError", "note": "a=b"})
    (event,), missed = read(arena).events()
    assert (event.kind, event.level, event.source, event.text) == ("error", 40, "app.db", "häppened")
    assert event.fields == {"type": "ValueError", "note": "a=b"}
    assert before <= event.at_ns <= _clock.monotonic_ns()
    assert (event.seq, event.torn, missed) == (0, False, 0)


def test_a_reader_goes_on_after_the_last_event_it_has(arena, read):
    for n in range(5):
        arena.event("log", 20, "s", str(n))
    reader = read(arena)
    assert texts(reader, 2) == ["3", "4"]
    assert texts(reader, 4) == []
    arena.event("log", 20, "s", "5")
    assert texts(reader, 4) == ["5"]


@pytest.mark.parametrize("length", [0, 1, 470, 480, 481, 960, 1900])
def test_long_events_take_several_slots_and_come_back_as_one(arena, read, length):
    arena.event("log", 20, "s", "before")
    arena.event("log", 20, "s", "x" * length, {"end": "here"})
    arena.event("log", 20, "s", "after")
    found, missed = read(arena).events()
    assert [len(event.text) for event in found] == [6, length, 5]
    assert found[1].fields == {"end": "here"}
    assert missed == 0
    assert not any(event.torn for event in found)


def test_what_is_longer_than_eight_slots_is_cut_at_a_characters_border(arena, read):
    arena.event("log", 20, "s", "ö" * 5000)
    arena.event("log", 20, "s", "ö" * 5000, {"traceback": "ü" * 5000})
    (plain, rich), _ = read(arena).events()
    assert set(plain.text) == {"ö"}
    assert len(plain.text) == 1919
    assert set(rich.text) == {"ö"}
    assert set(rich.fields["traceback"]) == {"ü"}
    assert len(rich.fields["traceback"]) > 900


def test_a_wrapped_ring_keeps_the_newest_and_counts_the_missed(small, read):
    for n in range(200):
        small.event("log", 20, "s", str(n))
    found, missed = read(small).events()
    assert [event.text for event in found] == [str(n) for n in range(136, 200)]
    assert missed == 136


def test_an_event_whose_beginning_was_overwritten_is_missed_not_shown_in_part(small, read):
    small.event("log", 20, "s", "x" * 900)
    for n in range(63):
        small.event("log", 20, "s", str(n))
    found, missed = read(small).events()
    assert [event.text for event in found] == [str(n) for n in range(63)]
    assert missed == 2


def test_four_threads_lose_nothing(directory, read):
    arena = Arena.create(directory, "web", sizes=Sizes(events=16384))

    def append(thread):
        for n in range(3000):
            arena.event("log", 20, f"t{thread}", str(n))

    threads = [threading.Thread(target=append, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found, missed = read(arena).events()
    assert missed == 0
    for n in range(4):
        assert [event.text for event in found if event.source == f"t{n}"] == [str(k) for k in range(3000)]


def test_the_last_events_of_four_threads_fill_a_small_ring_without_holes(small, read):
    def append(thread):
        for n in range(3000):
            small.event("log", 20, f"t{thread}", str(n))

    threads = [threading.Thread(target=append, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found, missed = read(small).events(dead=True)
    assert not any(event.torn for event in found)
    assert len(found) + missed >= 12_000
    assert len(found) >= 60


def test_a_reader_beside_busy_writers_sees_every_event_once_and_whole(directory, read):
    arena = Arena.create(directory, "web", sizes=Sizes(events=16384))
    done = threading.Event()

    def append(thread):
        for n in range(2000):
            text = f"{thread}:{n}:" + "z" * (n % 700)
            arena.event("log", 20, "s", f"{text}:{len(text)}")

    threads = [threading.Thread(target=append, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    reader = read(arena)
    seen, after, lost = [], -1, 0
    while not done.is_set():
        if not any(thread.is_alive() for thread in threads):
            done.set()
        found, missed = reader.refresh().events(after, dead=False)
        lost += missed
        if found:
            after = found[-1].seq
            seen += found
    assert lost == 0
    for event in seen:
        text, _, length = event.text.rpartition(":")
        assert len(text) == int(length)
        assert not event.torn
    assert len({event.text for event in seen}) == len(seen) == 6000


def test_a_signal_handler_may_interrupt_a_writer_anywhere(directory, read):
    arena = Arena.create(directory, "web", sizes=Sizes(events=65536))
    counter = arena.counter("c")
    fired = 0

    def handler(*_):
        nonlocal fired
        fired += 1
        counter.add()
        arena.event("state", 20, "handler", "x" * (fired % 900))

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    written = 0
    deadline = _clock.monotonic() + 20
    try:
        while (fired < 100 or written < 2000) and written < 15_000 and _clock.monotonic() < deadline:
            arena.event("log", 20, "main", "y" * (written % 900))
            counter.add()
            written += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    found, missed = read(arena).events()
    assert missed == 0
    assert len([event for event in found if event.source == "handler"]) == fired
    assert [len(event.text) for event in found if event.source == "main"] == [n % 900 for n in range(written)]
    assert read(arena).series()[0].value == written + fired


def test_a_gc_callback_may_interrupt_a_writer_anywhere(directory, read):
    arena = Arena.create(directory, "web", sizes=Sizes(events=65536))
    fired = 0

    def callback(phase, info):
        nonlocal fired
        fired += 1
        arena.event("gc", 10, "gc", phase)
        arena.counter("gc", (("n", str(fired % 50)),)).add()

    threshold = gc.get_threshold()
    kept = []
    gc.callbacks.append(callback)
    gc.set_threshold(7, 2, 2)
    try:
        for n in range(3000):
            kept.append([n])
            arena.event("log", 20, "main", "y" * (n % 600), {"n": "1"})
    finally:
        gc.callbacks.remove(callback)
        gc.set_threshold(*threshold)
    found, missed = read(arena).events()
    assert fired > 10
    assert missed == 0
    assert len([event for event in found if event.source == "gc"]) == fired
    assert len([event for event in found if event.source == "main"]) == 3000
    assert sum(one.value for one in read(arena).series()) == fired


def test_an_event_under_way_holds_back_what_follows_it_and_is_torn_only_in_a_dead_process(arena, read):
    for n in range(4):
        arena.event("log", 20, "s", str(n))
    word = arena._at[H_EVENTS] // 8 + 2 * SLOT_WORDS
    arena.cell.q[word] = ~2
    reader = read(arena)
    assert texts(reader, dead=False) == ["0", "1"]
    found, missed = reader.refresh().events(dead=True)
    assert [(event.text, event.torn) for event in found] == [("0", False), ("1", False), ("", True), ("3", False)]
    assert found[2].at_ns is None
    assert missed == 0
    arena.cell.q[word] = 3
    assert texts(reader, 1, dead=False) == ["2", "3"]


def test_a_gap_that_stays_open_is_given_up_and_counted(arena, read):
    for n in range(4):
        arena.event("log", 20, "s", str(n))
    arena.cell.q[arena._at[H_EVENTS] // 8 + SLOT_WORDS] = 0
    reader = read(arena)
    assert texts(reader, dead=False) == ["0"]
    found, missed = ring.events(reader._base, -1, _clock.monotonic_ns() + ring.PATIENCE_NS, dead=False)
    assert ([event.text for event in found], missed) == (["0", "2", "3"], 1)


def test_a_long_event_that_was_cut_off_by_death_is_one_torn_record(arena, read):
    arena.event("log", 20, "s", "x" * 1500)
    arena.event("log", 20, "s", "after")
    arena.cell.q[arena._at[H_EVENTS] // 8 + 2 * SLOT_WORDS] = ~2
    found, missed = read(arena).events(dead=True)
    assert [(event.seq, event.torn, event.text[:3]) for event in found] == [(0, True, "xxx"), (4, False, "aft")]
    assert missed == 0


@pytest.mark.parametrize("payload", ["text", 5, None, [1, 2]])
def test_what_is_no_payload_is_dropped_counted_and_leaves_no_torn_record(arena, read, payload):
    arena.ring.put(1, 2, payload)
    arena.event("log", 20, "s", "next")
    reader = read(arena)
    assert reader.events_lost == 1
    found, _ = ring.events(reader._base, -1, _clock.monotonic_ns() + ring.PATIENCE_NS, dead=False)
    assert [(event.text, event.torn) for event in found] == [("next", False)]


def test_fields_that_are_no_text_are_shown_as_text(arena, read):
    arena.event("usage", 20, "s", 5, {"n": 7, "none": None})
    (event,), _ = read(arena).events()
    assert (event.text, event.fields) == ("5", {"n": "7", "none": "None"})


def test_separators_in_text_and_fields_do_not_break_an_event_apart(arena, read):
    arena.event("log", 20, "s\x1fs", "a\x1fb", {"k\x1f": "v\x1fw", "\udc80": "\ud800"})
    (event,), _ = read(arena).events()
    assert (event.source, event.text) == ("s s", "a b")
    assert event.fields == {"k ": "v w", "?": "?"}


def test_a_text_of_wide_characters_leaves_room_for_the_fields(arena, read):
    arena.event("log", 20, "s", "\U0001f600" * 479, {"a": "b"})
    arena.event("log", 20, "s", "\U0001f600" * 2000, {"a": "b"})
    found, _ = read(arena).events()
    assert [len(event.text) for event in found] == [479, 479]
    assert [event.fields for event in found] == [{"a": "b"}] * 2
