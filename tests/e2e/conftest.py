"""What the browser tests share."""

import contextlib

import pytest


@pytest.fixture(scope="session", autouse=True)
def patience():
    """Give a page on a busy machine its time: by default an expectation has five seconds."""
    with contextlib.suppress(ImportError):  # tests that need no browser run without it
        from playwright.sync_api import expect

        expect.set_options(timeout=30_000)
