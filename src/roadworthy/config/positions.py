"""On which line a key of a TOML or JSON file stands, so that an origin can name it. Standard library only.

Both are called with text that the library's own parser has read without complaint; they never raise for such text. A
key that is not found has no line, which is shown as the file alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

Path = tuple[str | int, ...]

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_SPACE: Final = re.compile(r"[ \t]*")
_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING: Final = re.compile(r'"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'')
_LONG: Final = re.compile(r'"""(?:\\.|[^\\])*?"""(?:"{0,2})|\'\'\'.*?\'\'\'(?:\'{0,2})', re.DOTALL)
_SCALAR: Final = re.compile(r"[^,\]}\n#]+")


class _Toml:
    """Walks over the statements of a file, keeping only which key begins where."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}

    def run(self) -> None:
        table: Path = ()
        while self._skip(_BLANK) < len(self.text):
            if self.text.startswith("[[", self.at):
                table = self._header(2)
                number = self._counts.get(table, 0)
                self._counts[table] = number + 1
                table = (*table, number)
            elif self.text[self.at] == "[":
                table = self._header(1)
            else:
                self._pair(table)

    def _header(self, brackets: int) -> Path:
        begin = self.at
        self.at += brackets
        names = self._key()
        path: Path = ()
        for number, name in enumerate(names, 1):
            path = (*path, name)
            if path in self._counts and (brackets == 1 or number < len(names)):
                path = (*path, self._counts[path] - 1)  # below [[a]], [a.b] belongs to the last one of them
        self.at += brackets
        if brackets == 1:
            self._note(path, begin)
        else:
            self._note((*path, self._counts.get(path, 0)), begin)
            self._note(path, begin)
        return path

    def _pair(self, table: Path) -> None:
        begin = self.at
        path = (*table, *self._key())
        self._note(path, begin)
        self._skip(_SPACE)
        self.at += 1  # "="
        self._value(path)

    def _key(self) -> tuple[str, ...]:
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            if (quoted := _STRING.match(self.text, self.at)) is not None:
                self.at = quoted.end()
                parts.append(_unquoted(quoted[0]))
            elif (bare := _BARE.match(self.text, self.at)) is not None:
                self.at = bare.end()
                parts.append(bare[0])
            else:
                self.at += 1  # not TOML: go on, so that this ends
            self._skip(_SPACE)
            if self.text[self.at : self.at + 1] != ".":
                return tuple(parts)
            self.at += 1

    def _value(self, path: Path) -> None:
        self._skip(_BLANK)
        sign = self.text[self.at : self.at + 1]
        if sign == "{":
            self._items("}", lambda _number: self._pair(path))
        elif sign == "[":
            self._items("]", lambda number: self._element((*path, number)))
        else:
            for pattern in (_LONG, _STRING, _SCALAR):
                if (found := pattern.match(self.text, self.at)) is not None:
                    self.at = found.end()
                    return
            self.at += 1

    def _element(self, path: Path) -> None:
        self._note(path, self.at)
        self._value(path)

    def _items(self, end: str, item: Callable[[int], None]) -> None:
        self.at += 1
        number = 0
        while self._skip(_BLANK) < len(self.text) and self.text[self.at] != end:
            item(number)
            number += 1
            self._skip(_BLANK)
            if self.text[self.at : self.at + 1] == ",":
                self.at += 1
        self.at += 1

    def _skip(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self.text, self.at)
        if found is not None:
            self.at = found.end()
        return self.at

    def _note(self, path: Path, at: int) -> None:
        self.lines.setdefault(path, self.text.count("\n", 0, at) + 1)


def _unquoted(text: str) -> str:
    if text[0] == "'":
        return text[1:-1]
    try:
        return str(json.loads(text))
    except ValueError:
        return text[1:-1]


def toml_lines(text: str) -> dict[Path, int]:
    """Return path (keys, and numbers in arrays) to line for everything in a TOML document."""
    walk = _Toml(text.replace("\r\n", "\n"))
    walk.run()
    return walk.lines


def json_lines(text: str) -> dict[Path, int]:
    """Return path to line for everything in a JSON document."""
    lines: dict[Path, int] = {}
    blank = re.compile(r"[ \t\r\n]*")
    string = re.compile(r'"(?:\\.|[^"\\])*"')
    scalar = re.compile(r"[^,\]}\s]+")

    def skip(at: int) -> int:
        found = blank.match(text, at)
        return found.end() if found is not None else at

    def line(at: int) -> int:
        return text.count("\n", 0, at) + 1

    def value(at: int, path: Path) -> int:
        at = skip(at)
        sign = text[at : at + 1]
        if sign not in {"{", "["}:
            found = string.match(text, at) or scalar.match(text, at)
            return found.end() if found is not None else at + 1
        at, number = skip(at + 1), 0
        while text[at : at + 1] not in {"}", "]", ""}:
            here: Path = (*path, number)
            lines.setdefault(here, line(at))
            if sign == "{":
                named = string.match(text, at)
                if named is None:
                    return len(text)
                del lines[here]
                here = (*path, str(json.loads(named[0])))
                lines[here] = line(at)
                at = skip(named.end()) + 1
            at = skip(value(at, here))
            at, number = skip(at + 1) if text[at : at + 1] == "," else at, number + 1
        return at + 1

    value(0, ())
    return lines
