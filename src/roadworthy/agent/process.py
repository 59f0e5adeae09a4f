"""One process as its arena shows it at one instant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from roadworthy import _clock
from roadworthy.arena.layout import FLAG_DESCENDANT, FLAG_INJECTED
from roadworthy.types import Beat, InFlight, Startup, StartupStep
from roadworthy.watch.operations import attempt

if TYPE_CHECKING:
    from roadworthy.arena import reader as arenas
    from roadworthy.arena.records import RawInFlight, RawMark, RawSeries

WORK: Final = frozenset({"heartbeat", "loop", "progress"})
"""Kinds of beats that tell that a program does its work; the others tell that the interpreter is well."""

LISTENING: Final = "listening"
"""The checkpoint of a program that listens: on its ``--port`` where the keeper holds that, else on its first port."""

LAME: Final = "lame duck"
"""The checkpoint of a process that has stopped accepting; it belongs to no start."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process's arena at one instant; ``alive`` by boot id, pid and start time.

    ``recorded`` grows whenever a histogram of an operation was found to have moved.
    """

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
    created_ns: int
    marked_ready: bool
    recorded: int
    listening: bool = False
    lame: bool = False


class OpenArena:
    """A reader that is kept open, and how far its events were taken."""

    __slots__ = ("dead", "key", "known", "last_seq", "names", "reader", "recorded")

    def __init__(self, reader: arenas.Reader, key: str, last_seq: int) -> None:
        self.reader = reader
        self.key = key
        self.last_seq = last_seq
        self.dead = False
        self.known: set[int] = set()
        self.names: dict[int, str] = {}
        self.recorded = 0

    def learn(self, changed: Iterable[RawSeries]) -> None:
        """Learn the names of operations that are new, and count the histograms of operations that moved."""
        for one in changed:
            if one.number not in self.known:
                self.known.add(one.number)
                found = attempt(one.name, one.labels, one.unit)
                if found is not None:
                    self.names[one.number] = found.name
            if one.buckets is not None and one.number in self.names:
                self.recorded += 1

    def operation(self, raw: RawInFlight) -> str:
        """Return the name that an operation in flight has in the table of operations."""
        return self.names.get(raw.number, raw.name)


def works(reader: arenas.Reader) -> bool:
    """Return whether a process has marked itself ready, sent a signal of life or begun an operation."""
    return (
        any(beat.kind in WORK and beat.last_ns is not None for beat in reader.beats())
        or any(mark.kind == "ready" or _says(mark, LISTENING) for mark in reader.marks())
        or bool(reader.inflight())
    )


def lame(reader: arenas.Reader) -> bool:
    """Return whether a process has become a lame duck."""
    return any(_says(mark, LAME) for mark in reader.marks())


def _says(mark: RawMark, label: str) -> bool:
    return mark.kind == "checkpoint" and mark.label == label


def process_of(one: OpenArena, now_ns: int, now: float) -> Process:
    """Return what the arena says at ``now_ns`` (monotonic) and ``now`` (wall), as of its last refresh."""
    reader = one.reader
    beats = reader.beats()
    marks = reader.marks()
    return Process(
        key=one.key,
        pid=reader.pid,
        start_ticks=reader.start_ticks,
        slot=reader.slot,
        generation=reader.generation,
        alive=not one.dead,
        closed=reader.closed,
        injected=bool(reader.flags & FLAG_INJECTED),
        descendant=bool(reader.flags & FLAG_DESCENDANT),
        info=reader.info,
        beats=tuple(
            Beat(
                name=beat.name,
                kind=beat.kind,
                pid=reader.pid,
                slot=reader.slot,
                count=beat.count,
                age=None if beat.last_ns is None else max(0.0, (now_ns - beat.last_ns) / _clock.NS),
                every=None if beat.every_ns is None else beat.every_ns / _clock.NS,
            )
            for beat in beats
        ),
        frames={
            beat.name: max(0.0, (now_ns - beat.frame_ns) / _clock.NS) for beat in beats if beat.frame_ns is not None
        },
        turns={beat.name: beat.turns for beat in beats if beat.turns > 0},
        in_flight=tuple(
            InFlight(
                name=one.operation(raw),
                pid=reader.pid,
                slot=reader.slot,
                age=max(0.0, (now_ns - raw.start_ns) / _clock.NS),
                context=raw.context,
                parent=raw.parent,
                thread=raw.thread,
            )
            for raw in reader.inflight()
        ),
        startup=_startup(reader, marks, now_ns, now),
        stack_signal=reader.stack_signal,
        stack_fd=reader.stack_fd,
        python=_version(reader.python),
        created=reader.created_wall_ns / _clock.NS,
        created_ns=reader.created_ns,
        marked_ready=any(mark.kind == "ready" for mark in marks),
        recorded=one.recorded,
        listening=any(_says(mark, LISTENING) for mark in marks),
        lame=any(_says(mark, LAME) for mark in marks),
    )


def _startup(reader: arenas.Reader, marks: list[RawMark], now_ns: int, now: float) -> Startup | None:
    if not marks:
        return None
    began = next((mark.at_ns for mark in marks if mark.kind == "began"), reader.created_ns)
    steps: list[StartupStep] = []
    before = 0.0
    total: float | None = None
    for mark in marks:
        if mark.kind == "began" or _says(mark, LAME):
            continue
        at = max(0.0, (mark.at_ns - began) / _clock.NS)
        steps.append(StartupStep(mark.label or mark.kind, at, max(0.0, at - before)))
        before = at
        if mark.kind == "ready" and total is None:
            total = at
    return Startup(reader.pid, reader.slot, now - (now_ns - began) / _clock.NS, total, tuple(steps))


def _version(number: int) -> str:
    """Return ``sys.hexversion`` as people write it."""
    return f"{number >> 24 & 255}.{number >> 16 & 255}.{number >> 8 & 255}" if number > 0 else ""
