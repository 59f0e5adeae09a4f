"""Where lines go, and what happens where they cannot go."""

import errno
import io
import os
import threading

import pytest

from roadworthy.log import sink
from roadworthy.log.sink import Direct, Given, Queued, for_stream

NOW = 1_767_225_600_000_000_000


def told(what):
    return f"told: {what}\n".encode()


@pytest.fixture
def said(monkeypatch):
    """Return what was told on standard error."""
    made = []
    monkeypatch.setattr(sink, "complain", made.append)
    return made


class Disk:
    """A descriptor that takes so many bytes, and no more until there is room again."""

    def __init__(self, monkeypatch, room):
        self.room = room
        self.held = b""
        monkeypatch.setattr(sink.os, "write", self.write)

    def write(self, _descriptor, data):
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = bytes(data[: self.room])
        self.held += taken
        self.room -= len(taken)
        return len(taken)


def direct(monkeypatch, room):
    made = Direct("app.log", told, 99)
    monkeypatch.setattr(made, "look", lambda now: None)
    return made, Disk(monkeypatch, room)


def test_a_full_disk_costs_the_lines_that_do_not_fit_and_tells_it_twice(monkeypatch, said):
    one, disk = direct(monkeypatch, 6)
    for line in (b"one\n", b"two\n", b"three\n"):
        one.write(line, NOW)
    assert (disk.held, one.written, one.lost) == (b"one\ntw", 1, 2)
    assert said == ["app.log cannot be written (No space left on device): log lines are dropped and counted"]
    disk.room = 10_000
    one.write(b"four\n", NOW)
    one.write(b"five\n", NOW)
    why = b"told: 2 log lines could not be written to app.log: No space left on device\n"
    assert disk.held == b"one\ntw\n" + why + b"four\nfive\n"
    assert (one.written, one.lost, len(said)) == (3, 2, 1)


def test_a_line_that_was_written_in_two_pieces_is_whole(monkeypatch, said):
    one, disk = direct(monkeypatch, 100)
    whole = disk.write
    monkeypatch.setattr(sink.os, "write", lambda fd, data: whole(fd, data[:3]))
    one.write(b"12345\n", NOW)
    assert (disk.held, one.lost, said) == (b"12345\n", 0, [])


def test_what_is_full_again_while_it_is_told_is_counted_on(monkeypatch, said):
    one, disk = direct(monkeypatch, 0)
    one.write(b"one\n", NOW)
    one.write(b"two\n", NOW)
    disk.room = 5
    one.write(b"three\n", NOW)
    assert one.lost == 3
    disk.room = 1000
    one.write(b"four\n", NOW)
    assert disk.held.endswith(b"\nfour\n")


def test_a_slow_reader_costs_lines_and_never_time(said):
    reader, writer = os.pipe()
    one = Queued("stdout", told, writer, most=10)
    line = b"x" * 70_000 + b"\n"
    for _ in range(30):
        one.write(line, NOW)
    assert 15 <= one.lost <= 20
    assert said == ["stdout cannot be written (its reader is too slow): log lines are dropped and counted"]
    got = bytearray()
    thread = threading.Thread(
        target=lambda: [got.extend(piece) for piece in iter(lambda: os.read(reader, 1 << 20), b"")]
    )
    thread.start()
    one.close()
    one.write(b"last\n", NOW)
    one.close()
    os.close(writer)
    thread.join()
    os.close(reader)
    assert f"told: {one.lost} log lines could not be written to stdout: its reader is too slow\n".encode() in got
    assert got.endswith(b"last\n")
    assert one.written == 31 - one.lost


def test_a_reader_that_has_gone_is_counted(said):
    reader, writer = os.pipe()
    os.close(reader)
    one = Queued("stdout", told, writer)
    one.write(b"one\n", NOW)
    one.close()
    os.close(writer)
    assert one.lost == 1
    assert "Broken pipe" in said[0]


def test_a_descriptor_that_has_become_somebody_elses_is_not_written_to(tmp_path, said):
    reader, writer = os.pipe()
    one = Queued("stdout", told, writer)
    os.dup2(os.open(tmp_path / "database", os.O_WRONLY | os.O_CREAT), writer)
    one.write(b"one\n", NOW)
    one.close()
    os.close(writer)
    os.close(reader)
    assert one.lost == 1
    assert (tmp_path / "database").read_bytes() == b""


@pytest.mark.parametrize(("flags", "written"), [(0, b""), (os.O_APPEND, b"two\n")])
def test_a_file_that_takes_the_place_of_standard_output_is_written_to_if_it_is_added_to(tmp_path, said, flags, written):
    descriptor = os.open(tmp_path / "first", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    one = for_stream(descriptor, told)
    assert type(one) is Direct
    one.write(b"one\n", NOW)
    os.dup2(os.open(tmp_path / "second", os.O_WRONLY | os.O_CREAT | flags), descriptor)
    one.write(b"two\n", NOW + sink.LOOK_NS)
    os.close(descriptor)
    assert (tmp_path / "first").read_bytes() == b"one\n"
    assert (tmp_path / "second").read_bytes() == written


def test_a_forked_child_begins_with_an_empty_queue():
    reader, writer = os.pipe()
    one = Queued("stdout", told, writer)
    one._queue.put(b"the parent's\n")
    one.after_fork()
    one.write(b"the child's\n", NOW)
    one.close()
    os.close(writer)
    assert os.read(reader, 100) == b"the child's\n"
    os.close(reader)


def test_a_descriptor_that_does_not_wait_is_waited_for(monkeypatch):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    thread = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(reader, 1 << 16), b"")])
    thread.start()
    sink.write_all(writer, b"x" * 1_000_000)
    os.close(writer)
    thread.join()
    os.close(reader)


def test_an_object_with_write_is_handed_text_and_may_fail(said):
    class Broken:
        def write(self, text):
            raise RuntimeError("no")

    good = io.StringIO()
    assert type(for_stream(good, told)) is Given
    for_stream(good, told).write("é\n".encode(), NOW)
    assert good.getvalue() == "é\n"
    bad = for_stream(Broken(), told)
    bad.write(b"x\n", NOW)
    assert bad.lost == 1
    assert "RuntimeError: no" in said[0]


def test_the_sink_fits_what_the_descriptor_is(tmp_path):
    reader, writer = os.pipe()
    with (tmp_path / "f").open("wb") as file, open(os.devnull, "wb") as null:  # noqa: PTH123 - a device
        assert [type(for_stream(one, told)) for one in (file, null, writer)] == [Direct, Direct, Queued]
    os.close(reader)
    os.close(writer)


def test_complaining_is_one_line_on_standard_error(capfd):
    sink.complain("the disk\nis full")
    assert capfd.readouterr().err == "roadworthy: the disk\\nis full. Your program is fine.\n"
