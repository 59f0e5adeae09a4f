"""What the tests of the logs share: a configured process, which is as it was afterwards."""

from __future__ import annotations

import io
import json
import logging

import pytest

from roadworthy import log
from roadworthy.log import fast, hook, pipeline


@pytest.fixture
def clean():
    """Give the process its logs back as they were."""
    root = logging.root
    handlers, level, recorder = list(root.handlers), root.level, hook.recorder
    root.handlers[:] = []
    yield
    log.unconfigure()
    root.handlers[:] = handlers
    root.setLevel(level)
    hook.recorder = recorder
    assert pipeline.current is None


class Logs(io.StringIO):
    """A stream that gives back what was logged."""

    def entries(self):
        """Return the entries as JSON values, and forget them."""
        made = [json.loads(line) for line in self.getvalue().splitlines()]
        self.seek(0)
        self.truncate()
        return made

    def entry(self):
        """Return the only entry."""
        (made,) = self.entries()
        return made


@pytest.fixture
def logs(clean, monkeypatch):
    """Return the stream that a JSON log of everything goes to; pytest's own handlers do not count as the program's."""
    made = Logs()
    monkeypatch.setattr(fast, "_roots", [None])
    log.configure("web", json=True, level="DEBUG", files=False, stream=made, environ={"ENV": "production"})
    return made
