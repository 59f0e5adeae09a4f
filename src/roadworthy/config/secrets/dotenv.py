r"""``.env`` files: ``NAME=value`` lines, read and rewritten so that every other line and comment stays as it is.

Understood are ``export``, quotes (single: as written; double: with ``\n``, ``\t``, ``\"``, ``\\``, ``\$``), values over
several lines within quotes, and a comment after a blank. Nothing is expanded: a ``$`` is a ``$``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from roadworthy.config.secrets import files
from roadworthy.config.secrets.failures import cannot_read, not_found
from roadworthy.config.secrets.store import Entry, Held
from roadworthy.errors import ConfigurationError
from roadworthy.types import Secret

if TYPE_CHECKING:
    from pathlib import Path

_ASSIGNMENT = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.\-]*)[ \t]*=[ \t]*")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_SINGLE = re.compile(r"'([^']*)'", re.DOTALL)
_REST = re.compile(r"[ \t]*(?:#[^\n]*?)?\r?(?:\n|\Z)")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "$": "$"}
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=\-]*")


@dataclass(frozen=True, slots=True)
class Line:
    """One assignment, or one line that is none (``name`` is empty); ``raw`` is what stands in the file, whole."""

    raw: str
    number: int
    name: str = ""
    value: str = ""

    def __repr__(self) -> str:
        return f"Line({self.number}, {self.name!r})"  # a traceback with local values must not show it


def parse(text: str, path: object = ".env") -> list[Line]:
    """Return the lines of a file; their ``raw`` put together is the text.

    Raises :class:`ConfigurationError` naming file and line for what is neither an assignment, a comment nor empty.
    """
    lines: list[Line] = []
    at, number = 0, 1
    while at < len(text):
        line = _next(text, at, number, path)
        lines.append(line)
        at += len(line.raw)
        number += line.raw.count("\n")
    return lines


def _next(text: str, at: int, number: int, path: object) -> Line:
    end = text.find("\n", at) + 1 or len(text)
    bare = text[at:end].strip()
    if not bare or bare.startswith("#"):
        return Line(text[at:end], number)
    found = _ASSIGNMENT.match(text, at)
    if found is None:
        raise _wrong(path, number, "It is neither NAME=value nor a comment.")
    name, start = found[1], found.end()
    quote = text[start : start + 1]
    if quote in {'"', "'"} and quote:
        pattern = _DOUBLE if quote == '"' else _SINGLE
        quoted = pattern.match(text, start)
        rest = _REST.match(text, quoted.end()) if quoted else None
        if quoted is None or rest is None:
            raise _wrong(path, number, f"The quote that begins the value of {name} does not end properly.")
        value = _ESCAPED.sub(_unescape, quoted[1]) if quote == '"' else quoted[1]
        return Line(text[at : rest.end()], number, name, value)
    value = text[start:end].rstrip("\n")
    if (comment := re.search(r"(?:^|[ \t])#", value)) is not None:
        value = value[: comment.start()]
    return Line(text[at:end], number, name, value.strip())


def _unescape(found: re.Match[str]) -> str:
    return _ESCAPES.get(found[1], found[0])


def quoted(value: str) -> str:
    """Return a value as it is written behind ``NAME=``, so that :func:`parse` reads the same."""
    if value and _PLAIN.fullmatch(value):
        return value
    if "'" not in value and "\n" not in value and "\r" not in value:
        return f"'{value}'"
    escaped = (
        value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r").replace("$", "\\$")
    )
    return f'"{escaped}"'


def values(lines: list[Line]) -> dict[str, str]:
    """Return the values by name; the last one of a name counts."""
    return {line.name: line.value for line in lines if line.name}


def read(path: Path) -> list[Line]:
    """Return the lines of the file; raises OSError, and :class:`ConfigurationError` for what is no ``.env``."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = None
    if text is None or "\0" in text:
        raise ConfigurationError(f"{path} is not a text file", why="It is not UTF-8.", hint="Save it as UTF-8 text.")
    return parse(text, path)


def _wrong(path: object, number: int, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path}, line {number} cannot be understood",
        why=why,
        hint="Write it as NAME=value, or put the value in quotes.",
    )


class DotenvStore:
    """A ``.env`` file, plain text: accepted while only its owner may read it."""

    kind = "dotenv"
    writable = True
    whole = True
    plain = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self.place = f"the file {path}"

    def read(self, name: str) -> dict[str, Held]:
        """Return everything in the file."""
        try:
            lines = self._lines()
            changed = self._path.stat().st_mtime
        except OSError as error:
            raise cannot_read(name, self.place, error) from error
        found = {key: Held(Secret(value, key), changed) for key, value in values(lines).items() if value}
        if name not in found:
            raise not_found(name, self.place)
        return found

    def entries(self) -> tuple[Entry, ...]:
        """Return the names in the file; the file has one time for all."""
        try:
            lines = self._lines()
            changed = self._path.stat().st_mtime
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise cannot_read("(all)", self.place, error) from error
        return tuple(Entry(name, changed) for name, value in values(lines).items() if value)

    def write(self, name: str, value: str) -> None:
        """Put the value in the line that has the name, or behind the last line."""
        with files.locked(self._path):
            lines = self._lines_or_none(name)
            new = f"{name}={quoted(value)}\n"
            kept = [line.raw for line in lines if line.name != name]
            first = next((number for number, line in enumerate(lines) if line.name == name), len(kept))
            if first and kept and not kept[first - 1].endswith("\n"):
                kept[first - 1] += "\n"
            files.replace(self._path, "".join([*kept[:first], new, *kept[first:]]).encode())

    def remove(self, name: str) -> None:
        """Take the lines of that name out."""
        with files.locked(self._path):
            lines = self._lines_or_none(name)
            if name not in values(lines):
                raise not_found(name, self.place)
            files.replace(self._path, "".join(line.raw for line in lines if line.name != name).encode())

    def _lines_or_none(self, name: str) -> list[Line]:
        try:
            return self._lines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise cannot_read(name, self.place, error) from error

    def _lines(self) -> list[Line]:
        files.check_private(self._path, "a file with secrets in plain text")
        return read(self._path)
