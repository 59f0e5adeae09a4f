"""How the command line ends: one line what, one line why, one line what to do, and the exit code of the error."""

from __future__ import annotations

import sys

from roadworthy.errors import EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, RoadworthyError


class CommandNotFound(RoadworthyError):
    """The program to run does not exist."""

    exit_code = EXIT_NOT_FOUND


class CommandNotExecutable(RoadworthyError):
    """The program to run is there and cannot be executed."""

    exit_code = EXIT_NOT_EXECUTABLE


def show(error: RoadworthyError) -> int:
    """Print an error to standard error and return the exit code that it stands for."""
    lines = [line for line in (error.what, error.why, error.hint) if line]
    print("\n  ".join(("roadworthy: " + lines[0], *lines[1:])), file=sys.stderr)
    return error.exit_code


def warn(text: str) -> None:
    """Print a warning of one line to standard error."""
    print(f"roadworthy: {text}", file=sys.stderr)
