"""The keeper's JSON is everybody's JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.keeper import wire

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_what_it_writes_json_reads_and_the_other_way_round(value):
    assert json.loads(wire.dumps(value)) == value
    assert wire.loads(json.dumps(value, indent=1)) == value


@pytest.mark.parametrize("text", ["", "{", "nope", "[1,", '{"a"}', "'x'"])
def test_what_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError, match=r".*"):
        wire.loads(text)


def test_what_has_no_form_is_refused():
    with pytest.raises(TypeError, match="set"):
        wire.dumps({"a": {1}})


def test_it_works_without_the_interpreters_scanner(monkeypatch):
    monkeypatch.setattr(wire, "make_scanner", None)
    assert wire.loads(wire.dumps({"a": [1, None, "ü"]})) == {"a": [1, None, "ü"]}
