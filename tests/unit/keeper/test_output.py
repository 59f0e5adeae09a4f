"""What the keeper passes on, keeps and gives back."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

import pytest

from roadworthy.keeper import output
from roadworthy.keeper.output import (
    AHEAD,
    KEEP,
    KEEP_LEAST,
    LAG_STUCK,
    PUNCH_EVERY,
    STUCK_AFTER,
    Sink,
    Stream,
    trim_log,
)


@pytest.fixture
def pipe():
    read, write = os.pipe()
    yield read, write
    for fd in (read, write):
        with contextlib.suppress(OSError):
            os.close(fd)


def append(path, data):
    with Path(path).open("ab") as file:
        file.write(data)


def drain(fd):
    os.set_blocking(fd, False)
    found = b""
    try:
        while part := os.read(fd, 1 << 20):
            found += part
    except BlockingIOError:
        pass
    return found


def test_new_bytes_pass_through_and_are_given_back_except_for_the_newest(tmp_path):
    target = tmp_path / "target"
    with target.open("wb") as file:
        stream = Stream(str(tmp_path / "out"), Sink(file.fileno()))
        data = os.urandom(KEEP + 4 * PUNCH_EVERY)
        append(stream.path, data)
        while stream.pump(1.0):
            pass
    assert target.read_bytes() == data
    found = Path(stream.path).stat()
    assert found.st_size == len(data)
    assert found.st_blocks * 512 <= KEEP + 2 * PUNCH_EVERY
    assert (tmp_path / "out").read_bytes()[-KEEP:] == data[-KEEP:]
    stream.close()


def test_a_full_pipe_is_not_waited_for_and_goes_on_where_it_was(tmp_path, pipe):
    read, write = pipe
    sink = Sink(write)
    stream = Stream(str(tmp_path / "out"), sink)
    data = os.urandom(3 << 20)
    append(stream.path, data)
    found = b""
    while stream.behind:
        stream.pump(1.0)
        found += drain(read)
    assert found == data
    assert os.get_blocking(write), "the flags of a descriptor that others share were changed"
    stream.close()


def test_a_reader_that_is_stuck_costs_the_oldest_bytes_and_it_is_said(tmp_path, pipe):
    read, write = pipe
    stream = Stream(str(tmp_path / "out"), Sink(write))
    append(stream.path, b"a" * (LAG_STUCK + (4 << 20)))
    stream.pump(1.0)
    before = stream.passed
    stream.pump(1.0 + STUCK_AFTER / 2)
    assert stream.passed == before
    stream.pump(2.0 + STUCK_AFTER)
    assert stream.behind == KEEP
    found = b""
    while stream.behind:
        found += drain(read)
        stream.pump(20.0)
    found += drain(read)
    assert b"bytes of output are left out here" in found
    stream.close()


def test_a_reader_that_has_gone_is_forgotten(tmp_path, pipe):
    read, write = pipe
    sink = Sink(write)
    stream = Stream(str(tmp_path / "out"), sink)
    os.close(read)
    append(stream.path, b"x" * 100)
    stream.pump(1.0)
    append(stream.path, b"x" * 100)
    assert stream.pump(1.0) == 100
    assert sink.closed
    assert stream.behind == 0
    stream.close()


def test_the_null_device_costs_nothing():
    fd = os.open(os.devnull, os.O_WRONLY)
    try:
        assert Sink(fd).closed
    finally:
        os.close(fd)


def test_a_socket_is_written_to_without_waiting():
    import socket

    ours, theirs = socket.socketpair()
    with ours, theirs:
        sink = Sink(ours.fileno())
        while sink.write(b"x" * 65536, 1.0):
            pass
        assert sink.blocked
        assert not sink.closed
        sink.close()


@pytest.mark.parametrize("again", [b"x\n", b"something else that is longer\n"])
def test_a_program_that_truncates_its_own_output_is_read_from_the_start(tmp_path, again):
    target = tmp_path / "target"
    with target.open("wb") as file:
        stream = Stream(str(tmp_path / "out"), Sink(file.fileno()))
        append(stream.path, b"first line\n")
        stream.pump(1.0)
        (tmp_path / "out").write_bytes(again)
        stream.pump(1.0)
    assert target.read_bytes() == b"first line\n" + again
    stream.close()


def test_a_file_system_without_holes_lets_the_file_grow(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "not supported")

    monkeypatch.setattr(output, "punch_hole", refuse)
    with Path(os.devnull).open("wb") as null:
        stream = Stream(str(tmp_path / "out"), Sink(null.fileno()))
    append(stream.path, b"x" * (3 << 20))
    stream.pump(1.0)
    append(stream.path, b"x")
    assert stream.pump(1.0) == 1
    stream.close()


def test_a_log_is_turned_over_at_its_bound(tmp_path):
    log = tmp_path / "log"
    with log.open("ab") as writer:
        writer.write(b"x" * 100)
        writer.flush()
        trim_log(str(log), 100)
        assert log.stat().st_size == 100
        trim_log(str(log), 99)
        assert (log.stat().st_size, (tmp_path / "log.1").stat().st_size) == (0, 100)
        writer.write(b"y")
    assert log.read_bytes() == b"y"


def test_a_log_that_is_not_there_is_no_matter(tmp_path):
    trim_log(str(tmp_path / "none"), 1)


def room(path):
    return Path(path).stat().st_blocks * 512


def test_a_file_has_room_beyond_its_end_so_that_the_program_can_print_on_a_full_disk(tmp_path, pipe):
    stream = Stream(str(tmp_path / "out"), Sink(pipe[1]))
    assert (Path(stream.path).stat().st_size, room(stream.path) >= AHEAD) == (0, True)
    append(stream.path, b"x" * AHEAD)
    stream.pump(1.0)
    assert room(stream.path) >= 2 * AHEAD
    assert drain(pipe[0]) == b"x" * AHEAD
    stream.close()


def test_while_the_disk_is_full_what_was_passed_on_makes_room_for_what_comes(tmp_path, monkeypatch):
    with Path(os.devnull).open("wb") as null:
        stream = Stream(str(tmp_path / "out"), Sink(null.fileno()))

    def full(_fd, _start, _count):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(output, "reserve", full)
    for now in range(8):
        append(stream.path, b"x" * AHEAD)
        stream.pump(float(now))
    assert stream.passed == 8 * AHEAD
    assert room(stream.path) <= AHEAD + KEEP_LEAST + AHEAD
    assert Path(stream.path).stat().st_size == 8 * AHEAD
    stream.close()


def test_a_file_system_that_cannot_reserve_is_asked_once(tmp_path, monkeypatch):
    asked = []

    def cannot(_fd, _start, count):
        asked.append(count)
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(output, "reserve", cannot)
    stream = Stream(str(tmp_path / "out"), Sink(os.open(os.devnull, os.O_WRONLY)))
    for now in range(3):
        append(stream.path, b"x" * AHEAD)
        stream.pump(float(now))
    assert asked == [AHEAD]
    stream.close()


def test_what_a_program_writes_while_its_first_lines_are_passed_on_is_passed_on_after_them(tmp_path):
    class Slow(Sink):
        """A reader during whose reading the program goes on writing."""

        def copy(self, source, offset, count, now):
            taken = super().copy(source, offset, count, now)
            append(tmp_path / "out", b"and more\n")
            return taken

    with (tmp_path / "target").open("wb") as file:
        stream = Stream(str(tmp_path / "out"), Slow(file.fileno()))
        append(stream.path, b"a\n")
        for now in range(3):
            stream.pump(float(now))
    assert (tmp_path / "target").read_bytes() == b"a\nand more\nand more\n"
    stream.close()


def test_a_program_that_truncates_its_output_before_anybody_reads_again_harms_nobody(tmp_path, pipe):
    read, write = pipe
    stream = Stream(str(tmp_path / "out"), Sink(write))
    append(stream.path, b"first\n")
    assert stream.pump(1.0) == 6
    os.write(write, b"x" * 65000)  # the pipe is nearly full from here on
    os.truncate(stream.path, 0)
    append(stream.path, b"y" * 100_000)
    for now in range(2, 6):
        stream.pump(float(now))
    drain(read)
    stream.pump(6.0)
    assert stream.passed > 0
    stream.close()
