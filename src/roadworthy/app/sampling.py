"""How many operations are recorded, and when one counts as slow: what the control page says, kept where hot paths read.

A start stamp carries the weight that sampling gives a run in bits above 2^56, so that weighing costs nothing while
everything is recorded. The wrappers of :mod:`roadworthy.app.timed` run on the globals of this module.
"""

from __future__ import annotations

from itertools import count

from roadworthy._clock import monotonic_ns
from roadworthy.app import errors, guard, page, start
from roadworthy.arena.layout import FLAG_SAMPLED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SLOW_NS = 1_000_000_000
SKIP = 0xFFFF
"""The weight of a run that sampling passes over."""

SHIFT = 56
LONGEST_NS = (1 << SHIFT) - 1
SKIPPED = SKIP << SHIFT
"""What the duration of a run that sampling passes over has at least, and of no other."""

on = False
"""Whether not every run is recorded."""

every = 1
"""One of how many runs is recorded; 0 for none."""

chosen = b"\0"
"""Which of the runs of one name are: one of ``every`` in a row, at a place that was drawn.

So each name's count is right to ``every`` runs, and what happens in every n-th of them is not always, or never, seen.
"""

DRAWN = 8192
"""Runs for which places are drawn; then they come again, and with another rate they are drawn anew."""

slow_ns = SLOW_NS
"""From which duration on an operation is told of by itself."""

next_poll = 0
"""When the next duration that is not short looks at the control page."""

_switches: list[Callable[[bool], object]] = []
_now = monotonic_ns


def turns(name: str) -> Callable[[], int]:
    """Return what numbers the runs of one name, from a number of its own on: names that run once are drawn alike."""
    return count(hash(name) & 0xFFFF).__next__


def tick(begun: int, turn: Callable[[], int]) -> int:
    """Weigh a run while sampling is on: returns the start stamp less the weight in the bits above 2^56.

    ``turn`` numbers the runs of its name (:func:`turns`).
    """
    try:
        if begun > next_poll:
            look(begun)
        if every == 1:
            return begun
        table = chosen
        if table[turn() % len(table)]:
            return begun - (every << SHIFT)
        return begun - SKIPPED
    except Exception as error:
        if guard.failed("operation.tick", error):
            raise
        return begun


def follow(switch: Callable[[bool], object]) -> None:
    """Have ``switch`` told when sampling is switched on or off, for a hot path that keeps it among its own globals."""
    _switches.append(switch)


def look(now: int) -> None:
    """Look at the control page; called a few times a second from what is not short."""
    global next_poll  # noqa: PLW0603 - one clockwork per process
    next_poll = now + page.EVERY_NS
    page.look()


def tune(value: dict[str, Any]) -> None:
    """Take over what the control page says: the sample rate of operations and when one counts as slow."""
    global chosen, every, on, slow_ns  # noqa: PLW0603 - one clockwork per process
    rate = (value.get("sampling") or {}).get("performance", 1.0)
    before, every = every, 1 if rate >= 1 else min(round(1 / rate), SKIP - 1) if rate > 0 else 0
    if every != before:
        chosen = _drawn(every) if every > 1 else b"\0"
    on = every != 1
    for switch in _switches:
        switch(on)
    errors.sample((value.get("sampling") or {}).get("errors", 1.0))
    slow = (value.get("settings") or {}).get("slow_operation", SLOW_NS / 1e9)
    slow_ns = min(int(slow * 1e9), LONGEST_NS)
    arena = start.current()
    if arena is not None:
        flags = arena.flags & ~FLAG_SAMPLED
        arena.set_flags(flags | FLAG_SAMPLED if on else flags)


def _drawn(every: int) -> bytes:
    from _random import Random  # `random` takes milliseconds

    draw = Random()
    table = bytearray(every * max(1, DRAWN // every))
    for block in range(0, len(table), every):
        table[block + int(draw.random() * every)] = 1
    return bytes(table)


page.follow("operations", tune)
