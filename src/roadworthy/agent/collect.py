"""All arenas of an application, once a second: what lives is read through open mappings, what died is counted for ever.

A dead process's counters and histograms go into the totals, its last words are kept until somebody has taken them, and
only then its files are removed. The totals and the identities of what was added to them are one file, replaced
atomically: an agent that dies between "added" and "removed" neither loses nor counts twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from roadworthy import _clock
from roadworthy.agent.incidents import check_schema, write_atomically
from roadworthy.arena import reader as arenas
from roadworthy.arena.layout import FLAG_DESCENDANT, FLAG_INJECTED
from roadworthy.arena.merge import Merger, Part, merge
from roadworthy.arena.totals import Totals, retire
from roadworthy.errors import ArenaError, RoadworthyError, Unavailable
from roadworthy.types import Beat, Event, EventKind, InFlight, Series, Startup, StartupStep
from roadworthy.watch.operations import attempt

if TYPE_CHECKING:
    from pathlib import Path

    from roadworthy.arena.records import RawInFlight, RawMark, RawSeries

SCHEMA: Final = 1
PATIENCE: Final = 3
"""Ticks that a file may take until it can be read, before it is reported as broken."""

RETRY_EVERY: Final = 10
MOST_BROKEN: Final = 20
WORK: Final = frozenset({"heartbeat", "loop", "progress"})
"""Kinds of beats that tell that a program does its work; the others tell that the interpreter is well."""

LISTENING: Final = "listening"
"""The checkpoint of a program that listens on its ``--port``."""

STATE_FILE: Final = "totals.json"
"""The totals of the dead, in the state directory."""

_LEVELS: Final = {0: "notset", 1: "debug", 2: "info", 3: "warning", 4: "error", 5: "critical"}


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


@dataclass(frozen=True, slots=True)
class Collected:
    """Everything in all arenas at one instant.

    ``events`` are those that are new since the last time, oldest first; ``known`` those that an agent before this one
    has counted already; ``changed`` the series that are not as they were; ``anew`` that some may be gone;
    ``gauges_set`` when the gauges that were set since the last time were set last (name to wall seconds).
    """

    processes: tuple[Process, ...] = ()
    series: tuple[Series, ...] = ()
    changed: tuple[Series, ...] = ()
    anew: bool = False
    gauges_set: Mapping[str, float] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    known: tuple[Event, ...] = ()
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


class Collector:
    """Reads the arenas below ``directory``; totals live below ``state``. :meth:`close` unmaps.

    ``positions`` tell how far events were already counted (by an agent before this one); events up to there are
    returned marked as known, in :attr:`Collected.known`.
    """

    def __init__(self, directory: Path, state: Path, positions: Mapping[str, int] | None = None) -> None:
        self._directory = directory
        self._file = state / STATE_FILE
        self._open: dict[Path, _Open] = {}
        self._broken: dict[Path, tuple[str, int]] = {}
        self._totals = Totals()
        self._merger = Merger()
        self._retired: dict[str, None] = {}
        self._before = dict(positions or {})
        self._missed = 0
        self._overflowed_dead = 0
        self._internal_dead = 0
        self._tick = 0
        self.notices: list[str] = []
        self._load()

    # -- reading

    def collect(self, now_ns: int, now: float) -> Collected:
        """Return what all arenas say at ``now_ns`` (monotonic) and ``now`` (wall)."""
        self._tick += 1
        self._scan()
        processes: list[Process] = []
        parts: list[Part] = []
        events: list[Event] = []
        known: list[Event] = []
        touched: dict[str, float] = {}
        overflowed, internal, size = self._overflowed_dead, self._internal_dead, 0
        for path, one in list(self._open.items()):
            reader = one.reader
            try:
                # In this order: what is read after the process was seen dead is final.
                one.dead = one.dead or not arenas.alive(reader)
                reader.refresh()
                changed = reader.take_changed()
                one.learn(changed)
                process = _process(one, now_ns, now)
                self._events(one, process, now_ns, now, events, known)
            except (ArenaError, Unavailable) as error:
                self._break(path, str(error))
                continue
            processes.append(process)
            set_again = reader.take_touched()
            parts.append(Part(one.key, reader.series(), (*changed, *set_again), one.dead))
            if not one.dead:
                _touched(set_again, now_ns, now, touched)
            overflowed += reader.overflowed
            internal += reader.internal_errors
            size += reader.bytes
        changed_series = self._merger.update(parts, self._totals)
        events.sort(key=lambda event: event.at)
        known.sort(key=lambda event: event.at)
        processes.sort(key=lambda process: (process.slot is None, process.slot or 0, process.created))
        return Collected(
            processes=tuple(processes),
            series=self._merger.series(),
            changed=tuple(changed_series),
            anew=self._merger.anew,
            gauges_set=touched,
            events=tuple(events),
            known=tuple(known),
            missed=self._missed,
            overflowed=overflowed,
            internal_errors=internal,
            arena_bytes=size,
            broken=tuple(why for why, _ in self._broken.values() if why),
        )

    def shows_work(self, pid: int, slot: int, generation: int) -> bool:
        """Return whether a worker has marked itself ready, sent a signal of life or begun an operation.

        A cheap look between two ticks that takes nothing: what is found is read again by the next :meth:`collect`.
        """
        for path in arenas.scan(self._directory):
            one = self._open.get(path)
            try:
                reader = one.reader.refresh() if one is not None else arenas.Reader(path)
            except (RoadworthyError, OSError):
                continue  # it is just being made, or broken, which collect() reports
            try:
                if (reader.pid == pid or (reader.slot, reader.generation) == (slot, generation)) and _works(reader):
                    return True
            finally:
                if one is None:
                    reader.close()
        return False

    def positions(self) -> dict[str, int]:
        """Return how far the events of each arena have been taken."""
        return {one.key: one.last_seq for one in self._open.values()}

    def _scan(self) -> None:
        present = set(arenas.scan(self._directory))
        for path in [path for path in self._broken if path not in present]:
            del self._broken[path]
        for path in [path for path in self._open if path not in present]:
            self._open.pop(path).reader.close()
        for path in sorted(present - self._open.keys()):
            key = path.name.removesuffix(".arena")
            if key in self._retired:
                arenas.remove(path)
                continue
            tries = self._broken[path][1] if path in self._broken else 0
            if tries > PATIENCE and self._tick % RETRY_EVERY:
                continue
            try:
                reader = arenas.Reader(path)
            except (RoadworthyError, OSError) as error:
                self._break(path, str(error))
                continue
            self._broken.pop(path, None)
            self._open[path] = _Open(reader, key, -1)

    def _break(self, path: Path, why: str) -> None:
        """Note a file that cannot be read; one that is just being made gets a few seconds before it is reported."""
        one = self._open.pop(path, None)
        if one is not None:
            one.reader.close()
        tries = self._broken[path][1] + 1 if path in self._broken else 1
        if len(self._broken) < MOST_BROKEN or path in self._broken:
            said = f"{path.name}: {' '.join(why.split())}" if tries > PATIENCE or one is not None else ""
            self._broken[path] = (said, tries)

    def _events(
        self, one: _Open, process: Process, now_ns: int, now: float, events: list[Event], known: list[Event]
    ) -> None:
        first = one.last_seq < 0
        found, missed = one.reader.events(one.last_seq, dead=one.dead)
        counted = self._before.get(one.key, -1)
        if first:  # what an agent before us has taken is overwritten by now, and not missed
            missed -= min(missed, counted + 1 - sum(raw.seq <= counted for raw in found))
        for raw in found:
            one.last_seq = max(one.last_seq, raw.seq)
            at = now if raw.at_ns is None else now - (now_ns - raw.at_ns) / _clock.NS
            made = Event(
                kind=EventKind(raw.kind),
                at=at,
                level=_LEVELS.get(raw.level // 10, "info"),
                source=raw.source,
                text=raw.text,
                pid=process.pid,
                slot=process.slot,
                seq=raw.seq,
                fields=raw.fields,
                torn=raw.torn,
            )
            (known if raw.seq <= counted else events).append(made)
        self._missed += missed

    # -- the dead

    def series_of(self, key: str) -> tuple[Series, ...]:
        """Return the last figures of one process's arena; empty when it is not open."""
        one = self._find(key)
        return tuple(merge([(key, one.reader.series())])) if one is not None else ()

    def retire(self, keys: Iterable[str]) -> None:
        """Add dead processes to the totals and remove their files; their last words must have been taken.

        Raises :class:`Exhausted` or :class:`Unavailable` when the totals cannot be written; the files then stay and the
        same call can be made again.
        """
        chosen = [(path, one) for path, one in self._open.items() if one.key in set(keys) and one.dead]
        if not chosen:
            return
        totals = self._totals
        overflowed, internal = self._overflowed_dead, self._internal_dead
        for _, one in chosen:
            totals = retire(totals, one.reader.series())
            overflowed += one.reader.overflowed
            internal += one.reader.internal_errors
        present = {path.name.removesuffix(".arena") for path in arenas.scan(self._directory)}
        retired = {key: None for key in (*self._retired, *(one.key for _, one in chosen)) if key in present}
        self._save(totals, retired, overflowed, internal)
        self._totals, self._retired = totals, retired
        self._overflowed_dead, self._internal_dead = overflowed, internal
        for path, one in chosen:
            del self._open[path]
            one.reader.close()
            arenas.remove(path)
            (self._directory / f"stacks-{one.reader.pid}").unlink(missing_ok=True)

    def _find(self, key: str) -> _Open | None:
        return next((one for one in self._open.values() if one.key == key), None)

    def close(self) -> None:
        """Unmap all arenas."""
        for one in self._open.values():
            one.reader.close()
        self._open.clear()

    def _save(self, totals: Totals, retired: Mapping[str, None], overflowed: int, internal: int) -> None:
        content = {
            "schema": SCHEMA,
            "retired": list(retired),
            "overflowed": overflowed,
            "internal_errors": internal,
            "totals": totals.to_json(),
        }
        write_atomically(self._file, json.dumps(content))

    def _load(self) -> None:
        try:
            raw = json.loads(self._file.read_text("utf-8"))
            check_schema(raw, SCHEMA)
            self._totals = Totals.from_json(raw["totals"])
            self._retired = dict.fromkeys(raw["retired"])
            self._overflowed_dead = int(raw["overflowed"])
            self._internal_dead = int(raw["internal_errors"])
        except FileNotFoundError:
            return
        except (OSError, KeyError, TypeError, ValueError) as error:
            self._set_aside(str(error))

    def _set_aside(self, why: str) -> None:
        aside = self._file.with_suffix(".json.broken")
        self._file.replace(aside)
        self._totals, self._retired = Totals(), {}
        self.notices.append(f"the totals of ended processes could not be read ({why}); set aside as {aside.name}")


