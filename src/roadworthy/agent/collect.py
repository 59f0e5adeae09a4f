"""All arenas of an application, once a second: what lives is read through open mappings, what died is counted for ever.

A dead process's counters and histograms go into the totals, its last words are kept until somebody has taken them, and
only then its files are removed. The totals and the identities of what was added to them are one file, replaced
atomically: an agent that dies between "added" and "removed" neither loses nor counts twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from roadworthy import _clock
from roadworthy.arena import merge as merging
from roadworthy.arena import reader as arenas
from roadworthy.arena.layout import FLAG_DESCENDANT, FLAG_INJECTED, STATE_CLOSED
from roadworthy.errors import ArenaError, Exhausted, Unavailable
from roadworthy.types import Beat, Event, EventKind, InFlight, Series, Startup, StartupStep

_LEVELS: Final = {0: "notset", 1: "debug", 2: "info", 3: "warning", 4: "error", 5: "critical"}
MOST_BROKEN: Final = 20
STATE_FILE: Final = "totals.json"
"""The totals of the dead, in the state directory."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process's arena at one instant; ``alive`` by boot id, pid and start time."""

    key: str
    pid: int
    start_ticks: int
    slot: int | None
    generation: int
    alive: bool
    closed: bool
    injected: bool
    descendant: bool
    info: Mapping[str, Any]
    beats: tuple[Beat, ...]
    frames: Mapping[str, float]
    turns: Mapping[str, int]
    in_flight: tuple[InFlight, ...]
    startup: Startup | None
    stack_signal: int
    stack_fd: int
    python: str
    created: float
    marked_ready: bool


@dataclass(frozen=True, slots=True)
class Collected:
    """Everything in all arenas at one instant; ``events`` are those that are new since the last time, oldest first."""

    processes: tuple[Process, ...] = ()
    series: tuple[Series, ...] = ()
    gauges_set: Mapping[str, float] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    recounted: int = 0
    missed: int = 0
    overflowed: int = 0
    internal_errors: int = 0
    arena_bytes: int = 0
    broken: tuple[str, ...] = ()

    def of(self, pid: int | None) -> Process | None:
        """Return the newest arena of a process, or None."""
        found = [one for one in self.processes if one.pid == pid]
        return found[-1] if found else None


class _Open:
    """A reader that is kept open, and how far its events were taken."""

    __slots__ = ("dead", "key", "last_seq", "missed", "path", "reader", "retired", "size")

    def __init__(self, path: Path, reader: arenas.Reader, key: str) -> None:
        self.path = path
        self.reader = reader
        self.key = key
        self.last_seq = -1
        self.missed = 0
        self.dead = False
        self.retired = False
        self.size = 0


class Collector:
    """Reads the arenas below ``directory``; totals live below ``state``. :meth:`close` unmaps.

    Raises :class:`Exhausted` or :class:`Unavailable` when the totals cannot be written; nothing is removed then.
    """

    def __init__(self, directory: Path, state: Path) -> None:
        self._directory = directory
        self._file = state / STATE_FILE
        self._open: dict[Path, _Open] = {}
        self._broken: dict[Path, str] = {}
        self._totals = merging.Totals()
        self._retired: dict[str, None] = {}
        self._missed = 0
        self._overflowed_dead = 0
        self._internal_dead = 0
        self.positions: dict[str, int] = {}
        self.notices: list[str] = []
        self._load()

    # -- reading

    def collect(self, now_ns: int, now: float) -> Collected:
        """Return what all arenas say at ``now_ns`` (monotonic) and ``now`` (wall)."""
        self._scan()
        processes: list[Process] = []
        parts: list[tuple[str, Any]] = []
        events: list[Event] = []
        touched: dict[str, float] = {}
        overflowed, internal, size = self._overflowed_dead, self._internal_dead, 0
        for path, one in list(self._open.items()):
            try:
                one.reader.refresh()
                process = self._process(one, now_ns, now)
                series = one.reader.series()
                events.extend(self._events(one, process, now_ns, now))
            except ArenaError as error:
                self._break(path, str(error))
                continue
            processes.append(process)
            if not one.retired:
                parts.append((one.key, series))
                for raw in series:
                    if raw.updated_ns:
                        at = now - (now_ns - raw.updated_ns) / _clock.NS
                        touched[raw.name] = max(touched.get(raw.name, 0.0), at)
            overflowed += one.reader.overflowed
            internal += one.reader.internal_errors
            size += one.size
        events.sort(key=lambda event: event.at)
        processes.sort(key=lambda process: (process.slot is None, process.slot or 0, process.created))
        return Collected(
            processes=tuple(processes),
            series=tuple(merging.merge(parts, self._totals)),
            gauges_set=touched,
            events=tuple(events),
            missed=self._missed,
            overflowed=overflowed,
            internal_errors=internal,
            arena_bytes=size,
            broken=tuple(self._broken.values()),
        )

    def _scan(self) -> None:
        present = set(arenas.scan(self._directory))
        for path in [path for path in self._broken if path not in present]:
            del self._broken[path]
        for path in [path for path in self._open if path not in present]:
            self._open.pop(path).reader.close()
        for path in sorted(present - self._open.keys() - self._broken.keys()):
            try:
                reader = arenas.Reader(path)
            except ArenaError as error:
                self._break(path, str(error))
                continue
            except (FileNotFoundError, Unavailable):
                continue
            key = path.name.removesuffix(".arena")
            if key in self._retired:
                reader.close()
                arenas.remove(path)
                continue
            one = self._open[path] = _Open(path, reader, key)
            one.size = _size(path)

    def _break(self, path: Path, why: str) -> None:
        one = self._open.pop(path, None)
        if one is not None:
            one.reader.close()
        if len(self._broken) < MOST_BROKEN:
            self._broken[path] = f"{path.name} cannot be read: {why.splitlines()[0] if why else 'broken'}"
