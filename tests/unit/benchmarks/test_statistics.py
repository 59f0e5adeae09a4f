from __future__ import annotations

import pytest
from benchmarks.rows import Line
from benchmarks.statistics import Estimate, Verdict, estimate, growth, judge, loss, median, over, percentile, ratios


@pytest.mark.parametrize(
    ("values", "expected"),
    [([3], 3), ([3, 1, 2], 2), ([4, 1, 2, 3], 2.5), ([1, 1, 1, 100], 1)],
)
def test_the_median_is_the_middle_whatever_the_order(values, expected):
    assert median(values) == expected


@pytest.mark.parametrize("ask", [lambda: median([]), lambda: percentile([], 0.5), lambda: estimate([[], []])])
def test_nothing_measured_is_an_error_and_never_zero(ask):
    with pytest.raises(ValueError, match="of nothing"):
        ask()


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0, 1), (0.01, 1), (0.5, 50), (0.99, 99), (0.991, 100), (1, 100)],
)
def test_a_percentile_is_a_value_that_was_really_measured(share, expected):
    assert percentile(range(1, 101), share) == expected


def test_the_same_measurements_always_give_the_same_interval():
    groups = [[1.0, 2.0, 3.0], [2.0, 4.0]]
    assert estimate(groups) == estimate(groups)


def test_the_interval_holds_the_median_and_counts_the_measurements():
    found = estimate([[1.0, 2.0, 3.0, 4.0, 5.0]])
    assert found.low <= found.value == 3.0 <= found.high
    assert found.measurements == 5


def test_measurements_that_agree_have_a_narrow_interval():
    assert estimate([[2.0] * 10, [2.0] * 10]) == Estimate(2.0, 2.0, 2.0, 20)


def test_processes_that_disagree_widen_the_interval_however_many_pairs_each_has():
    apart = estimate([[1.0] * 500, [2.0] * 500, [3.0] * 500])
    assert (apart.low, apart.high) == (1.0, 3.0)


def test_empty_groups_do_not_count():
    assert estimate([[], [1.0, 1.0]]) == Estimate(1.0, 1.0, 1.0, 2)


def test_a_cost_is_what_lies_over_the_bare_measurement_of_the_same_round():
    assert over([15.0, 30.0], [10.0, 20.0]) == [5.0, 10.0]


@pytest.mark.parametrize(
    ("ours", "peer", "base", "expected"),
    [
        ([12, 14], [20, 30], [10, 10], [0.2, 0.2]),
        ([9], [20], [10], [-0.1]),
        ([12, 12], [10, 20], [10, 10], [0.2]),
    ],
    ids=[
        "of the costs, not of the times",
        "noise stays visible as a negative cost",
        "a peer that cost nothing is no measure",
    ],
)
def test_ratios_compare_costs_pair_by_pair(ours, peer, base, expected):
    assert ratios(ours, peer, base) == pytest.approx(expected)


def test_pairs_must_be_complete():
    with pytest.raises(ValueError, match="zip"):
        over([1.0], [1.0, 2.0])


def test_lost_throughput_and_grown_times_are_both_positive_when_attached_is_worse():
    assert loss([100.0, 100.0], [99.0, 101.0]) == pytest.approx([0.01, -0.01])
    assert growth([100.0, 100.0], [101.0, 99.0]) == pytest.approx([0.01, -0.01])


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.1, 0.22, Verdict.MET),
        (0.1, 0.23, Verdict.UNDECIDED),
        (0.22, 0.23, Verdict.UNDECIDED),
        (0.221, 0.3, Verdict.MISSED),
    ],
)
def test_only_an_interval_wholly_on_one_side_decides(low, high, expected):
    assert judge(Estimate((low + high) / 2, low, high, 10), 0.22) is expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (Line("x", Estimate(1, 1, 1, 1), "ms"), None),
        (Line("x", None, "ms", budget=2), Verdict.MISSED),
        (Line("x", Estimate(1, 1, 1, 9), "ms", budget=2), Verdict.MET),
        (Line("x", Estimate(1, 1, 1, 9), "ms", budget=2, valid=False), Verdict.UNDECIDED),
    ],
    ids=["no budget", "not measured", "measured", "measured under other conditions than the budget names"],
)
def test_a_line_never_passes_without_a_valid_measurement(line, expected):
    assert line.verdict is expected
