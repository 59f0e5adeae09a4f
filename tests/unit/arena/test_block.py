"""Counts of a histogram as its block is read again and again: what was gained, and the counts themselves."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.arena.block import BLOCK_BYTES, Block
from roadworthy.arena.layout import BLOCK_WORDS, BUCKETS
from roadworthy.arena.records import RawSeries


def block_of(counts, total=0.0, most=0.0):
    words = array("q", bytes(BLOCK_BYTES))
    for index, number in counts.items():
        words[index] = number
    raw = bytearray(words.tobytes())
    raw[BUCKETS * 8 : (BUCKETS + 2) * 8] = array("d", [total, most]).tobytes()
    assert len(raw) == BLOCK_WORDS * 8
    return bytes(raw)


def made():
    series = RawSeries("h", "histogram")
    series.buckets = {}
    return Block(series, 0), series


@given(st.lists(st.dictionaries(st.integers(0, BUCKETS - 1), st.integers(1, 10**15), max_size=8), max_size=6))
def test_what_was_gained_is_what_was_added_whatever_buckets_it_fell_into(gains):
    block, series = made()
    counts = {}
    for gain in gains:
        before = series.buckets
        for index, number in gain.items():
            counts[index] = counts.get(index, 0) + number
        block.take(block_of(counts))
        assert series.buckets == counts
        assert series.buckets.total == sum(counts.values())
        assert series.buckets.gained_since(before) == gain
        assert [*series.buckets] == sorted(counts)


def test_what_was_gained_since_an_earlier_look_is_found_too():
    block, series = made()
    block.take(block_of({100: 5}))
    first = series.buckets
    block.take(block_of({100: 6, 101: 1}))
    block.take(block_of({100: 9, 101: 1}))
    assert series.buckets.gained_since(first) == {100: 4, 101: 1}
    assert first == {100: 5}


@pytest.mark.parametrize("after", [{100: 3, 101: 7}, {100: -3, 101: 7}, {101: 7}])
def test_a_count_that_went_back_is_no_gain_and_a_negative_one_is_none(after):
    block, series = made()
    block.take(block_of({100: 5, 101: 5}))
    before = series.buckets
    block.take(block_of(after))
    assert series.buckets == {index: number for index, number in after.items() if number > 0}
    assert series.buckets.total == sum(series.buckets.values())
    assert series.buckets.gained_since(before) == {101: 2}


def test_sum_and_maximum_are_read_and_no_values_are_nothing():
    block, series = made()
    block.take(block_of({}))
    assert not series.buckets
    assert len(series.buckets) == 0
    block.take(block_of({9: 1}, 9.5, 9.0))
    assert (series.sum, series.max, bool(series.buckets)) == (9.5, 9.0, True)
