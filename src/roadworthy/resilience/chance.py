"""A number by chance for jitter: no secret, and never in the way of a call."""

from __future__ import annotations

from roadworthy._clock import monotonic_ns

_PARTS = 1 << 16


def chance() -> float:
    """Return a number from 0 to less than 1; from the clock while :mod:`random` cannot be imported. Never raises."""
    try:
        from random import random  # 5 ms to import, so only once something failed
    except ImportError:
        # A signal came while the program was importing it, or the interpreter is shutting down.
        return monotonic_ns() // 64 % _PARTS / _PARTS
    return random()  # noqa: S311 - jitter
