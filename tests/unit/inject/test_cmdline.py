"""What a command line says about whether the runtime can be inside."""

import pytest

from roadworthy.watch.inject import is_python, reason_from_cmdline


@pytest.mark.parametrize(
    ("argv", "switch"),
    [
        (["python", "-I", "app.py"], "-I"),
        (["/usr/bin/python3", "-E", "app.py"], "-E"),
        (["python3.12", "-S", "app.py"], "-S"),
        (["python3", "-uBI", "-m", "app"], "-I"),
        (["python3", "-W", "error", "-S", "app.py"], "-S"),
        (["python3", "-Werror", "-E", "app.py"], "-E"),
        (["python3", "-X", "dev", "-I", "-c", "pass"], "-I"),
        (["python3", "--check-hash-based-pycs", "always", "-I", "x"], "-I"),
        (["python3.13t", "-I"], "-I"),
    ],
)
def test_switches_that_keep_the_runtime_out_are_named(argv, switch):
    assert f"python {switch} " in reason_from_cmdline(argv)


@pytest.mark.parametrize(
    "argv",
    [
        ["python", "app.py", "-I"],
        ["python", "-m", "app", "-S"],
        ["python", "-c", "pass", "-E"],
        ["python", "-mapp", "-E"],
        ["python", "-uW", "ignore", "app.py", "-I"],
        ["python", "-X", "importtime", "app.py"],
        ["python", "-WI", "app.py"],
        ["python", "-", "-I"],
        ["python", "--", "-I"],
        ["python"],
        ["bash", "-E", "-c", "x"],
        ["gunicorn: master [app]"],
    ],
)
def test_nothing_speaks_against_other_command_lines(argv):
    assert reason_from_cmdline(argv) is None


def test_a_command_line_that_cannot_be_read_is_a_reason():
    assert reason_from_cmdline([]) == "its command line cannot be read"


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("python", True),
        ("/opt/v/bin/python3.11", True),
        ("pypy3", True),
        ("pythonista", False),
        ("python-config", False),
    ],
)
def test_interpreters_are_known_by_their_name(name, verdict):
    assert is_python([name]) is verdict
