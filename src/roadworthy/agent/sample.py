"""What the program's processes and the host use, once a second, through descriptors that stay open.

The program is every descendant of its workers, by a walk over parent pids. A process once seen below a worker stays
with it when its parent ends (the keeper is a subreaper, so what is orphaned comes to the keeper or, without one, to
init). CPU time of children that lived and died between two samples is found in their parent's account of reaped
children. ``smaps_rollup`` costs 4 ms a process and is never read here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from roadworthy._clock import NS
from roadworthy.agent.host import HostSampler
from roadworthy.agent.proc import TICKS, Newest, ProcFiles, Stat, pids
from roadworthy.types import Resources, System

LIST_EVERY = 10
"""Samples after which all processes are listed even when the kernel has told of no new one."""

RESCAN_EVERY = 30
"""Samples between two looks at a process that was not the program's, as its number may have been given away again.

A few of them are looked at with each sample: all at once would take milliseconds.
"""

SHORTEST = 0.4
"""Seconds between two samples below which rates are not worked out anew."""

LIMITS_EVERY = 30
"""Samples between two readings of limits, which change rarely."""


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """One process at one sample; CPU in per cent of one core since the sample before, None at its first."""

    pid: int
    ppid: int
    slot: int | None
    start_ticks: int
    state: str
    comm: str
    command: str
    cpu_percent: float | None
    rss: int
    threads: int
    fds: int | None
    fd_limit: int | None
    read_bytes: float | None
    write_bytes: float | None


@dataclass(frozen=True, slots=True)
class Sample:
    """Everything sampled at one instant; ``slots`` are sums over each worker's processes."""

    processes: tuple[ProcessSample, ...] = ()
    slots: Mapping[int, Resources] = field(default_factory=dict)
    total: Resources = field(default_factory=Resources)
    system: System = field(default_factory=System)
    agent: ProcessSample | None = None
    keeper: ProcessSample | None = None
    oom_kills: int | None = None

    def process(self, pid: int | None) -> ProcessSample | None:
        """Return the sample of one process, or None."""
        return next((one for one in self.processes if one.pid == pid), None)


class ProcessSampler(Protocol):
    """What samples an application's processes and the host."""

    def sample(
        self, now_ns: int, workers: Mapping[int, int], *, keeper: int | None = None, agent: int | None = None
    ) -> Sample:
        """Return the sample at ``now_ns`` for ``workers`` (slot to pid)."""

    def close(self) -> None:
        """Give descriptors back."""


class _Tracked:
    """What is remembered of one process between samples."""

    __slots__ = (
        "at_ns",
        "children_cpu",
        "command",
        "cpu",
        "fd_limit",
        "files",
        "io",
        "percent",
        "ppid",
        "rates",
        "slot",
    )

    def __init__(self, files: ProcFiles, stat: Stat, slot: int | None, command: str) -> None:
        self.files = files
        self.slot = slot
        self.command = command
        self.ppid = stat.ppid
        self.cpu = -1
        self.children_cpu = 0
        self.io: tuple[int, int] | None = None
        self.fd_limit: int | None = None
        self.at_ns = 0
        self.percent: float | None = None
        self.rates: tuple[float | None, float | None] = (None, None)


