"""Why an interpreter never read our sitecustomize: what its command line says. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PYTHON = re.compile(r"(?:python|pypy)(?:w|[0-9][0-9.]*t?)?(?:\.exe)?\Z")
_WITH_VALUE = frozenset("cmWX")
_REASONS = {
    "I": "python -I ignores PYTHONPATH, by which the runtime comes in",
    "E": "python -E ignores PYTHONPATH, by which the runtime comes in",
    "S": "python -S does not import sitecustomize, by which the runtime comes in",
}


def is_python(argv: Sequence[str]) -> bool:
    """Return True when the command is a Python interpreter by its name."""
    return bool(argv) and _PYTHON.match(argv[0].rsplit("/", 1)[-1]) is not None


def reason_from_cmdline(argv: Sequence[str]) -> str | None:
    """Return why the runtime cannot be in a process with this command line, None when nothing there speaks against it."""
    if not argv:
        return "its command line cannot be read"
    if not is_python(argv):
        return None
    rest = iter(argv[1:])
    for argument in rest:
        if argument == "--" or not argument.startswith("-") or argument == "-":
            return None
        if argument.startswith("--"):
            if argument == "--check-hash-based-pycs":
                next(rest, None)
            continue
        for at, letter in enumerate(argument[1:], start=1):
            if letter in _REASONS:
                return _REASONS[letter]
            if letter in _WITH_VALUE:
                if letter in "cm":
                    return None
                if at == len(argument) - 1:
                    next(rest, None)
                break
    return None
