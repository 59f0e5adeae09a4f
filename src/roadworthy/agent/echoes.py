"""Lines of output that are log records once more: a program whose logging handler prints says everything twice.

The record is shown, with its level and logger; the line that a handler made of it is not shown again. It stays in the
count of what was written and in the raw end of the output that last words keep. Of an entry of ``roadworthy.log`` it is
the message that is compared, and the marked lines of its stack go with it.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from roadworthy.types import EventKind

if TYPE_CHECKING:
    from roadworthy.types import Event

WITHIN: Final = 2.0
"""Seconds after which a line is no longer taken for what a record printed."""

MOST: Final = 2_000
"""Records that are remembered."""

MOST_LINE: Final = 2_000
TAIL: Final = 16
"""Characters by which candidates are found."""

_JSON: Final = '{"@timestamp":"'
_CONSOLE: Final = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z [A-Z]+ +[^\s:]+: ")
_FIELD: Final = re.compile(r' [\w.@-]+=(?:"(?:[^"\\]|\\.)*"|[^" ]\S*)\Z')
_STACK: Final = "    | "
MOST_FIELDS: Final = 32
"""Fields at the end of a line that are looked behind for its message."""

_SHOWN: Final = frozenset({EventKind.LOG, EventKind.WARNING})


class _Said:
    """One line of one record, and in which streams it was found again."""

    __slots__ = ("at", "key", "streams", "text")

    def __init__(self, at: float, key: tuple[int | None, str], text: str) -> None:
        self.at = at
        self.key = key
        self.text = text
        self.streams: set[str] = set()


class Echoes:
    """Remembers the newest records of each worker; :meth:`without` leaves out the lines that repeat them."""

    def __init__(self) -> None:
        self._said: deque[_Said] = deque()
        self._by_tail: dict[tuple[int | None, str], list[_Said]] = {}
        self._lengths: dict[int, int] = {}

    def hear(self, now: float, events: Iterable[Event]) -> None:
        """Take the records of a tick; ``now`` is in wall seconds."""
        for event in events:
            if event.kind in _SHOWN and not event.torn:
                for line in event.text.splitlines():
                    text = line.rstrip()[:MOST_LINE]
                    if text:
                        self._add(now, event.slot, text)
        while self._said and (len(self._said) > MOST or self._said[0].at < now - WITHIN):
            self._forget(self._said.popleft())

    def without(self, lines: Iterable[Event]) -> list[Event]:
        """Return the lines of output that no record explains; a record explains one line in each stream."""
        if not self._said:
            return list(lines)
        left = []
        above: set[tuple[int | None, str]] = set()
        for line in lines:
            stream = line.slot, line.source
            if stream in above and line.text.startswith(_STACK):
                continue
            above.discard(stream)
            if any(self._explained(line, text) for text in _messages(line.text.rstrip())):
                above.add(stream)
            else:
                left.append(line)
        return left

    def _add(self, now: float, slot: int | None, text: str) -> None:
        said = _Said(now, (slot, text[-TAIL:]), text)
        self._said.append(said)
        known = self._by_tail.get(said.key)
        if known is None:
            self._by_tail[said.key] = [said]
            length = len(said.key[1])
            self._lengths[length] = self._lengths.get(length, 0) + 1
        else:
            known.append(said)

    def _forget(self, said: _Said) -> None:
        known = self._by_tail[said.key]
        known.pop(0)  # what came first goes first, here too
        if not known:
            del self._by_tail[said.key]
            length = len(said.key[1])
            self._lengths[length] -= 1
            if not self._lengths[length]:
                del self._lengths[length]

    def _explained(self, line: Event, text: str) -> bool:
        for length in self._lengths:
            for said in self._by_tail.get((line.slot, text[-length:]), ()):
                if line.source not in said.streams and _ends_with(text, said.text):
                    said.streams.add(line.source)
                    return True
        return False


def _messages(line: str) -> Iterator[str]:
    """Yield what may be the end of a record's text: the line; of an entry of ours, its message without fields."""
    if line.startswith(_JSON):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            yield str(found.get("message", "")).rstrip()
            return
    yield line
    if _CONSOLE.match(line):
        for _ in range(MOST_FIELDS):
            field = _FIELD.search(line)
            if field is None:
                return
            line = line[: field.start()].rstrip()
            yield line


def _ends_with(line: str, text: str) -> bool:
    """Return whether a line ends with a text as a whole: not in the middle of a word."""
    if not line.endswith(text):
        return False
    before = line[: -len(text)][-1:]
    return not (before.isalnum() and text[0].isalnum())
