"""For tests, yours and ours: what the program recorded, read back as the agent would read it.

::

    from roadworthy.testing import recording

    def test_extraction_is_measured():
        with recording() as seen:
            extract("game.sfc")
        assert seen.count("operation.duration", operation="sprite_extraction", outcome="success") == 1
        assert seen.errors() == []
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from roadworthy.app import start
from roadworthy.arena.reader import Reader
from roadworthy.errors import Unavailable

if TYPE_CHECKING:
    from roadworthy.arena.records import RawBeat, RawEvent, RawInFlight, RawMark, RawSeries

Key = tuple[str, tuple[tuple[str, str], ...]]


class Recorded:
    """What was recorded since :func:`recording` began, up to now; every question reads the arena anew."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._before: dict[Key, float] = {}
        for found in self._series():
            self._before[_key(found)] = self._before.get(_key(found), 0.0) + _total(found)
        events, _ = reader.events()
        self._after = events[-1].seq if events else -1

    def count(self, name: str, **labels: str) -> int:
        """Return by how much a counter grew, or how many values a histogram got, over all series with these labels.

        A dot in a label's name is written as two underscores: ``error__type="KeyError"``.
        """
        return round(self.value(name, **labels))

    def value(self, name: str, **labels: str) -> float:
        """Return as :meth:`count`, with the fraction."""
        wanted = {(key.replace("__", "."), value) for key, value in labels.items()}
        grown = 0.0
        for found in self._series():
            if found.name == name and found.kind != "gauge" and wanted <= set(found.labels):
                grown += _total(found)
        for (known, pairs), before in self._before.items():
            if known == name and wanted <= set(pairs):
                grown -= before
        return grown

    def gauge(self, name: str, **labels: str) -> float | None:
        """Return what a gauge stands at, None when it was never set."""
        wanted = {(key.replace("__", "."), value) for key, value in labels.items()}
        for found in self._series():
            if found.name == name and found.kind == "gauge" and wanted <= set(found.labels):
                return found.value
        return None

    def events(self, kind: str = "") -> list[RawEvent]:
        """Return the events since the beginning, oldest first, all or of one kind."""
        found, _ = self._reader.refresh().events(self._after)
        return [event for event in found if not kind or event.kind == kind]

    def errors(self) -> list[RawEvent]:
        """Return the errors that were recorded, oldest first."""
        return self.events("error")

    def in_flight(self) -> list[RawInFlight]:
        """Return the operations that are under way now."""
        return list(self._reader.refresh().inflight())

    def beats(self) -> dict[str, RawBeat]:
        """Return the declared signals of life of this process by name."""
        return {beat.name: beat for beat in self._reader.refresh().beats()}

    def marks(self) -> list[RawMark]:
        """Return the start-up checkpoints of this process."""
        return list(self._reader.refresh().marks())

    def _series(self) -> list[RawSeries]:
        return self._reader.refresh().series()


@contextmanager
def recording() -> Iterator[Recorded]:
    """Give what the program records while the block runs; starts roadworthy if need be.

    It then lives in a temporary place. Raises :class:`~roadworthy.errors.Unavailable` when it cannot run, because it is
    switched off for instance. Instruments made before keep working: the figures are differences, not totals.
    """
    if start.current() is None and "ROADWORTHY_HOME" not in os.environ and "ROADWORTHY_ARENA_DIR" not in os.environ:
        os.environ["ROADWORTHY_HOME"] = tempfile.mkdtemp(prefix="roadworthy-test-")
    arena = start.ensure()
    if arena is None:
        raise Unavailable(
            "roadworthy does not run in this process, so nothing can be recorded",
            why=start.reason(),
            hint="Unset ROADWORTHY_ENABLED in your tests' environment.",
        )
    with Reader(arena.path) as reader:
        yield Recorded(reader)


def _key(series: RawSeries) -> Key:
    return series.name, tuple(series.labels)


def _total(series: RawSeries) -> float:
    if series.buckets is not None:
        return float(sum(series.buckets.values()))
    return series.value or 0.0
