"""What the unit tests share."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_runtime(runtime_home):
    """No test here starts the runtime in a place that is not the tests' own."""


@pytest.fixture(autouse=True)
def harmless_texts(own_secrets):
    """What a text of a test holds is no secret of the test before it."""
