"""The bucket law of FORMAT.md."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.arena.layout import BUCKETS, LARGEST, add_buckets, bucket_bounds, bucket_of, quantile
from roadworthy.arena.writer import Arena

values = st.integers(0, LARGEST) | st.integers(0, 50).map(lambda power: min(1 << power, LARGEST))


@given(values)
def test_every_value_lies_within_the_bounds_of_its_bucket(value):
    low, high = bucket_bounds(bucket_of(value))
    assert low <= value < high


@given(values)
def test_the_middle_of_a_bucket_is_at_most_a_sixteenth_off(value):
    index = bucket_of(value)
    low, high = bucket_bounds(index)
    middle = low if index < 8 else (low + high) / 2
    assert abs(middle - value) <= value / 16


def test_the_buckets_follow_one_another_without_gap_or_overlap():
    edges = [bucket_bounds(index) for index in range(BUCKETS)]
    assert edges[0] == (0, 1)
    assert all(before[1] == after[0] for before, after in pairwise(edges))
    assert edges[-1][1] == LARGEST + 1


@pytest.mark.parametrize(
    ("value", "index"), [(-1, 0), (0, 0), (7, 7), (8, 8), (15, 15), (16, 16), (LARGEST, 383), (1 << 60, 383)]
)
def test_the_edges_of_the_scale(value, index):
    assert bucket_of(value) == index


@given(st.lists(values | st.integers(-5, 1 << 60), min_size=1, max_size=50))
def test_the_hot_path_counts_into_the_same_buckets(tmp_path_factory, numbers):
    arena = _arena(tmp_path_factory)
    histogram = arena.histogram("h", (("n", str(next(_fresh))),))
    for number in numbers:
        histogram.record(number)
    q, base = arena.cell.q, histogram._base
    if histogram._cell is not arena.cell:
        q = histogram._cell.q
    counted = {index: n for index, n in enumerate(q[base : base + BUCKETS].tolist()) if n}
    assert counted == add_buckets({bucket_of(number): 1} for number in numbers)


@given(
    st.lists(st.lists(values, max_size=30), min_size=1, max_size=5), st.sampled_from([0.0, 0.5, 0.75, 0.9, 0.99, 1.0])
)
def test_a_quantile_of_merged_histograms_is_that_of_all_values(workers, q):
    merged = add_buckets(_counted(worker) for worker in workers)
    together = sorted(value for worker in workers for value in worker)
    assert merged == _counted(together)
    found = quantile(merged, q)
    if not together:
        assert found is None
        return
    true = together[max(0, -(-int(q * len(together) * 1_000_000) // 1_000_000) - 1)]
    assert abs(found - true) <= true / 16


def _counted(numbers):
    return add_buckets({bucket_of(number): 1} for number in numbers)


_arenas = []
_fresh = iter(range(10**9))


def _arena(factory):
    if not _arenas or next(_fresh) % 400 == 0:
        _arenas[:] = [Arena.create(factory.mktemp("arena"), "web")]
    return _arenas[0]
