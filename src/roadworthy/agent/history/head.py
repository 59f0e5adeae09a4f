"""The newest two minutes of samples in a mapped file: what was appended is there after ``kill -9`` of the agent.

Two halves, one for even and one for odd minutes, so that a finished minute can be compressed at leisure while the next
is written. A row is one second: its stamp (whole seconds since the epoch) is written after its values, and a row whose
stamp does not fit its place is empty.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from roadworthy.errors import Exhausted, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

MAGIC: Final = int.from_bytes(b"RWHEAD_1", "little")
ROWS: Final = 60
HEADER_WORDS: Final = 8
_EMPTY: Final = -1


class Head:
    """The mapped file; ``columns`` is how many series it has room for. A file of another shape is begun anew.

    Raises :class:`Exhausted` when the disk is full and :class:`Unavailable` when the file cannot be made.
    """

    def __init__(self, path: Path, columns: int) -> None:
        self.columns = columns
        self._row_words = columns + 1
        size = 8 * (HEADER_WORDS + 2 * ROWS * self._row_words)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fits = os.fstat(handle).st_size == size
                if not fits:
                    os.ftruncate(handle, 0)
                    os.posix_fallocate(handle, 0, size)
                self._map = mmap.mmap(handle, size)
            finally:
                os.close(handle)
        except OSError as error:
            kind = Exhausted if error.errno in {errno.ENOSPC, errno.EDQUOT} else Unavailable
            raise kind(
                f"cannot make the history file {path}",
                why=f"{error.strerror} (errno {error.errno}).",
                hint="Free space there, or let ROADWORTHY_HOME point to a directory that has some.",
            ) from error
        view = memoryview(self._map)
        self._stamps: memoryview[int] = view.cast("q")
        self._values: memoryview[float] = view.cast("d")
        if not fits or self._stamps[0] != MAGIC or self._stamps[1] != columns:
            for half in (0, 1):
                self.clear(half)
            self._stamps[1] = columns
            self._stamps[0] = MAGIC

    def _at(self, second: int) -> int:
        row = (second // ROWS % 2) * ROWS + second % ROWS
        return HEADER_WORDS + row * self._row_words

    def put(self, second: int, row: array[float]) -> None:
        """Write one second's values (one per column, NaN where there is none)."""
        at = self._at(second)
        self._stamps[at] = _EMPTY
        self._values[at + 1 : at + 1 + self.columns] = memoryview(row)
        self._stamps[at] = second

    def minute(self, half: int) -> int | None:
        """Return the start of the minute that a half holds (0 even, 1 odd), or None when it is empty."""
        for row in range(ROWS):
            stamp = self._stamps[HEADER_WORDS + (half * ROWS + row) * self._row_words]
            if stamp != _EMPTY:
                return stamp - stamp % ROWS
        return None

    def rows(self, half: int) -> Iterator[tuple[int, memoryview[float]]]:
        """Yield (second, values) of the rows that a half holds."""
        for row in range(ROWS):
            at = HEADER_WORDS + (half * ROWS + row) * self._row_words
            if self._stamps[at] != _EMPTY:
                yield self._stamps[at], self._values[at + 1 : at + 1 + self.columns]

    def columns_of(self, half: int, minute: int, first: int, count: int) -> dict[int, list[float]]:
        """Return column (from 0, relative to ``first``) to its 60 values for ``minute``; NaN for gaps."""
        gap = array("d", struct.pack("<d", float("nan")) * count)
        lines: list[memoryview[float] | array[float]] = [gap] * ROWS
        for second, values in self.rows(half):
            if second - second % ROWS == minute:
                lines[second % ROWS] = values[first : first + count]
        return {column: list(line) for column, line in enumerate(zip(*lines, strict=True))}

    def clear(self, half: int) -> None:
        """Mark all rows of a half as empty."""
        for row in range(ROWS):
            self._stamps[HEADER_WORDS + (half * ROWS + row) * self._row_words] = _EMPTY

    def close(self) -> None:
        """Unmap the file."""
        self._stamps.release()
        self._values.release()
        self._map.close()
