"""The only module that reads time.

Durations and ages use the monotonic clock, which on Linux is one clock for all processes of a boot, so that an
agent may subtract a program's stamp from its own. Wall time is for stamps that people read.
"""

from __future__ import annotations

import time

monotonic_ns = time.monotonic_ns
"""Nanoseconds of the system-wide monotonic clock (CLOCK_MONOTONIC)."""

wall_ns = time.time_ns
"""Nanoseconds since the epoch, UTC; may jump."""

sleep = time.sleep
"""Suspend the calling thread for a number of seconds; never used by the app runtime."""

NS = 1_000_000_000
"""Nanoseconds in a second."""


def monotonic() -> float:
    """Return the monotonic clock in seconds."""
    return monotonic_ns() / NS


def wall() -> float:
    """Return the wall clock in seconds since the epoch."""
    return wall_ns() / NS
