"""The hot path: what a program's own threads run millions of times. Replaceable by a compiled module with these names.

An instrument holds a :class:`Cell`, which holds the views of one mapped file, and the number of its word in it. Each
store is one aligned word through ``memoryview.cast``; a read-modify-write such as ``d[i] += n`` is atomic under the
GIL, because CPython >= 3.11 looks at signals and thread switches only at calls and backward jumps. So nothing here
takes a lock, and threads, signal handlers and GC callbacks may interrupt one another anywhere.

First error regime: nothing of ours raises. A value that is no number is dropped and counted in the header of its file.
What a signal handler of the program raises in the midst of this code is the program's, and passes.
"""

from __future__ import annotations

from _thread import get_ident
from itertools import count
from sys import byteorder

from roadworthy._clock import monotonic_ns
from roadworthy.arena.layout import (
    BLOCK_MAX,
    BLOCK_SUM,
    EVENT_PARTS,
    EVENT_PAYLOAD,
    H_EVENTS_LOST,
    H_INTERNAL,
    H_UNTRACKED,
    INFLIGHT_CONTEXT,
    LARGEST,
    WORD,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

now = monotonic_ns
"""The clock of everything in an arena: nanoseconds of CLOCK_MONOTONIC."""


_judges: list[Callable[[BaseException], bool]] = []


def let_pass(judge: Callable[[BaseException], bool]) -> None:
    """Have ``judge`` tell which exceptions come out of signal handlers of the program's."""
    _judges[:] = [judge]


def passes(error: BaseException) -> bool:
    """Return whether an exception that came up in here is the program's own."""
    return any(judge(error) for judge in _judges)


class Cell:
    """The views of one mapped file: ``q`` as integers, ``d`` as doubles, ``b`` as bytes; swapped after a fork."""

    __slots__ = ("b", "d", "q")

    def __init__(self, q: Any, d: Any, b: Any) -> None:  # noqa: ANN401 - views, or after a fork what stands in for them
        self.q = q
        self.d = d
        self.b = b

    def trouble(self, word: int = H_INTERNAL) -> None:
        """Count in the file's header something that could not be recorded."""
        try:
            self.q[word] += 1
        except Exception:  # noqa: BLE001, S110 - the guest rule: there is nowhere left to tell it
            pass


class Counter:
    """A number that only grows."""

    __slots__ = ("_cell", "_index", "number")

    def __init__(self, cell: Cell, index: int, number: int) -> None:
        self._cell = cell
        self._index = index
        self.number = number

    def add(self, n: float = 1.0) -> None:
        """Add ``n``; what is negative, NaN or no number is dropped and counted as trouble."""
        try:
            if n >= 0:
                self._cell.d[self._index] += n
            else:
                self._cell.trouble()
        except Exception as error:
            if passes(error):
                raise
            self._cell.trouble()


class Gauge:
    """A number that goes up and down; not measured (NaN) until it is set."""

    __slots__ = ("_cell", "_index", "number")

    def __init__(self, cell: Cell, index: int, number: int) -> None:
        self._cell = cell
        self._index = index
        self.number = number

    def set(self, v: float) -> None:
        """Set the value; what is no number is dropped and counted as trouble."""
        try:
            cell = self._cell
            i = self._index
            cell.d[i] = v
            cell.q[i + 1] = monotonic_ns()
        except Exception as error:
            if passes(error):
                raise
            self._cell.trouble()

    def add(self, v: float = 1.0) -> None:
        """Add ``v``, which may be negative; a gauge that was never set begins at 0."""
        try:
            cell = self._cell
            i = self._index
            d = cell.d
            old = d[i]
            d[i] = old + v if old == old else v  # noqa: PLR0124 - only NaN differs from itself
            cell.q[i + 1] = monotonic_ns()
        except Exception as error:
            if passes(error):
                raise
            self._cell.trouble()


class Histogram:
    """A distribution in log-linear buckets."""

    __slots__ = ("_base", "_cell", "_max", "_sum", "number")

    def __init__(self, cell: Cell, base: int, number: int) -> None:
        self._cell = cell
        self._base = base
        self._sum = base + BLOCK_SUM
        self._max = base + BLOCK_MAX
        self.number = number

    def record(self, n: int) -> None:
        """Count one whole number of stored units (nanoseconds for durations); what is no integer is dropped."""
        try:
            cell = self._cell
            q = cell.q
            if n > 7:  # noqa: PLR2004 - FORMAT.md: the first eight buckets hold one number each
                s = n.bit_length() - 4
                if s > 46:  # noqa: PLR2004 - FORMAT.md: from 2^50 on everything falls into the last bucket
                    s = 46
                    n = LARGEST
                q[self._base + (s << 3) + (n >> s)] += 1
            else:
                if n < 0:  # noqa: PLR1730 - max() would be a call
                    n = 0
                q[self._base + n] += 1
            d = cell.d
            # Converted once: int against float is the slow path of both the sum and the comparison.
            f = n + 0.0
            d[self._sum] += f
            if f > d[self._max]:  # noqa: PLR1730 - max() would be a call, where threads may switch
                d[self._max] = f
        except Exception as error:
            if passes(error):
                raise
            self._cell.trouble()


class Beat:
    """A declared signal of life; a loop also has frames and turns."""

    __slots__ = ("_cell", "_index")

    def __init__(self, cell: Cell, index: int) -> None:
        self._cell = cell
        self._index = index

    def beat(self, now_ns: int = 0) -> None:
        """Tell that this part of the program is alive, now or at ``now_ns``."""
        try:
            q = self._cell.q
            i = self._index
            q[i + 2] += 1
            q[i + 1] = now_ns or monotonic_ns()
        except Exception as error:
            if passes(error):
                raise
            self._cell.trouble()

    def count(self, n: int = 1, now_ns: int = 0) -> None:
        """Tell that ``n`` units of work were done: progress."""
        try:
            q = self._cell.q
            i = self._index
            q[i + 2] += n
            q[i + 1] = now_ns or monotonic_ns()
        except Exception as error:
            if passes(error):
                raise
            self._cell.trouble()

    def frame_start(self, now_ns: int = 0) -> None:
        """Tell that a frame begins."""
        try:
            self._cell.q[self._index + 5] = now_ns or monotonic_ns()
        except Exception as error:
            if passes(error):
                raise
            self._cell.trouble()

    def frame_end(self, now_ns: int = 0) -> None:
        """Tell that the frame under way has ended."""
        try:
            q = self._cell.q
            i = self._index
            q[i + 5] = 0
            q[i + 2] += 1
            q[i + 1] = now_ns or monotonic_ns()
        except Exception as error:
            if passes(error):
                raise
            self._cell.trouble()

    def turn(self, n: int = 1) -> None:
        """Tell that the loop advanced by ``n`` turns: progress, not only frames."""
        try:
            self._cell.q[self._index + 6] += n
        except Exception as error:
            if passes(error):
                raise
            self._cell.trouble()


class InFlight:
    """The operations under way. A handle is the number of the entry's first word; the free list is a plain list."""

    __slots__ = ("_cell", "_free")

    def __init__(self, cell: Cell, free: list[int]) -> None:
        self._cell = cell
        self._free = free

    def enter(self, number: int, parent: int = 0, context: bytes = b"", start_ns: int = 0) -> int:
        """Note that the operation of series ``number`` begins; returns its handle, -1 when the table is full.

        ``parent`` is the handle of the operation around it (0 or less: none), ``context`` is cut at 224 bytes.
        """
        free = self._free
        try:
            i = free[-1]  # not pop(): after a call a signal handler may raise, and the entry would be lost
            del free[-1]
        except IndexError:
            self._cell.trouble(H_UNTRACKED)
            return -1
        try:
            cell = self._cell
            q = cell.q
            if context:
                n = len(context)
                if n > INFLIGHT_CONTEXT:
                    context = cut(context, INFLIGHT_CONTEXT)
                    n = len(context)
                at = (i << 3) + 32
                cell.b[at : at + n] = context
                number |= n << 32
            q[i + 1] = number
            q[i + 2] = parent
            q[i + 3] = get_ident()
            q[i] = start_ns or monotonic_ns()
        except BaseException as error:
            self._free.append(i)
            if not isinstance(error, Exception) or passes(error):
                raise
            self._cell.trouble()
            return -1
        return i

    def leave(self, handle: int) -> None:
        """Note that the operation has ended, once for each handle; -1 is ignored."""
        try:
            if handle > 0:
                self._cell.q[handle] = 0
                self._free.append(handle)
        except Exception as error:
            if passes(error):
                raise
            self._cell.trouble()


class Ring:
    """The flight recorder. From the check of a reservation to its commit there is no call, so no lap goes unseen."""

    __slots__ = ("_base", "_cell", "_mask", "reserve")

    def __init__(self, cell: Cell, base: int, slots: int) -> None:
        self._cell = cell
        self._base = base
        self._mask = slots - 1
        self.reserve: Any = count().__next__

    def put(self, kind: int, level: int, payload: bytes) -> None:
        """Append one event: ``source US text US key=value …``, cut at 3840 bytes; kinds and levels as in FORMAT.md."""
        i = 0
        try:
            n = len(payload)
            if n > EVENT_PAYLOAD:
                self._put_parts(kind, level, payload)
                return
            at = monotonic_ns()
            what = kind | level << 8 | 0x8000 | n << 19
            while True:
                seq = self.reserve()
                cell = self._cell
                q = cell.q
                i = self._base + ((seq & self._mask) << 6)
                if q[i] <= seq:
                    break
            q[i] = ~seq
            j = (i << 3) + 32
            cell.b[j : j + n] = payload
            q[i + 1] = at
            q[i + 2] = what
            q[i] = seq + 1
        except Exception as error:
            self._lost(i)
            if passes(error):
                raise

    def _put_parts(self, kind: int, level: int, payload: bytes) -> None:
        payload = cut(payload, EVENT_PARTS * EVENT_PAYLOAD)
        parts = [payload[at : at + EVENT_PAYLOAD] for at in range(0, len(payload), EVENT_PAYLOAD)]
        what = kind | level << 8 | len(parts) << 15
        at = monotonic_ns()
        first = -1
        for part, piece in enumerate(parts):
            n = len(piece)
            while True:
                seq = self.reserve()
                cell = self._cell
                q = cell.q
                i = self._base + ((seq & self._mask) << 6)
                if q[i] <= seq:
                    break
            q[i] = ~seq
            if first < 0:
                first = seq
            j = (i << 3) + 32
            cell.b[j : j + n] = piece
            q[i + 1] = at
            q[i + 2] = what | part << 12 | n << 19
            q[i + 3] = first
            q[i] = seq + 1

    def _lost(self, i: int) -> None:
        try:
            q = self._cell.q
            if i and q[i] < 0:
                q[i] = 0
        except Exception:  # noqa: BLE001, S110 - the guest rule; the count below is all that can be told
            pass
        self._cell.trouble(H_EVENTS_LOST)


def ready(kind: int, level: int, payload: bytes) -> bytes:
    """Return words 2 and 3 of an event's slot and its payload of at most 480 bytes: what is the same each time."""
    what = kind | level << 8 | 0x8000 | len(payload) << 19
    return what.to_bytes(WORD, byteorder) + bytes(WORD) + payload


def cut(text: bytes, most: int) -> bytes:
    """Return at most ``most`` bytes of UTF-8 ``text``, ending at a character's border."""
    if len(text) <= most:
        return text
    while most > 0 and text[most] & 0xC0 == 0x80:  # noqa: PLR2004 - the mark of a continuation byte
        most -= 1
    return text[:most]
