"""What the agent tells the workers."""

from __future__ import annotations

import threading

import pytest

from roadworthy.arena import files
from roadworthy.arena.control import ControlReader, ControlWriter
from roadworthy.arena.layout import CONTROL_AT, CONTROL_GENERATION, CONTROL_LENGTH
from roadworthy.errors import Exhausted, Unavailable


def test_a_worker_that_was_there_first_sees_what_the_agent_publishes(directory):
    reader = ControlReader(directory)
    assert (reader.generation(), reader.value()) == (0, {})
    writer = ControlWriter(directory)
    generation = writer.publish({"log_levels": {"": "DEBUG"}, "lame_duck": [5]})
    assert reader.generation() == generation
    assert generation % 2 == 0
    assert reader.value() == {"log_levels": {"": "DEBUG"}, "lame_duck": [5]}
    assert reader.value() is reader.value()
    assert writer.publish({}) > generation
    assert reader.value() == {}
    writer.close()


def test_the_next_agent_goes_on_where_a_killed_one_stopped(directory):
    writer = ControlWriter(directory)
    writer.publish({"a": 1})
    reader = ControlReader(directory)
    assert reader.value() == {"a": 1}
    writer._mapped.q[CONTROL_GENERATION] += 1
    writer._mapped.b[CONTROL_AT : CONTROL_AT + 3] = b"???"
    assert reader.generation() % 2 == 1
    assert reader.value() == {"a": 1}
    writer.close()
    successor = ControlWriter(directory)
    successor.publish({"b": 2})
    assert reader.value() == {"b": 2}
    successor.close()


def test_only_one_agent_holds_the_page(directory, monkeypatch):
    monkeypatch.setattr("roadworthy.arena.control._CLAIM_FOR", 0.0)
    writer = ControlWriter(directory)
    assert files.agent_claims(str(directory))
    with pytest.raises(Unavailable, match="another agent"):
        ControlWriter(directory)
    writer.close()
    assert not files.agent_claims(str(directory))
    ControlWriter(directory).close()


def test_what_does_not_fit_is_refused_and_the_old_value_stays(directory):
    writer = ControlWriter(directory)
    writer.publish({"a": 1})
    with pytest.raises(Exhausted, match="control page is full"):
        writer.publish({"a": "x" * 70_000})
    assert ControlReader(directory).value() == {"a": 1}
    writer.close()


@pytest.mark.parametrize("body", [b"?", b"[]", b"\xff\xfe", b"{" * 9000])
def test_a_damaged_page_leaves_the_value_before(directory, body):
    writer = ControlWriter(directory)
    reader = ControlReader(directory)
    writer.publish({"a": 1})
    assert reader.value() == {"a": 1}
    writer.publish({})
    writer._mapped.b[CONTROL_AT : CONTROL_AT + len(body)] = body
    writer._mapped.q[CONTROL_LENGTH] = len(body)
    assert reader.value() == {"a": 1}
    writer._mapped.q[CONTROL_LENGTH] = 1 << 50
    writer._mapped.q[CONTROL_GENERATION] += 2
    assert reader.value() == {"a": 1}
    writer.close()


def test_without_a_page_a_worker_has_an_empty_value_for_good(tmp_path):
    (tmp_path / "file").touch()
    reader = ControlReader(tmp_path / "file")
    assert (reader.generation(), reader.value()) == (0, {})
    (tmp_path / "control").write_bytes(b"short")
    assert ControlReader(tmp_path).generation() == 0


def test_readers_never_see_a_mixture(directory):
    writer = ControlWriter(directory)
    reader = ControlReader(directory)
    ending = threading.Event()

    def publish():
        for n in range(2000):
            writer.publish({"n": n, "body": str(n % 10) * (n % 5000)})
        ending.set()

    thread = threading.Thread(target=publish)
    thread.start()
    seen = set()
    while not ending.is_set():
        value = reader.value()
        if value:
            assert value["body"] == str(value["n"] % 10) * (value["n"] % 5000)
            seen.add(value["n"])
    thread.join()
    assert reader.value()["n"] == 1999
    writer.close()


def test_the_page_and_its_mode(directory):
    ControlReader(directory)
    assert [path.name for path in directory.iterdir()] == ["control"]
    assert (directory / "control").stat().st_size == 65536
    assert (directory / "control").stat().st_mode & 0o777 == 0o600
