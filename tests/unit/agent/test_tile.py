"""Tiles: what is encoded comes back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.agent.history.tile import SAMPLES, decode, encode

GAP = math.nan
ROWS = {
    "constant": [7.25] * SAMPLES,
    "zero": [0.0] * SAMPLES,
    "a counter": [float(1_000_000_007 + 13 * index) for index in range(SAMPLES)],
    "falling whole numbers": [float(-5 * index) for index in range(SAMPLES)],
    "fractions": [0.001 * (index % 7 + 1) for index in range(SAMPLES)],
    "negative fractions": [-0.5 * index - 0.1 for index in range(SAMPLES)],
    "gaps": [GAP if index % 3 else float(index) for index in range(SAMPLES)],
    "one value": [GAP] * 30 + [3.5] + [GAP] * 29,
    "steps too large for a word": [float(index * 2**40) for index in range(SAMPLES)],
    "beyond single precision": [1e200 * (index + 1) for index in range(SAMPLES)],
    "beyond exact whole numbers": [float(2**60 + index * 2**12) for index in range(SAMPLES)],
}


def same(left, right):
    return (math.isnan(left) and math.isnan(right)) or right == pytest.approx(left, rel=7e-5)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_row_comes_back(row):
    (found,) = decode(encode({5: row})).values()
    assert all(same(before, after) for before, after in zip(row, found, strict=True))


def test_all_rows_together_come_back_and_rows_without_values_are_left_out():
    rows = dict(enumerate(ROWS.values()))
    found = decode(encode({**rows, 50: [GAP] * SAMPLES}))
    assert found.keys() == rows.keys()
    assert all(same(*pair) for number, row in rows.items() for pair in zip(row, found[number], strict=True))


@pytest.mark.parametrize("column", range(len(ROWS)), ids=ROWS)
def test_one_row_alone_is_the_same(column):
    block = encode(dict(enumerate(ROWS.values())))
    (found,) = decode(block, column).items()
    assert found[0] == column
    assert all(same(*pair) for pair in zip(decode(block)[column], found[1], strict=True))
    assert decode(block, 99) == {}


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.one_of(st.just(GAP), st.floats(-1e30, 1e30), st.integers(-(2**53), 2**53).map(float)),
        min_size=60,
        max_size=60,
    )
)
def test_any_row_comes_back_whole_numbers_exactly(row):
    block = encode({0: row})
    found = decode(block).get(0) if block else [GAP] * SAMPLES
    for before, after in zip(row, found, strict=True):
        assert (math.isnan(before) and math.isnan(after)) or after == pytest.approx(before, rel=7e-5, abs=1e-37)


@pytest.mark.parametrize("block", [b"", b"no tile", encode({0: [1.5] * SAMPLES})[:-3]])
def test_what_is_no_tile_is_a_value_error(block):
    with pytest.raises(ValueError, match="tile is broken"):
        decode(block)
