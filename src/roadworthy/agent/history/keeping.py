"""What is done with finished minutes, in steps of a few milliseconds, one with each tick: seal, roll up, prune.

Sealing has a minute; rolling up has ten or sixty and waits for it. A minute that cannot wait, because its half of the
head file is about to be written over, is finished at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from roadworthy.agent.history.head import ROWS, Head
from roadworthy.agent.history.tiers import KEEP_FINE, KEEP_MIDDLE, MEAN, MOST, SPANS, Block, Rolled
from roadworthy.agent.history.tile import COLUMNS, encode

if TYPE_CHECKING:
    import sqlite3

    from roadworthy.agent.history.database import Database

AT_ONCE: Final = 2
"""Tiles that are folded into a coarser one in one step."""

PRUNE_EVERY: Final = 3_600.0
Work = Iterator[None]


class Keeping:
    """Does the work on ``head`` and ``database``; ``parts`` tells how many hundreds of series there are.

    With ``outbox`` the keys of new tiles are noted there in the same transaction.
    """

    def __init__(
        self, head: Head, database: Database, parts: Callable[[], int], retention: float, *, outbox: bool = False
    ) -> None:
        self._head = head
        self._database = database
        self._parts = parts
        self._retention = retention
        self._outbox = outbox
        self._sealing: Work | None = None
        self._sealed: int | None = None
        self._rolling: Work | None = None
        self._pruned = 0.0
        self._last = 0

    @property
    def _db(self) -> sqlite3.Connection:
        return self._database.connection

    def keep_for(self, seconds: float) -> None:
        """Keep the coarsest figures for so long from now on."""
        self._retention = seconds

    def forget(self) -> None:
        """Drop what is under way, because the database is another one."""
        self._sealing = self._rolling = None

    def begin(self, minute: int) -> None:
        """Seal what the head file holds of other minutes than ``minute``, at once."""
        for half in (0, 1):
            held = self._head.minute(half)
            if held is not None and held != minute:
                self._finish(held)

    def make_room(self, second: int) -> None:
        """See that the half that ``second`` goes to holds no older minute."""
        if second // ROWS != self._last // ROWS:
            minute = second - second % ROWS
            held = self._head.minute(minute // ROWS % 2)
            if held is not None and held != minute:
                self._finish(held)
        self._last = second

    def step(self, minute: int, at: float, prune: Callable[[float], Work]) -> None:
        """Do one step of what is due; ``minute`` is the one that is being written."""
        if self._sealing is None:
            other = self._head.minute(1 - minute // ROWS % 2)
            if other is not None and other != minute:
                self._sealing, self._sealed = self._seal(other), other
        if self._sealing is not None:
            self._sealing = self._advanced(self._sealing)
            return
        if self._rolling is None:
            if self._sealed is not None:
                self._rolling = self._roll_up(self._sealed + ROWS)
                self._sealed = None
            elif at - self._pruned > PRUNE_EVERY:
                self._pruned = at
                self._rolling = prune(at)
        if self._rolling is not None:
            self._rolling = self._advanced(self._rolling)

    def _advanced(self, work: Work) -> Work | None:
        """Do one step; returns what is left. What fails is begun anew later."""
        return work if self._database.run(lambda: _step(work)) else None

    def _finish(self, minute: int) -> None:
        work = self._sealing if self._sealing is not None and self._sealed == minute else self._seal(minute)
        self._sealing = None
        self._database.run(lambda: [None for _ in work])
        self._sealed = minute

    def _seal(self, minute: int) -> Work:
        """Compress one minute of the head file, a hundred series a step."""
        half = minute // ROWS % 2
        blocks = []
        for part in range(self._parts()):
            data = encode(self._head.columns_of(half, minute, part * COLUMNS, COLUMNS))
            if data:
                blocks.append(Block(0, MEAN, minute, part, data))
            yield
        self._put(blocks)
        self._head.clear(half)

    def _put(self, blocks: Sequence[Block]) -> None:
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO tiles VALUES (?, ?, ?, ?, ?)", blocks)
            if self._outbox:
                self._db.executemany(
                    "INSERT OR REPLACE INTO outbox VALUES ('tile', ?, ?, ?, ?, '')", [block[:4] for block in blocks]
                )

    def _roll_up(self, until: int) -> Work:
        """Make the coarser tiles that are due; those of one span are committed together, so none is ever forgotten."""
        for tier in (1, 2):
            for start in self._due(tier, until):
                yield
                blocks: list[Block] = []
                for part in range(self._parts()):
                    yield from self._roll(tier, start, part, blocks)
                self._put(blocks)
                yield

    def _due(self, tier: int, until: int) -> list[int]:
        """Return the starts of whole tiles of ``tier`` that can be made of finer ones and are not there yet."""
        span = SPANS[tier]
        parts = range(self._parts())
        # One look at the keys of each part: a scan of the tier would read all of its blocks.
        newest = [
            start
            for part in parts
            for (start,) in self._db.execute(
                "SELECT max(start) FROM tiles WHERE tier = ? AND what = ? AND part = ?", (tier, MEAN, part)
            )
            if start is not None
        ]
        after = max(newest) + span if newest else -1
        found = {
            start
            for part in parts
            for (start,) in self._db.execute(
                "SELECT DISTINCT start - start % ? FROM tiles"
                " WHERE tier = ? AND what = ? AND part = ? AND start >= ? AND start < ?",
                (span, tier - 1, MEAN, part, after, until - until % span),
            )
        }
        return sorted(found)

    def _roll(self, tier: int, start: int, part: int, blocks: list[Block]) -> Work:
        made = Rolled(tier, start, part)
        rows = self._db.execute(
            "SELECT what, start, block FROM tiles"
            " WHERE tier = ? AND what IN (0, 1) AND part = ? AND start >= ? AND start < ?",
            (tier - 1, part, start, start + SPANS[tier]),
        ).fetchall()
        for number, (what, at, data) in enumerate(rows, 1):
            made.fold(what, at, data)
            if number % AT_ONCE == 0:
                yield
        for what in (MEAN, MOST):
            block = made.block(what)
            if block is not None:
                blocks.append(block)
            yield

    def prune(self, at: float) -> Work:
        """Drop what is older than its tier is kept for."""
        for tier, keep in enumerate((KEEP_FINE, KEEP_MIDDLE, self._retention)):
            before = int(at - min(keep, self._retention))
            for what in (MEAN, MOST):
                for part in range(self._parts()):
                    (first,) = self._db.execute(
                        "SELECT min(start) FROM tiles WHERE tier = ? AND what = ? AND part = ?", (tier, what, part)
                    ).fetchone()
                    if first is not None and first < before:
                        self._drop(tier, what, part, before)
                        yield
                yield

    def _drop(self, tier: int, what: int, part: int, before: int) -> None:
        with self._db:
            self._db.execute(
                "DELETE FROM tiles WHERE tier = ? AND what = ? AND part = ? AND start < ?", (tier, what, part, before)
            )
            self._db.execute(
                "DELETE FROM outbox WHERE kind = 'tile' AND a = ? AND b = ? AND c < ? AND d = ?",
                (tier, what, before, part),
            )


def _step(work: Work) -> bool:
    """Do one step; returns whether there was one."""
    return any(True for _ in work)
