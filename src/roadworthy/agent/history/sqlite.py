"""History in SQLite: tiles in three resolutions, incidents, and a mapped file for the newest minutes.

One second for an hour, ten seconds for a day, one minute for the retention. A coarser tile is made from finer ones and
keeps mean and maximum (extremes between samples count): ask for ``name:max`` to get the latter. Compressing a minute of
1 000 series takes some ten milliseconds, so it is done in steps, one with each tick.

A broken database is set aside and a new one begun; :attr:`SqliteHistory.notices` then says so.
"""

from __future__ import annotations

import json
import math
import sqlite3
import threading
import zlib
from array import array
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeVar

from roadworthy import _clock
from roadworthy.agent.history.head import ROWS, Head
from roadworthy.agent.history.tile import COLUMNS, GAP, SAMPLES, decode, encode
from roadworthy.config.places import private
from roadworthy.errors import Exhausted, Unavailable
from roadworthy.types import ExitStatus, IncidentSummary

T = TypeVar("T")

MOST_NAMES: Final = 2_000
MOST_LENGTH: Final = 400
INCIDENTS_KEPT: Final = 500
STEPS: Final = (1, 10, 60)
"""Seconds of one sample in each tier; a tile is 60 samples, so it spans a minute, ten minutes, an hour."""

