"""The same figures through psutil, for systems without ``/proc``: slower, with less about descriptors and limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import psutil

from roadworthy.agent.sample import ProcessSample, Sample, add
from roadworthy.types import System

_STATES = {"running": "R", "sleeping": "S", "idle": "S", "disk-sleep": "D", "stopped": "T", "zombie": "Z"}


class PortableSampler:
    """Samples through psutil; processes that ended meanwhile are left out."""

    def __init__(self, *, disk_path: str, redact: Callable[[str], str] = str) -> None:
        self._disk_path = disk_path
        self._redact = redact
        self._known: dict[int, psutil.Process] = {}
        self._primed: set[int] = set()

    def sample(
        self, now_ns: int, workers: Mapping[int, int], *, keeper: int | None = None, agent: int | None = None
    ) -> Sample:
        """Return the sample for ``workers`` (slot to pid); ``now_ns`` is not needed, psutil keeps its own times."""
        del now_ns
        found: list[ProcessSample] = []
        slots: dict[int, list[ProcessSample]] = {}
        for slot, pid in workers.items():
            for process in self._family(pid):
                one = self._one(process, slot)
                if one is not None:
                    found.append(one)
                    slots.setdefault(slot, []).append(one)
        alive = {one.pid for one in found} | {keeper, agent}
        for pid in [pid for pid in self._known if pid not in alive]:
            del self._known[pid]
            self._primed.discard(pid)
        memory = psutil.virtual_memory()
        disk = psutil.disk_usage(self._disk_path)
        return Sample(
            processes=tuple(found),
            slots={slot: add(members, memory.total) for slot, members in slots.items()},
            total=add(found, memory.total),
            system=System(
                cpu_percent=psutil.cpu_percent(None),
                cpus=psutil.cpu_count(),
                load1=psutil.getloadavg()[0],
                memory_total=memory.total,
                memory_used=memory.total - memory.available,
                memory_percent=memory.percent,
                disk_total=disk.total,
                disk_used=disk.used,
                disk_percent=disk.percent,
                disk_path=self._disk_path,
            ),
            agent=self._ours(agent),
            keeper=self._ours(keeper),
        )

    def close(self) -> None:
        """Forget all processes."""
        self._known.clear()
        self._primed.clear()

    def _family(self, pid: int) -> list[psutil.Process]:
        process = self._process(pid)
        if process is None:
            return []
        try:
            below = [self._process(child.pid) for child in process.children(recursive=True)]
        except psutil.Error:
            below = []
        return [process, *(child for child in below if child is not None)]

    def _process(self, pid: int) -> psutil.Process | None:
        try:
            return self._known.setdefault(pid, psutil.Process(pid))
        except psutil.Error:
            return None

    def _ours(self, pid: int | None) -> ProcessSample | None:
        process = self._process(pid) if pid is not None else None
        return self._one(process, None) if process is not None else None

    def _one(self, process: psutil.Process, slot: int | None) -> ProcessSample | None:
        try:
            with process.oneshot():
                percent = process.cpu_percent(None)
                primed = process.pid in self._primed
                self._primed.add(process.pid)
                return ProcessSample(
                    pid=process.pid,
                    ppid=process.ppid(),
                    slot=slot,
                    start_ticks=int(process.create_time()),
                    state=_STATES.get(process.status(), "S"),
                    comm=process.name(),
                    command=self._redact(" ".join(process.cmdline())[:512]),
                    cpu_percent=percent if primed else None,
                    rss=process.memory_info().rss,
                    threads=process.num_threads(),
                    fds=process.num_fds(),
                    fd_limit=None,
                    read_bytes=None,
                    write_bytes=None,
                )
        except psutil.Error:
            return None
