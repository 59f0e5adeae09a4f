"""Which series stands in which slot.

Lock-free: slot numbers are handed out in one step, the first of two equal declarations wins by ``dict.setdefault``, and
the loser's slot stays behind at zero (readers add duplicates).

Bounded: beyond the limits all labels of a name share its overflow series, and beyond that values go to private memory
that nobody reads; both are counted in the header.
"""

from __future__ import annotations

from itertools import count

from roadworthy.arena.files import Mapped, private_memory
from roadworthy.arena.hot import Cell, Counter, Gauge, Histogram, cut, passes
from roadworthy.arena.layout import (
    BLOCK_WORDS,
    H_OVERFLOWED,
    HEADER_BYTES,
    KINDS,
    MERGES,
    SERIES_BYTES,
    SERIES_TEXT,
    SERIES_TEXT_AT,
    US,
    WORD,
    Sizes,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

Labels = tuple[tuple[str, str], ...]
OVERFLOW: Labels = (("otel.metric.overflow", "true"),)
NAN = float("nan")
UNPLACED = -1
"""The number of an instrument that stands in no file."""


class Limits:
    """How many series one process may have, and how many of them under one name."""

    __slots__ = ("per_name", "series")

    def __init__(self, series: int = 10_000, per_name: int = 500) -> None:
        self.series = series
        self.per_name = per_name


class Extent:
    """The series and histogram blocks of one file, and the next free number of each."""

    __slots__ = ("blocks_at", "cell", "next_block", "next_slot", "series_at")

    def __init__(self, cell: Cell, series_at: int, blocks_at: int) -> None:
        self.cell = cell
        self.series_at = series_at
        self.blocks_at = blocks_at
        self.next_slot = count().__next__
        self.next_block = count().__next__


class Registry:
    """All series of one process; ``grow(k)`` returns extent ``k``, or None when it cannot be made."""

    __slots__ = ("_first", "_full", "_grow", "_limits", "_names", "_scratch", "_sizes", "base", "known", "placed")

    def __init__(self, base: Extent, sizes: Sizes, limits: Limits, grow: Callable[[int], Extent | None]) -> None:
        self.base = base
        self.known: dict[tuple[str, str, Labels], Any] = {}
        self.placed: list[int] = []
        self._names: dict[str, list[None]] = {}
        self._sizes = sizes
        self._limits = limits
        self._grow = grow
        self._first = {"series": 0, "blocks": 0}
        self._scratch: dict[str, Any] = {}
        # Overflow series stand outside the limit, but not without one: names may be made up without end too.
        self._full = limits.series + max(16, limits.series // 8)

    def get(
        self,
        kind: str,
        name: str,
        labels: Labels,
        unit: str = "",
        text: str = "",
        merge: str = "sum",
        scale: float = 1.0,
    ) -> Any:  # noqa: ANN401 - a Counter, Gauge or Histogram, as ``kind`` says
        """Return the instrument of this name and labels, made now if need be; never raises, always the same one."""
        try:
            return self._get(kind, name, tuple(sorted(labels)) if len(labels) > 1 else labels, unit, text, merge, scale)
        except Exception as error:
            if passes(error):
                raise
            self.base.cell.trouble()
            return self._unseen(kind)  # labels that are none

    def _get(self, kind: str, name: str, labels: Labels, unit: str, text: str, merge: str, scale: float) -> Any:  # noqa: ANN401 - as above
        key = (kind, name, labels)
        found = self.known.get(key)
        if found is not None:
            return found
        names = self._names.setdefault(name, [])
        if len(self.known) >= self._limits.series or len(names) >= self._limits.per_name:
            return self._overflow(kind, name, unit, text, merge, scale)
        encoded = _text(name, labels, unit, text)
        made = self._place(kind, encoded, merge, scale) if encoded else None
        if made is None:
            return self._overflow(kind, name, unit, text, merge, scale)
        winner = self.known.setdefault(key, made)
        if winner is made:
            names.append(None)
        return winner

    def _overflow(self, kind: str, name: str, unit: str, text: str, merge: str, scale: float) -> Any:  # noqa: ANN401 - as above
        self.base.cell.trouble(H_OVERFLOWED)
        key = (kind, name, OVERFLOW)
        found = self.known.get(key)
        if found is not None:
            return found
        encoded = _text(name, OVERFLOW, unit, text)
        if encoded and len(self.known) < self._full:
            made = self._place(kind, encoded, merge, scale)
            if made is not None:
                return self.known.setdefault(key, made)
        return self._unseen(kind)

    def _unseen(self, kind: str) -> Any:  # noqa: ANN401 - as above
        """Return the instrument of ``kind`` that counts into memory that nobody reads."""
        found = self._scratch.get(kind)
        if found is None:
            memory = private_memory(HEADER_BYTES + BLOCK_WORDS * WORD)
            made = _instrument(
                kind, Cell(memory.q, memory.d, memory.b), HEADER_BYTES // WORD, HEADER_BYTES // WORD, UNPLACED
            )
            found = self._scratch.setdefault(kind, made)
        return found

    def _place(self, kind: str, encoded: bytes, merge: str, scale: float) -> Any:  # noqa: ANN401 - as above
        """Write one series into the first free slot; None when there is none and no file can be added."""
        histogram = kind == "histogram"
        which = "blocks" if histogram else "series"
        number = self._first[which]
        while True:
            extent = self.base if number == 0 else self._grow(number)
            if extent is None:
                return None
            block = extent.next_block() if histogram else 0
            slot = extent.next_slot() if block < self._sizes.blocks else self._sizes.series
            if slot < self._sizes.series:
                break
            number += 1
            self._first[which] = max(self._first[which], number)
        at = extent.series_at + slot * SERIES_BYTES
        i = at // WORD
        cell = extent.cell
        cell.b[at + SERIES_TEXT_AT : at + SERIES_TEXT_AT + len(encoded)] = encoded
        q = cell.q
        if histogram:
            q[i + 1] = block
        else:
            cell.d[i + 1] = NAN if kind == "gauge" else 0.0
        q[i + 2] = 0
        cell.d[i + 3] = scale
        q[i + 4] = len(encoded)
        full_number = number * self._sizes.series + slot
        self.placed.append(full_number)
        q[i] = KINDS[kind] | MERGES.get(merge, MERGES["last"]) << 8
        return _instrument(kind, cell, i + 1, extent.blocks_at // WORD + block * BLOCK_WORDS, full_number)


def _instrument(kind: str, cell: Cell, value_word: int, block_word: int, number: int) -> Any:  # noqa: ANN401
    if kind == "counter":
        return Counter(cell, value_word, number)
    if kind == "gauge":
        return Gauge(cell, value_word, number)
    return Histogram(cell, block_word, number)


def copy_directory(source: Mapped, target: Mapped, series_at: int, slots: list[int]) -> None:
    """Copy the series in ``slots`` of a parent's file into its child's, with nothing counted yet."""
    for slot in slots:
        at = series_at + slot * SERIES_BYTES
        i = at // WORD
        what = source.q[i]
        target.b[at : at + SERIES_BYTES] = source.b[at : at + SERIES_BYTES]
        if what & 0xFF != KINDS["histogram"]:
            target.d[i + 1] = NAN if what & 0xFF == KINDS["gauge"] else 0.0
        target.q[i + 2] = 0


def _text(name: str, labels: Labels, unit: str, text: str) -> bytes:
    """Return a slot's text, its help cut to fit; empty when name and labels do not fit."""
    fields = [_clean(name), _clean(unit)]
    for key, value in labels:
        fields.append(f"{_clean(key).replace('=', '_')}={_clean(value)}")
    fields.append("")
    head = (US.join(fields) + US).encode("utf-8", "replace")
    if len(head) > SERIES_TEXT:
        return b""
    return head + cut(_clean(text).encode("utf-8", "replace"), SERIES_TEXT - len(head))


def _clean(text: object) -> str:
    made = text if isinstance(text, str) else str(text)
    return made.replace(US, " ") if US in made else made
