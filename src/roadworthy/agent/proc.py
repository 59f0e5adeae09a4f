"""One process as ``/proc`` tells it: parsers that are functions of bytes, and descriptors that are kept open.

A descriptor of ``/proc/<pid>/stat`` stays bound to *that* process: after its end reading fails with ESRCH even when the
number was given to somebody else, so a cached descriptor is an identity check that costs nothing. Opening the file
anew each second costs three times as much as reading it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

TICKS: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
PAGE: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_READ: Final = 4096
_COMMAND_BYTES: Final = 512
_STAT_FIELDS: Final = 22


@dataclass(frozen=True, slots=True)
class Stat:
    """What ``/proc/<pid>/stat`` says; times in clock ticks, memory in bytes."""

    pid: int
    comm: str
    state: str
    ppid: int
    cpu: int
    children_cpu: int
    threads: int
    start_ticks: int
    rss: int


def parse_stat(data: bytes) -> Stat | None:
    """Return the parsed line, or None when it is not one; a command name may hold spaces and brackets."""
    opening, closing = data.find(b"("), data.rfind(b")")
    if opening < 0 or closing < opening:
        return None
    rest = data[closing + 2 :].split()
    if len(rest) < _STAT_FIELDS:
        return None
    try:
        return Stat(
            pid=int(data[:opening]),
            comm=data[opening + 1 : closing].decode("utf-8", "replace"),
            state=rest[0].decode("ascii", "replace"),
            ppid=int(rest[1]),
            cpu=int(rest[11]) + int(rest[12]),
            children_cpu=int(rest[13]) + int(rest[14]),
            threads=int(rest[17]),
            start_ticks=int(rest[19]),
            rss=int(rest[21]) * PAGE,
        )
    except ValueError:
        return None


def parse_io(data: bytes) -> tuple[int, int] | None:
    """Return (bytes read, bytes written) of real storage from ``/proc/<pid>/io``, or None."""
    found: dict[bytes, int] = {}
    for line in data.splitlines():
        key, _, value = line.partition(b":")
        if key in {b"read_bytes", b"write_bytes"} and value.strip().isdigit():
            found[key] = int(value)
    return (found[b"read_bytes"], found[b"write_bytes"]) if len(found) == 2 else None  # noqa: PLR2004 - the two of them


def parse_fd_limit(data: bytes) -> int | None:
    """Return the soft limit of open descriptors from ``/proc/<pid>/limits``; None when unlimited or not told."""
    for line in data.splitlines():
        if line.startswith(b"Max open files"):
            soft = line[len(b"Max open files") :].split()[0]
            return int(soft) if soft.isdigit() else None
    return None


def catches(status: bytes, signal: int) -> bool:
    """Return whether ``/proc/<pid>/status`` says that the process has a handler for ``signal``."""
    for line in status.splitlines():
        if line.startswith(b"SigCgt:"):
            try:
                return bool(int(line.split()[1], 16) >> (signal - 1) & 1)
            except (IndexError, ValueError):
                return False
    return False


def command_text(raw: bytes, most: int = _COMMAND_BYTES) -> str:
    """Return a command line as one bounded, printable line; arguments are still to be redacted."""
    text = raw[:most].replace(b"\0", b" ").decode("utf-8", "replace").strip()
    text = "".join(char if char.isprintable() else "?" for char in text)
    return text + " …" if len(raw) > most else text


def read_file(path: str, most: int = 65536) -> bytes | None:
    """Return at most ``most`` bytes of a file, or None when it is not there or not for us.

    Of a table in ``/proc`` one read gives a page, however much was asked for.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.read(handle, most)
        while len(found) < most and (part := os.read(handle, most - len(found))):
            found += part
        return found
    except OSError:
        return None
    finally:
        os.close(handle)


class ProcFiles:
    """The descriptors of one process's ``stat`` and ``io``, kept open between samples.

    :meth:`close` gives them back.
    """

    __slots__ = ("_io", "_io_refused", "_root", "_stat", "pid")

    def __init__(self, pid: int, root: str = "/proc") -> None:
        self.pid = pid
        self._root = f"{root}/{pid}"
        self._stat = -1
        self._io = -1
        self._io_refused = False

    def stat(self) -> Stat | None:
        """Return the process's figures, or None when it has ended."""
        try:
            if self._stat < 0:
                self._stat = os.open(f"{self._root}/stat", os.O_RDONLY | os.O_CLOEXEC)
            return parse_stat(os.pread(self._stat, _READ, 0))
        except OSError:
            return None

    def io(self) -> tuple[int, int] | None:
        """Return (bytes read, bytes written), or None when that is not told to us (another user's process)."""
        if self._io_refused:
            return None
        try:
            if self._io < 0:
                self._io = os.open(f"{self._root}/io", os.O_RDONLY | os.O_CLOEXEC)
            return parse_io(os.pread(self._io, _READ, 0))
        except OSError:
            self._io_refused = self._io < 0
            return None

    def fds(self) -> int | None:
        """Return how many descriptors are open, or None when that is not told; kernels from 6.2 on answer at once."""
        path = f"{self._root}/fd"
        try:
            size = os.stat(path).st_size  # noqa: PTH116 - every second for every process
            return size or len(os.listdir(path))  # noqa: PTH208 - as above
        except OSError:
            return None

    def fd_limit(self) -> int | None:
        """Return the soft limit of descriptors, or None."""
        data = read_file(f"{self._root}/limits")
        return parse_fd_limit(data) if data else None

    def command(self) -> str:
        """Return the command line, bounded, not redacted; empty for a kernel thread or an ended process."""
        return command_text(read_file(f"{self._root}/cmdline", _COMMAND_BYTES + 1) or b"")

    def close(self) -> None:
        """Close what is open."""
        for handle in (self._stat, self._io):
            if handle >= 0:
                os.close(handle)
        self._stat = self._io = -1


class Newest:
    """Tells whether a process was made since the last look: the kernel counts them, which spares listing them all.

    :meth:`close` gives the descriptor back.
    """

    def __init__(self, root: str = "/proc") -> None:
        self._path = f"{root}/loadavg"
        self._handle = -1
        self._last = ""

    def same(self) -> bool:
        """Return whether no process and no thread was made since the last call; False where that is not told."""
        try:
            if self._handle < 0:
                self._handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            words = os.pread(self._handle, _READ, 0).split()
        except OSError:
            return False
        # proc(5): three loads, "running/all", and the number that was given away last; 0 where a sandbox makes it up.
        last = words[4].decode("ascii", "replace") if len(words) > 4 else ""  # noqa: PLR2004 - as above
        before, self._last = self._last, last
        return last == before and last not in {"", "0"}

    def close(self) -> None:
        """Close what is open."""
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = -1


def pids(root: str = "/proc") -> list[int]:
    """Return the numbers of all processes that are visible."""
    return [int(name) for name in os.listdir(root) if name.isdigit()]  # noqa: PTH208 - every second
