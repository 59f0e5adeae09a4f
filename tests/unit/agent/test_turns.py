"""What a reload has yet to do outlives the agent that began it."""

from __future__ import annotations

import pytest

from roadworthy.agent import turns


def test_what_was_kept_is_found_and_gone_when_nothing_is_to_come(tmp_path):
    turns.keep(tmp_path, ((1, 201, 7), (2, 202, 8)))
    assert turns.kept(tmp_path) == ((1, 201, 7), (2, 202, 8))
    turns.keep(tmp_path, ())
    assert (turns.kept(tmp_path), list(tmp_path.iterdir())) == ((), [])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"turns": 1}', '{"turns": [[1, 2]]}', '{"turns": [["x", 1, 2]]}'])
def test_a_file_that_makes_no_sense_is_as_none(tmp_path, text):
    (tmp_path / turns.NAME).write_text(text)
    assert turns.kept(tmp_path) == ()
