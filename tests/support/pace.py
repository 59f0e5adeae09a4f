"""How much time the machine took from us: a promise in seconds is one of seconds in which we are let to work.

A virtual machine is stopped by its host, a processor is given to others: for that long nothing here goes on, neither
the product nor the test. A thread that wants to be woken every few milliseconds sees by how much it was late. A test
that holds the product to some seconds allows those on top, and on a machine that keeps its pace, nothing::

    began = monotonic()
    ...
    assert pace.spent(began) < 2.0
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from roadworthy import _clock

if TYPE_CHECKING:
    from types import TracebackType

EVERY = 0.01
SMALL = 0.005
"""Seconds of lateness that every system has."""


class Pace:
    """Watches while its block runs."""

    def __init__(self) -> None:
        self._late: list[tuple[float, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="pace", daemon=True)

    def _watch(self) -> None:
        before = _clock.monotonic()
        while not self._over.wait(EVERY):
            now = _clock.monotonic()
            if (late := now - before - EVERY) > SMALL:
                self._late.append((now, late))
            before = now

    def lost(self, since: float) -> float:
        """Return the seconds since ``since`` (monotonic) in which we were to run and were not let."""
        return sum(min(late, at - since) for at, late in tuple(self._late) if at > since)

    def spent(self, since: float) -> float:
        """Return the seconds since ``since`` (monotonic) but for those that were lost."""
        return _clock.monotonic() - since - self.lost(since)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
