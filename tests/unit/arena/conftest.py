from __future__ import annotations

import pytest

from roadworthy.arena.reader import Reader
from roadworthy.arena.writer import Arena, Sizes


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "arena"


@pytest.fixture
def arena(directory):
    made = Arena.create(directory, "web")
    yield made
    made.close()


@pytest.fixture
def small(directory):
    made = Arena.create(directory, "web", sizes=Sizes(events=64, beats=4, inflight=4, marks=4, series=8, blocks=4))
    yield made
    made.close()


@pytest.fixture
def read():
    opened = []

    def open_(arena):
        opened.append(Reader(arena.path))
        return opened[-1]

    yield open_
    for reader in opened:
        reader.close()
