"""Windows that slide over what was gained."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.watch.sliding import ERROR_CHUNK, ERROR_WINDOW, QUANTILE_CHUNK, QUANTILE_WINDOW, Gain, Sliding


def gain(at, bucket=20, count=1, failures=0):
    made = Gain(at)
    made.buckets, made.count, made.failures, made.largest = {bucket: count}, count, failures, float(bucket)
    return made


@given(
    st.lists(
        st.tuples(st.integers(1, 112).map(lambda sixteenths: sixteenths / 16), st.integers(0, 60), st.integers(1, 5)),
        min_size=1,
        max_size=200,
    )
)
def test_a_window_holds_all_that_is_young_nothing_that_is_old_and_ends_at_most_a_chunk_short(steps):
    sliding = Sliding(1.0)
    seen = []
    now = 0.0
    for wait, bucket, count in steps:
        now += wait
        sliding.add(gain(now, bucket, count, count // 2))
        sliding.forget(now)
        seen.append((now, bucket, count))
        for window, chunk, found in (
            (QUANTILE_WINDOW, QUANTILE_CHUNK, sum(sliding.buckets.values())),
            (ERROR_WINDOW, ERROR_CHUNK, sliding.attempts),
            (10.0, 0.0, sliding.recent_count),
        ):
            surely = sum(number for at, _, number in seen if at > now - window + chunk)
            at_most = sum(number for at, _, number in seen if at > now - window)
            assert surely <= found <= at_most
        assert all(number > 0 for number in sliding.buckets.values())
    assert sliding.forget(now + ERROR_WINDOW)
    assert (sliding.buckets, sliding.attempts, sliding.failures, sliding.recent_count) == ({}, 0, 0, 0)
    assert sliding.largest() is None


def test_the_largest_value_is_forgotten_with_its_chunk():
    sliding = Sliding(1.0)
    sliding.add(gain(1.0, 40))
    sliding.add(gain(30.0, 9))
    assert sliding.largest() == 40.0
    sliding.forget(61.0)
    assert sliding.largest() == 9.0


def test_a_gain_that_is_added_to_a_chunk_stays_as_it_was():
    sliding = Sliding(1.0)
    first, second = gain(1.0), gain(2.0)
    sliding.add(first)
    sliding.add(second)
    assert second.buckets == {20: 1}
    assert sliding.quantiles((0.5,), None) == [pytest.approx(25.0, rel=0.2)]
