"""What the unit tests share."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_runtime(runtime_home):
    """No test here starts the runtime in a place that is not the tests' own."""