KEEP_FINE: Final = 3_600 + 600
KEEP_MIDDLE: Final = 86_400 + 3_600
MAXIMUM: Final = ":max"

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, seen REAL NOT NULL);
CREATE TABLE IF NOT EXISTS tiles (
  tier INTEGER NOT NULL, what INTEGER NOT NULL, start INTEGER NOT NULL, part INTEGER NOT NULL, block BLOB NOT NULL,
  PRIMARY KEY (tier, what, part, start)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS incidents (
  id TEXT PRIMARY KEY, at REAL NOT NULL, summary TEXT NOT NULL, bundle BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS incidents_at ON incidents (at);
"""
_FORMAT: Final = 1
_MEAN, _MOST = 0, 1


class SqliteHistory:
    """History of one application below ``directory``; :meth:`close` flushes and releases.

    Raises :class:`Exhausted` when the disk is full, :class:`Unavailable` when the directory cannot be used.
    """

    def __init__(self, directory: Path, *, retention_hours: float = 168.0, now: float | None = None) -> None:
        self._directory = private(directory)
        self._retention = retention_hours * 3600.0
        self._lock = threading.RLock()
        self.notices: list[str] = []
        self.refused: set[str] = set()
        self._ids: dict[str, int] = {}
        self._work: Iterator[None] | None = None
        self._last = 0
        self._head = Head(self._directory / "head", MOST_NAMES)
        self._db = self._guarded_open()
        self._pruned = 0.0
        at = _clock.wall() if now is None else now
        for half in (0, 1):
            minute = self._head.minute(half)
            if minute is not None and minute != int(at) - int(at) % ROWS:
                self._run(self._seal(minute))

    # -- keeping

    def append(self, at: float, values: Mapping[str, float]) -> None:
        """Keep the figures of one second; a second one within the same second replaces it.

        Names beyond 2 000 are refused and listed in :attr:`refused`. Raises :class:`Exhausted` when the disk is full;
        what was kept in the newest minute stays, and its compression is tried again.
        """
        second = int(at)
        with self._lock:
            row = array("d", [GAP]) * MOST_NAMES
            if not values.keys() <= self._ids.keys():
                self._learn([name for name in values if name not in self._ids and name not in self.refused], at)
            ids = self._ids
            for name, value in values.items():
                column = ids.get(name)
                if column is not None and math.isfinite(value):
                    row[column] = value
            minute = second - second % ROWS
            half = minute // ROWS % 2
            held = self._head.minute(half) if self._last // ROWS != second // ROWS else minute
            if held is not None and held != minute:
                # The half still holds an older minute whose compression did not come to its end.
                self._run(self._seal(held))
            self._head.put(second, row)
            self._last = second
            self._advance(minute, at)

    def _advance(self, minute: int, at: float) -> None:
        """Do one step of the pending work; begin with the last finished minute when there is none."""
        if self._work is None:
            other = self._head.minute(1 - minute // ROWS % 2)
            if other is not None and other != minute:
                self._work = self._seal(other)
            elif at - self._pruned > 3600:  # noqa: PLR2004 - once an hour
                self._pruned = at
                self._work = self._prune(at)
        if self._work is not None:
            try:
                self._guard(lambda: next(self._work, StopIteration) if self._work else StopIteration)
            except Exhausted:
                self._work = None
                raise
            if self._done():
                self._work = None

    def _done(self) -> bool:
        frame = getattr(self._work, "gi_frame", None)
        return frame is None

    def _run(self, work: Iterator[None]) -> None:
        self._guard(lambda: [None for _ in work])

    def _seal(self, minute: int) -> Iterator[None]:
        """Compress one minute of the head file into tiles, one part a step, then make the coarser ones that are due."""
        half = minute // ROWS % 2
        blocks = []
        for part in range(self._parts()):
            rows = self._head.columns_of(half, minute, part * COLUMNS, COLUMNS)
            block = _packed(rows)
            if block is not None:
                blocks.append((0, _MEAN, minute, part, block))
            yield
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO tiles VALUES (?, ?, ?, ?, ?)", blocks)
        self._head.clear(half)
        yield
        for tier in (1, 2):
            span = STEPS[tier] * SAMPLES
            for start in self._due(tier, minute + ROWS):
                for part in range(self._parts()):
                    self._roll(tier, start, start + span, part)
                    yield

    def _due(self, tier: int, until: int) -> list[int]:
        """Return the starts of whole tiles of ``tier`` that can be made of finer ones and are not there yet."""
        span = STEPS[tier] * SAMPLES
        (newest,) = self._db.execute("SELECT max(start) FROM tiles WHERE tier = ?", (tier,)).fetchone()
        after = -1 if newest is None else newest + span
        found = self._db.execute(
            "SELECT DISTINCT start - start % ? FROM tiles"
            " WHERE tier = ? AND start >= ? AND start - start % ? + ? <= ? ORDER BY 1",
            (span, tier - 1, after, span, span, until - until % span),
        )
        return [start for (start,) in found]

    def _roll(self, tier: int, start: int, end: int, part: int) -> None:
        fine = STEPS[tier - 1]
        ratio = STEPS[tier] // fine
        means: dict[int, list[float]] = {}
        mosts: dict[int, list[float]] = {}
        rows = self._db.execute(
            "SELECT what, start, block FROM tiles"
            " WHERE tier = ? AND part = ? AND start >= ? AND start < ? ORDER BY start",
            (tier - 1, part, start, end),
        ).fetchall()
        for what, at, block in rows:
            offset = (at - start) // STEPS[tier]
            for column, values in decode(block).items():
                if what == _MEAN:
                    _fold(means, column, offset, values, ratio, _mean)
                if what == _MOST or tier == 1:
                    _fold(mosts, column, offset, values, ratio, max)
        made = [
            (tier, what, start, part, block)
            for what, figures in ((_MEAN, means), (_MOST, mosts))
            if (block := _packed(figures)) is not None
        ]
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO tiles VALUES (?, ?, ?, ?, ?)", made)

    def _prune(self, at: float) -> Iterator[None]:
        """Drop what is older than its tier is kept for, and names that have not been seen for the whole retention."""
        with self._db:
            for tier, keep in enumerate(
                (min(KEEP_FINE, self._retention), min(KEEP_MIDDLE, self._retention), self._retention)
            ):
                self._db.execute("DELETE FROM tiles WHERE tier = ? AND start < ?", (tier, int(at - keep)))
        yield
        with self._db:
            recent = [
                (at, name)
                for name, column in self._ids.items()
                if any(values[column] == values[column] for half in (0, 1) for _, values in self._head.rows(half))
            ]
            self._db.executemany("UPDATE series SET seen = ? WHERE name = ?", recent)
        yield
        with self._db:
            self._db.execute("DELETE FROM series WHERE seen < ?", (at - self._retention - 7200,))
            self._load_names()
            self.refused.clear()
        yield

    def _parts(self) -> int:
        return max(self._ids.values(), default=-1) // COLUMNS + 1

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
            with self._db:
                self._db.executemany("INSERT OR REPLACE INTO series VALUES (?, ?, ?)", rows)

        if rows:
            self._guard(insert)
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
        step = max(1.0, (end - start) / points)
        first = math.floor(start / step) * step if step == 1.0 else start
        count = min(points, math.ceil((end - first) / step))
        with self._lock:
            return {name: self._series(name, first, step, count) for name in names}

    def _series(self, name: str, first: float, step: float, count: int) -> list[tuple[float, float | None]]:
        bare = name.removesuffix(MAXIMUM)
        column = self._ids.get(bare)
        if column is None:
            return []
        most = bare is not name and bare != name
        sums = [0.0] * count
        weights = [0] * count
        for at, value, weight in self._samples(column, first, first + step * count, step, most=most):
            index = int((at - first) / step)
            if not 0 <= index < count:
                continue
            if most:
                sums[index] = value if not weights[index] else max(sums[index], value)
            else:
                sums[index] += value * weight
            weights[index] += weight
        return [
            (first + index * step, (sums[index] if most else sums[index] / weights[index]) if weights[index] else None)
            for index in range(count)
        ]

    def _samples(
        self, column: int, start: float, end: float, step: float, *, most: bool
    ) -> Iterator[tuple[float, float, int]]:
        """Yield (time, value, seconds) from the coarsest tier that is fine enough, finer where it is not made yet."""
        coarsest = max(tier for tier, seconds in enumerate(STEPS) if seconds <= max(step, 1.0))
        at = start
        for tier in range(2, -1, -1):
            # Older history exists only in coarser tiers: they answer first, up to where finer ones begin.
            stop = self._first_start(tier - 1) if tier > coarsest else end
            if stop is None:
                stop = end
            at = yield from self._tier(tier, column, at, min(stop, end), most=most)
        for half in (0, 1):
            for second, values in self._head.rows(half):
                if at <= second < end and values[column] == values[column]:
                    yield float(second), values[column], 1

    def _first_start(self, tier: int) -> float | None:
        (found,) = self._db.execute("SELECT min(start) FROM tiles WHERE tier = ?", (tier,)).fetchone()
        return None if found is None else float(found)

    def _tier(
        self, tier: int, column: int, start: float, end: float, *, most: bool
    ) -> Generator[tuple[float, float, int], None, float]:
        """Yield the samples of one tier; the generator's value is where that tier ends."""
        seconds = STEPS[tier]
        span = seconds * SAMPLES
        reached = start
        part, place = divmod(column, COLUMNS)
        rows = self._db.execute(
            "SELECT start, block FROM tiles"
            " WHERE tier = ? AND what = ? AND part = ? AND start > ? AND start < ? ORDER BY start",
            (tier, _MOST if most and tier else _MEAN, part, start - span, end),
        ).fetchall()
        for begin, block in rows:
            for index, value in enumerate(decode(block).get(place, ())):
                at = begin + index * seconds
                if start - seconds < at < end and value == value:  # noqa: PLR0124 - NaN differs from itself
                    yield max(float(at), start), value, seconds
            reached = max(reached, float(begin + span))
        return min(reached, end)

    # -- incidents

    def add_incident(self, summary: IncidentSummary, bundle: Mapping[str, object]) -> None:
        """Keep an incident with its last words; one with the same id is replaced. The oldest beyond 500 go."""
        packed = zlib.compress(json.dumps(bundle, default=str).encode())

        def insert() -> None:
            with self._db:
                self._db.execute(
                    "INSERT OR REPLACE INTO incidents VALUES (?, ?, ?, ?)",
                    (summary.id, summary.at, json.dumps(asdict(summary)), packed),
                )
                self._db.execute(
                    "DELETE FROM incidents WHERE id NOT IN (SELECT id FROM incidents ORDER BY at DESC LIMIT ?)",
                    (INCIDENTS_KEPT,),
                )

        with self._lock:
            self._guard(insert)

    def incidents(self, limit: int = 50) -> Sequence[IncidentSummary]:
        """Return the newest incidents first."""
        with self._lock:
            rows = self._guard(
                lambda: self._db.execute("SELECT summary FROM incidents ORDER BY at DESC LIMIT ?", (limit,)).fetchall()
            )
        return [summary_from(json.loads(text)) for (text,) in rows]

    def incident(self, incident_id: str) -> Mapping[str, object] | None:
        """Return one incident's bundle, or None."""
        with self._lock:
            row = self._guard(
                lambda: self._db.execute("SELECT bundle FROM incidents WHERE id = ?", (incident_id,)).fetchone()
            )
        if row is None:
            return None
        found: Mapping[str, object] = json.loads(zlib.decompress(row[0]))
        return found

    # -- the files

    def size(self) -> int:
        """Return how many bytes the history takes on disk."""
        return sum(path.stat().st_size for path in self._directory.iterdir() if path.is_file())

    def close(self) -> None:
        """Commit and release; the newest minutes stay in the mapped file."""
        with self._lock:
            self._work = None
            self._db.close()
            self._head.close()

    def _guarded_open(self) -> sqlite3.Connection:
        try:
            return self._open()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise _failed(self._path, error) from error
            return self._start_anew(error)

    @property
    def _path(self) -> Path:
        return self._directory / "history.db"

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=5.0, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA journal_size_limit = 4194304")
            db.execute("PRAGMA cache_size = -1024")
            (problem,) = db.execute("PRAGMA quick_check(1)").fetchone()
            (version,) = db.execute("PRAGMA user_version").fetchone()
            _verify(problem, version)
            db.executescript(_SCHEMA)
            db.execute(f"PRAGMA user_version = {_FORMAT}")
            self._db = db
            self._path.chmod(0o600)
            self._load_names()
        except BaseException:
            db.close()
            raise
        return db

    def _load_names(self) -> None:
        self._ids = {
            name: number for number, name in self._db.execute("SELECT id, name FROM series WHERE id < ?", (MOST_NAMES,))
        }

    def _start_anew(self, error: sqlite3.DatabaseError) -> sqlite3.Connection:
        """Set a broken database aside (one is kept) and begin a new one."""
        aside = self._path.with_suffix(".db.broken")
        for suffix in ("-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        if self._path.exists():
            self._path.replace(aside)
        self.notices.append(f"the history was broken ({error}); it was set aside as {aside.name} and a new one begun")
        for half in (0, 1):
            self._head.clear(half)
        return self._open()

    def _guard(self, act: Callable[[], T]) -> T:
        """Run a piece of database work; a broken database is replaced and the work done again once."""
        try:
            return act()
        except sqlite3.OperationalError as error:
            raise _failed(self._path, error) from error
        except (sqlite3.DatabaseError, ValueError) as error:
            self._db.close()
            self._work = None
            self._db = self._start_anew(sqlite3.DatabaseError(str(error)))
            return act()


def _verify(problem: str, version: int) -> None:
    """Raise :class:`sqlite3.DatabaseError` for a database that is broken or of another format."""
    if problem != "ok":
        raise sqlite3.DatabaseError(problem)
    if version not in {0, _FORMAT}:
        raise sqlite3.DatabaseError(f"it has format {version}, not {_FORMAT}")


def summary_from(raw: dict[str, Any]) -> IncidentSummary:
    """Return the incident summary that was kept as JSON."""
    known = {name: raw.get(name) for name in IncidentSummary.__slots__}
    if isinstance(known["exit"], dict):
        known["exit"] = ExitStatus(**known["exit"])
    return IncidentSummary(**known)  # type: ignore[arg-type]


def _packed(rows: Mapping[int, Sequence[float]]) -> bytes | None:
    filled = {column: row for column, row in rows.items() if any(value == value for value in row)}  # noqa: PLR0124 - NaN differs from itself
    return encode(filled) if filled else None


def _fold(
    into: dict[int, list[float]],
    column: int,
    offset: int,
    values: Sequence[float],
    ratio: int,
    how: Callable[[Sequence[float]], float],
) -> None:
    row = into.setdefault(column, [GAP] * SAMPLES)
    for index in range(SAMPLES // ratio):
        told = [value for value in values[index * ratio : (index + 1) * ratio] if value == value]  # noqa: PLR0124 - NaN differs from itself
        if told:
            row[offset + index] = how(told)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _failed(path: Path, error: sqlite3.OperationalError) -> Exhausted | Unavailable:
    kind = Exhausted if "full" in str(error) else Unavailable
    return kind(
        f"cannot write the history {path}",
        why=f"SQLite says: {error}.",
        hint="Free some space there, or let ROADWORTHY_HOME point to a directory that has some.",
    )
