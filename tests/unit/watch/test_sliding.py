"""The windows over what histograms gain, by themselves."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from roadworthy.arena.layout import BUCKETS
from roadworthy.watch.sliding import ERROR_WINDOW, QUANTILE_WINDOW, Gain, Sliding

buckets = st.dictionaries(st.integers(0, BUCKETS - 1), st.integers(1, 1 << 40), max_size=8)


def gain(at: float, gained: dict[int, int]) -> Gain:
    made = Gain(at)
    made.buckets = dict(gained)
    made.count = sum(gained.values())
    made.failures = made.count // 3
    return made


@given(buckets)
def test_a_packed_gain_tells_what_was_in_it(gained: dict[int, int]) -> None:
    one = gain(0.0, gained)
    assert dict(one.items()) == gained
    one.pack()
    assert dict(one.items()) == gained


@given(st.lists(st.tuples(st.integers(1, 20), buckets), min_size=1, max_size=40))
def test_a_window_holds_what_its_chunks_hold_and_is_empty_when_its_time_is_over(
    gains: list[tuple[int, dict[int, int]]],
) -> None:
    sliding, now, all_of_it = Sliding(1.0), 0.0, Counter[int]()
    for after, gained in gains:
        now += after
        sliding.add(gain(now, gained))
        all_of_it.update(gained)
        if now < QUANTILE_WINDOW:
            assert sliding.buckets == dict(all_of_it)
        sliding.forget(now)
    assert sliding.attempts <= all_of_it.total()
    assert sliding.failures <= sliding.attempts
    assert sliding.forget(now + ERROR_WINDOW)
    assert (sliding.buckets, sliding.attempts, sliding.failures, sliding.recent_count) == ({}, 0, 0, 0)
