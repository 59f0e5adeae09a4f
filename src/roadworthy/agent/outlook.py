"""Once a minute, beside the loop: how large watched directories are, and what the last hour gives cause to suspect.

Reading an hour of history and walking a tree take longer than a tick may, so both happen in a thread; ticks take what
was found last.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from roadworthy.agent.probes import WRITE_TEST_PREFIX
from roadworthy.config.values import Thresholds
from roadworthy.errors import Unavailable
from roadworthy.watch import leaks
from roadworthy.watch.trends import MOST_POINTS, Points

if TYPE_CHECKING:
    from roadworthy.types import Finding, Overhead, Snapshot

EVERY: Final = 60.0
LOOK_BACK: Final = 3600.0
MOST_ENTRIES: Final = 500_000
"""Files and folders of one watched directory; a larger one has no size that we know."""

OURS: Final = "roadworthy.agent_rss"
CPU: Final = "app.cpu_percent"
_ASKED: Final = ("app.rss", OURS, "system.cpu_percent", CPU)

Query = Callable[[Sequence[str], float, float, int], Mapping[str, Points]]


@dataclass(frozen=True, slots=True)
class _Found:
    sizes: Mapping[str, float | None]
    findings: tuple[Finding, ...]


class Outlook:
    """Looks once a minute; ``query`` is the history's, ``directories`` those that ``--data-dir`` names."""

    def __init__(self, query: Query, directories: Sequence[str], thresholds: Thresholds | None = None) -> None:
        self.thresholds = thresholds or Thresholds()
        self._query = query
        self._directories = tuple(directories)
        self._next = 0.0
        self._task: asyncio.Task[_Found] | None = None
        self._sizes: Mapping[str, float | None] = {}
        self._findings: tuple[Finding, ...] = ()
        self._failed: str = ""

    def tick(self, now: float, snapshot: Snapshot | None) -> None:
        """Take what a look has found, and start the next when it is due (``now`` monotonic); needs a running loop."""
        if self._task is not None and self._task.done():
            self._take(self._task)
            self._task = None
        if self._task is None and now >= self._next and snapshot is not None:
            self._next = now + EVERY
            self._task = asyncio.get_running_loop().create_task(asyncio.to_thread(self.look, snapshot))

    def look(self, snapshot: Snapshot) -> _Found:
        """Walk the directories and judge the last hour; blocks. Raises what the history raises."""
        sizes = {f"data.bytes{{path={path}}}": size(path) for path in self._directories}
        # A new process begins small: only what it did itself is its rise.
        began = max((worker.started for worker in snapshot.workers if worker.started is not None), default=0.0)
        found = self._query(_ASKED, snapshot.at - LOOK_BACK, snapshot.at, MOST_POINTS)
        own = [pair for pair in found.get("app.rss", ()) if pair[0] >= began]
        suspected = (
            leaks.rising_memory("program memory", own, limit=snapshot.resources.memory_limit),
            leaks.rising_memory("roadworthy's own memory", found.get(OURS, ())),
            leaks.busy_machine(found.get("system.cpu_percent", ())),
            *self._over(found.get(CPU, ()), snapshot),
        )
        return _Found(sizes, tuple(one for one in suspected if one is not None))

    def _over(self, cpu: Points, snapshot: Snapshot) -> tuple[Finding | None, ...]:
        limits, cpus = self.thresholds, snapshot.system.cpus
        if not limits.on:
            return ()
        share = [(at, None if used is None or not cpus else used / cpus) for at, used in cpu]
        largest = max((one.resources.rss for one in snapshot.workers if one.resources.rss is not None), default=None)
        return (
            leaks.busy_program(share, limits.cpu_warning, limits.cpu_critical),
            leaks.large_worker(largest, limits.memory_warning, limits.memory_critical),
        )

    def _take(self, task: asyncio.Task[_Found]) -> None:
        error = task.exception() if not task.cancelled() else None
        self._failed = f"{type(error).__name__}: {error}" if error else ""
        if error is None and not task.cancelled():
            found = task.result()
            self._sizes, self._findings = found.sizes, found.findings

    def verify(self) -> None:
        """Raise :class:`Unavailable` while the last look gave nothing."""
        if self._failed:
            raise Unavailable("the last hour cannot be judged", why=self._failed, hint="It is tried again in a minute.")

    def findings(self) -> tuple[Finding, ...]:
        """Return what is suspected."""
        return self._findings

    def figures(self, own: Overhead) -> dict[str, float | None]:
        """Return figures for the history: watched directories and our own memory."""
        return {**self._sizes, OURS: own.agent_rss, "roadworthy.keeper_rss": own.keeper_rss}

    async def close(self) -> None:
        """Wait for a look under way."""
        if self._task is not None and not self._task.done():
            await asyncio.wait({self._task}, timeout=1.0)


def size(path: str) -> float | None:
    """Return the bytes of all files below ``path``; None when it cannot be read or is too large.

    Follows no link, and leaves out what our own check of that directory is just writing.
    """
    total = entries = 0
    waiting = [path]
    try:
        while waiting:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    entries += 1
                    if entries > MOST_ENTRIES:
                        return None
                    try:
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                        elif entry.is_file(follow_symlinks=False) and not entry.name.startswith(WRITE_TEST_PREFIX):
                            total += entry.stat(follow_symlinks=False).st_size
                    except FileNotFoundError:
                        continue  # it was removed while we looked
    except OSError:
        return None
    return float(total)
