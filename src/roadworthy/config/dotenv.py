r"""Reads ``.env`` files: ``NAME=value`` a line, as shells and Compose write them. Standard library only.

``export`` before a name is passed over. A value in single quotes is taken as it stands, one in double quotes knows
``\\n \\r \\t \\\\ \\" \\$`` and both may go on over several lines. A value without quotes ends at `` #``. Nothing is
expanded: a ``$`` is a ``$``. A name that comes twice has its last value. What is not understood is an error with its
line, and a quote that is never closed is one of the line where it was opened; values are not shown in errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_NAME: Final = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*")
_REST: Final = re.compile(r"[ \t]*(?:#.*)?$")
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "$": "$"}


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
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    entries: dict[str, Entry] = {}
    errors: list[tuple[int, str]] = []
    at = 0
    while at < len(lines):
        line, number = lines[at], at + 1
        at += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        named = _NAME.match(line)
        if named is None:
            errors.append((number, "is no NAME=value"))
            continue
        rest = line[named.end() :]
        if rest[:1] not in {'"', "'"}:
            entries[named[1]] = Entry(_bare(rest), number)
            continue
        found = _quoted(rest[0], rest[1:], lines, at)
        if isinstance(found, str):
            errors.append((number, f"{named[1]}: {found}"))
            break  # all that follows is in the quote
        value, at, after = found
        if not _REST.match(after):
            errors.append((number, f"{named[1]}: there is something after the closing quote"))
            continue
        entries[named[1]] = Entry(value, number)
    return Parsed(entries, tuple(errors))


def _bare(rest: str) -> str:
    if rest.startswith("#"):
        return ""
    return re.split(r"[ \t]#", rest, maxsplit=1)[0].strip()


def _quoted(quote: str, rest: str, lines: list[str], at: int) -> tuple[str, int, str] | str:
    """Return (value, number of the next line, what stands after the quote), or what is wrong."""
    made: list[str] = []
    while True:
        index = 0
        while index < len(rest):
            sign = rest[index]
            if sign == quote:
                return "".join(made), at, rest[index + 1 :]
            if sign == "\\" and quote == '"' and index + 1 < len(rest):
                made.append(_ESCAPES.get(rest[index + 1], "\\" + rest[index + 1]))
                index += 2
                continue
            made.append(sign)
            index += 1
        if at >= len(lines):
            return "its quote is never closed"
        made.append("\n")
        rest = lines[at]
        at += 1


def quoted(value: str) -> str:
    """Return a value as it is written into a ``.env`` file, so that :func:`parse` reads it back."""
    if re.fullmatch(r"[A-Za-z0-9_./:@%+,=-]*", value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r").replace("\n", "\\n")
    return f'"{escaped.replace("$", chr(92) + "$")}"'
