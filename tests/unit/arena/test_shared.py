"""Words that processes share."""

from __future__ import annotations

import os
import threading

import pytest

from roadworthy import _clock
from roadworthy.arena.layout import SHARED_BYTES, SHARED_SLOTS
from roadworthy.arena.shared import SharedWords
from roadworthy.errors import Exhausted, Unavailable


def test_a_word_begins_at_zero_and_was_never_updated(directory):
    assert SharedWords(directory).word("breaker:db").read() == (0, 0, 0, 0)


def test_an_update_is_seen_by_everybody(directory):
    mine, other = SharedWords(directory), SharedWords(directory)
    before = _clock.monotonic_ns()
    assert mine.word("w").update(lambda a, b, c: (a + 1, -5, 2**62)) == (1, -5, 2**62)
    *values, stamp = other.word("w").read()
    assert values == [1, -5, 2**62]
    assert before <= stamp <= _clock.monotonic_ns()
    assert other.word("x").read() == (0, 0, 0, 0)
    assert mine.word("w") is mine.word("w")


def test_updates_by_threads_and_processes_lose_nothing(directory):
    words = SharedWords(directory)
    word = words.word("w")

    def run():
        done = 0
        while done < 100:
            done += word.update(lambda a, b, c: (a + 1, b, c), patience=10.0) is not None

    pids = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            run()
            os._exit(0)
        pids.append(pid)
    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0
    assert word.read()[0] == 500


def test_an_update_inside_an_update_of_the_same_word_is_not_lost(directory):
    word = SharedWords(directory).word("w")
    calls = []

    def outer(a, b, c):
        calls.append(a)
        if len(calls) == 1:
            word.update(lambda a, b, c: (a + 10, b, c))
        return a + 1, b, c

    assert word.update(outer) == (11, 0, 0)
    assert calls == [0, 10]


def test_somebody_who_holds_the_lock_costs_bounded_patience_and_nothing_changes(directory):
    words = SharedWords(directory)
    word = words.word("w")
    held, release = threading.Event(), threading.Event()

    def hold(a, b, c):
        held.set()
        release.wait(30)
        return 1, 1, 1

    thread = threading.Thread(target=word.update, args=(hold,))
    thread.start()
    assert held.wait(30)
    assert word.update(lambda a, b, c: (9, 9, 9), patience=0.0) is None
    assert word.read() == (0, 0, 0, 0)
    release.set()
    thread.join()
    assert word.read()[:3] == (1, 1, 1)


def test_what_the_function_raises_goes_out_and_changes_nothing(directory):
    word = SharedWords(directory).word("w")
    with pytest.raises(ZeroDivisionError):
        word.update(lambda a, b, c: (1 // 0, 0, 0))
    assert word.read() == (0, 0, 0, 0)
    assert word.update(lambda a, b, c: (1, 0, 0)) == (1, 0, 0)


def test_names_that_collide_get_slots_of_their_own(directory, monkeypatch):
    words = SharedWords(directory)
    monkeypatch.setattr("roadworthy.arena.shared.SHARED_SLOTS", 4)
    for n in range(4):
        words.word(f"name {n}").update(lambda a, b, c, n=n: (n, 0, 0))
    again = SharedWords(directory)
    assert [again.word(f"name {n}").read()[0] for n in range(4)] == [0, 1, 2, 3]
    with pytest.raises(Exhausted, match="no shared word is free"):
        words.word("one too many")


def test_a_file_of_another_size_is_refused(directory):
    directory.mkdir(mode=0o700)
    (directory / "shared").write_bytes(b"\0" * 100)
    with pytest.raises(Unavailable, match="another size"):
        SharedWords(directory)


def test_the_file_is_reserved_whole_and_drafts_go(directory):
    SharedWords(directory)
    assert [path.name for path in directory.iterdir()] == ["shared"]
    assert (directory / "shared").stat().st_size == SHARED_SLOTS * SHARED_BYTES
