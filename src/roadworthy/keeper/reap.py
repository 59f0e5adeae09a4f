"""Processes as the kernel shows them: the table, descent, signalling without hitting a stranger, reaping.

A pid alone is no identity: pid and start ticks are. A signal goes through a pidfd that is opened first and compared
then, so a number that was given to another process in between is never hit.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # no stub; `signal` itself would import enum
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any


class Process:
    """One row of the process table."""

    __slots__ = ("group", "parent", "pid", "session", "state", "ticks")

    def __init__(self, pid: int, parent: int, group: int, session: int, ticks: int, state: str) -> None:
        self.pid = pid
        self.parent = parent
        self.group = group
        self.session = session
        self.ticks = ticks
        self.state = state

    @property
    def dead(self) -> bool:
        """Return whether it only waits to be collected."""
        return self.state in "ZX"


def read(pid: int) -> Process | None:
    """Return the process with this pid, or None when there is none."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:
        return None
    try:
        text = os.read(fd, 1024)
    except OSError:
        return None
    finally:
        os.close(fd)
    fields = text[text.rfind(b")") + 2 :].split()  # the name before it may hold spaces and parentheses
    return Process(pid, int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]), fields[0].decode())


def start_ticks(pid: int) -> int | None:
    """Return when the process was started, in clock ticks since boot, or None when there is no such process."""
    found = read(pid)
    return None if found is None else found.ticks


def table() -> dict[int, Process]:
    """Return all processes that can be seen, zombies included."""
    rows = (read(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {row.pid: row for row in rows if row is not None}


def marks(pid: int) -> dict[str, str]:
    """Return the ``ROADWORTHY_*`` variables that the process was started with; empty when they cannot be read."""
    try:
        fd = os.open(f"/proc/{pid}/environ", os.O_RDONLY)
    except OSError:
        return {}
    text = b""
    try:
        while part := os.read(fd, 65536):
            text += part
    except OSError:
        return {}
    finally:
        os.close(fd)
    pairs = (item.split(b"=", 1) for item in text.split(b"\0") if item.startswith(b"ROADWORTHY_") and b"=" in item)
    return {os.fsdecode(name): os.fsdecode(value) for name, value in pairs}


def below(rows: dict[int, Process], roots: Iterable[int], skip: Iterable[int] = ()) -> list[Process]:
    """Return the living among ``roots`` and their descendants, parents first, without the trees in ``skip``."""
    children: dict[int, list[int]] = {}
    for row in rows.values():
        children.setdefault(row.parent, []).append(row.pid)
    seen = set(skip)
    found: list[Process] = []
    todo = [pid for pid in roots if pid in rows]
    while todo:
        pid = todo.pop(0)
        if pid in seen:
            continue
        seen.add(pid)
        if not rows[pid].dead:
            found.append(rows[pid])
        todo.extend(children.get(pid, ()))
    return found


def send(pid: int, ticks: int, signum: int) -> bool:
    """Send a signal to exactly that process; returns whether it was still there (and ours to signal)."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if start_ticks(pid) != ticks:
            return False
        _signal.pidfd_send_signal(pidfd, signum)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True


def collect() -> Iterator[tuple[int, int, Any]]:
    """Collect every child that has ended, adopted ones included: pid, wait status, resource usage."""
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status, usage
