"""The series of one file, read again and again for little: text and layout of a slot never change once it is committed.

Values come out in one strided read, as the bits that they are, and only what differs from the last time is looked at;
of the histograms only blocks that changed are taken apart.
"""

from __future__ import annotations

from itertools import compress, count
from operator import ne
from typing import TYPE_CHECKING

from roadworthy.arena.layout import (
    BLOCK_MAX,
    BLOCK_SUM,
    BLOCK_WORDS,
    BUCKETS,
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
    from roadworthy.arena.opened import Opened

_KIND_NAMES = {number: name for name, number in KINDS.items()}
_MERGE_NAMES = {number: name for name, number in MERGES.items()}
_BLOCK_BYTES = BLOCK_WORDS * WORD


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
        self._values: list[int | None] = [None] * self._series.slots
        self._stamps: list[int | None] = [None] * self._series.slots
        self._histograms: list[tuple[int, RawSeries]] = []
        self._fresh: set[int] = set()
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
            self._histograms.append((block, made))
            self._fresh.add(made.number)
            self._most_blocks = max(self._most_blocks, block + 1)
        else:
            self._plain[slot] = made
            # What stood there before the commit was nobody's value; it is read anew.
            self._values[slot] = self._stamps[slot] = None
        self.series.append(made)
        self.changed[made.number] = made

    def _read_plain(self) -> None:
        if not self._plain:
            return
        for word, before, take in (
            (1, self._values, self._take_value),
            (2, self._stamps, self._take_stamp),
        ):
            now = self._words(word)
            if now != before:
                for slot in compress(count(), map(ne, now, before)):
                    series = self._plain.get(slot)
                    if series is not None:
                        take(slot, series)
                before[:] = now

    def _words(self, word: int) -> list[int | None]:
        """Return one word of every slot."""
        section = self._series
        found: list[int | None] = self._opened.q[
            section.word + word : section.word + section.slots * section.step : section.step
        ].tolist()
        return found

    def _take_value(self, slot: int, series: RawSeries) -> None:
        value = self._opened.d[self._series.word + slot * self._series.step + 1]
        # Only NaN differs from itself: a gauge that was never set.
        series.value = value if value == value else None  # noqa: PLR0124
        self.changed[series.number] = series

    def _take_stamp(self, slot: int, series: RawSeries) -> None:
        series.updated_ns = self._opened.q[self._series.word + slot * self._series.step + 2]
        if series.updated_ns:
            self.touched[series.number] = series

    def _read_histograms(self) -> None:
        if not self._histograms:
            return
        at = self._blocks.at
        everything = bytes(self._opened.b[at : at + self._most_blocks * _BLOCK_BYTES])
        if everything == self._all_before and not self._fresh:
            return
        before, self._all_before = self._all_before, everything
        for block, series in self._histograms:
            data = everything[block * _BLOCK_BYTES : (block + 1) * _BLOCK_BYTES]
            if before[block * _BLOCK_BYTES : (block + 1) * _BLOCK_BYTES] != data or series.number in self._fresh:
                _take_apart(series, data)
                self.changed[series.number] = series
        self._fresh.clear()


_AHEAD = 16
WORD_BITS = 8 * WORD


def _take_apart(series: RawSeries, data: bytes) -> None:
    # Durations fill a few dozen neighbouring buckets: as one large number the zeros at both ends are seen at once.
    counts = int.from_bytes(data[: BUCKETS * WORD], "little")
    first = max(0, (counts & -counts).bit_length() - 1) // WORD_BITS
    last = -(-counts.bit_length() // WORD_BITS)
    words = memoryview(data).cast("q")[first:last].tolist()
    series.buckets = {index: count for index, count in enumerate(words, first) if count > 0}
    series.sum, series.max = memoryview(data)[BLOCK_SUM * WORD : (BLOCK_MAX + 1) * WORD].cast("d").tolist()


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