class Sampler:
    """Samples the processes of one application; :meth:`close` gives the descriptors back."""

    def __init__(self, *, disk_path: str, redact: Callable[[str], str] = str, root: str = "/proc") -> None:
        self._root = root
        self._redact = redact
        self._tracked: dict[int, _Tracked] = {}
        self._own: dict[int, _Tracked] = {}
        self._outside: set[int] = set()
        self._gone: dict[int, int] = {}
        self._count = 0
        self._newest = Newest(root)
        self._seen: list[int] = []
        self._host = HostSampler(disk_path=disk_path, root=root)

    def sample(
        self, now_ns: int, workers: Mapping[int, int], *, keeper: int | None = None, agent: int | None = None
    ) -> Sample:
        """Return the sample at ``now_ns`` for ``workers`` (slot to pid).

        Processes that ended meanwhile are left out.
        """
        self._count += 1
        stats = self._walk(workers, keeper, agent)
        samples = [self._one(now_ns, stat, self._tracked[pid]) for pid, stat in stats.items()]
        slots: dict[int, list[ProcessSample]] = {}
        for one in samples:
            if one.slot is not None:
                slots.setdefault(one.slot, []).append(one)
        system, limits = self._host.sample(now_ns)
        memory_limit = limits.memory
        return Sample(
            processes=tuple(samples),
            slots={slot: add(members, memory_limit) for slot, members in slots.items()},
            total=add(samples, memory_limit),
            system=system,
            agent=self._ours(now_ns, agent),
            keeper=self._ours(now_ns, keeper),
            oom_kills=limits.oom_kills,
        )

    def close(self) -> None:
        """Close all descriptors."""
        for one in (*self._tracked.values(), *self._own.values()):
            one.files.close()
        self._tracked.clear()
        self._own.clear()
        self._newest.close()
        self._host.close()

    def _walk(self, workers: Mapping[int, int], keeper: int | None, agent: int | None) -> dict[int, Stat]:
        """Return the figures of all processes of the program, remembering which are new."""
        if not self._newest.same() or self._count % LIST_EVERY == 0:
            try:
                self._seen = pids(self._root)
            except OSError:
                self._seen = list(workers.values())
        seen = self._seen
        turn = self._count % RESCAN_EVERY
        self._outside = {pid for pid in self._outside.intersection(seen) if pid % RESCAN_EVERY != turn}
        roots = {pid: slot for slot, pid in workers.items()}
        stats: dict[int, Stat] = {}
        for pid in [pid for pid in self._gone if pid not in self._tracked]:
            del self._gone[pid]
        fresh: dict[int, tuple[ProcFiles, Stat]] = {}
        for pid, one in list(self._tracked.items()):
            stat = one.files.stat()
            if stat is not None:
                stats[pid] = stat
            else:
                self._gone[one.ppid] = self._gone.get(one.ppid, 0) + max(one.cpu, 0) + one.children_cpu
                one.files.close()
                del self._tracked[pid]
        self._outside.difference_update(roots)
        for pid in seen:
            if pid in self._tracked or pid in self._outside or pid in {keeper, agent}:
                continue
            files = ProcFiles(pid, self._root)
            stat = files.stat()
            if stat is None:
                files.close()
                continue
            fresh[pid] = (files, stat)
        self._adopt(fresh, stats, roots, keeper)
        return stats

    def _adopt(
        self,
        fresh: dict[int, tuple[ProcFiles, Stat]],
        stats: dict[int, Stat],
        roots: Mapping[int, int],
        keeper: int | None,
    ) -> None:
        for pid, slot in roots.items():
            if pid in self._tracked:
                self._tracked[pid].slot = slot
        for pid, (files, stat) in fresh.items():
            owner, belongs = self._belongs(pid, fresh, roots, keeper)
            if belongs:
                self._tracked[pid] = _Tracked(files, stat, owner, self._redact(files.command()))
                stats[pid] = stat
            else:
                files.close()
                self._outside.add(pid)

    def _belongs(
        self, pid: int, fresh: Mapping[int, tuple[ProcFiles, Stat]], roots: Mapping[int, int], keeper: int | None
    ) -> tuple[int | None, bool]:
        """Return (slot, whether it is the program's) by going up the parents.

        An orphan at the keeper has no known slot.
        """
        for _ in range(len(fresh) + 1):
            if pid in roots:
                return roots[pid], True
            if pid in self._tracked:
                return self._tracked[pid].slot, True
            if pid not in fresh:
                return None, False
            parent = fresh[pid][1].ppid
            if keeper is not None and parent == keeper:
                return (next(iter(roots.values())) if len(roots) == 1 else None), True
            pid = parent
        return None, False

    def _one(self, now_ns: int, stat: Stat, tracked: _Tracked) -> ProcessSample:
        if tracked.cpu < 0 or self._count % LIMITS_EVERY == 0:
            tracked.fd_limit = tracked.files.fd_limit()
        elapsed = (now_ns - tracked.at_ns) / NS
        tracked.ppid = stat.ppid
        # Over less than half a second the clock ticks of CPU time would be noise: the last rates stand.
        if tracked.cpu < 0 or elapsed >= SHORTEST:
            io = tracked.files.io()
            if tracked.cpu >= 0:
                reaped = max(0, stat.children_cpu - tracked.children_cpu - self._gone.pop(stat.pid, 0))
                tracked.percent = (stat.cpu - tracked.cpu + reaped) / TICKS / elapsed * 100.0
                tracked.rates = _rates(io, tracked.io, elapsed)
            tracked.cpu, tracked.children_cpu, tracked.io, tracked.at_ns = stat.cpu, stat.children_cpu, io, now_ns
        return ProcessSample(
            pid=stat.pid,
            ppid=stat.ppid,
            slot=tracked.slot,
            start_ticks=stat.start_ticks,
            state=stat.state,
            comm=stat.comm,
            command=tracked.command,
            cpu_percent=tracked.percent,
            rss=stat.rss,
            threads=stat.threads,
            fds=tracked.files.fds(),
            fd_limit=tracked.fd_limit,
            read_bytes=tracked.rates[0],
            write_bytes=tracked.rates[1],
        )

    def _ours(self, now_ns: int, pid: int | None) -> ProcessSample | None:
        """Sample one process of roadworthy itself."""
        if pid is None:
            return None
        one = self._own.get(pid)
        if one is None:
            files = ProcFiles(pid, self._root)
            first = files.stat()
            if first is None:
                files.close()
                return None
            one = self._own[pid] = _Tracked(files, first, None, "")
        stat = one.files.stat()
        if stat is None:
            self._own.pop(pid).files.close()
            return None
        return self._one(now_ns, stat, one)


