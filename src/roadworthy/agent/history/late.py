"""A history that cannot be opened yet: the watching goes on, and it is opened as soon as that is possible.

A machine whose disk is full is just when somebody wants to see what is going on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from roadworthy import _clock
from roadworthy.errors import RoadworthyError

if TYPE_CHECKING:
    from roadworthy.types import History, IncidentSummary

TRY_EVERY: Final = 5.0
"""Seconds between two attempts to open it."""


def open_history(make: Callable[[], History]) -> History:
    """Return what ``make`` returns, or, when it raises one of our errors, a history that calls it again later."""
    try:
        return make()
    except RoadworthyError as error:
        return LateHistory(make, error)


class LateHistory:
    """Stands for a history that could not be opened because of ``error``; empty until it can be.

    What is to be kept in the meantime raises that error, so that it is shown.
    """

    def __init__(self, make: Callable[[], History], error: RoadworthyError) -> None:
        self._make = make
        self._error = error
        self._found: History | None = None
        self._again = _clock.monotonic() + TRY_EVERY

    @property
    def notices(self) -> list[str]:
        """Return what the history has to say, to be taken out by who shows it."""
        found: list[str] = getattr(self._found, "notices", [])
        return found

    def keep_for(self, hours: float) -> None:
        """Keep figures for so long from now on; who opens it later asks for that anyway."""
        if self._found:
            self._found.keep_for(hours)

    def append(self, at: float, values: Mapping[str, float]) -> None:
        """Keep one tick's figures; raises why that is not possible yet."""
        self._opened().append(at, values)

    def query(
        self, names: Sequence[str], start: float, end: float, points: int
    ) -> Mapping[str, Sequence[tuple[float, float | None]]]:
        """Return figures over time; none before it is open."""
        return self._found.query(names, start, end, points) if self._found else {name: [] for name in names}

    def add_incident(self, summary: IncidentSummary, bundle: Mapping[str, object]) -> None:
        """Keep an incident; raises why that is not possible yet."""
        self._opened().add_incident(summary, bundle)

    def incidents(self, limit: int = 50) -> Sequence[IncidentSummary]:
        """Return the newest incidents; none before it is open."""
        return self._found.incidents(limit) if self._found else ()

    def incident(self, incident_id: str) -> Mapping[str, object] | None:
        """Return one incident's bundle; None before it is open."""
        return self._found.incident(incident_id) if self._found else None

    def close(self) -> None:
        """Release what was opened."""
        if self._found:
            self._found.close()

    def _opened(self) -> History:
        if self._found is None:
            now = _clock.monotonic()
            if now < self._again:
                raise self._error.with_traceback(None)  # it is raised every second: frames would pile up
            self._again = now + TRY_EVERY
            try:
                self._found = self._make()
            except RoadworthyError as error:
                self._error = error
                raise
        return self._found
