"""The process's resident memory, before and after an operation that asked for it."""

from __future__ import annotations

import os

from roadworthy.app import start

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int | None:
    """Return this process's resident memory, None where the kernel does not tell."""
    try:
        descriptor = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return int(os.read(descriptor, 128).split()[1]) * _PAGE
        finally:
            os.close(descriptor)
    except (OSError, IndexError, ValueError):
        return None


def changed(name: str, before: object) -> None:
    """Record by how much it differs from ``before``, taken when the run of the operation ``name`` began."""
    after = resident_bytes()
    arena = start.current()
    if arena is None or after is None or not isinstance(before, int):
        return
    labels = (("operation", name),)
    arena.gauge(
        "operation.memory.change", labels, unit="By", help="resident memory, after less before, at the last run"
    ).set(float(after - before))
    arena.histogram("operation.memory.growth", labels, unit="By", help="resident memory gained by a run").record(
        max(0, after - before)
    )
