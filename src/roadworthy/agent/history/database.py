"""The SQLite file of the history: opened with care, set aside when it is broken."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from roadworthy.errors import Exhausted, Unavailable

T = TypeVar("T")

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, seen REAL NOT NULL);
CREATE TABLE IF NOT EXISTS tiles (
  tier INTEGER NOT NULL, what INTEGER NOT NULL, start INTEGER NOT NULL, part INTEGER NOT NULL, block BLOB NOT NULL,
  PRIMARY KEY (tier, what, part, start)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS incidents (
  id TEXT PRIMARY KEY, at REAL NOT NULL, summary TEXT NOT NULL, bundle BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS incidents_at ON incidents (at);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (
  kind TEXT NOT NULL, a INTEGER NOT NULL, b INTEGER NOT NULL, c INTEGER NOT NULL, d INTEGER NOT NULL, id TEXT NOT NULL,
  PRIMARY KEY (kind, a, b, c, d, id)) WITHOUT ROWID;
"""
_FORMAT: Final = 1


class Database:
    """One file and its connection; ``begun_anew`` is called after a broken one was set aside.

    Raises :class:`Exhausted` when the disk is full, :class:`Unavailable` when the file cannot be used.
    """

    def __init__(self, path: Path, begun_anew: Callable[[str], None]) -> None:
        self.path = path
        self._begun_anew = begun_anew
        try:
            self.connection = self._open()
        except sqlite3.OperationalError as error:
            raise failed(path, error) from error
        except sqlite3.DatabaseError as error:
            self._start_anew(error)

    def run(self, act: Callable[[], T]) -> T:
        """Do a piece of work; a broken database is replaced and the work done again once.

        Raises :class:`Exhausted` or :class:`Unavailable`.
        """
        try:
            return act()
        except sqlite3.OperationalError as error:
            raise failed(self.path, error) from error
        except (sqlite3.DatabaseError, ValueError) as error:
            self.connection.close()
            self._start_anew(error)
            return act()

    def close(self) -> None:
        """Release the file."""
        self.connection.close()

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=5.0, check_same_thread=False)
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
            self.path.chmod(0o600)
        except BaseException:
            db.close()
            raise
        return db

    def _start_anew(self, error: Exception) -> None:
        """Set a broken database aside (one is kept) and begin a new one."""
        aside = self.path.with_suffix(".db.broken")
        for suffix in ("-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        if self.path.exists():
            self.path.replace(aside)
        self.connection = self._open()
        self._begun_anew(f"the history was broken ({error}); it was set aside as {aside.name} and a new one begun")


def _verify(problem: str, version: int) -> None:
    """Raise :class:`sqlite3.DatabaseError` for a database that is broken or of another format."""
    if problem != "ok":
        raise sqlite3.DatabaseError(problem)
    if version not in {0, _FORMAT}:
        raise sqlite3.DatabaseError(f"it has format {version}, not {_FORMAT}")


def failed(path: Path, error: sqlite3.Error) -> Exhausted | Unavailable:
    """Return our error for one of SQLite's about the file at ``path``."""
    kind = Exhausted if "full" in str(error) else Unavailable
    return kind(
        f"cannot write the history {path}",
        why=f"SQLite says: {error}.",
        hint="Free some space there, or let ROADWORTHY_HOME point to a directory that has some.",
    )
