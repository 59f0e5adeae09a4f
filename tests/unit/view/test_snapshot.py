"""The JSON form of a snapshot is documented, validates, and says the same as the value."""

import json
from pathlib import Path

import jsonschema
import pytest

from roadworthy.types import Histogram, Kind, Resources, Series
from roadworthy.view.snapshot import dumps, from_json, schema, to_json
from unit.view.snapshots import NOW, quiet, troubled

SCHEMA_FILE = Path(__file__).parents[3] / "docs" / "snapshot.schema.json"


@pytest.mark.parametrize("make", [quiet, troubled])
def test_every_snapshot_validates_against_the_documented_schema(make):
    jsonschema.Draft202012Validator(schema()).validate(json.loads(dumps(make())))


def test_the_compact_form_validates_too_and_leaves_out_metrics_and_events():
    document = to_json(troubled(), compact=True)
    jsonschema.Draft202012Validator(schema()).validate(document)
    assert "series" not in document
    assert "events" not in document
    assert document["workers"][1]["state"] == "held"


def test_the_schema_in_the_docs_is_the_one_of_the_code():
    assert json.loads(SCHEMA_FILE.read_text()) == schema(), (
        "run: python -m roadworthy.view.snapshot > docs/snapshot.schema.json"
    )


def test_the_schema_is_a_valid_schema_that_refuses_nonsense():
    jsonschema.Draft202012Validator.check_schema(schema())
    for spoil in ({"app": 7}, {"verdict": None}, {"schema": 2}, {"workers": [{"slot": "0"}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(schema()).validate({**to_json(quiet()), **spoil})


@pytest.mark.parametrize("make", [quiet, troubled])
def test_what_was_written_is_read_back_as_an_equal_value(make):
    assert from_json(json.loads(dumps(make()))) == make()


def test_unknown_stays_null_and_no_number_becomes_null():
    document = json.loads(
        dumps(quiet(resources=Resources(cpu_percent=float("nan"), rss=None), gauges={"a": float("inf"), "b": None}))
    )
    assert document["resources"]["cpu_percent"] is None
    assert document["resources"]["rss"] is None
    assert document["gauges"] == {"a": None, "b": None}


def test_a_histogram_tells_its_count_and_percentiles_in_the_unit_of_the_series():
    histogram = Histogram({140: 99, 190: 1}, sum=1.0, max=float("nan"), scale=1e9)
    encoded = to_json(quiet(series=(Series("d", Kind.HISTOGRAM, unit="s", histogram=histogram),)))["series"][0][
        "histogram"
    ]
    assert encoded["count"] == 100
    assert encoded["max"] is None
    assert encoded["p50"] == pytest.approx(12.5 * 2**16 / 1e9)
    empty = to_json(quiet(series=(Series("d", Kind.HISTOGRAM, histogram=Histogram({}, 0.0, 0.0)),)))["series"][0][
        "histogram"
    ]
    assert empty["count"] == 0
    assert empty["p99"] in {None, 0.0}


def test_another_schema_version_is_refused_by_number():
    with pytest.raises(ValueError, match="schema 99"):
        from_json({"schema": 99})


def test_something_that_is_no_snapshot_is_refused():
    with pytest.raises(ValueError, match="no snapshot"):
        from_json({"schema": 1, "app": "x"})


def test_fields_of_a_later_version_are_passed_over():
    assert from_json({**to_json(quiet()), "later": 1}).at == NOW
