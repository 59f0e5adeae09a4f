"""How the command line ends: one line what, one line why, one line what to do, and the exit code of the error."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable

import click
from click.core import ParameterSource

from roadworthy.errors import (
    EXIT_NOT_EXECUTABLE,
    EXIT_NOT_FOUND,
    FULL,
    Exhausted,
    RoadworthyError,
    Unavailable,
    UsageError,
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


def usage(error: click.UsageError) -> UsageError:
    """Return our form of a wrong option or argument: what is wrong with which, where it came from, where to look."""
    context = error.ctx
    command = context.command_path if context else "roadworthy"
    why = " ".join(context.get_usage().split()) if context else ""
    if isinstance(error, click.BadParameter) and error.param is not None and context is not None:
        param = error.param
        name = max(param.opts, key=len) if isinstance(param, click.Option) else param.make_metavar(context)
        what = "is missing" if isinstance(error, click.MissingParameter) else _plain(error.message)
        what = f"{name} {what}" if what == "is missing" else f"{name}: {what}"
        why = _origin(context, param) or why
    else:
        what = _plain(error.format_message())
    return UsageError(what, why=why, hint=f"See: {command} --help")


def _plain(text: str) -> str:
    """Return click's sentence as a clause."""
    clause = re.sub(r"is not a valid (integer|float)( range)?", "is no number", text.strip().rstrip("."))
    return clause[:1].lower() + clause[1:]


def _origin(context: click.Context, param: click.Parameter) -> str:
    """Return where a value came from when that was not the command line: people forget what they have exported."""
    if context.get_parameter_source(param.name) is not ParameterSource.ENVIRONMENT:
        return ""
    names: str | Iterable[str] = param.envvar or ()
    found = next((name for name in ([names] if isinstance(names, str) else names) if os.environ.get(name)), "")
    return f"It came from the environment variable {found}."
