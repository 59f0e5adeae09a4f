"""Sales and reports in a database by URL: `sqlite:///PATH` (default) or `postgresql://…`.

Every call opens a connection, does one transaction and closes it: nothing is left behind when a process is killed.
Raises the driver's own errors; what may be tried again is in `TRANSIENT`.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

BUSY = 0.25
"""Seconds that SQLite itself waits for a lock: short, so that the policy around it decides."""

TRANSIENT: tuple[type[Exception], ...] = (sqlite3.OperationalError, ConnectionError, TimeoutError)
TWICE: tuple[type[Exception], ...] = (sqlite3.IntegrityError,)
"""What the driver raises for a report that is queued already."""

try:
    import psycopg
except ImportError:  # only a PostgreSQL URL needs it
    INSTALLED = False
else:
    INSTALLED = True
    TRANSIENT = (*TRANSIENT, psycopg.OperationalError)
    TWICE = (*TWICE, psycopg.IntegrityError)

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS sales
       (month TEXT NOT NULL, region TEXT NOT NULL, currency TEXT NOT NULL, amount REAL NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS reports
       (id TEXT PRIMARY KEY, month TEXT NOT NULL, status TEXT NOT NULL, asked REAL NOT NULL, body TEXT)""",
)
REGIONS = (("north", "SEK"), ("west", "GBP"), ("east", "JPY"), ("south", "EUR"), ("overseas", "USD"), ("alps", "CHF"))


@dataclass(frozen=True, slots=True)
class Report:
    """A report that was asked for: `queued`, `running` or `done`; `body` only when done."""

    id: str
    month: str
    status: str
    body: dict[str, Any] | None = None


class Store:
    """The service's tables; safe to use from any thread and process."""

    def __init__(self, url: str) -> None:
        """Remember where; raises ValueError for a URL of a kind that it does not know."""
        self._sqlite = url.startswith("sqlite:///")
        if not self._sqlite and not url.startswith(("postgresql://", "postgres://")):
            message = f"database URL {url!r}: begin it with sqlite:/// or postgresql://"
            raise ValueError(message)
        if not self._sqlite and not INSTALLED:
            message = f"database URL {url!r} needs psycopg: pip install psycopg[binary]"
            raise ValueError(message)
        self._at = url.removeprefix("sqlite:///") if self._sqlite else url
        self._mark = "?" if self._sqlite else "%s"

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        if self._sqlite:
            with closing(sqlite3.connect(self._at, timeout=BUSY)) as connection, connection:
                yield connection
        else:
            with psycopg.connect(self._at, connect_timeout=2) as remote:
                yield remote

    def _sql(self, text: str) -> str:
        return text.replace("?", self._mark)

    def prepare(self, months: int = 12) -> None:
        """Make the tables and, where there are none yet, the sales of the last months of a made-up shop."""
        with self._transaction() as connection:
            for statement in SCHEMA:
                connection.execute(statement)
            if connection.execute("SELECT count(*) FROM sales").fetchone()[0]:
                return
            dice = Random(7)  # noqa: S311 - a made-up shop, not a secret
            for month in range(1, months + 1):
                for region, currency in REGIONS:
                    for _ in range(40):
                        sale = (f"2026-{month:02}", region, currency, round(dice.lognormvariate(4, 0.8), 2))
                        connection.execute(self._sql("INSERT INTO sales VALUES (?, ?, ?, ?)"), sale)

    def ask(self, report: str, month: str, now: float) -> None:
        """Queue a report."""
        with self._transaction() as connection:
            row = (report, month, "queued", now, None)
            connection.execute(self._sql("INSERT INTO reports VALUES (?, ?, ?, ?, ?)"), row)

    def newest(self, most: int = 20) -> list[Report]:
        """Return the newest reports, without their bodies."""
        with self._transaction() as connection:
            query = self._sql("SELECT id, month, status FROM reports ORDER BY asked DESC LIMIT ?")
            return [Report(*row) for row in connection.execute(query, (most,)).fetchall()]

    def report(self, report: str) -> Report | None:
        """Return one report, None when there is none of that id."""
        with self._transaction() as connection:
            query = self._sql("SELECT id, month, status, body FROM reports WHERE id = ?")
            row = connection.execute(query, (report,)).fetchone()
        return None if row is None else Report(row[0], row[1], row[2], None if row[3] is None else json.loads(row[3]))

    def waiting(self) -> Report | None:
        """Return the oldest report that is not done; one that a killed process left half-done is found again."""
        with self._transaction() as connection:
            query = "SELECT id, month, status FROM reports WHERE status <> 'done' ORDER BY asked LIMIT 1"
            row = connection.execute(query).fetchone()
        return None if row is None else Report(*row)

    def totals(self, month: str) -> list[tuple[str, str, float]]:
        """Return region, currency and sum of a month's sales."""
        query = self._sql(
            "SELECT region, currency, sum(amount) FROM sales WHERE month = ? GROUP BY region, currency ORDER BY region"
        )
        with self._transaction() as connection:
            return [(row[0], row[1], float(row[2])) for row in connection.execute(query, (month,)).fetchall()]

    def finish(self, report: str, body: dict[str, Any]) -> None:
        """Keep a report's result; doing it twice is the same as once."""
        with self._transaction() as connection:
            statement = self._sql("UPDATE reports SET status = 'done', body = ? WHERE id = ?")
            connection.execute(statement, (json.dumps(body), report))
