"""What the host, or the container where its limits are smaller, uses: CPU, memory, disk, disk I/O, network, load."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

from roadworthy._clock import NS
from roadworthy.agent.proc import read_file
from roadworthy.config.detect import cgroup
from roadworthy.types import System

LIMITS_EVERY: Final = 10
"""Samples between two readings of cgroup files."""

SHORTEST: Final = 0.4
"""Seconds between two samples below which the last one stands: rates over less would be noise."""

_LISTEN: Final = "0A"
_OPEN: Final = frozenset({"01", "08"})
"""ESTABLISHED, and CLOSE_WAIT: what the client has closed may still be read."""

_SECTOR: Final = 512
_WHOLE_DISK_HAS_NO: Final = ("loop", "ram", "zram", "dm-", "md", "sr", "fd")


def parse_cpu(text: str) -> tuple[int, int] | None:
    """Return (busy, all) clock ticks of all CPUs from ``/proc/stat``; guests are in user time already."""
    first = text.partition("\n")[0].split()
    if len(first) < 5 or first[0] != "cpu":  # noqa: PLR2004 - cpu user nice system idle …
        return None
    times = [int(word) for word in first[1:9]]
    idle = times[3] + (times[4] if len(times) > 4 else 0)  # noqa: PLR2004 - iowait is idle
    return sum(times) - idle, sum(times)


def parse_memory(text: str) -> tuple[int, int] | None:
    """Return (total, available) bytes from ``/proc/meminfo``."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        key, _, rest = line.partition(":")
        if key in {"MemTotal", "MemAvailable", "MemFree"}:
            found[key] = int(rest.split()[0]) * 1024
    total = found.get("MemTotal")
    free = found.get("MemAvailable", found.get("MemFree"))
    return (total, free) if total is not None and free is not None else None


def parse_network(text: str) -> tuple[int, int]:
    """Return (received, sent) bytes over all interfaces but loopback from ``/proc/net/dev``."""
    received = sent = 0
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        words = rest.split()
        if name.strip() != "lo" and len(words) > 8:  # noqa: PLR2004 - column of the bytes sent
            received += int(words[0])
            sent += int(words[8])
    return received, sent


def parse_disks(text: str, whole: frozenset[str]) -> tuple[int, int]:
    """Return (read, written) bytes over the whole disks named, from ``/proc/diskstats``.

    Partitions would count twice.
    """
    read = written = 0
    for line in text.splitlines():
        words = line.split()
        if len(words) > 9 and words[2] in whole:  # noqa: PLR2004 - column of the sectors written
            read += int(words[5]) * _SECTOR
            written += int(words[9]) * _SECTOR
    return read, written


