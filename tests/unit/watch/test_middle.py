"""Our median is that of the standard library."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.watch.middle import median


@given(st.lists(st.floats(-1e300, 1e300), min_size=1))
def test_it_is_that_of_the_standard_library(values):
    assert median(iter(values)) == statistics.median(values)


def test_there_is_none_of_nothing():
    with pytest.raises(ValueError, match="nothing"):
        median([])
