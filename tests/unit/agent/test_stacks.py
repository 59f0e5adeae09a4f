"""When a process may be asked for its stacks."""

from __future__ import annotations

import asyncio

import pytest

from roadworthy.agent.stacks import dump, obstacle

SIGNAL = 40


@pytest.fixture
def process(tmp_path):
    """A recorded process 42 that catches signal 40 and has our file as descriptor 200."""
    folder = tmp_path / "proc" / "42"
    (folder / "fd").mkdir(parents=True)
    (folder / "status").write_text(f"SigCgt:\t{1 << (SIGNAL - 1):016x}\n")
    ours = tmp_path / "stacks-42"
    ours.write_text("")
    (folder / "fd" / "200").symlink_to(ours)
    return tmp_path


def ask(process, **more):
    given = {
        "pid": 42,
        "signal": SIGNAL,
        "descriptor": 200,
        "path": process / "stacks-42",
        "root": str(process / "proc"),
    }
    return obstacle(**(given | more))


def test_a_process_that_catches_the_signal_and_has_our_file_may_be_asked(process):
    assert ask(process) == ""


def test_a_program_that_replaced_the_handler_is_not_signalled(process):
    assert "taken away the handler" in ask(process, signal=41)


def test_a_program_whose_descriptor_is_another_file_now_is_not_signalled(process):
    database = process / "customers.db"
    database.write_text("precious")
    link = process / "proc" / "42" / "fd" / "200"
    link.unlink()
    link.symlink_to(database)
    assert "is another file now" in ask(process)


def test_a_program_that_closed_its_descriptors_is_not_signalled(process):
    (process / "proc" / "42" / "fd" / "200").unlink()
    assert "is gone" in ask(process)


def test_a_program_without_our_runtime_is_not_signalled(process):
    assert "carries no stack dump" in ask(process, signal=0)
    assert "has ended" in ask(process, pid=43)


def test_nothing_is_sent_when_it_may_not_be(process):
    sent = []
    work = dump(
        43,
        1,
        signal=SIGNAL,
        descriptor=200,
        path=process / "x",
        send=lambda *what: sent.append(what),
        root=str(process / "proc"),
    )
    assert asyncio.run(work).why_not
    assert sent == []