class HostSampler:
    """Samples the host; rates need two samples and are None before. :meth:`close` gives descriptors back."""

    def __init__(self, *, disk_path: str, root: str = "/proc") -> None:
        self._root = root
        self._disk_path = disk_path
        self._handles: dict[str, int] = {}
        self._before: dict[str, tuple[int, int]] = {}
        self._at_ns = 0
        self._count = 0
        self._last: System | None = None
        self._limits = cgroup.Limits()
        self._disks: frozenset[str] = frozenset()

    def sample(self, now_ns: int) -> tuple[System, cgroup.Limits]:
        """Return the host's figures at ``now_ns`` and the limits that bind us."""
        elapsed = (now_ns - self._at_ns) / NS if self._at_ns else None
        if self._last is not None and elapsed is not None and elapsed < SHORTEST:
            return self._last, self._limits
        self._at_ns = now_ns
        memory = parse_memory(self._read("meminfo") or "")
        if self._count % LIMITS_EVERY == 0:
            self._disks = _whole_disks()
            self._limits = cgroup.limits(
                _read_text,
                host_memory=memory[0] if memory else None,
                host_cpus=os.cpu_count(),
                affinity=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
            )
        self._count += 1
        limits = self._limits
        busy = self._delta("cpu", parse_cpu(self._read("stat") or ""))
        disks = parse_disks(self._read("diskstats") or "", self._disks) if self._disks else None
        read, write = self._rates("disk", disks, elapsed)
        received, sent = self._rates("net", parse_network(self._read("net/dev") or ""), elapsed)
        total, used = self._memory(memory, limits)
        disk_total, disk_used = space(self._disk_path)
        self._last = System(
            cpu_percent=100.0 * busy[0] / busy[1] if busy and busy[1] > 0 else None,
            cpus=limits.cpus,
            load1=self._load(),
            memory_total=total,
            memory_used=used,
            memory_percent=used / total * 100.0 if total and used is not None else None,
            disk_total=disk_total,
            disk_used=disk_used,
            disk_percent=disk_used / disk_total * 100.0 if disk_total and disk_used is not None else None,
            disk_path=self._disk_path,
            disk_read=read,
            disk_write=write,
            net_received=received,
            net_sent=sent,
            processes=self._process_count(),
            limited_by=limits.by,
        )
        return self._last, limits

    def close(self) -> None:
        """Close all descriptors."""
        for handle in self._handles.values():
            os.close(handle)
        self._handles.clear()

    def _read(self, name: str) -> str | None:
        try:
            handle = self._handles.get(name)
            if handle is None:
                handle = self._handles[name] = os.open(f"{self._root}/{name}", os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(handle, 65536, 0).decode("ascii", "replace")
        except OSError:
            return None

    def _delta(self, key: str, value: tuple[int, int] | None) -> tuple[int, int] | None:
        before = self._before.get(key)
        if value is None:
            self._before.pop(key, None)
            return None
        self._before[key] = value
        return (value[0] - before[0], value[1] - before[1]) if before else None

    def _rates(
        self, key: str, value: tuple[int, int] | None, elapsed: float | None
    ) -> tuple[float | None, float | None]:
        change = self._delta(key, value)
        if change is None or not elapsed or elapsed <= 0:
            return None, None
        return max(0.0, change[0] / elapsed), max(0.0, change[1] / elapsed)

    def _memory(self, host: tuple[int, int] | None, limits: cgroup.Limits) -> tuple[int | None, int | None]:
        if "memory" in limits.by and limits.memory is not None:
            return limits.memory, limits.memory_used
        return (host[0], host[0] - host[1]) if host else (None, None)

    def _load(self) -> float | None:
        try:
            return os.getloadavg()[0]
        except OSError:
            return None

    def _process_count(self) -> int | None:
        words = (self._read("loadavg") or "").split()
        return int(words[3].partition("/")[2]) if len(words) > 3 and "/" in words[3] else None  # noqa: PLR2004 - proc(5)


def parse_listening(text: str) -> set[int]:
    """Return the ports that somebody listens on, from ``/proc/net/tcp`` or ``tcp6``."""
    rows = (line.split() for line in text.splitlines()[1:])
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3:4] == [_LISTEN]}


def listens(port: int, root: str = "/proc") -> bool | None:
    """Return whether somebody listens on this TCP port, or None where that is not told."""
    told = _tcp(root)
    return any(port in parse_listening(text) for text in told) if told else None


def _tcp(root: str) -> list[str]:
    """Return the tables of TCP sockets, whole: the kernel gives a page at a time, and the listening ones first."""
    found = []
    for name in ("tcp", "tcp6"):
        try:
            with open(f"{root}/net/{name}", encoding="ascii", errors="replace") as file:  # noqa: PTH123 - /proc
                found.append(file.read())
        except OSError:
            continue
    return found


def connections(pids: Iterable[int], port: int, root: str = "/proc") -> int | None:
    """Return how many connections that came in on a TCP port these processes hold, None where that is not told."""
    told = _tcp(root)
    if not told:
        return None
    sockets = {f"socket:[{inode}]" for text in told for inode in parse_connections(text, port)}
    found = 0
    for pid in pids if sockets else ():
        folder = f"{root}/{pid}/fd"
        try:
            names = os.listdir(folder)  # noqa: PTH208 - names only
        except FileNotFoundError:
            continue  # it has ended
        except OSError:
            return None
        found += sum(_link(f"{folder}/{name}") in sockets for name in names)
    return found


def parse_connections(text: str, port: int) -> set[str]:
    """Return the inodes of connections to a local port that the process has not closed, from ``/proc/net/tcp[6]``."""
    rows = (line.split() for line in text.splitlines()[1:])
    local = f":{port:04X}"
    return {row[9] for row in rows if len(row) > 9 and row[1].endswith(local) and row[3] in _OPEN}  # noqa: PLR2004 - proc(5)


def _link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - no path is wanted
    except OSError:
        return ""


def space(path: str) -> tuple[int | None, int | None]:
    """Return (size, used) in bytes of the file system that holds ``path``; space kept for root counts as used."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None, None
    free = found.f_bavail * found.f_frsize
    used = (found.f_blocks - found.f_bfree) * found.f_frsize
    return used + free, used


def _whole_disks() -> frozenset[str]:
    try:
        names = os.listdir("/sys/block")  # noqa: PTH208 - names only
    except OSError:
        return frozenset()
    return frozenset(name for name in names if not name.startswith(_WHOLE_DISK_HAS_NO))


def _read_text(path: str) -> str | None:
    data = read_file(path)
    return None if data is None else data.decode("utf-8", "replace")


def oom_kills() -> int | None:
    """Return how often the kernel killed in our cgroup for want of memory; None where it is not told."""
    return cgroup.limits(_read_text).oom_kills
