"""What every state store promises, asked of the words of a process and of those of a host."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import sys
import threading

import pytest

from roadworthy import _clock
from roadworthy.arena.shared import SharedWords
from roadworthy.errors import Exhausted
from roadworthy.resilience import store as process_words
from roadworthy.resilience.store import ProcessStore

BIG = 2**62


@pytest.fixture(params=["process", "host"])
def store(request, tmp_path):
    return ProcessStore() if request.param == "process" else SharedWords(tmp_path / "arena")


def test_a_word_begins_at_zero_and_was_never_updated(store):
    assert store.word("breaker:db").read() == (0, 0, 0, 0)


def test_a_name_always_means_the_same_word(store):
    assert store.word("breaker:db") is store.word("breaker:db")
    store.word("breaker:db").update(lambda a, b, c: (1, 2, 3))
    assert store.word("breaker:cache").read() == (0, 0, 0, 0)


def test_an_update_returns_and_leaves_what_its_function_made_with_the_time_of_it(store):
    word = store.word("w")
    before = _clock.monotonic_ns()
    assert word.update(lambda a, b, c: (a + 1, -5, BIG)) == (1, -5, BIG)
    *values, stamp = word.read()
    assert values == [1, -5, BIG]
    assert before <= stamp <= _clock.monotonic_ns()
    assert word.update(lambda a, b, c: (a + 1, b + 1, c)) == (2, -4, BIG)


def test_the_words_of_a_process_have_another_stamp_after_each_update(monkeypatch):
    monkeypatch.setattr(process_words, "monotonic_ns", lambda: 1_000)
    word = ProcessStore().word("w")
    stamps = [word.update(lambda *values: values) and word.read()[3] for _ in range(5)]
    assert stamps == sorted(set(stamps))
    assert stamps[0] == 1_000


def test_the_function_is_given_what_was_read(store):
    word = store.word("w")
    word.update(lambda *_: (7, 8, 9))
    seen = []
    word.update(lambda *values: seen.append(values) or values)
    assert seen == [(7, 8, 9)]
    assert word.read()[:3] == (7, 8, 9)


@pytest.mark.parametrize("bad", [(2**63, 0, 0), (0, -(2**63) - 1, 0), (0, 0, 2**64)])
def test_a_value_of_more_than_64_bits_is_refused_and_changes_nothing(store, bad):
    word = store.word("w")
    word.update(lambda a, b, c: (1, 2, 3))
    before = word.read()
    with pytest.raises(ValueError):  # noqa: PT011 - one says it in our words, the other in memoryview's
        word.update(lambda a, b, c: bad)
    assert word.read() == before


def test_the_largest_and_smallest_values_are_kept(store):
    word = store.word("w")
    assert word.update(lambda a, b, c: (2**63 - 1, -(2**63), 0)) == (2**63 - 1, -(2**63), 0)
    assert word.read()[:3] == (2**63 - 1, -(2**63), 0)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_what_the_function_raises_goes_out_changes_nothing_and_locks_nobody_out(store, error):
    word = store.word("w")

    def fail(a, b, c):
        raise error

    with pytest.raises(error):
        word.update(fail)
    assert word.read() == (0, 0, 0, 0)
    found = []
    other = threading.Thread(target=lambda: found.append(word.update(lambda a, b, c: (a + 1, b, c), patience=10.0)))
    other.start()
    other.join()
    assert found == [(1, 0, 0)]


def test_an_update_inside_an_update_of_the_same_word_is_not_lost(store):
    word = store.word("w")
    calls = []

    def outer(a, b, c):
        calls.append(a)
        if len(calls) == 1:
            word.update(lambda a, b, c: (a + 10, b, c))
        return a + 1, b, c

    assert word.update(outer) == (11, 0, 0)
    assert calls == [0, 10]


def test_threads_lose_no_update_and_readers_see_no_mixture(store):
    word = store.word("w")
    rounds, threads = 250, 4
    over = threading.Event()
    mixtures = []

    def write():
        done = 0
        while done < rounds:
            done += word.update(lambda a, b, c: (a + 1, a + 1, a + 1), patience=30.0) is not None

    def read():
        high = 0
        while not over.is_set():
            a, b, c, _ = word.read()
            if not a == b == c >= high:
                mixtures.append((a, b, c, high))
            high = a

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        writers = [threading.Thread(target=write) for _ in range(threads)]
        reader = threading.Thread(target=read)
        for thread in [*writers, reader]:
            thread.start()
        for thread in writers:
            thread.join()
        over.set()
        reader.join()
    finally:
        sys.setswitchinterval(interval)
    assert word.read()[:3] == (rounds * threads,) * 3
    assert mixtures == []


def test_a_signal_handler_may_update_the_word_that_it_interrupted(store):
    word = store.word("w")
    handled = []

    def handler(*_):
        handled.append(word.update(lambda a, b, c: (a, b + 1, c)))

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        done = 0
        while len(handled) < 100:
            # Sent by a thread, so that it arrives anywhere in the update and not only behind the system call.
            sender = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGUSR1))
            sender.start()
            while sender.is_alive():
                done += word.update(lambda a, b, c: (a + 1, b, c)) is not None
            sender.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert None not in handled
    assert word.read()[:3] == (done, len(handled), 0)


def test_a_garbage_collector_callback_may_update_the_word_that_it_interrupted(store):
    word = store.word("w")
    collected = []

    def callback(phase, info):
        if phase == "start":
            collected.append(word.update(lambda a, b, c: (a, b + 1, c)))

    def outer(a, b, c):
        gc.collect()
        return a + 1, b, c

    gc.callbacks.append(callback)
    try:
        # Each collection in outer makes it begin again, once more than the callback changes the word.
        def once(a, b, c):
            return outer(a, b, c) if a == 0 and not collected else (a + 1, b, c)

        assert word.update(once) is not None
    finally:
        gc.callbacks.remove(callback)
    assert word.read()[0] == 1
    assert word.read()[1] == len(collected) >= 1
    assert None not in collected


def test_a_child_forked_in_the_midst_of_an_update_can_read_and_update(store):
    word = store.word("w")
    entered, leave = threading.Event(), threading.Event()

    def hold(a, b, c):
        entered.set()
        leave.wait(60)
        return a + 1, b, c

    holder = threading.Thread(target=word.update, args=(hold, 60.0))
    holder.start()
    assert entered.wait(60)
    pid = os.fork()
    if pid == 0:
        # On the host the parent holds the record lock: None is then the right answer, waiting for ever is not.
        made = word.update(lambda a, b, c: (a + 5, b, c), patience=0.01)
        os._exit(0 if made in (None, (5, 0, 0)) and word.read()[0] in (0, 5) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    leave.set()
    holder.join()
    assert word.read()[0] == 1


def test_a_caller_that_does_not_get_its_turn_gives_up_after_its_patience_and_changes_nothing(store):
    word = store.word("w")

    def always_too_late(a, b, c):
        # What the store makes of a rival that is quicker each time: the host waits for it, the process starts over.
        rival = threading.Thread(target=word.update, args=(lambda a, b, c: (a + 1, b, c), 0.0))
        rival.start()
        rival.join()
        return a, b, 99

    before = _clock.monotonic()
    made = word.update(always_too_late, patience=0.05)
    assert made is None or isinstance(store, SharedWords)
    assert _clock.monotonic() - before < 30
    assert made is not None or word.read()[2] == 0


def test_a_caller_that_was_stopped_for_long_and_lost_a_few_times_still_gets_its_turn(store, monkeypatch):
    word = store.word("w")
    seconds = itertools.count(_clock.monotonic_ns(), _clock.NS)
    monkeypatch.setattr(process_words, "monotonic_ns", lambda: next(seconds))
    rivals = iter(range(3))

    def sometimes_too_late(a, b, c):
        if next(rivals, None) is not None:
            word.update(lambda a, b, c: (a + 1, b, c))
            a, b, _c = word.read()[:3]
        return a, b, 99

    assert word.update(sometimes_too_late, patience=0.01) is not None
    assert word.read()[:3] == (3, 0, 99)


def test_names_are_bounded(store, monkeypatch):
    monkeypatch.setattr(process_words, "MOST_WORDS", 4)
    monkeypatch.setattr("roadworthy.arena.shared.SHARED_SLOTS", 4)
    for n in range(4):
        store.word(f"name {n}").update(lambda a, b, c, n=n: (n, 0, 0))
    with pytest.raises(Exhausted, match="no shared word is free"):
        store.word("one too many")
    assert [store.word(f"name {n}").read()[0] for n in range(4)] == [0, 1, 2, 3]


def test_updates_leave_no_garbage_cycles(store):
    word = store.word("w")
    word.update(lambda a, b, c: (a + 1, b, c))
    gc.collect()
    for _ in range(100):
        word.update(lambda a, b, c: (a + 1, b, c))
    assert gc.collect() == 0
