"""What can be told when no agent runs: the arenas themselves, read and merged once.

Nobody judges then, so the verdict is unknown and its reason says so; figures that need a past (rates, CPU) are unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from roadworthy import _clock
from roadworthy.arena.layout import FLAG_DESCENDANT
from roadworthy.arena.merge import merge
from roadworthy.arena.reader import Reader, alive, scan
from roadworthy.errors import ArenaError, NotRunning, Unavailable
from roadworthy.types import (
    Beat,
    Finding,
    InFlight,
    Liveness,
    Operation,
    Overhead,
    Resources,
    Series,
    Severity,
    Snapshot,
    Status,
    Verdict,
    Worker,
    WorkerState,
)
from roadworthy.view import client
from roadworthy.watch.operations import Windows
from roadworthy.watch.policies import Policies
from roadworthy.watch.services import Dependencies

if TYPE_CHECKING:
    from roadworthy.config.places import Places

NS = _clock.NS


def snapshot(place: Places) -> Snapshot:
    """Return what the arenas and the keeper's file tell; raises :class:`NotRunning` when there is nothing."""
    now, now_ns = _clock.wall(), _clock.monotonic_ns()
    readers, broken = _open(place)
    keeper = _keeper(place)
    workers = [_worker(reader, now) for reader in readers if not reader.flags & FLAG_DESCENDANT]
    workers += _without_arena(place, {one.slot for one in workers if one.state is not WorkerState.EXITED}, now, now_ns)
    running = sum(one.state is not WorkerState.EXITED for one in workers)
    if not readers and keeper is None and not running:
        raise NotRunning(
            f"no application {place.app!r} is running",
            why="It has no arena and no keeper.",
            hint="roadworthy run -- COMMAND",
        )
    try:
        series = tuple(merge([(reader.key, reader.series()) for reader in readers]))
        living = [reader for reader in readers if alive(reader)]
        in_flight = tuple(flight for reader in living for flight in _in_flight(reader, now_ns))
        policies, dependencies = Policies(), Dependencies()
        policies.take(now_ns / NS, now, series, None, ())
        dependencies.take(series, None, ())
        return Snapshot(
            app=place.app,
            at=now,
            tick=0,
            mono_ns=now_ns,
            started=_started(readers, keeper, now),
            verdict=_verdict(len(readers), max(len(living), running), broken, now),
            workers=tuple(workers),
            series=series,
            operations=_operations(series, in_flight, now_ns / NS),
            in_flight=in_flight,
            policies=policies.summaries(now_ns / NS, (), {}),
            features=dependencies.features(now_ns / NS, (), {}),
            beats=tuple(beat for reader in living for beat in _beats(reader, now_ns)),
            overhead=Overhead(arena_bytes=sum(reader.bytes for reader in readers), series=len(series)),
            keeper_pid=keeper.get("pid") if keeper else None,
        )
    finally:
        for reader in readers:
            reader.close()


def _open(place: Places) -> tuple[list[Reader], list[str]]:
    readers, broken = [], []
    for path in scan(place.arena):
        try:
            readers.append(Reader(path))
        except (ArenaError, Unavailable) as error:
            broken.append(error.what)
    readers.sort(key=lambda reader: (reader.slot is None, reader.slot, reader.pid))
    return readers, broken


def _keeper(place: Places) -> dict[str, Any] | None:
    found = client.read_json(place.run / "keeper.json")
    return found if found is not None and client.alive(found) else None


def _started(readers: list[Reader], keeper: dict[str, Any] | None, now: float) -> float:
    if keeper is not None and isinstance(keeper.get("started_wall"), int | float):
        return float(keeper["started_wall"])
    return min((reader.created_wall_ns / NS for reader in readers), default=now)


def _verdict(arenas: int, living: int, broken: list[str], now: float) -> Verdict:
    """Return the verdict nobody has judged: ``arenas`` were found, ``living`` processes of the program run."""
    findings = tuple(Finding("arena", Status.UNKNOWN, what, Severity.ERROR) for what in broken)
    if living:
        reason = f"no agent: {living} of its processes are running, {arenas} arenas were found, nobody judges them"
    else:
        reason = "no agent, and no process of it is running"
    return Verdict(Status.UNKNOWN, reason, now, findings, live=bool(living), ready=False, started=False)


def _operations(series: Sequence[Series], in_flight: Sequence[InFlight], now: float) -> tuple[Operation, ...]:
    """Return the operations over their whole life; one reading knows no rate."""
    windows = Windows()
    windows.update(now - 1, ())
    windows.update(now, series)
    return tuple(
        replace(one, rate=None) for one in windows.operations(now, Counter(flight.name for flight in in_flight))
    )


def _worker(reader: Reader, now: float) -> Worker:
    running = alive(reader)
    made = reader.created_wall_ns / NS
    ready = any(mark.kind == "ready" for mark in reader.marks())
    state = (WorkerState.READY if ready else WorkerState.STARTING) if running else WorkerState.EXITED
    told = "said that it is ready" if ready else "has not said that it is ready"
    return Worker(
        slot=-1 if reader.slot is None else reader.slot,
        generation=reader.generation,
        pid=reader.pid,
        state=state,
        since=min(made, now),
        started=made,
        liveness=Liveness.UNKNOWN,
        reason=f"no agent: running, {told}" if running else "no agent: ended, its last words are still in its arena",
        resources=Resources(),
        restarts=max(0, reader.generation - 1),
        injected=None,
    )


def _without_arena(place: Places, shown: set[int], now: float, now_ns: int) -> list[Worker]:
    """Return the workers of the keeper's file that run and of which no arena tells: programs in other languages."""
    index = client.read_json(place.run / "keeper.json") or {}
    try:
        rows = [{**row, "boot_id": index.get("boot_id")} for row in index.get("slots", ())]
        return [
            Worker(
                slot=row["slot"],
                generation=row["generation"],
                pid=row["pid"],
                state=WorkerState.STARTING,
                since=now - max(0.0, (now_ns - row["started_ns"]) / NS),
                started=now - max(0.0, (now_ns - row["started_ns"]) / NS),
                liveness=Liveness.UNKNOWN,
                reason="no agent: running, it has no arena that could tell more",
                resources=Resources(),
                restarts=max(0, row["generation"] - 1),
                injected=None,
            )
            for row in rows
            if row["slot"] not in shown and client.alive(row)
        ]
    except (KeyError, TypeError):
        return []  # no keeper of this version wrote that


def _in_flight(reader: Reader, now_ns: int) -> list[InFlight]:
    return [
        InFlight(
            name=one.name,
            pid=reader.pid,
            slot=reader.slot,
            age=max(0.0, (now_ns - one.start_ns) / NS),
            context=one.context,
            parent=one.parent,
            thread=one.thread,
        )
        for one in reader.inflight()
    ]


def _beats(reader: Reader, now_ns: int) -> list[Beat]:
    return [
        Beat(
            name=one.name,
            kind=one.kind,
            pid=reader.pid,
            slot=reader.slot,
            count=one.count,
            age=None if one.last_ns is None else max(0.0, (now_ns - one.last_ns) / NS),
            every=None if one.every_ns is None else one.every_ns / NS,
        )
        for one in reader.beats()
    ]
