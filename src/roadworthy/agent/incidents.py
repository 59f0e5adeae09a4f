"""Incidents: last words saved as one bundle each, shown later, and completed when the worker has recovered.

A bundle is written atomically below the state directory, and to the history; how fast a death was noticed and made
good is added to it.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from roadworthy.agent.lastwords import LastWords, bundle, summary
from roadworthy.agent.statefiles import write_atomically
from roadworthy.config.places import private

if TYPE_CHECKING:
    from pathlib import Path

    from roadworthy.types import ExitStatus, History, IncidentSummary

KEPT: Final = 500


class Incidents:
    """Saves incidents below ``directory`` and in the history; :meth:`recovered` completes one."""

    def __init__(self, app: str, directory: Path, history: History) -> None:
        self._app = app
        self._directory = directory
        self._history = history
        self._recent: deque[IncidentSummary] = deque(maxlen=50)
        self._recent.extend(reversed(history.incidents(50)))
        self._open: dict[int, tuple[IncidentSummary, dict[str, Any], float]] = {}

    def save(self, words: LastWords) -> IncidentSummary:
        """Keep an incident; returns its line.

        Raises :class:`Exhausted` or :class:`Unavailable` when it cannot be written.
        """
        line, content = summary(words), bundle(words, self._app)
        self._recent.append(line)
        if words.slot is not None:
            began = words.happened if words.happened is not None else words.at
            self._open[words.slot] = (line, content, began)
        self._write(line, content)
        self._forget_old()
        return line

    def recovered(self, slot: int, at: float) -> IncidentSummary | None:
        """Note that the worker of ``slot`` works again at ``at`` (wall).

        Returns the completed line, None if there was none.
        """
        found = self._open.pop(slot, None)
        if found is None:
            return None
        line, content, began = found
        done = replace(line, recovered_after=max(0.0, at - began))
        content["summary"] = asdict(done)
        self._put(done)
        self._write(done, content)
        return done

    def ended(self, slot: int, pid: int, status: ExitStatus) -> bool:
        """Add how a process ended to its incident of a hang; False when it has none. Raises as :meth:`save`."""
        found = self._open.get(slot)
        if found is None or found[0].pid != pid or found[0].exit is not None:
            return False
        line, content, began = found
        done = replace(line, exit=status)
        content["summary"] = asdict(done)
        self._open[slot] = (done, content, began)
        self._put(done)
        self._write(done, content)
        return True

    def reported(self, slot: int, pid: int) -> bool:
        """Return whether an incident of this very process is open."""
        found = self._open.get(slot)
        return found is not None and found[0].pid == pid

    def replaced(self, slot: int, pid: int | None) -> bool:
        """Return whether another process than the one of the open incident fills the slot now."""
        found = self._open.get(slot)
        return found is not None and pid is not None and found[0].pid != pid

    def _put(self, done: IncidentSummary) -> None:
        for index, one in enumerate(self._recent):
            if one.id == done.id:
                self._recent[index] = done

    def open_slots(self) -> frozenset[int]:
        """Return the slots whose last incident has not been made good yet."""
        return frozenset(self._open)

    def recent(self) -> tuple[IncidentSummary, ...]:
        """Return the newest incidents first."""
        return tuple(reversed(self._recent))

    def _write(self, line: IncidentSummary, content: dict[str, Any]) -> None:
        try:
            folder = private(self._directory)
            write_atomically(folder / f"{line.id}.json", json.dumps(content, indent=1, default=str))
        finally:
            self._history.add_incident(line, content)

    def _forget_old(self) -> None:
        """Keep the newest 500 bundles."""
        try:
            names = sorted(path.name for path in self._directory.iterdir() if path.suffix == ".json")
        except OSError:
            return
        for name in names[:-KEPT]:
            (self._directory / name).unlink(missing_ok=True)
