"""The guard: ours is swallowed, counted and told once; everything else passes."""

import asyncio
import os
import signal
import sys

import pytest

from roadworthy.app import guard


@pytest.fixture
def told(monkeypatch, capsys):
    monkeypatch.setattr(guard, "_reported", set())
    return lambda: capsys.readouterr().err


def test_a_failure_of_ours_is_counted_and_told_once(told):
    @guard.guarded("place", default=7)
    def broken():
        raise ValueError("ours")

    before = guard.counted()
    assert [broken() for _ in range(3)] == [7, 7, 7]
    assert guard.counted() == before + 3
    assert told() == "roadworthy: place failed (ValueError: ours). Your program is fine.\n"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
def test_what_is_not_an_error_passes(kind):
    @guard.guarded("place")
    def interrupted():
        raise kind

    with pytest.raises(kind):
        interrupted()


def test_an_exception_out_of_a_signal_handler_passes():
    class Alarm(Exception):
        pass

    def handler(number, frame):
        raise Alarm

    @guard.guarded("place")
    def ours():
        os.kill(os.getpid(), signal.SIGUSR1)
        for _ in range(1000):
            pass

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(Alarm):
            ours()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_reports_are_one_clean_line_without_secrets_of_terminals(told):
    guard.report("odd", "line\nbreak \x1b[31mred")
    assert told() == "roadworthy: line\\nbreak \\x1b[31mred. Your program is fine.\n"


def test_reports_are_bounded(told):
    for n in range(100):
        guard.report(f"place {n}", "x" * 10_000)
    lines = told().splitlines()
    assert len(lines) == guard.MOST_REPORTS
    assert max(map(len, lines)) < 600


@pytest.mark.parametrize("stream", [None, object()])
def test_without_a_standard_error_it_is_silent(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(guard, "_reported", set())
    guard.report("silent", "x")


def test_a_file_of_the_programs_under_number_two_is_not_written_to(program, tmp_path):
    target = tmp_path / "data.db"
    program(
        """
        import os, sys
        from roadworthy.app import guard
        guard.remember_stderr()
        os.close(2)
        assert os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY) == 2
        guard.report("place", "x")
        """,
        str(target),
    )
    assert target.read_bytes() == b""


def test_a_full_pipe_does_not_hold_the_program_up():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4096)
    except BlockingIOError:
        pass
    os.set_blocking(writing, True)
    stream = os.fdopen(writing, "w")
    before, sys.stderr = sys.stderr, stream
    try:
        guard._write(b"would wait for ever\n")
    finally:
        sys.stderr = before
        os.close(reading)
        stream.close()
