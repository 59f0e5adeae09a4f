"""The events that are shown and kept for last words: the program's and the agent's own, with running ids."""

from __future__ import annotations

import itertools
import os
from collections import deque
from typing import TYPE_CHECKING, Final

from roadworthy import _clock
from roadworthy.errors import RoadworthyError
from roadworthy.log.redact import redact
from roadworthy.types import CheckResult, Event, EventKind, Finding, Severity, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

KEPT: Final = 5_000
_OURS: Final = "roadworthy"


class Journal:
    """Keeps the newest 5 000 events, and which of our own duties fail at the moment."""

    def __init__(self) -> None:
        self._events: deque[tuple[int, Event]] = deque(maxlen=KEPT)
        self._numbers = itertools.count(1)
        self._failures: dict[str, str] = {}

    def add(self, events: Iterable[Event]) -> None:
        """Append events in their order."""
        self._events.extend(zip(self._numbers, events, strict=False))

    def after(self, number: int, limit: int) -> list[tuple[int, Event]]:
        """Return events with a running id greater than ``number``, oldest first, at most the newest ``limit``."""
        found = list(itertools.takewhile(lambda entry: entry[0] > number, reversed(self._events)))[::-1]
        return found[-limit:] if limit > 0 else []

    def newest(self, count: int) -> tuple[Event, ...]:
        """Return the newest events, oldest first."""
        return tuple(event for _, event in itertools.islice(reversed(self._events), count))[::-1]

    def since(self, at: float, slot: int | None) -> list[Event]:
        """Return events from ``at`` (wall) on of one worker, and those of no worker."""
        return [event for _, event in self._events if event.at >= at and event.slot in {slot, None}]

    def note(self, text: str, *, level: str = "info", slot: int | None = None, pid: int | None = None) -> None:
        """Add an event of the agent itself: a state change, a failure."""
        self.add([Event(EventKind.STATE, _clock.wall(), level, _OURS, redact(text), pid or os.getpid(), slot)])

    def check(self, result: CheckResult) -> None:
        """Add that a check changed its answer."""
        level = "info" if result.status is Status.OK else "critical" if result.outage else "warning"
        outage = " (outage)" if result.outage else ""
        text = redact(f"check {result.name}: {result.status.value}{outage}, {result.detail}")
        self.add([Event(EventKind.CHECK, _clock.wall(), level, result.name, text, os.getpid(), result.slot)])

    # -- what fails

    def attempt(self, subject: str, act: Callable[[], object]) -> bool:
        """Do something that may fail for reasons outside (disk full); the failure is a finding until it works again."""
        try:
            act()
        except RoadworthyError as error:
            if subject not in self._failures:
                self.note(str(error), level="error")
            self._failures[subject] = error.what
            return False
        self._failures.pop(subject, None)
        return True

    def fail(self, subject: str, why: str) -> None:
        """Show a failure until the agent ends."""
        self._failures[subject] = redact(why)[:300]

    def findings(self) -> tuple[Finding, ...]:
        """Return what fails now."""
        return tuple(
            Finding(subject, Status.DEGRADED, why, Severity.ERROR) for subject, why in sorted(self._failures.items())
        )
