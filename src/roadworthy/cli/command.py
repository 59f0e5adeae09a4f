"""What the command to run is: is it there, what is it called, which interpreter runs it, can our runtime go into it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from roadworthy.cli.errors import CommandNotExecutable, CommandNotFound

OLDEST_INJECTED = (3, 11)
"""Below this version of Python our runtime declines."""

_PYTHON = re.compile(r"(python|pypy)[\d.]*t?\Z")
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash", "fish"})
_WITH_VALUE = frozenset({"-W", "-X", "--check-hash-based-pycs"})
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Python:
    """A Python interpreter, the options it is started with, and what it runs (a path, ``-m NAME`` or ``-c``)."""

    path: str
    options: tuple[str, ...] = ()
    script: str = ""
    module: str = ""


def resolve(program: str, path: str | None = None) -> str:
    """Return the file that ``program`` names; raises :class:`CommandNotFound` or :class:`CommandNotExecutable`."""
    found = shutil.which(program, path=path)
    if found:
        return found
    if os.sep in program and Path(program).exists():
        folder = Path(program).is_dir()
        raise CommandNotExecutable(
            f"{program} cannot be executed",
            why="It is a directory." if folder else "It has no execute permission.",
            hint="Name a program in it."
            if folder
            else f"chmod +x {program}, or name its interpreter: python {program}",
        )
    raise CommandNotFound(
        f"{program}: command not found",
        why="There is no such file." if os.sep in program else "No directory on PATH holds it.",
        hint="Check the spelling, or give the full path: roadworthy run -- ./program ARGUMENTS",
    )


def python_of(command: Sequence[str], executable: str) -> Python | None:
    """Return the Python that will run ``command``, by its name or the script's first line; None for something else."""
    if _PYTHON.match(Path(executable).name):
        return _parse(executable, command[1:])
    try:
        with open(executable, "rb") as file:  # noqa: PTH123 - one line of a file of unknown size
            lines = file.read(512).decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    if not lines or not lines[0].startswith("#!"):
        return None
    words = lines[0][2:].split()
    if len(words) > 1 and Path(words[0]).name == "env":
        words = [word for word in words[1:] if word != "-S" and "=" not in word]
    elif len(lines) > 1 and lines[1].startswith("'''exec'"):  # how pip writes a first line that would be too long
        words = lines[1].replace('"', " ").split()[1:2]
    if not words or not _PYTHON.match(Path(words[0]).name):
        return None
    found = shutil.which(words[0])
    return Python(found, tuple(words[1:]), script=executable) if found else None


def _parse(executable: str, arguments: Sequence[str]) -> Python:
    options: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "-m":
            return Python(executable, tuple(options), module=rest[0] if rest else "")
        if word in {"-c", "-"} or not word.startswith("-"):
            return Python(executable, tuple(options), script="" if word in {"-c", "-"} else word)
        options.append(word)
        if word in _WITH_VALUE and rest:
            options.append(rest.pop(0))
    return Python(executable, tuple(options))


def default_name(command: Sequence[str], python: Python | None) -> str:
    """Return what to call the application: the script's stem, the module's name, else the program's."""
    raw = Path(command[0]).name
    if python and python.module:
        raw = python.module.removesuffix(".__main__")
    elif python and python.script:
        path = Path(python.script)
        raw = path.parent.resolve().name if path.stem == "__main__" else path.stem
    elif raw in _SHELLS:
        script = next((word for word in command[1:] if not word.startswith("-")), "")
        raw = Path(script).stem if script and "-c" not in command[1:] else raw
    return _UNSAFE.sub("-", raw).strip("-._")[:48] or "program"


def cannot_inject(python: Python | None, program: str) -> str:
    """Return why our runtime cannot go into the program, or an empty text; may ask the interpreter its version."""
    if python is None:
        return f"{Path(program).name} is not started by a Python interpreter that we can see"
    for option in python.options:
        if re.match(r"-[a-zA-Z]*[IES]", option) and not option.startswith(("-W", "-X")):
            return f"Python is started with {option}, which keeps other code out"
    version = _version(python.path)
    if version is None:
        return f"{python.path} does not tell its version"
    if version < OLDEST_INJECTED:
        oldest = ".".join(map(str, OLDEST_INJECTED))
        return f"{python.path} is Python {version[0]}.{version[1]}; our runtime needs {oldest}"
    return ""


def _version(path: str) -> tuple[int, int] | None:
    ask = [path, "-I", "-S", "-c", "import sys; print(sys.version_info[0], sys.version_info[1])"]
    if "python2" in Path(path).name:
        ask = [word for word in ask if word != "-I"]
    try:
        done = subprocess.run(ask, capture_output=True, text=True, timeout=10, check=False)
        major, minor = done.stdout.split()
        return int(major), int(minor)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
