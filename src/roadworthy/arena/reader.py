"""Reads the arena of one process, at any instant, from outside: while it is written, after a kill, and when broken.

A :class:`Reader` keeps its file open and is cheap to refresh once a second; :func:`read` is for one look.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Self

from roadworthy._clock import monotonic_ns
from roadworthy.arena import files, ring
from roadworthy.arena.directory import Directory
from roadworthy.arena.identity import is_alive
from roadworthy.arena.layout import (
    BEAT_INHERITED,
    BEAT_KINDS,
    BEAT_NAME,
    BEAT_NAME_AT,
    BOOT_AT,
    BOOT_BYTES,
    H_BEATS,
    H_EVENTS,
    H_EVENTS_LOST,
    H_EXTENTS,
    H_FLAGS,
    H_GENERATION,
    H_INFLIGHT,
    H_INFO_LENGTH,
    H_INTERNAL,
    H_MARKS,
    H_MONO,
    H_OVERFLOWED,
    H_PID,
    H_PPID,
    H_PYTHON,
    H_SERIES,
    H_SLOT,
    H_STACK_FD,
    H_STACK_SIGNAL,
    H_STATE,
    H_TICKS,
    H_UNTRACKED,
    H_WALL,
    INFLIGHT_CONTEXT,
    INFLIGHT_CONTEXT_AT,
    INFO_AT,
    INFO_BYTES,
    MARK_KINDS,
    MARK_LABEL,
    MARK_LABEL_AT,
    STATE_CLOSED,
    STATE_LIVE,
    US,
    WORD,
)
from roadworthy.arena.opened import Opened, Section
from roadworthy.arena.records import RawBeat, RawEvent, RawInFlight, RawMark, RawSeries
from roadworthy.errors import ArenaError, Unavailable

_BEAT_NAMES = {number: name for name, number in BEAT_KINDS.items()}
_MARK_NAMES = {number: name for name, number in MARK_KINDS.items()}
_MOST_EXTENTS = 1000


class Reader:
    """The arena in one base file and its extents.

    Raises :class:`~roadworthy.errors.ArenaVersion` for a file of another format,
    :class:`~roadworthy.errors.ArenaBroken` for one that contradicts itself, :class:`~roadworthy.errors.Unavailable`
    when it is gone.
    """

    def __init__(self, path: os.PathLike[str] | str) -> None:
        self.path = Path(path)
        base = Opened(os.fspath(path))
        self._base = base
        q = base.q
        self.pid: int = q[H_PID]
        self.start_ticks: int = q[H_TICKS]
        self.boot_id = _text(base, BOOT_AT, BOOT_BYTES).rstrip("\0")
        self.slot: int | None = q[H_SLOT] - 1 if q[H_SLOT] > 0 else None
        self.generation: int = q[H_GENERATION]
        self.created_ns: int = q[H_MONO]
        self.created_wall_ns: int = q[H_WALL]
        self.ppid: int = q[H_PPID]
        self.python: int = q[H_PYTHON]
        self.info: dict[str, Any] = {}
        self._info_text = b""
        self._slots_a_file = base.sections[H_SERIES].slots
        self._files = [base]
        self._directories = [Directory(base, 0)]
        self._by_number: dict[int, RawSeries] = {}
        self._numbered = 0
        self.problems: dict[str, str] = {}
        self.now_ns = 0
        self.refresh()

    # -- reading

    def refresh(self) -> Reader:
        """Read what is new since the last time and return this reader; raises as the class does."""
        for opened in self._files:
            opened.check()
        self.now_ns = monotonic_ns()
        q = self._base.q
        self.closed = q[H_STATE] == STATE_CLOSED
        self.flags: int = q[H_FLAGS]
        self.stack_signal: int = max(0, q[H_STACK_SIGNAL])
        self.stack_fd: int = q[H_STACK_FD] if self.stack_signal else -1
        self._read_info()
        self._open_extents(min(q[H_EXTENTS], _MOST_EXTENTS))
        for directory in self._directories:
            directory.refresh()
        self.overflowed = self._sum(H_OVERFLOWED)
        self.internal_errors = self._sum(H_INTERNAL)
        self.events_lost = self._sum(H_EVENTS_LOST)
        self.untracked = self._sum(H_UNTRACKED)
        self.unreadable = sum(directory.unreadable for directory in self._directories)
        return self

    def _sum(self, word: int) -> int:
        return sum(max(0, opened.q[word]) for opened in self._files)

    def _read_info(self) -> None:
        length = self._base.q[H_INFO_LENGTH]
        if not 0 < length <= INFO_BYTES:
            return
        text = bytes(self._base.b[INFO_AT : INFO_AT + length])
        if text == self._info_text:
            return
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            # It is being rewritten, or damaged: what was known before stays.
            self.problems["info"] = f"{self.path}: the description of the program cannot be read"
            return
        if isinstance(found, dict):
            self._info_text = text
            self.info = found
            self.problems.pop("info", None)

    def _open_extents(self, count: int) -> None:
        for number in range(len(self._files), count + 1):
            path = f"{os.fspath(self.path).removesuffix(files.TYPE)}.x{number}"
            try:
                opened = Opened(path, extent=True)
            except (ArenaError, Unavailable) as error:
                self.problems[f"x{number}"] = str(error)
                return
            if opened.q[H_PID] != self.pid or opened.sections[H_SERIES].slots != self._slots_a_file:
                opened.close()
                self.problems[f"x{number}"] = f"{path} does not belong to its base file"
                return
            self.problems.pop(f"x{number}", None)
            self._files.append(opened)
            self._directories.append(Directory(opened, number * self._slots_a_file))

    # -- what was read

    def series(self) -> list[RawSeries]:
        """Return all series as of the last refresh; the objects are updated by the next one."""
        if len(self._directories) == 1:
            return self._directories[0].series
        return [series for directory in self._directories for series in directory.series]

    def take_changed(self) -> list[RawSeries]:
        """Return the series that are new or not as they were when this was last asked, as of the last refresh."""
        found: list[RawSeries] = []
        for directory in self._directories:
            if directory.changed:
                found.extend(directory.changed.values())
                directory.changed.clear()
        return found

    def take_touched(self) -> list[RawSeries]:
        """Return the gauges that were set since this was last asked, be it to the value that they had."""
        found: list[RawSeries] = []
        for directory in self._directories:
            if directory.touched:
                found.extend(directory.touched.values())
                directory.touched.clear()
        return found

    def events(self, after_seq: int = -1, *, dead: bool | None = None) -> tuple[list[RawEvent], int]:
        """Return the events behind ``after_seq``, oldest first, and how many were overwritten or damaged unread.

        ``dead`` says that the process has ended (None: find out): then a record that was being written is returned as
        torn.
        """
        if dead is None:
            dead = not alive(self)
        section = self._base.sections[H_EVENTS]
        commits = self._base.q[section.word : section.word + section.slots * section.step : section.step].tolist()
        newest, under_way = max(commits), -min(commits)
        if max(newest, under_way) - 1 <= after_seq:
            return [], 0  # the usual case of a look once a second is found without reading the slots
        return ring.events(self._base, after_seq, monotonic_ns(), dead=dead)

    def beats(self) -> list[RawBeat]:
        """Return the declared signals of life."""
        made = []
        base, section = self._base, self._base.sections[H_BEATS]
        for word, commit in _committed(base, section):
            kind = _BEAT_NAMES.get(commit & 0xFF)
            last, count, every, length, frame, turns = base.q[word + 1 : word + 7].tolist()
            if kind is None or not 0 <= length <= BEAT_NAME or (commit & BEAT_INHERITED and not count):
                continue
            fps = base.d[word + 7]
            name = _text(base, word * WORD + BEAT_NAME_AT, length)
            target = fps if 0 < fps < float("inf") else None
            made.append(RawBeat(name, kind, last or None, count, every or None, frame or None, turns, target))
        return made

    def inflight(self) -> list[RawInFlight]:
        """Return the operations under way, oldest first."""
        self._number()
        base, section = self._base, self._base.sections[H_INFLIGHT]
        found: dict[int, tuple[int, int, int, int, str]] = {}
        for word, start in _committed(base, section):
            number, parent, thread = base.q[word + 1 : word + 4].tolist()
            length = number >> 32
            if not 0 <= length <= INFLIGHT_CONTEXT:
                continue
            context = _text(base, word * WORD + INFLIGHT_CONTEXT_AT, length)
            if base.q[word] == start:
                found[word] = (start, number & 0xFFFFFFFF, parent, thread, context)
        made = [
            RawInFlight(
                self._operation(number), start, self._operation(found[parent][1]) if parent in found else "", thread,
                context.replace(US, " "), number,
            )
            for start, number, parent, thread, context in found.values()
        ]  # fmt: skip
        made.sort(key=lambda entry: entry.start_ns)
        return made

    def marks(self) -> list[RawMark]:
        """Return the start-up checkpoints in the order of their times."""
        made = []
        base, section = self._base, self._base.sections[H_MARKS]
        for word, commit in _committed(base, section):
            at_ns, length = base.q[word + 1 : word + 3].tolist()
            kind = _MARK_NAMES.get(commit)
            if kind is not None and 0 <= length <= MARK_LABEL:
                made.append(RawMark(kind, _text(base, word * WORD + MARK_LABEL_AT, length), at_ns))
        made.sort(key=lambda mark: mark.at_ns)
        return made

    def _number(self) -> None:
        known = self.series()
        if len(known) != self._numbered:
            self._by_number = {series.number: series for series in known}
            self._numbered = len(known)

    def _operation(self, number: int) -> str:
        series = self._by_number.get(number)
        if series is None:
            return "unknown"
        return dict(series.labels).get("operation") or series.name

    @property
    def key(self) -> str:
        """What tells this process from others: the file's name without its type."""
        return self.path.name.removesuffix(files.TYPE)

    @property
    def state(self) -> int:
        """The header's state as of the last refresh (``layout.STATE_…``)."""
        return STATE_CLOSED if self.closed else STATE_LIVE

    @property
    def bytes(self) -> int:
        """The size of all files together."""
        return sum(opened.size for opened in self._files)

    def close(self) -> None:
        """Release the files; what was read stays valid."""
        for opened in self._files:
            opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


ArenaView = Reader
"""An arena that was read; a reader that nobody refreshes."""


def read(path: os.PathLike[str] | str) -> ArenaView:
    """Read one arena; raises as :class:`Reader`."""
    return Reader(path)


def scan(directory: os.PathLike[str] | str) -> list[Path]:
    """Return the base files in ``directory``, sorted by name; none when it does not exist."""
    place = os.fspath(directory)
    return [Path(place, name) for name in files.base_names(place)]


def alive(view: Reader) -> bool:
    """Tell whether the very process that writes this arena still runs (boot id, pid and start time)."""
    return is_alive(view.boot_id, view.pid, view.start_ticks)


def remove(path: os.PathLike[str] | str) -> None:
    """Remove an arena and its extents, once its last words were taken."""
    files.remove(os.fspath(path))


def _committed(opened: Opened, section: Section) -> list[tuple[int, int]]:
    words = opened.q[section.word : section.word + section.slots * section.step : section.step].tolist()
    return [(section.word + index * section.step, commit) for index, commit in enumerate(words) if commit > 0]


def _text(opened: Opened, at: int, length: int) -> str:
    return bytes(opened.b[at : at + length]).decode("utf-8", "replace")
