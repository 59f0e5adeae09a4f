"""``.env`` files as a store of secrets: read as everywhere, rewritten so that every other line stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roadworthy.config import regular
from roadworthy.config.dotenv import Line, quoted, scan
from roadworthy.config.secrets import files
from roadworthy.config.secrets.failures import cannot_read, not_found
from roadworthy.config.secrets.store import Entry, Held
from roadworthy.errors import ConfigurationError
from roadworthy.types import Secret

if TYPE_CHECKING:
    from pathlib import Path


def parse(text: str, path: object = ".env") -> list[Line]:
    """Return the lines of a file; their ``raw`` put together is the text.

    Raises :class:`ConfigurationError` naming file and line for what is neither an assignment, a comment nor empty.
    """
    lines = []
    for line in scan(text):
        if line.wrong:
            why = f"{line.name}: {line.wrong}." if line.name else "It is neither NAME=value nor a comment."
            raise ConfigurationError(
                f"{path}, line {line.number} cannot be understood",
                why=why,
                hint="Write it as NAME=value, or put the value in quotes.",
            )
        lines.append(line)
    return lines


def values(lines: list[Line]) -> dict[str, str]:
    """Return the values by name; the last one of a name counts."""
    return {line.name: line.value for line in lines if line.name}


def read(path: Path) -> list[Line]:
    """Return the lines of the file; raises OSError, and :class:`ConfigurationError` for what is no ``.env``."""
    data = regular.read(path, files.LARGEST)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = None
    if text is None or "\0" in text:
        raise ConfigurationError(f"{path} is not a text file", why="It is not UTF-8.", hint="Save it as UTF-8 text.")
    return parse(text, path)


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
