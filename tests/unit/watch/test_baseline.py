"""Figures against those of a good time."""

from __future__ import annotations

import json

import pytest

from roadworthy.watch.baseline import Baseline, compare, take


def points(*values):
    return [(float(at), value) for at, value in enumerate(values)]


STEADY = points(*([100.0, 101.0, 99.0, 100.0] * 5))

TABLE = [
    ("latency.p95", [130.0] * 20, "higher", True),
    ("requests.rate", [130.0] * 20, "higher", False),
    ("latency.p95", [60.0] * 20, "lower", False),
    ("latency.p95", [105.0] * 20, "same", False),
    ("latency.p95", [None] * 20, "unknown", False),
    ("latency.p95", [130.0] * 7, "unknown", False),
    ("latency.p95", [60.0, 200.0] * 10, "same", False),
]


@pytest.mark.parametrize(("figure", "now", "change", "worse"), TABLE)
def test_a_figure_moved_when_it_left_its_scatter_by_more_than_a_tenth(figure, now, change, worse):
    baseline = take({figure: STEADY}, 0.0, 20.0)
    (found,) = compare(baseline, {figure: points(*now)})
    assert (found.change, found.worse, found.then) == (change, worse, 100.0)


def test_what_became_worse_comes_first():
    baseline = take({"requests.rate": STEADY, "app.rss": STEADY, "errors.rate": STEADY}, 0.0, 20.0)
    now = {"requests.rate": points(*[500.0] * 9), "app.rss": points(*[150.0] * 9), "errors.rate": STEADY}
    assert [one.figure for one in compare(baseline, now)] == ["app.rss", "requests.rate", "errors.rate"]


def test_a_figure_that_was_zero_has_no_ratio():
    baseline = take({"errors.rate": points(*[0.0] * 10)}, 0.0, 10.0)
    (found,) = compare(baseline, {"errors.rate": points(*[2.0] * 10)})
    assert (found.change, found.ratio, found.worse) == ("higher", None, True)


def test_too_few_values_make_no_baseline():
    assert take({"a": points(1.0, None, 2.0)}, 0.0, 3.0).levels == {}


def test_a_baseline_survives_its_file_and_another_schema_is_refused():
    baseline = take({"a": STEADY}, 0.0, 20.0)
    raw = json.loads(json.dumps(baseline.to_json()))
    assert Baseline.from_json(raw) == baseline
    with pytest.raises(ValueError, match="schema 9"):
        Baseline.from_json({**raw, "schema": 9})
