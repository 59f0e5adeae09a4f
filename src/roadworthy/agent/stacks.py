"""The Python stacks of a process that does not answer: faulthandler and a real-time signal, about a millisecond.

Before signalling two things are checked, because a program may have closed every descriptor or replaced every handler
(one once had stack text written into its database): the process still has a handler for the signal, and its dump
descriptor is still the file in our directory. A stopped process gets SIGCONT after the signal, else it would never run
the handler; it is then given back its stop, so that looking changes nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal as _signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from roadworthy import _clock
from roadworthy.agent.proc import catches, parse_stat, read_file
from roadworthy.log.redact import redact

if TYPE_CHECKING:
    from pathlib import Path

MOST: Final = 256 * 1024
WAIT: Final = 2.0
_POLL: Final = 0.02

Send = Callable[[int, int, int], None]
"""Sends a signal to a process by (pid, start ticks, signal) after checking that it is still that process."""


@dataclass(frozen=True, slots=True)
class Stacks:
    """The text of all threads' stacks, or why there is none."""

    text: str = ""
    why_not: str = ""


def obstacle(pid: int, signal: int, descriptor: int, path: Path, root: str = "/proc") -> str:
    """Return why the process must not be asked for its stacks, or an empty string when it may."""
    if signal <= 0 or descriptor < 0:
        return "the program carries no stack dump (not injected, or it is not Python)"
    status = read_file(f"{root}/{pid}/status")
    if status is None:
        return "the process has ended"
    if not catches(status, signal):
        return f"the program has taken away the handler of signal {signal}"
    try:
        target = os.stat(f"{root}/{pid}/fd/{descriptor}")  # noqa: PTH116 - follows the link of /proc, as wanted
        ours = os.stat(path)  # noqa: PTH116 - as above
    except OSError:
        return "its dump file or descriptor is gone"
    if (target.st_dev, target.st_ino) != (ours.st_dev, ours.st_ino):
        return f"its descriptor {descriptor} is another file now"
    return ""


async def dump(
    pid: int, start_ticks: int, *, signal: int, descriptor: int, path: Path, send: Send, root: str = "/proc"
) -> Stacks:
    """Ask a process for its stacks and return what it wrote, at most 256 KiB, or why it cannot be had.

    Takes at most two seconds. Nothing is sent to a process that does not catch the signal, which would end it.
    """
    why = obstacle(pid, signal, descriptor, path, root)
    if why:
        return Stacks(why_not=why)
    before = _size(path)
    stopped = _state(pid, start_ticks, root) == "T"
    send(pid, start_ticks, signal)
    if stopped:
        send(pid, start_ticks, int(_signal.SIGCONT))
    deadline = _clock.monotonic() + WAIT
    known = before
    quiet = 0
    while _clock.monotonic() < deadline:
        await asyncio.sleep(_POLL)
        size = _size(path)
        quiet = quiet + 1 if size == known and size > before else 0
        known = size
        if quiet >= 2:  # noqa: PLR2004 - written in pieces; two looks without growth end it
            break
    if stopped:
        send(pid, start_ticks, int(_signal.SIGSTOP))
    if known <= before:
        return Stacks(why_not=f"the process wrote nothing within {WAIT:.0f} s (it may be waiting inside the kernel)")
    return Stacks(text=redact(_read(path, before, known)))


def direct(pid: int, start_ticks: int, signal: int) -> None:
    """Signal a process by pidfd after checking its start time.

    One that has ended is left alone (attached, no keeper).
    """
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        stat = parse_stat(read_file(f"/proc/{pid}/stat") or b"")
        if stat is not None and stat.start_ticks == start_ticks:
            _signal.pidfd_send_signal(handle, signal)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def _state(pid: int, start_ticks: int, root: str) -> str | None:
    stat = parse_stat(read_file(f"{root}/{pid}/stat") or b"")
    return stat.state if stat is not None and stat.start_ticks == start_ticks else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _read(path: Path, start: int, end: int) -> str:
    with path.open("rb") as file:
        file.seek(max(start, end - MOST))
        return file.read(MOST).decode("utf-8", "replace")
