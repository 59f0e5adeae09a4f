"""Text for terminals fits, says unknown where it is unknown, and passes no escape sequence on."""

# ruff: noqa: RUF001 - the signs for what is unknown are meant

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.types import ErrorGroup
from roadworthy.view.terminal import text
from roadworthy.view.terminal.status import status
from roadworthy.view.terminal.text import Cell, Column, Style, clean, columns, fit, sparkline
from roadworthy.view.terminal.top import Trail, screen
from unit.view.snapshots import NOW, operation, quiet, troubled, worker


@pytest.mark.parametrize(
    ("words", "value", "said"),
    [
        (text.seconds, None, "–"),
        (text.seconds, 0.0, "0 µs"),
        (text.seconds, 0.00034, "340 µs"),
        (text.seconds, 0.0041, "4.1 ms"),
        (text.seconds, 1.25, "1.25 s"),
        (text.seconds, 130.4, "130 s"),
        (text.rate, None, "–"),
        (text.rate, 0.5, "0.5/s"),
        (text.share, 0.12, "12 %"),
        (text.share, None, "–"),
        (text.percent, 0.0, "0 %"),
        (text.percent, 0.004, "<0.1 %"),
        (text.percent, 99.96, "100 %"),
        (text.size, None, "–"),
        (text.size, 512, "512 B"),
        (text.size, 1536, "1.5 KiB"),
        (text.size, 5 * 2**50, "5120 TiB"),
        (text.number, 1234567, "1 234 567"),
        (text.number, None, "–"),
    ],
)
def test_a_figure_is_written_as_people_write_it(words, value, said):
    assert words(value) == said


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("a\x1b[31mb", "a\ufffd[31mb"),
        ("a\nb\tc", "a b c"),
        ("\x9b2J", "\ufffd2J"),
        ("\u202egnp", "\ufffdgnp"),
        ("größe 💣", "größe 💣"),
    ],
)
def test_nothing_that_a_terminal_acts_on_passes(given_text, shown):
    assert clean(given_text) == shown


def test_hostile_text_from_the_program_reaches_no_terminal():
    evil = "x\x1b]0;owned\x07\x1b[2J"
    snapshot = troubled(
        app=evil,
        command=(evil,),
        operations=(operation(evil),),
        workers=(worker(0, reason=evil),),
        errors=(ErrorGroup("f", evil, evil, evil, 1, NOW, NOW, handled=False),),
    )
    for line in (*status(snapshot, Style(), NOW), *screen(snapshot, Trail(), Style(), NOW, view="e")):
        assert "\x1b" not in line
        assert "\x07" not in line


@pytest.mark.parametrize("width", [20, 33, 60, 80, 100, 200])
@pytest.mark.parametrize("make", [quiet, troubled])
def test_no_line_is_wider_than_the_terminal(make, width):
    style = Style(width=width)
    past = Trail()
    past.add({"cpu.percent": 12.0})
    for view in "opeh":
        assert all(columns(line) <= width for line in screen(make(), past, style, NOW, view=view, height=24))
    assert all(columns(line) <= width for line in status(make(), style, NOW, signals=True, own=True))


@pytest.mark.parametrize("height", [3, 10, 24, 60])
def test_a_screen_is_as_high_as_the_terminal(height):
    assert len(screen(troubled(), Trail(), Style(), NOW, height=height)) == height


def test_colours_mean_something_and_can_be_left_out():
    coloured = "\n".join(status(troubled(), Style(colour=True), NOW))
    assert "\x1b[31mUNHEALTHY\x1b[0m" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == "\n".join(status(troubled(), Style(), NOW))


def test_without_unicode_only_ascii_is_written():
    assert "\n".join(status(troubled(), Style(unicode=False), NOW)).isascii()


@given(st.text(max_size=30), st.integers(0, 30))
def test_fitted_text_fits(given_text, room):
    assert columns(fit(clean(given_text), room)) <= room


@given(st.lists(st.none() | st.floats(0, 1e12), max_size=50), st.integers(1, 60))
def test_a_sparkline_is_as_wide_as_asked_and_unknown_is_a_gap(values, room):
    drawn = sparkline(values, room)
    assert len(drawn) == room
    shown = values[-room:]
    for value, bar in zip(reversed(shown), reversed(drawn), strict=False):
        assert (value is None) is (bar == " ")


def test_wide_characters_keep_the_columns_straight():
    lines = Style().table([Column("a", flex=True), Column("b")], [["日本", "x"], ["ab", Cell("y", "bad")]])
    assert [columns(line[: line.index(mark)]) for line, mark in zip(lines[1:], "xy", strict=True)] == [8, 8]


def test_a_table_without_rows_is_nothing():
    assert Style().table([Column("a")], []) == []
