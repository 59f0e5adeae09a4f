"""What is wrong with a command line, said in our form."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

import click
from click.core import ParameterSource

from roadworthy.errors import UsageError


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
