"""The tables of a history in PostgreSQL that several agents share, and nothing about when they are used.

An agent writes under its source (application and host); what one agent does is never in another's way. Each local
database that a source ever had is a store of its own, because each numbers its series by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from roadworthy.errors import ConfigurationError, Unavailable
from roadworthy.log.redact import redact

if TYPE_CHECKING:
    import psycopg

    from roadworthy.agent.history.tiers import Block

CONNECT_TIMEOUT: Final = 3
STATEMENT_TIMEOUT: Final = 10_000
FORMAT: Final = 1
INCIDENTS_KEPT: Final = 500

_TABLES: Final = """
SELECT pg_advisory_xact_lock(7241905386);
CREATE TABLE IF NOT EXISTS roadworthy_format (version integer NOT NULL);
INSERT INTO roadworthy_format SELECT 1 WHERE NOT EXISTS (SELECT FROM roadworthy_format);
CREATE TABLE IF NOT EXISTS roadworthy_stores (
  store integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, source text NOT NULL, identity text NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS roadworthy_series (
  store integer NOT NULL, id integer NOT NULL, name text NOT NULL, PRIMARY KEY (store, id));
CREATE TABLE IF NOT EXISTS roadworthy_tiles (
  store integer NOT NULL, tier smallint NOT NULL, what smallint NOT NULL, start bigint NOT NULL, part smallint NOT NULL,
  block bytea NOT NULL, PRIMARY KEY (store, tier, what, part, start));
CREATE TABLE IF NOT EXISTS roadworthy_incidents (
  source text NOT NULL, id text NOT NULL, at double precision NOT NULL, summary text NOT NULL, bundle bytea NOT NULL,
  PRIMARY KEY (source, id));
"""


class Remote:
    """One connection to the database of ``url``, made when it is needed and made anew after it was lost.

    Raises :class:`ConfigurationError` when psycopg is missing. Everything raises :class:`Unavailable` while the
    database cannot be used. For one thread at a time.
    """

    def __init__(self, url: str, source: str) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise ConfigurationError(
                "a history in PostgreSQL needs psycopg, which is not installed",
                why="--history-url was given.",
                hint="pip install 'roadworthy[postgres]'",
            ) from error
        self._psycopg = psycopg
        self._url = url
        self._source = source
        self._connection: psycopg.Connection[Any] | None = None

    def ask(self) -> None:
        """See that the database answers."""
        with self._used() as connection:
            connection.execute("SELECT 1")

    def store(self, identity: str) -> int:
        """Return the number of a local database in the shared one, making it known there."""
        with self._used() as connection:
            row = connection.execute(
                "INSERT INTO roadworthy_stores (source, identity) VALUES (%s, %s)"
                " ON CONFLICT (identity) DO UPDATE SET source = EXCLUDED.source RETURNING store",
                (self._source, identity),
            ).fetchone()
            assert row is not None  # noqa: S101 - an upsert returns its row
            return int(row[0])

    def put_names(self, store: int, names: Iterable[tuple[int, str]]) -> None:
        """Tell which series have which numbers."""
        with self._used() as connection, connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO roadworthy_series VALUES (%s, %s, %s)"
                " ON CONFLICT (store, id) DO UPDATE SET name = EXCLUDED.name",
                [(store, number, name) for number, name in names],
            )

    def put_blocks(self, store: int, blocks: Sequence[Block]) -> None:
        """Keep tiles; what is there already is replaced."""
        with self._used() as connection, connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO roadworthy_tiles VALUES (%s, %s, %s, %s, %s, %s)"
                " ON CONFLICT (store, tier, what, part, start) DO UPDATE SET block = EXCLUDED.block",
                [(store, *block) for block in blocks],
            )

    def put_incident(self, incident_id: str, at: float, summary: str, bundle: bytes) -> None:
        """Keep an incident; the source's oldest beyond 500 go."""
        with self._used() as connection, connection.transaction():
            connection.execute(
                "INSERT INTO roadworthy_incidents VALUES (%s, %s, %s, %s, %s) ON CONFLICT (source, id)"
                " DO UPDATE SET summary = EXCLUDED.summary, bundle = EXCLUDED.bundle",
                (self._source, incident_id, at, summary, bundle),
            )
            connection.execute(
                "DELETE FROM roadworthy_incidents WHERE source = %s AND id NOT IN"
                " (SELECT id FROM roadworthy_incidents WHERE source = %s ORDER BY at DESC LIMIT %s)",
                (self._source, self._source, INCIDENTS_KEPT),
            )

    def prune(self, tier: int, before: float) -> None:
        """Drop the source's tiles of a tier that are older than ``before``."""
        with self._used() as connection:
            connection.execute(
                "DELETE FROM roadworthy_tiles WHERE tier = %s AND start < %s"
                " AND store IN (SELECT store FROM roadworthy_stores WHERE source = %s)",
                (tier, int(before), self._source),
            )

    def columns(self, names: Sequence[str]) -> Mapping[str, list[tuple[str, int, int]]]:
        """Return (identity, store, number) of each name in every store of the source, the oldest store first."""
        found: dict[str, list[tuple[str, int, int]]] = {name: [] for name in names}
        with self._used() as connection:
            rows = connection.execute(
                "SELECT name, identity, store, id FROM roadworthy_series JOIN roadworthy_stores USING (store)"
                " WHERE source = %s AND name = ANY(%s) ORDER BY store",
                (self._source, list(names)),
            )
            for name, identity, store, number in rows:
                found[name].append((identity, store, number))
        return found

    def blocks(
        self, store: int, tier: int, what: int, part: int, after: float, before: float
    ) -> list[tuple[int, bytes]]:
        """Return (start, content) of a store's tiles that start after ``after`` and before ``before``."""
        with self._used() as connection:
            return connection.execute(
                "SELECT start, block FROM roadworthy_tiles WHERE store = %s AND tier = %s AND what = %s AND part = %s"
                " AND start > %s AND start < %s ORDER BY start",
                (store, tier, what, part, after, before),
            ).fetchall()

    def first(self, store: int, tier: int) -> float | None:
        """Return where a tier of a store begins."""
        with self._used() as connection:
            row = connection.execute(
                "SELECT min(start) FROM roadworthy_tiles WHERE store = %s AND tier = %s", (store, tier)
            ).fetchone()
        return None if row is None or row[0] is None else float(row[0])

    def incidents(self, limit: int) -> list[dict[str, Any]]:
        """Return the summaries of the source's newest incidents, the newest first."""
        with self._used() as connection:
            rows = connection.execute(
                "SELECT summary FROM roadworthy_incidents WHERE source = %s ORDER BY at DESC LIMIT %s",
                (self._source, limit),
            ).fetchall()
        return [json.loads(text) for (text,) in rows]

    def incident(self, incident_id: str) -> bytes | None:
        """Return one incident's compressed bundle, or None."""
        with self._used() as connection:
            row = connection.execute(
                "SELECT bundle FROM roadworthy_incidents WHERE source = %s AND id = %s", (self._source, incident_id)
            ).fetchone()
        return None if row is None else bytes(row[0])

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _used(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            if self._connection is None or self._connection.closed:
                self._connection = self._connect()
            yield self._connection
        except self._psycopg.Error as error:
            if self._connection is not None:
                self._connection.close()
            raise Unavailable(
                "the history's database cannot be used",
                why=redact(" ".join(str(error).split()))[:300],
                hint="Figures are kept on this machine meanwhile; see that PostgreSQL runs and --history-url is right.",
            ) from error

    def _connect(self) -> psycopg.Connection[Any]:
        connection: psycopg.Connection[Any] = self._psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT,
            options=f"-c statement_timeout={STATEMENT_TIMEOUT}",
        )
        try:
            with connection.transaction():
                for statement in _TABLES.split(";\n"):
                    if statement.strip():
                        connection.execute(statement.strip())
            row = connection.execute("SELECT max(version) FROM roadworthy_format").fetchone()
        except BaseException:
            connection.close()
            raise
        if row is None or row[0] != FORMAT:
            connection.close()
            raise Unavailable(
                f"the history's database has format {row[0] if row else None}, this roadworthy writes format {FORMAT}",
                why="Another version of roadworthy made its tables.",
                hint="Use one version for all agents that share a database, or another database.",
            )
        return connection
