"""All arenas of an application, once a second: what lives is read through open mappings, what died is counted for ever.

A dead process's counters and histograms go into the totals, its last words are kept until somebody has taken them, and
only then its files are removed. The totals and the identities of what was added to them are one file, replaced
atomically: an agent that dies between "added" and "removed" neither loses nor counts twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from roadworthy import _clock
from roadworthy.agent.process import OpenArena, Process, lame, process_of, works
from roadworthy.agent.statefiles import check_schema, write_atomically
from roadworthy.arena import reader as arenas
from roadworthy.arena.merge import Merger, Part, merge
from roadworthy.arena.totals import Totals, retire
from roadworthy.errors import ArenaError, RoadworthyError, Unavailable
from roadworthy.types import Event, EventKind, Series

if TYPE_CHECKING:
    from pathlib import Path

    from roadworthy.arena.records import RawSeries

SCHEMA: Final = 1
PATIENCE: Final = 3
"""Ticks that a file may take until it can be read, before it is reported as broken."""

RETRY_EVERY: Final = 10
MOST_BROKEN: Final = 20
STATE_FILE: Final = "totals.json"
"""The totals of the dead, in the state directory."""

_LEVELS: Final = {0: "notset", 1: "debug", 2: "info", 3: "warning", 4: "error", 5: "critical"}


@dataclass(frozen=True, slots=True)
class Collected:
    """Everything in all arenas at one instant.

    ``events`` are those that are new since the last time, oldest first; ``known`` those that an agent before this one
    has counted already; ``changed`` the series that are not as they were and ``places`` where they stand in ``series``;
    ``anew`` that some may be gone and that all may stand elsewhere; ``layout`` changes when any came, went or moved;
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
    places: Sequence[int] = ()
    layout: int | None = None

    def of(self, pid: int | None) -> Process | None:
        """Return the newest arena of a process, or None."""
        found = [one for one in self.processes if one.pid == pid]
        return found[-1] if found else None


class Collector:
    """Reads the arenas below ``directory``; totals live below ``state``. :meth:`close` unmaps.

    ``positions`` tell how far events were already counted (by an agent before this one); events up to there are
    returned marked as known, in :attr:`Collected.known`.
    """

    def __init__(self, directory: Path, state: Path, positions: Mapping[str, int] | None = None) -> None:
        self._directory = directory
        self._file = state / STATE_FILE
        self._open: dict[Path, OpenArena] = {}
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
                process = process_of(one, now_ns, now)
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
            places=self._merger.places,
            layout=self._merger.layout,
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
        with self._glance() as readers:
            return any(
                (one.pid == pid or (one.slot, one.generation) == (slot, generation)) and works(one) for one in readers
            )

    def lame(self, slot: int, generation: int) -> tuple[int, ...] | None:
        """Return the living processes of a worker when all that may serve are lame ducks; None as long as one is not.

        A process that others descend from is not asked: it only starts those who serve.
        """
        with self._glance() as readers:
            own = [one for one in readers if (one.slot, one.generation) == (slot, generation) and arenas.alive(one)]
            parents = {one.ppid for one in own}
            serving = [one for one in own if one.pid not in parents]
            return tuple(one.pid for one in own) if serving and all(map(lame, serving)) else None

    @contextmanager
    def _glance(self) -> Iterator[Iterator[arenas.Reader]]:
        """Look at all arenas between two ticks; one that is just being made, or broken, is passed over."""
        extra: list[arenas.Reader] = []

        def look() -> Iterator[arenas.Reader]:
            for path in arenas.scan(self._directory):
                one = self._open.get(path)
                try:
                    if one is None:
                        extra.append(arenas.Reader(path))
                    yield one.reader.refresh() if one is not None else extra[-1]
                except (RoadworthyError, OSError):
                    continue  # collect() reports it

        try:
            yield look()
        finally:
            for reader in extra:
                reader.close()

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
            self._open[path] = OpenArena(reader, key, -1)

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
        self, one: OpenArena, process: Process, now_ns: int, now: float, events: list[Event], known: list[Event]
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

    def _find(self, key: str) -> OpenArena | None:
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


def _touched(series: Iterable[RawSeries], now_ns: int, now: float, touched: dict[str, float]) -> None:
    newest: dict[str, int] = {}
    for one in series:
        if one.updated_ns > newest.get(one.name, 0):
            newest[one.name] = one.updated_ns
    for name, at_ns in newest.items():
        touched[name] = max(touched.get(name, 0.0), now - (now_ns - at_ns) / _clock.NS)
