"""A secret shows itself redacted wherever it goes, and its value is known to redaction."""

import copy
import json
import pickle

import pytest
from pydantic import BaseModel

from roadworthy import _known
from roadworthy.types import Secret

VALUE = "correct-horse-battery"


@pytest.fixture(autouse=True)
def nothing_known():
    _known.forget()
    yield
    _known.forget()


@pytest.mark.parametrize(
    "shown",
    [
        repr,
        str,
        "{}".format,
        "{!r}".format,
        "{:>40}".format,
        lambda secret: "%s" % secret,  # noqa: UP031 - the old form is what logging uses
        lambda secret: f"{secret}",
        lambda secret: json.dumps({"key": secret}, default=str),
        lambda secret: str([secret]),
        lambda secret: str({"key": secret}),
    ],
)
def test_no_way_of_showing_it_shows_its_value(shown):
    assert VALUE not in shown(Secret(VALUE, "key"))
    assert "[redacted]" in shown(Secret(VALUE, "key"))


def test_its_value_is_had_by_asking_for_it():
    secret = Secret(VALUE, "api_key")
    assert (secret.reveal(), secret.name, bool(secret), bool(Secret(""))) == (VALUE, "api_key", True, False)


def test_equal_values_are_equal_whatever_they_are_called():
    assert Secret(VALUE, "a") == Secret(VALUE, "b")
    assert hash(Secret(VALUE, "a")) == hash(Secret(VALUE, "b"))
    assert Secret(VALUE) != Secret("another")
    assert Secret(VALUE) != VALUE, "comparing with plain text would tempt to print it"


def test_it_is_copied_as_itself_and_not_pickled():
    secret = Secret(VALUE, "api_key")
    assert copy.deepcopy({"a": secret})["a"] is secret
    assert copy.copy(secret) is secret
    with pytest.raises(TypeError, match="api_key") as raised:
        pickle.dumps(secret)
    assert VALUE not in str(raised.value)


def test_a_model_takes_it_as_text_and_gives_it_out_redacted():
    class Model(BaseModel):
        key: Secret

    model = Model(key=VALUE)
    assert model.key.reveal() == VALUE
    assert VALUE not in repr(model) + model.model_dump_json() + str(model.model_dump())
    with pytest.raises(ValueError, match="a secret is a text"):
        Model(key=5)


def test_redaction_knows_values_from_their_making_on_the_longest_first():
    Secret("shorter-one")
    Secret("shorter-one-and-more")
    Secret("tiny")
    assert _known.values == ("shorter-one-and-more", "shorter-one")


def test_of_too_many_values_the_oldest_are_forgotten():
    for number in range(_known.MOST + 10):
        _known.add(f"value-number-{number:04}")
    assert len(_known.values) == _known.MOST
    assert "value-number-0000" not in _known.values
    assert f"value-number-{_known.MOST + 9:04}" in _known.values
