"""The program's own lines: follows the output files of each worker at its own offset, bounded, redacted.

The files are written by the program and punched by the keeper; offsets never shift. A flood is not read to the end:
the newest 256 KiB of a tick are, and what was passed over is counted. A line is redacted before it is cut.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from roadworthy.log.redact.stream import Lines
from roadworthy.types import Event, EventKind

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES: Final = 256 * 1024
MOST_AT_FIRST: Final = 16 * 1024
MOST_LINES: Final = 200
MOST_LINE: Final = 2_000
MOST_WORD: Final = 4_096
"""Bytes that are kept back of a line without an end, so that it is not cut in the middle of a word."""
_STREAMS: Final = (("stdout", "out", "info"), ("stderr", "err", "warning"))


Offset = tuple[int, int]
"""Which file (its inode), and how far it was read, in bytes."""


class _Stream:
    __slots__ = ("at", "inode", "redacted", "rest")

    def __init__(self, inode: int, at: int) -> None:
        self.inode = inode
        self.at = at
        self.rest = b""
        self.redacted = Lines()


class Output:
    """Follows ``out-<slot>-<generation>`` and ``err-…`` below ``directory``.

    Files found at the start are read from ``offsets`` on, where an agent before this one came to, or from near their
    end. :attr:`grown` is how many bytes the last :meth:`read` found
    to be written since the one before (at first: since the worker's start), :attr:`last` when it was written.
    """

    def __init__(self, directory: Path, offsets: Mapping[str, Offset] | None = None) -> None:
        self._directory = directory
        self._offsets = dict(offsets or {})
        self._streams: dict[str, _Stream] = {}
        self._first = True
        self.skipped = 0
        self.grown = 0
        self.last: float | None = None

    def read(self, now: float, workers: Iterable[tuple[int, int, int]]) -> list[Event]:
        """Return the lines written since the last call by ``workers`` (slot, generation, pid), as events at ``now``."""
        events: list[Event] = []
        self.grown = 0
        names: set[str] = set()
        for slot, generation, pid in workers:
            for source, prefix, level in _STREAMS:
                name = f"{prefix}-{slot}-{generation}"
                names.add(name)
                events.extend(
                    Event(EventKind.OUTPUT, now, level, source, line, pid, slot)
                    for line in self._lines(name)
                    if line.strip()
                )
        for name in self._streams.keys() - names:
            del self._streams[name]
        self._first = False
        return events

    def offsets(self) -> dict[str, Offset]:
        """Return how far each file was read; a line that has no end yet is read again from its beginning."""
        return {name: (one.inode, one.at - len(one.rest)) for name, one in self._streams.items()}

    def _start(self, name: str, found: os.stat_result) -> int:
        inode, at = self._offsets.pop(name, (-1, 0))
        if inode == found.st_ino and at <= found.st_size:
            return at
        return max(0, found.st_size - MOST_AT_FIRST) if self._first else 0

    def _lines(self, name: str) -> list[str]:
        path = self._directory / name
        try:
            found = path.stat()
        except OSError:
            return []
        size = found.st_size
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = _Stream(found.st_ino, self._start(name, found))
            self.grown += stream.at
        if size <= stream.at:
            return []
        self.grown += size - stream.at
        self.last = max(self.last or 0.0, found.st_mtime)
        start = max(stream.at, size - MOST_BYTES)
        if start > stream.at:
            self.skipped += start - stream.at
            stream.rest = b""
        data = stream.rest + _read(path, start, size - start).replace(b"\0", b"")
        stream.at = size
        *lines, stream.rest = data.split(b"\n")
        if len(stream.rest) > MOST_LINE:
            line, space, word = stream.rest.rpartition(b" ")
            lines.append(line if space and len(word) <= MOST_WORD else stream.rest)
            stream.rest = word if space and len(word) <= MOST_WORD else b""
        if len(lines) > MOST_LINES:
            self.skipped += sum(len(line) + 1 for line in lines[:-MOST_LINES])
            lines = lines[-MOST_LINES:]
        return [stream.redacted.redact(line.decode("utf-8", "replace"))[:MOST_LINE] for line in lines]


def _read(path: Path, start: int, length: int) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return b""
    try:
        return os.pread(handle, length, start)
    finally:
        os.close(handle)
