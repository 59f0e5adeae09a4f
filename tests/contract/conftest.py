"""What the contract suites share."""

import pytest

from roadworthy.app.integrations import redis_client


@pytest.fixture(autouse=True)
def patient_clients(monkeypatch):
    """Give a Redis on a busy machine its time: how long a program waits for one is not what these suites are about."""
    monkeypatch.setattr(redis_client, "PATIENCE", 20.0)


@pytest.fixture(scope="session", autouse=True)
def own_runtime(runtime_home):
    """No test here starts the runtime in a place that is not the tests' own."""


@pytest.fixture(autouse=True)
def harmless_texts(own_secrets):
    """What a text of a test holds is no secret of the test before it."""
