"""Following the program's output."""

from __future__ import annotations

import os

import pytest

from roadworthy.agent.output import MOST_AT_FIRST, MOST_BYTES, MOST_LINES, Output


def read(output, generation=1):
    return [event.text for event in output.read(1.0, [(0, generation, 42)])]


def test_only_whole_new_lines_are_returned(tmp_path):
    path = tmp_path / "out-0-1"
    output = Output(tmp_path)
    assert read(output) == []
    path.write_text("one\ntw")
    assert read(output) == ["one"]
    with path.open("a") as file:
        file.write("o\n\nthree\n")
    assert read(output) == ["two", "three"]
    assert output.grown == 9


def test_a_flood_is_not_read_to_the_end_and_what_was_passed_over_is_counted(tmp_path):
    output = Output(tmp_path)
    read(output)
    (tmp_path / "out-0-1").write_bytes(b"x" * 99 + b"\n" + b"0123456\n" * (MOST_BYTES // 4))
    lines = read(output)
    assert len(lines) == MOST_LINES
    assert output.skipped > MOST_BYTES


def test_a_line_without_an_end_is_cut(tmp_path):
    output = Output(tmp_path)
    read(output)
    (tmp_path / "err-0-1").write_bytes(b"y" * 50_000)
    assert [len(line) for line in read(output)] == [2_000]
    assert read(output) == []


def test_the_punched_part_of_a_file_is_passed_over(tmp_path):
    output = Output(tmp_path)
    read(output)
    (tmp_path / "out-0-1").write_bytes(b"\0" * 4096 + b"here\n")
    assert read(output) == ["here"]


def test_a_new_generation_is_read_from_its_beginning(tmp_path):
    output = Output(tmp_path)
    (tmp_path / "out-0-1").write_text("old\n")
    assert read(output) == ["old"]
    (tmp_path / "out-0-2").write_text("new\n")
    assert read(output, generation=2) == ["new"]


def test_what_was_written_before_the_first_look_is_counted_though_it_is_not_read(tmp_path):
    path = tmp_path / "out-0-1"
    path.write_bytes(b"z" * (MOST_AT_FIRST * 4) + b"\nlast\n")
    os.utime(path, (5.0, 5.0))
    output = Output(tmp_path)
    assert read(output)[-1] == "last"
    assert (output.grown, output.last) == (MOST_AT_FIRST * 4 + 6, 5.0)
    assert read(output) == []
    assert (output.grown, output.last) == (0, 5.0)


def test_a_new_agent_goes_on_where_the_last_one_was(tmp_path):
    path = tmp_path / "out-0-1"
    path.write_text("one\ntw")
    first = Output(tmp_path)
    assert read(first) == ["one"]
    with path.open("a") as file:
        file.write("o\nthree\n")
    assert read(Output(tmp_path, first.offsets())) == ["two", "three"]


@pytest.mark.parametrize("content", ["", "new\n", "new, and longer than the old one\n"])
def test_a_file_of_the_same_name_that_is_another_is_read_from_its_beginning(tmp_path, content):
    path = tmp_path / "out-0-1"
    path.write_text("old old old\n")
    first = Output(tmp_path)
    read(first)
    other = tmp_path / "other"
    other.write_text(content)
    other.replace(path)
    assert read(Output(tmp_path, first.offsets())) == content.splitlines()
