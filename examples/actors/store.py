"""What is remembered, in SQLite: players, their sessions, what was said, what characters think of them.

The file and its tables are made at the first start; a second start changes nothing. Every call is one transaction on a
connection of its own, in a thread of the caller's; writers wait up to five seconds for one another, readers for nobody.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSY_MS = 5000
SCHEMA = (
    """CREATE TABLE IF NOT EXISTS players
       (id INTEGER PRIMARY KEY, key_hash TEXT NOT NULL UNIQUE, created_at REAL NOT NULL, last_seen REAL NOT NULL,
        turns INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE IF NOT EXISTS sessions
       (id TEXT PRIMARY KEY, player_id INTEGER NOT NULL REFERENCES players, started_at REAL NOT NULL,
        last_seen REAL NOT NULL, playtime_seconds REAL NOT NULL DEFAULT 0)""",
    """CREATE TABLE IF NOT EXISTS scene_attempts
       (id INTEGER PRIMARY KEY, player_id INTEGER NOT NULL REFERENCES players, session_id TEXT NOT NULL,
        scene TEXT NOT NULL, character TEXT NOT NULL, said TEXT NOT NULL, answered TEXT NOT NULL, model TEXT NOT NULL,
        complete INTEGER NOT NULL, response_time_ms REAL NOT NULL, at REAL NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS personality_profiles
       (player_id INTEGER NOT NULL REFERENCES players, trait TEXT NOT NULL, weight INTEGER NOT NULL,
        PRIMARY KEY (player_id, trait)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS relationships
       (player_id INTEGER NOT NULL REFERENCES players, character TEXT NOT NULL, trust INTEGER NOT NULL,
        exchanges INTEGER NOT NULL, last_at REAL NOT NULL, PRIMARY KEY (player_id, character)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS idx_player_id ON scene_attempts(player_id)",
    "CREATE INDEX IF NOT EXISTS idx_session_id ON sessions(player_id, started_at)",
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """Something that was said and what was answered; `complete` is false where the answer was cut off."""

    character: str
    said: str
    answered: str
    model: str
    complete: bool
    at: float


class Store:
    """The tables; safe to use from any thread and process."""

    def __init__(self, path: Path) -> None:
        """Remember where; nothing is opened yet."""
        self.path = path

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=BUSY_MS / 1000)) as connection, connection:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
            connection.execute("PRAGMA foreign_keys = ON")
            yield connection

    def prepare(self) -> None:
        """Make folder, file, tables and indexes where they are missing."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, timeout=BUSY_MS / 1000)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        with self._transaction() as connection:
            for statement in SCHEMA:
                connection.execute(statement)

    def healthy(self) -> str:
        """Return how many players there are, as a text; raises when the file cannot be read and written."""
        with self._transaction() as connection:
            connection.execute("BEGIN IMMEDIATE")
            (count,) = connection.execute("SELECT count(*) FROM players").fetchone()
        return f"{count} players"

    def player(self, key_hash: str, now: float) -> int:
        """Return the player with that key, made now if there is none."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO players (key_hash, created_at, last_seen) VALUES (?, ?, ?) "
                "ON CONFLICT (key_hash) DO UPDATE SET last_seen = excluded.last_seen",
                (key_hash, now, now),
            )
            (found,) = connection.execute("SELECT id FROM players WHERE key_hash = ?", (key_hash,)).fetchone()
        return int(found)

    def player_of(self, session_id: str) -> int:
        """Return the player of a session, 0 where it has none."""
        with self._transaction() as connection:
            found = connection.execute("SELECT player_id FROM sessions WHERE id = ?", (session_id,)).fetchone()
        return int(found[0]) if found else 0

    def seen(self, session_id: str, player: int, now: float) -> None:
        """Note that a session plays on; its playing time grows by what went by, at most a minute at once."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO sessions (id, player_id, started_at, last_seen) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET player_id = excluded.player_id, last_seen = excluded.last_seen, "
                "playtime_seconds = playtime_seconds + max(0, min(60, excluded.last_seen - last_seen))",
                (session_id, player, now, now),
            )

    def keep(
        self, player: int, session_id: str, scene: str, one: Exchange, *, ms: float, warmth: int, trait: str
    ) -> None:
        """Keep an exchange and what it does to the character's trust and to what is thought of the player."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO scene_attempts (player_id, session_id, scene, character, said, answered, model, complete, "
                "response_time_ms, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (player, session_id, scene, one.character, one.said, one.answered, one.model, one.complete, ms, one.at),
            )
            connection.execute("UPDATE players SET turns = turns + 1, last_seen = ? WHERE id = ?", (one.at, player))
            connection.execute(
                "INSERT INTO relationships VALUES (?, ?, max(0, min(10, 3 + ?)), 1, ?) ON CONFLICT DO UPDATE SET "
                "trust = max(0, min(10, trust + ?)), exchanges = exchanges + 1, last_at = excluded.last_at",
                (player, one.character, warmth, one.at, warmth),
            )
            if trait:
                connection.execute(
                    "INSERT INTO personality_profiles VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET weight = weight + 1",
                    (player, trait),
                )

    def history(self, player: int, most: int = 40) -> list[Exchange]:
        """Return the player's last exchanges, oldest first."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT character, said, answered, model, complete, at FROM scene_attempts WHERE player_id = ? "
                "ORDER BY id DESC LIMIT ?",
                (player, most),
            ).fetchall()
        return [Exchange(row[0], row[1], row[2], row[3], bool(row[4]), row[5]) for row in reversed(rows)]

    def trust(self, player: int) -> dict[str, int]:
        """Return how far each character that knows the player trusts it, 0 to 10."""
        with self._transaction() as connection:
            query = "SELECT character, trust FROM relationships WHERE player_id = ?"
            return dict(connection.execute(query, (player,)).fetchall())

    def traits(self, player: int, most: int = 3, least: int = 3) -> list[str]:
        """Return what the player has seemed to be at least so often, strongest first."""
        query = (
            "SELECT trait FROM personality_profiles WHERE player_id = ? AND weight >= ? "
            "ORDER BY weight DESC, trait LIMIT ?"
        )
        with self._transaction() as connection:
            return [row[0] for row in connection.execute(query, (player, least, most)).fetchall()]
