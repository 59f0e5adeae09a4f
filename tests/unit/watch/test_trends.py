"""Where a figure is going."""

from __future__ import annotations

import random

import pytest

from roadworthy.watch.trends import MOST_POINTS, slope, thin, trend

RANDOM = random.Random(7)  # noqa: S311 - noise, no secret
NOISE = [RANDOM.uniform(-1, 1) for _ in range(600)]


def points(function, count=600, gap=()):
    return [(float(at), None if at in gap else function(at)) for at in range(count)]


TABLE = [
    ("a leak of a tenth each second", points(lambda at: 100 + 0.1 * at + NOISE[at]), "increasing"),
    ("a falling level", points(lambda at: 100 - 0.1 * at + NOISE[at]), "decreasing"),
    ("noise around a level", points(lambda at: 100 + 5 * NOISE[at]), "steady"),
    ("a constant", points(lambda at: 5.0), "steady"),
    ("always zero", points(lambda at: 0.0), "steady"),
    ("one spike of a thousand", points(lambda at: 1e5 if at == 300 else 100.0), "steady"),
    ("a fifth of wild points over a leak", points(lambda at: 1e5 if at % 5 == 0 else 100 + 0.2 * at), "increasing"),
    ("a rise lost in noise", points(lambda at: 100 + 0.0001 * at + 10 * NOISE[at]), "steady"),
    ("a leak with gaps", points(lambda at: 100 + 0.1 * at, gap=set(range(100, 300))), "increasing"),
    ("seven values", points(float, 7), "unknown"),
    ("nothing measured", points(lambda at: None), "unknown"),
    ("no points", [], "unknown"),
]


@pytest.mark.parametrize(("name", "values", "label"), TABLE, ids=[row[0] for row in TABLE])
def test_the_label_tells_a_trend_from_noise(name, values, label):
    assert trend(values).label == label


def test_the_slope_and_the_time_to_the_limit_are_those_of_the_leak():
    found = trend(points(lambda at: 1000 + 2.0 * at), limit=4198.0)
    assert found.slope == pytest.approx(2.0, rel=0.01)
    assert found.limit_in == pytest.approx(1000.0, rel=0.02)


@pytest.mark.parametrize(("limit", "expected"), [(None, None), (500.0, 0.0)])
def test_a_limit_that_was_reached_has_no_time_left_and_without_a_limit_there_is_none(limit, expected):
    assert trend(points(lambda at: 1000 + 2.0 * at), limit=limit).limit_in == expected


def test_a_steady_figure_never_reaches_its_limit():
    assert trend(points(lambda at: 50.0 + NOISE[at]), limit=100.0).limit_in is None


def test_the_summary_tells_least_mean_most_and_last():
    found = trend(points(lambda at: float(at % 10), 100))
    assert (found.least, found.mean, found.most, found.last) == (0.0, 4.5, 9.0, 9.0)


def test_thinning_keeps_the_number_down_and_no_spike_becomes_the_sample():
    thinned = thin([(float(at), 1e6 if at % 50 == 0 else 1.0) for at in range(6000)])
    assert len(thinned) == MOST_POINTS
    assert {value for _, value in thinned} == {1.0}


def test_one_instant_has_no_slope():
    assert slope([(1.0, 1.0), (1.0, 2.0)]) is None
