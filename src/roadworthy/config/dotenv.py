r"""Reads ``.env`` files: ``NAME=value`` a line, as shells and Compose write them. Standard library only.

``export`` before a name is passed over. A value in single quotes is taken as it stands, one in double quotes knows
``\\n \\r \\t \\\\ \\" \\$`` and both may go on over several lines. A value without quotes ends at `` #``. Nothing is
expanded: a ``$`` is a ``$``. A name that comes twice has its last value. What is not understood is an error with its
line, and a quote that is never closed is one of the line where it was opened; values are not shown in errors.

Settings, the store of secrets and redaction read such files through :func:`scan`, and therefore read them alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_NAME: Final = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*")
_DOUBLE: Final = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
_SINGLE: Final = re.compile(r"'([^']*)'", re.DOTALL)
_REST: Final = re.compile(r"[ \t]*(?:#[^\n]*)?\r?(?:\n|\Z)")
_COMMENT: Final = re.compile(r"(?:^|[ \t])#")
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "$": "$"}
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@%+,=-]*")


@dataclass(frozen=True, slots=True)
class Line:
    """One assignment (over several lines, maybe), or one line that is none (``name`` is empty).

    ``raw`` is what stands in the file, whole; ``number`` is the line (from 1) on which it begins; ``wrong`` says what
    is not understood in it.
    """

    raw: str
    number: int
    name: str = ""
    value: str = ""
    wrong: str = ""

    def __repr__(self) -> str:
        return f"Line({self.number}, {self.name!r})"  # a traceback with local values must not show it


@dataclass(frozen=True, slots=True)
class Entry:
    """A value and the line (from 1) on which it begins."""

    value: str
    line: int


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a file holds, by name, and what is wrong in it: (line, what)."""

    entries: Mapping[str, Entry]
    errors: tuple[tuple[int, str], ...]


def parse(text: str) -> Parsed:
    """Return the entries of a ``.env`` file and all of its errors; never raises."""
    entries: dict[str, Entry] = {}
    errors: list[tuple[int, str]] = []
    for line in scan(text.removeprefix("\ufeff")):
        if line.wrong:
            errors.append((line.number, f"{line.name}: {line.wrong}" if line.name else line.wrong))
        elif line.name:
            entries[line.name] = Entry(line.value, line.number)
    return Parsed(entries, tuple(errors))


def scan(text: str) -> Iterator[Line]:
    """Give the lines of a ``.env`` file one after the other, their ``raw`` put together is the text; never raises."""
    at, number = 0, 1
    while at < len(text):
        line = _next(text, at, number)
        yield line
        at += len(line.raw)
        number += line.raw.count("\n")


def _next(text: str, at: int, number: int) -> Line:
    end = text.find("\n", at) + 1 or len(text)
    bare = text[at:end].strip()
    if not bare or bare.startswith("#"):
        return Line(text[at:end], number)
    found = _NAME.match(text, at)
    if found is None:
        return Line(text[at:end], number, wrong="is no NAME=value")
    name, start = found[1], found.end()
    if text[start : start + 1] in {'"', "'"}:
        return _quoted(text, at, start, Line("", number, name))
    value = text[start:end]
    if (comment := _COMMENT.search(value)) is not None:
        value = value[: comment.start()]
    return Line(text[at:end], number, name, value.strip())


def _quoted(text: str, at: int, start: int, line: Line) -> Line:
    double = text[start] == '"'
    found = (_DOUBLE if double else _SINGLE).match(text, start)
    if found is None:  # all that follows is in the quote
        return Line(text[at:], line.number, line.name, wrong="its quote is never closed")
    rest = _REST.match(text, found.end())
    if rest is None:
        end = text.find("\n", found.end()) + 1 or len(text)
        return Line(text[at:end], line.number, line.name, wrong="there is something after the closing quote")
    value = found[1].replace("\r\n", "\n")
    return Line(text[at : rest.end()], line.number, line.name, _ESCAPED.sub(_unescape, value) if double else value)


def _unescape(found: re.Match[str]) -> str:
    return _ESCAPES.get(found[1], found[0])


def quoted(value: str) -> str:
    """Return a value as it is written behind ``NAME=``, so that :func:`parse` reads the same, and a shell too."""
    if _PLAIN.fullmatch(value):
        return value
    if not any(sign in value for sign in "'\n\r"):
        return f"'{value}'"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return '"' + escaped.replace("\r", "\\r").replace("\n", "\\n") + '"'
