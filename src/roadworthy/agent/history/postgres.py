"""History in PostgreSQL: the local one is written first, and a thread carries what is finished to the shared database.

So a database that is slow or away costs the watching nothing: what is kept meanwhile waits in the local files, for six
hours at most, and :attr:`PostgresHistory.trouble` says so. Answers come from both.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from roadworthy import _clock
from roadworthy.agent.history import answer
from roadworthy.agent.history.remote import Remote
from roadworthy.agent.history.sqlite import SqliteHistory, bundle_from, summary_from
from roadworthy.agent.history.tiers import KEEP_FINE, KEEP_MIDDLE, Block
from roadworthy.errors import RoadworthyError

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from roadworthy.types import IncidentSummary

LOCAL_HOURS: Final = 6.0
CARRY_EVERY: Final = 2.0
"""Seconds between two looks for something to carry."""

AT_ONCE: Final = 100
PRUNE_EVERY: Final = 3_600.0


class _Load(NamedTuple):
    """What is carried in one go: its keys in the outbox, tiles, (number, name) that are new, incidents."""

    keys: list[tuple[Any, ...]]
    blocks: list[Block]
    names: list[tuple[int, str]]
    incidents: list[tuple[str, float, str, bytes]]


class PostgresHistory:
    """History of one application in the database of ``url``, with what is not there yet below ``directory``.

    Agents of other applications and hosts may share the database: each sees its own ``source``. A database that is
    away at the start is no failure. Raises as :class:`~roadworthy.agent.history.sqlite.SqliteHistory` does, and
    :class:`ConfigurationError` when psycopg is missing.
    """

    def __init__(
        self,
        url: str,
        directory: Path,
        app: str,
        *,
        retention_hours: float = 168.0,
        source: str | None = None,
        now: float | None = None,
        carry_every: float = CARRY_EVERY,
    ) -> None:
        self._retention = retention_hours * 3600.0
        self._source = source or f"{app}@{socket.gethostname()}"
        self._carrying = Remote(url, self._source)
        self._asking = Remote(url, self._source)
        self._local = SqliteHistory(
            directory,
            retention_hours=retention_hours,
            tiles_hours=min(LOCAL_HOURS, retention_hours),
            now=now,
            outbox=True,
        )
        self._ask = threading.Lock()
        self._names: dict[int, str] = {}
        self._store: int | None = None
        self._identity = ""
        self._pruned = 0.0
        self._every = carry_every
        self.trouble: RoadworthyError | None = None
        """Why the database cannot be used now."""
        self._up = threading.Event()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._carry_on, name="history", daemon=True)
        self._thread.start()

    @property
    def notices(self) -> list[str]:
        """What there is to say, to be taken out by who shows it."""
        return self._local.notices

    @property
    def refused(self) -> set[str]:
        """Names beyond what there is room for."""
        return self._local.refused

    # -- History

    def append(self, at: float, values: Mapping[str, float]) -> None:
        """Keep the figures of one second.

        Raises as the local history does, and when they are kept but the database cannot be used now, why.
        """
        self._local.append(at, values)
        trouble = self.trouble
        if trouble is not None:
            raise trouble.with_traceback(None)  # it is raised every second: frames would pile up

    def query(
        self, names: Sequence[str], start: float, end: float, points: int
    ) -> Mapping[str, Sequence[tuple[float, float | None]]]:
        """Return figures over time as the local history does; what only the database knows is taken from there.

        While the database is away the local files answer alone.
        """
        if end <= start or points < 1:
            return {name: [] for name in names}
        if self._up.is_set():
            try:
                with self._ask:
                    return self._from_both(names, start, end, points)
            except RoadworthyError as error:
                self._down(error)
        return self._local.query(names, start, end, points)

    def keep_for(self, hours: float) -> None:
        """Keep figures for so long from now on, here and in the database."""
        self._retention = hours * 3600.0
        self._local.keep_for(hours)

    def add_incident(self, summary: IncidentSummary, bundle: Mapping[str, object]) -> None:
        """Keep an incident; raises as the local history does."""
        self._local.add_incident(summary, bundle)

    def incidents(self, limit: int = 50) -> Sequence[IncidentSummary]:
        """Return the newest incidents first, those of earlier local files too."""
        found = {one.id: one for one in self._local.incidents(limit)}
        if self._up.is_set():
            try:
                with self._ask:
                    for raw in self._asking.incidents(limit):
                        found.setdefault(str(raw["id"]), summary_from(raw))
            except RoadworthyError as error:
                self._down(error)
        return sorted(found.values(), key=lambda one: one.at, reverse=True)[:limit]

    def incident(self, incident_id: str) -> Mapping[str, object] | None:
        """Return one incident's bundle, or None."""
        found = self._local.incident(incident_id)
        if found is None and self._up.is_set():
            try:
                with self._ask:
                    packed = self._asking.incident(incident_id)
            except RoadworthyError as error:
                self._down(error)
            else:
                return None if packed is None else bundle_from(packed)
        return found

    def size(self) -> int:
        """Return how many bytes the local files take."""
        return self._local.size()

    def close(self) -> None:
        """Carry what is left when the database is there, and release everything; takes a few seconds at most."""
        self._end.set()
        self._thread.join(timeout=5.0)
        with self._ask:
            self._asking.close()
        if not self._thread.is_alive():
            self._carrying.close()
        self._local.close()

    # -- carrying

    def _carry_on(self) -> None:
        while True:
            ended = self._end.wait(self._every)
            try:
                while self._carry():
                    pass
            except RoadworthyError as error:
                self._down(error)
            if ended or self._end.is_set():
                return

    def _carry(self) -> bool:
        """Carry one load; returns whether there may be more."""
        identity = self._local.identity()
        if self._store is None or identity != self._identity:
            self._store, self._identity = self._carrying.store(identity), identity
            self._names.clear()
        load = self._local.work(self._load)
        if not load.keys:
            self._carrying.ask()
        if load.names:
            self._carrying.put_names(self._store, load.names)
            self._names.update(load.names)
        if load.blocks:
            self._carrying.put_blocks(self._store, load.blocks)
        for incident in load.incidents:
            self._carrying.put_incident(*incident)
        self._delete(load.keys)
        now = _clock.wall()
        if now - self._pruned > PRUNE_EVERY:
            self._pruned = now
            for tier, keep in enumerate((KEEP_FINE, KEEP_MIDDLE, self._retention)):
                self._carrying.prune(tier, self._newest(now) - min(keep, self._retention))
        self.trouble = None
        self._up.set()
        return len(load.keys) >= AT_ONCE

    def _newest(self, now: float) -> float:
        return min(now, self._local.last or now)

    def _load(self, db: sqlite3.Connection) -> _Load:
        found = _Load(db.execute("SELECT kind, a, b, c, d, id FROM outbox LIMIT ?", (AT_ONCE,)).fetchall(), [], [], [])
        for kind, tier, what, start, part, incident_id in found.keys:
            if kind == "tile":
                for (data,) in db.execute(
                    "SELECT block FROM tiles WHERE tier = ? AND what = ? AND part = ? AND start = ?",
                    (tier, what, part, start),
                ):
                    found.blocks.append(Block(tier, what, start, part, data))
            else:
                found.incidents.extend(
                    db.execute("SELECT id, at, summary, bundle FROM incidents WHERE id = ?", (incident_id,))
                )
        if found.blocks:
            rows = db.execute("SELECT id, name FROM series")
            found.names.extend((number, name) for number, name in rows if self._names.get(number) != name)
        return found

    def _delete(self, keys: Sequence[tuple[Any, ...]]) -> None:
        def delete(db: sqlite3.Connection) -> None:
            with db:
                db.executemany("DELETE FROM outbox WHERE (kind, a, b, c, d, id) = (?, ?, ?, ?, ?, ?)", keys)

        self._local.work(delete)

    def _down(self, error: RoadworthyError) -> None:
        self.trouble = error
        self._up.clear()

    # -- asking both

    def _from_both(
        self, names: Sequence[str], start: float, end: float, points: int
    ) -> dict[str, Sequence[tuple[float, float | None]]]:
        first, step, count = answer.grid(start, end, points)
        bare = {name: name.removesuffix(answer.MAXIMUM) for name in names}
        local = {name: self._local.column(told) for name, told in bare.items()}
        remote = self._asking.columns(sorted(set(bare.values())))
        identity = self._local.identity()
        until = first + step * count
        found: dict[str, Sequence[tuple[float, float | None]]] = {}
        for name in names:
            most = name != bare[name]
            column, stores = local[name], remote[bare[name]]
            if column is None and not stores:
                found[name] = []
                continue
            told = list[tuple[float, float, int]]()
            for whose, store, number in stores:
                if whose != identity or number != column:
                    tiles = _Tiles(self._asking, store)
                    told.extend(answer.samples(tiles, (), number, first, until, step, most=most))
            if column is not None:
                newest = self._local.newest(column)
                tiles = _Tiles(self._asking, self._store if self._store is not None else -1, self._local)
                told.extend(answer.samples(tiles, newest, column, first, until, step, most=most))
            found[name] = answer.pairs(told, first, step, count, most=most)
        return found


class _Tiles:
    """The tiles of one store: those in the database and, of the store that is here, the local ones too."""

    def __init__(self, remote: Remote, store: int, local: SqliteHistory | None = None) -> None:
        self._remote = remote
        self._store = store
        self._local = local

    def blocks(self, tier: int, what: int, part: int, after: float, before: float) -> Sequence[tuple[int, bytes]]:
        """Return (start, content) of tiles, each once."""
        found = dict(self._remote.blocks(self._store, tier, what, part, after, before))
        if self._local is not None:
            found.update(self._local.blocks(tier, what, part, after, before))
        return sorted(found.items())

    def first(self, tier: int) -> float | None:
        """Return where a tier begins."""
        found = [self._remote.first(self._store, tier), self._local.first(tier) if self._local is not None else None]
        return min((start for start in found if start is not None), default=None)
