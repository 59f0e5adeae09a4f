"""Who else has a file open, as ``lsof`` tells it: read from ``/proc``, bounded in time, of what this user may see."""

from __future__ import annotations

import os

from roadworthy._clock import NS, monotonic_ns

MOST = 5
MOST_FILES = 4096
"""Open files of one process that are looked at."""

LONGEST_NS = NS // 20
_BESIDE = ("", "-wal", "-shm", "-journal")
"""What SQLite keeps beside a database, and holds open with it."""


def holders(path: str, proc: str = "/proc") -> list[tuple[int, str]]:
    """Return pid and name of other processes that hold this database open, at most five; what is not seen is not told.

    Empty where there is no ``/proc``. Gives up after 50 ms: this may be a thread that others wait for. Never raises.
    """
    wanted = {os.path.realpath(path) + end for end in _BESIDE}
    found: list[tuple[int, str]] = []
    until, own = monotonic_ns() + LONGEST_NS, str(os.getpid())
    for pid in _listed(proc):
        if not pid.isdecimal() or pid == own:
            continue
        if monotonic_ns() > until or len(found) == MOST:
            break
        folder = f"{proc}/{pid}/fd"
        if any(_target(f"{folder}/{number}") in wanted for number in _listed(folder)[:MOST_FILES]):
            found.append((int(pid), _name(f"{proc}/{pid}/comm")))
    return found


def told(path: str, proc: str = "/proc") -> str:
    """Return who holds a database open as the end of a sentence, empty when nobody else is seen."""
    others = ", ".join(f"{name or 'a process'} (pid {pid})" for pid, name in holders(path, proc))
    return f"; {os.path.basename(path)} is also open in {others}" if others else ""


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []  # another user's, or gone meanwhile


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _name(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(64).strip()
    except OSError:
        return ""