def add(processes: Iterable[ProcessSample], memory_limit: int | None) -> Resources:
    """Return the sums over processes; a figure that no process told is None. The tightest descriptor table counts."""
    members = [one for one in processes if one.state != "Z"]
    if not members:
        return Resources(memory_limit=memory_limit, processes=0)
    rss = sum(one.rss for one in members)
    fullest = max((one for one in members if one.fds is not None and one.fd_limit), key=_fullness, default=None)
    return Resources(
        cpu_percent=_sum(one.cpu_percent for one in members),
        rss=rss,
        memory_limit=memory_limit,
        memory_percent=rss / memory_limit * 100.0 if memory_limit else None,
        threads=sum(one.threads for one in members),
        fds=_whole(_sum(one.fds for one in members)),
        fd_limit=fullest.fd_limit if fullest else None,
        processes=len(members),
        read_bytes=_sum(one.read_bytes for one in members),
        write_bytes=_sum(one.write_bytes for one in members),
    )


def _rates(
    now: tuple[int, int] | None, before: tuple[int, int] | None, elapsed: float
) -> tuple[float | None, float | None]:
    if now is None or before is None:
        return None, None
    return max(0.0, (now[0] - before[0]) / elapsed), max(0.0, (now[1] - before[1]) / elapsed)


def _fullness(one: ProcessSample) -> float:
    return (one.fds or 0) / (one.fd_limit or 1)


def _sum(values: Iterable[float | None]) -> float | None:
    told = [value for value in values if value is not None]
    return sum(told) if told else None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def new_sampler(*, disk_path: str, redact: Callable[[str], str] = str) -> ProcessSampler:
    """Return what samples processes here: ``/proc`` where there is one, psutil elsewhere."""
    if os.path.exists("/proc/self/stat"):  # noqa: PTH110 - one question
        return Sampler(disk_path=disk_path, redact=redact)
    from roadworthy.agent.portable import PortableSampler

    return PortableSampler(disk_path=disk_path, redact=redact)
