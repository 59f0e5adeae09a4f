from __future__ import annotations

from types import SimpleNamespace

import pytest

from roadworthy.config.profiles import profile
from roadworthy.errors import UsageError


def force(found, word):
    if word == "moon":
        raise UsageError("no environment")
    return SimpleNamespace(type=found.type, values={"WORKERS": "4"})


DETECT = SimpleNamespace(
    Reader=lambda environ: environ,
    detect=lambda _reader: SimpleNamespace(type=SimpleNamespace(value="local"), values={}),
    force=force,
    profile=lambda found: found.values,
)


@pytest.mark.parametrize(
    ("named", "found"), [(None, ("local", {})), ("cloud", ("cloud", {"WORKERS": "4"})), ("moon", ("none", {}))]
)
def test_the_profile_is_that_of_the_named_environment_else_of_the_detected_one(named, found):
    assert profile(named, {}, DETECT) == found