def _works(reader: arenas.Reader) -> bool:
    return (
        any(beat.kind in WORK and beat.last_ns is not None for beat in reader.beats())
        or any(map(_ready, reader.marks()))
        or bool(reader.inflight())
    )


def _ready(mark: RawMark) -> bool:
    """Return whether the program said that it is ready, or took the port that the keeper holds for it."""
    return mark.kind == "ready" or (mark.kind == "checkpoint" and mark.label == LISTENING)


def _process(one: _Open, now_ns: int, now: float) -> Process:
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
        marked_ready=any(map(_ready, marks)),
        recorded=one.recorded,
    )


def _startup(reader: arenas.Reader, marks: list[RawMark], now_ns: int, now: float) -> Startup | None:
    if not marks:
        return None
    began = next((mark.at_ns for mark in marks if mark.kind == "began"), reader.created_ns)
    steps: list[StartupStep] = []
    before = 0.0
    total: float | None = None
    for mark in marks:
        if mark.kind == "began":
            continue
        at = max(0.0, (mark.at_ns - began) / _clock.NS)
        steps.append(StartupStep(mark.label or mark.kind, at, max(0.0, at - before)))
        before = at
        if mark.kind == "ready" and total is None:
            total = at
    return Startup(reader.pid, reader.slot, now - (now_ns - began) / _clock.NS, total, tuple(steps))


def _touched(series: Iterable[RawSeries], now_ns: int, now: float, touched: dict[str, float]) -> None:
    newest: dict[str, int] = {}
    for one in series:
        if one.updated_ns > newest.get(one.name, 0):
            newest[one.name] = one.updated_ns
    for name, at_ns in newest.items():
        touched[name] = max(touched.get(name, 0.0), now - (now_ns - at_ns) / _clock.NS)


def _version(number: int) -> str:
    """Return ``sys.hexversion`` as people write it."""
    return f"{number >> 24 & 255}.{number >> 16 & 255}.{number >> 8 & 255}" if number > 0 else ""
