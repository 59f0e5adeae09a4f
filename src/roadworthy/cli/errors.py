"""How the command line ends: one line what, one line why, one line what to do, and the exit code of the error.

Without click, because the agent's process ends in the same way and has no command line.
"""

from __future__ import annotations

import sys

from roadworthy.errors import (
    EXIT_NOT_EXECUTABLE,
    EXIT_NOT_FOUND,
    FULL,
    Exhausted,
    RoadworthyError,
    Unavailable,
)


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


def system_error(error: OSError) -> RoadworthyError:
    """Return our form of what the system refused and nobody has said better."""
    kind = Exhausted if error.errno in FULL else Unavailable
    names = " and ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    return kind(
        f"{names or 'the system'}: {error.strerror or error}",
        why=f"The system refused it (errno {error.errno}).",
        hint="Make it possible for this user, or set ROADWORTHY_HOME to another directory.",
    )
