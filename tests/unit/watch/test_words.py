"""Endings and durations in words."""

from __future__ import annotations

import pytest

from roadworthy.watch.words import exit_status, exit_words, signal_name, span


@pytest.mark.parametrize(
    ("code", "signal", "oom", "expected"),
    [
        (0, None, False, "ended by itself with exit code 0"),
        (1, None, False, "ended by itself with exit code 1: an error, often an uncaught exception"),
        (7, None, False, "ended by itself with exit code 7"),
        (None, 9, False, "killed by SIGKILL (9), sent by somebody, or by the kernel's out-of-memory killer"),
        (None, 9, True, "killed by SIGKILL (9) by the kernel: out of memory"),
        (None, 15, False, "killed by SIGTERM (15), it was asked to end"),
        (None, None, False, "ended; nobody could collect its exit status"),
        (127, None, False, "ended by itself with exit code 127: the command was not found"),
    ],
)
def test_an_exit_is_told_in_words(code, signal, oom, expected):
    assert exit_words(code, signal, oom=oom) == expected
    assert exit_status(code, signal, oom=oom).words == expected


def test_a_core_dump_is_mentioned():
    assert exit_words(None, 11, core=True).endswith("with a core dump")


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (36, "SIGRTMIN+2"), (99, "signal 99")])
def test_every_signal_has_a_name(number, name):
    assert signal_name(number) == name
    assert exit_words(None, number).startswith(f"killed by {name} ({number})")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.34, "0.3 s"),
        (45, "45 s"),
        (61, "1 min"),
        (3600, "1 h"),
        (3900, "1 h 5 min"),
        (90_000, "1 d 1 h"),
        (172_800, "2 d"),
    ],
)
def test_durations_are_written_as_people_write_them(seconds, text):
    assert span(seconds) == text
