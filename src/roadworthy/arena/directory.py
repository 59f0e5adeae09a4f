"""The series of one file, read again and again for little: text and layout of a slot never change once it is committed.

Values come out in one strided read, as the bits that they are, and only what differs from the last time is looked at;
of the histograms only blocks that changed are taken apart.
"""

from __future__ import annotations

from array import array
from itertools import compress, count
from operator import ne
from typing import TYPE_CHECKING

from roadworthy.arena.block import BLOCK_BYTES, Block
from roadworthy.arena.layout import (
    H_BLOCKS,
    H_SERIES,
    KINDS,
    MERGES,
    SERIES_BYTES,
    SERIES_TEXT,
    SERIES_TEXT_AT,
    US,
    WORD,
)
from roadworthy.arena.records import Labels, RawSeries

if TYPE_CHECKING:
    from collections.abc import Iterable

    from roadworthy.arena.opened import Opened

_KIND_NAMES = {number: name for name, number in KINDS.items()}
_MERGE_NAMES = {number: name for name, number in MERGES.items()}


class Directory:
    """The series of one file; :meth:`refresh` finds new ones and reads all values.

    ``changed`` and ``touched`` collect, by number, the series that are not as they were and the gauges that were set
    (perhaps to what they were); whoever takes them clears them.
    """

    def __init__(self, opened: Opened, first_number: int) -> None:
        self._opened = opened
        self._first_number = first_number
        self._series = opened.sections[H_SERIES]
        self._blocks = opened.sections[H_BLOCKS]
        self._done = 0
        self._bad = 0
        self._parsed: set[int] = set()
        self._plain: dict[int, RawSeries] = {}
        self._fresh: set[int] = set()
        self._values = array("q", bytes(self._series.slots * WORD))
        self._stamps = array("q", bytes(self._series.slots * WORD))
        self._histograms: list[Block] = []
        self._most_blocks = 0
        self._all_before = b""
        self.series: list[RawSeries] = []
        self.changed: dict[int, RawSeries] = {}
        self.touched: dict[int, RawSeries] = {}

    @property
    def unreadable(self) -> int:
        """How many committed slots contradict themselves; they are passed over."""
        return self._bad

    def refresh(self) -> None:
        """Read what is new."""
        self._find_new()
        self._read_plain()
        self._read_histograms()

    def _find_new(self) -> None:
        section = self._series
        start = section.word + self._done * section.step
        end = section.word + section.slots * section.step
        commits = self._opened.q[start : end : section.step].tolist()
        whole = True
        for slot, commit in enumerate(commits, self._done):
            if commit == 0:
                # Slots are handed out in order, but threads fill them in any order: look a little further.
                whole = False
                if slot > self._done + _AHEAD and not any(commits[slot - self._done :]):
                    break
                continue
            if slot not in self._parsed:
                self._parsed.add(slot)
                self._parse(slot, commit)
            if whole:
                self._done = slot + 1

    def _parse(self, slot: int, commit: int) -> None:
        kind = _KIND_NAMES.get(commit & 0xFF)
        merge = _MERGE_NAMES.get(commit >> 8)
        opened = self._opened
        word = self._series.word + slot * self._series.step
        length = opened.q[word + 4]
        if kind is None or merge is None or not 0 < length <= SERIES_TEXT:
            self._bad += 1
            return
        at = self._series.at + slot * SERIES_BYTES + SERIES_TEXT_AT
        text = split_text(bytes(opened.b[at : at + length]))
        scale = opened.d[word + 3]
        if text is None or not 0 < scale < float("inf"):
            self._bad += 1
            return
        name, unit, labels, shown = text
        made = RawSeries(name, kind, merge, labels, unit, shown, scale, self._first_number + slot)
        if kind == "histogram":
            block = opened.q[word + 1]
            if not 0 <= block < self._blocks.slots:
                self._bad += 1
                return
            made.buckets = {}
            self._histograms.append(Block(made, block * BLOCK_BYTES))
            self._most_blocks = max(self._most_blocks, block + 1)
        else:
            self._plain[slot] = made
            # What stood there before the commit was nobody's value; it is read anew.
            self._fresh.add(slot)
        self.series.append(made)
        self.changed[made.number] = made

    def _read_plain(self) -> None:
        if not self._plain:
            return
        plain = self._plain.get
        values, stamps = self._words(1), self._words(2)
        if values != self._values or self._fresh:
            figures, changed = memoryview(values).cast("b").cast("d"), self.changed
            for slot in self._moved(values, self._values):
                series = plain(slot)
                if series is not None:
                    value = figures[slot]
                    # Only NaN differs from itself: a gauge that was never set.
                    series.value = value if value == value else None  # noqa: PLR0124
                    changed[series.number] = series
        if stamps != self._stamps or self._fresh:
            touched = self.touched
            for slot in self._moved(stamps, self._stamps):
                series = plain(slot)
                if series is not None and stamps[slot]:
                    series.updated_ns = stamps[slot]
                    touched[series.number] = series
        self._values, self._stamps = values, stamps
        self._fresh.clear()

    def _moved(self, now: array[int], before: array[int]) -> Iterable[int]:
        """Return the slots whose word is another one, and those that are read for the first time."""
        moved = compress(count(), map(ne, now, before))
        return sorted({*moved, *self._fresh}) if self._fresh else moved

    def _words(self, word: int) -> array[int]:
        """Return one word of every slot."""
        section = self._series
        start, end = section.word + word, section.word + section.slots * section.step
        found = array("q")
        found.frombytes(self._opened.q[start : end : section.step].tobytes())
        return found

    def _read_histograms(self) -> None:
        if not self._histograms:
            return
        at = self._blocks.at
        everything = bytes(self._opened.b[at : at + self._most_blocks * BLOCK_BYTES])
        before, changed = self._all_before, self.changed
        if everything == before and all(one.read for one in self._histograms):
            return
        self._all_before = everything
        for one in self._histograms:
            at, end = one.at, one.at + BLOCK_BYTES
            data = everything[at:end]
            if not one.read or data != before[at:end]:
                one.take(data)
                changed[one.series.number] = one.series


_AHEAD = 16


def split_text(raw: bytes) -> tuple[str, str, Labels, str] | None:
    """Return name, unit, labels and help of a series slot's text; None when it is malformed."""
    fields = raw.decode("utf-8", "replace").split(US)
    if len(fields) < 4 or not fields[0]:  # noqa: PLR2004 - name, unit, the empty field, help
        return None
    labels: list[tuple[str, str]] = []
    for index, field in enumerate(fields[2:], 2):
        if not field:
            return fields[0], fields[1], tuple(labels), US.join(fields[index + 1 :])
        key, _, value = field.partition("=")
        labels.append((key, value))
    return None
