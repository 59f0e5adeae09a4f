"""Why an interpreter never read our sitecustomize: what its command line says. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_PYTHON = re.compile(r"(?:python|pypy)(?:w|[0-9][0-9.]*t?)?(?:\.exe)?\Z")
_WITH_VALUE = frozenset("WX")
_GO_ON = ""
_REASONS = {
    "I": "python -I ignores PYTHONPATH, by which the runtime comes in",
    "E": "python -E ignores PYTHONPATH, by which the runtime comes in",
    "S": "python -S does not import sitecustomize, by which the runtime comes in",
}


def is_python(argv: Sequence[str]) -> bool:
    """Return True when the command is a Python interpreter by its name."""
    return bool(argv) and _PYTHON.match(argv[0].rsplit("/", 1)[-1]) is not None


def reason_from_cmdline(argv: Sequence[str]) -> str | None:
    """Return why the runtime cannot be in a process with this command line; None: nothing there speaks against it."""
    if not argv:
        return "its command line cannot be read"
    if not is_python(argv):
        return None
    rest = iter(argv[1:])
    for argument in rest:
        if argument in {"-", "--"} or not argument.startswith("-"):
            return None
        if argument == "--check-hash-based-pycs":
            next(rest, None)
        elif not argument.startswith("--"):
            verdict = _switches(argument[1:], rest)
            if verdict is not _GO_ON:
                return verdict
    return None


def _switches(letters: str, rest: Iterator[str]) -> str | None:
    """Judge one group of one-letter options; consumes the value that belongs to its last."""
    for at, letter in enumerate(letters):
        if letter in _REASONS:
            return _REASONS[letter]
        if letter in "cm":
            return None
        if letter in _WITH_VALUE:
            if at == len(letters) - 1:
                next(rest, None)
            break
    return _GO_ON
