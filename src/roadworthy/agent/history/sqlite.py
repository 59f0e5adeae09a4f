"""History in SQLite: tiles in three resolutions, incidents, and a mapped file for the newest minutes.

One second for an hour, ten seconds for a day, one minute for the retention. A coarser tile is made from finer ones and
keeps mean and maximum (extremes between samples count): ask for ``name:max`` to get the latter.

A broken database is set aside and a new one begun; :attr:`SqliteHistory.notices` then says so.
"""

from __future__ import annotations

import json
import math
import os
import threading
import zlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, TypeVar

from roadworthy import _clock
from roadworthy.agent.history import answer
from roadworthy.agent.history.database import Database
from roadworthy.agent.history.head import ROWS, Head
from roadworthy.agent.history.keeping import Keeping, Work
from roadworthy.agent.history.tiers import MEAN
from roadworthy.agent.history.tile import COLUMNS, GAP
from roadworthy.config.places import private
from roadworthy.types import ExitStatus, IncidentSummary

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable
    from pathlib import Path

T = TypeVar("T")

MOST_NAMES: Final = 2_000
MOST_LENGTH: Final = 400
INCIDENTS_KEPT: Final = 500


class SqliteHistory:
    """History of one application below ``directory``; :meth:`close` flushes and releases.

    With ``outbox`` the keys of what is new are noted for somebody who carries it elsewhere; ``tiles_hours`` then is how
    long it waits here, while names are known for the whole retention.

    Raises :class:`Exhausted` when the disk is full, :class:`Unavailable` when the directory cannot be used.
    """

    def __init__(
        self,
        directory: Path,
        *,
        retention_hours: float = 168.0,
        tiles_hours: float | None = None,
        now: float | None = None,
        outbox: bool = False,
    ) -> None:
        self._directory = private(directory)
        self._retention = retention_hours * 3600.0
        self._outbox = outbox
        self._tiles_hours = tiles_hours
        self.lock = threading.RLock()
        """Held while something is kept, and for the short while that reading takes; never while tiles are decoded."""
        self.notices: list[str] = []
        self.refused: set[str] = set()
        self._ids: dict[str, int] = {}
        self._order: tuple[str, ...] = ()
        self._columns: list[int] = []
        self._seen: dict[str, float] = {}
        self.last = 0.0
        """When something was kept last (wall seconds), 0 before."""
        self._identity: str | None = None
        self._head = Head(self._directory / "head", MOST_NAMES)
        self._keeping: Keeping | None = None
        self._database = Database(self._directory / "history.db", self._begun_anew)
        tiles = self._retention if tiles_hours is None else tiles_hours * 3600.0
        self._keeping = Keeping(self._head, self._database, self._parts, tiles, outbox=outbox)
        self._load_names()
        at = _clock.wall() if now is None else now
        self._keeping.begin(int(at) - int(at) % ROWS)

    def keep_for(self, hours: float) -> None:
        """Keep figures for so long from now on; what is older goes with the next clearing."""
        with self.lock:
            self._retention = hours * 3600.0
            if self._keeping is not None:
                self._keeping.keep_for(3600.0 * min(hours, self._tiles_hours or hours))

    def work(self, act: Callable[[sqlite3.Connection], T]) -> T:
        """Do something else with the database, under the lock; raises as :meth:`append` does."""
        with self.lock:
            return self._database.run(lambda: act(self.db))

    @property
    def db(self) -> sqlite3.Connection:
        """The database; hold :attr:`lock` while using it."""
        return self._database.connection

    def _begun_anew(self, notice: str) -> None:
        self.notices.append(notice)
        for half in (0, 1):
            self._head.clear(half)
        self._ids, self._order, self._identity = {}, (), None
        if self._keeping is not None:
            self._keeping.forget()

    # -- keeping

    def append(self, at: float, values: Mapping[str, float]) -> None:
        """Keep the figures of one second; a second one within the same second replaces it.

        Names beyond 2 000 are refused and listed in :attr:`refused`. Raises :class:`Exhausted` when the disk is full;
        what was kept in the newest minute stays, and its compression is tried again.
        """
        assert self._keeping is not None  # noqa: S101 - made with us
        second = int(at)
        minute = second - second % ROWS
        with self.lock:
            row = self._row(at, values)
            self._keeping.make_room(second)
            self._head.put(second, row)
            self._keeping.step(minute, at, self._prune)

    def _row(self, at: float, values: Mapping[str, float]) -> array[float]:
        order = tuple(values)
        if order != self._order:
            if not values.keys() <= self._ids.keys():
                self._learn([name for name in order if name not in self._ids and name not in self.refused], at)
            self._seen.update(dict.fromkeys(self._order, self.last))
            self._order = order
            self._columns = [self._ids.get(name, -1) for name in order]
        self.last = at
        row = array("d", [GAP]) * (MOST_NAMES + 1)
        figures: Iterable[float] = values.values()
        if not math.isfinite(sum(figures)):
            figures = [value if math.isfinite(value) else GAP for value in figures]
        for column, value in zip(self._columns, figures, strict=True):
            row[column] = value
        row.pop()  # where names went that were refused
        return row

    def _prune(self, at: float) -> Work:
        """Drop what is older than its tier is kept for, and names that have not been seen for the whole retention."""
        assert self._keeping is not None  # noqa: S101 - made with us
        yield from self._keeping.prune(at)
        seen, self._seen = self._seen | dict.fromkeys(self._order, self.last), {}
        rows = [(when, name) for name, when in seen.items()]
        for begin in range(0, len(rows), 500):
            with self.db:
                self.db.executemany("UPDATE series SET seen = ? WHERE name = ?", rows[begin : begin + 500])
            yield
        with self.db:
            self.db.execute("DELETE FROM series WHERE seen < ?", (at - self._retention - 7200,))
        self._load_names()
        self.refused.clear()
        yield

    def _parts(self) -> int:
        return max(self._ids.values(), default=-1) // COLUMNS + 1

    def _load_names(self) -> None:
        self._ids = {
            name: number for number, name in self.db.execute("SELECT id, name FROM series WHERE id < ?", (MOST_NAMES,))
        }
        self._order = ()

    def _learn(self, names: Sequence[str], at: float) -> None:
        """Give columns to new names, in one transaction; those that find no room are refused."""
        free = sorted(set(range(MOST_NAMES)) - set(self._ids.values()), reverse=True)
        rows: list[tuple[int, str, float]] = []
        for name in names:
            if free and len(name) <= MOST_LENGTH:
                rows.append((free.pop(), name, at))
            elif len(self.refused) < MOST_NAMES:
                self.refused.add(name)

        def insert() -> None:
            with self.db:
                self.db.executemany("INSERT OR REPLACE INTO series VALUES (?, ?, ?)", rows)

        if rows:
            self._database.run(insert)
            self._ids.update((name, column) for column, name, _ in rows)

    # -- asking

    def query(
        self, names: Sequence[str], start: float, end: float, points: int
    ) -> Mapping[str, Sequence[tuple[float, float | None]]]:
        """Return at most ``points`` (time, value) pairs per name between ``start`` and ``end``; a gap is None.

        A pair's time is the beginning of its step; its value the mean over the step, of ``name:max`` the maximum.
        Unknown names have no pairs.
        """
        if end <= start or points < 1:
            return {name: [] for name in names}
        first, step, count = answer.grid(start, end, points)
        found: dict[str, answer.Pairs] = {}
        for name in names:
            most = name.endswith(answer.MAXIMUM)
            column = self._ids.get(name.removesuffix(answer.MAXIMUM))
            if column is None:
                found[name] = []
                continue
            told = answer.samples(self, self.newest(column), column, first, first + step * count, step, most=most)
            found[name] = answer.pairs(told, first, step, count, most=most)
        return found

    def column(self, name: str) -> int | None:
        """Return the number of a series, None when nothing of that name was kept."""
        return self._ids.get(name)

    def newest(self, column: int) -> Iterable[answer.Second]:
        """Return the seconds of one series that are still in the head file."""
        with self.lock:
            return [
                (float(second), values[column])
                for half in (0, 1)
                for second, values in self._head.rows(half)
                if values[column] == values[column]
            ]

    def blocks(self, tier: int, what: int, part: int, after: float, before: float) -> Sequence[tuple[int, bytes]]:
        """Return (start, content) of tiles that start after ``after`` and before ``before``."""
        with self.lock:
            return self._database.run(
                lambda: self.db.execute(
                    "SELECT start, block FROM tiles"
                    " WHERE tier = ? AND what = ? AND part = ? AND start > ? AND start < ? ORDER BY start",
                    (tier, what, part, after, before),
                ).fetchall()
            )

    def first(self, tier: int) -> float | None:
        """Return where a tier begins, None when it is empty."""
        ask = "SELECT min(start) FROM tiles WHERE tier = ? AND what = ? AND part = ?"
        with self.lock:
            found = self._database.run(
                lambda: [self.db.execute(ask, (tier, MEAN, part)).fetchone()[0] for part in range(self._parts())]
            )
        return min((float(start) for start in found if start is not None), default=None)

    # -- incidents

    def add_incident(self, summary: IncidentSummary, bundle: Mapping[str, object]) -> None:
        """Keep an incident with its last words; one with the same id is replaced. The oldest beyond 500 go."""
        packed = zlib.compress(json.dumps(bundle, default=str).encode())

        def insert() -> None:
            with self.db:
                self.db.execute(
                    "INSERT OR REPLACE INTO incidents VALUES (?, ?, ?, ?)",
                    (summary.id, summary.at, json.dumps(asdict(summary)), packed),
                )
                self.db.execute(
                    "DELETE FROM incidents WHERE id NOT IN (SELECT id FROM incidents ORDER BY at DESC LIMIT ?)",
                    (INCIDENTS_KEPT,),
                )
                if self._outbox:
                    self.db.execute("INSERT OR REPLACE INTO outbox VALUES ('incident', 0, 0, 0, 0, ?)", (summary.id,))

        with self.lock:
            self._database.run(insert)

    def incidents(self, limit: int = 50) -> Sequence[IncidentSummary]:
        """Return the newest incidents first."""
        with self.lock:
            rows = self._database.run(
                lambda: self.db.execute("SELECT summary FROM incidents ORDER BY at DESC LIMIT ?", (limit,)).fetchall()
            )
        return [summary_from(json.loads(text)) for (text,) in rows]

    def incident(self, incident_id: str) -> Mapping[str, object] | None:
        """Return one incident's bundle, or None."""
        with self.lock:
            row = self._database.run(
                lambda: self.db.execute("SELECT bundle FROM incidents WHERE id = ?", (incident_id,)).fetchone()
            )
        return None if row is None else bundle_from(row[0])

    # -- the files

    def identity(self) -> str:
        """Return what tells this database from any other, made when it is first asked for."""
        if self._identity is None:

            def find(db: sqlite3.Connection) -> str:
                with db:
                    db.execute("INSERT OR IGNORE INTO facts VALUES ('identity', ?)", (os.urandom(16).hex(),))
                (found,) = db.execute("SELECT value FROM facts WHERE name = 'identity'").fetchone()
                return str(found)

            self._identity = self.work(find)
        return self._identity

    def size(self) -> int:
        """Return how many bytes the history takes on disk."""
        return sum(path.stat().st_size for path in self._directory.iterdir() if path.is_file())

    def close(self) -> None:
        """Commit and release; the newest minutes stay in the mapped file."""
        with self.lock:
            if self._keeping is not None:
                self._keeping.forget()
            self._database.close()
            self._head.close()


def summary_from(raw: dict[str, Any]) -> IncidentSummary:
    """Return the incident summary that was kept as JSON."""
    known = {name: raw.get(name) for name in IncidentSummary.__slots__}
    if isinstance(known["exit"], dict):
        known["exit"] = ExitStatus(**known["exit"])
    return IncidentSummary(**known)  # type: ignore[arg-type]


def bundle_from(packed: bytes) -> Mapping[str, object]:
    """Return the incident's bundle that was kept compressed."""
    found: Mapping[str, object] = json.loads(zlib.decompress(packed))
    return found
