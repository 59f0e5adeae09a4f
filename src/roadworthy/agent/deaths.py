"""Deaths and hangs of workers: last words, stacks, recovery, and at the end the dead process's place in the totals."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from roadworthy import _clock
from roadworthy.agent import lastwords as last_words
from roadworthy.agent import oom as out_of_memory
from roadworthy.agent import stacks
from roadworthy.agent.collect import Collected
from roadworthy.agent.host import oom_kills
from roadworthy.types import Liveness, WorkerState
from roadworthy.watch import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from roadworthy.agent.collect import Collector
    from roadworthy.agent.crew import Member, Observation
    from roadworthy.agent.incidents import Incidents
    from roadworthy.agent.journal import Journal
    from roadworthy.types import IncidentSummary, Worker

DEATHS_TOLD_WITHIN: Final = 10.0
"""Seconds that a new agent waits for the keeper to tell how workers ended, before their arenas are only counted."""


class KeeperLink(Protocol):
    """The socket to the keeper, as far as signals need it."""

    def send(self, message: Mapping[str, Any]) -> None:
        """Ask the keeper to do something."""


class Deaths:
    """Takes last words; ``wake`` asks for a tick at once."""

    def __init__(
        self,
        *,
        arena: Path,
        collector: Collector,
        incidents: Incidents,
        journal: Journal,
        keeper: KeeperLink | None,
        wake: Callable[[], None],
    ) -> None:
        self._arena = arena
        self._collector = collector
        self._incidents = incidents
        self._journal = journal
        self._keeper = keeper
        self._wake = wake
        self._curves = last_words.Curves()
        self._hung: dict[int, int] = {}
        self._mourned: deque[int] = deque(maxlen=256)
        self._tasks: set[asyncio.Task[None]] = set()
        self._began = _clock.monotonic()
        self.collected = Collected()
        self.oom_kills: int | None = None
        self.told = False
        """Whether the keeper has told how workers ended that ended before we came."""

    def recent(self) -> tuple[IncidentSummary, ...]:
        """Return the newest incidents first."""
        return self._incidents.recent()

    def see(self, workers: Iterable[Worker], now: float) -> None:
        """Take a tick's workers: their resource curves, and which of them have recovered."""
        for worker in workers:
            self._curves.add(now, worker.slot, worker.pid, worker.resources)
            if worker.state is WorkerState.READY and self._incidents.replaced(worker.slot, worker.pid):
                self._recover(worker, now)

    def _recover(self, worker: Worker, now: float) -> None:
        done: list[IncidentSummary | None] = []
        self._journal.attempt("incidents", lambda: done.append(self._incidents.recovered(worker.slot, now)))
        if done and done[0] is not None and done[0].recovered_after is not None:
            after = words.span(done[0].recovered_after)
            self._journal.note(f"worker {worker.slot} works again after {after}", slot=worker.slot, pid=worker.pid)

    # -- a death

    def died(self, message: Mapping[str, Any], *, expected: bool, now_ns: int, now: float) -> None:
        """Save the last words of a worker that the keeper says has ended.

        :attr:`collected` must be newer than its end.
        """
        slot, pid = message.get("slot"), int(message.get("pid") or 0)
        code, signal, core = message.get("code"), message.get("signal"), bool(message.get("core"))
        at_ns = message.get("at_ns")
        happened = now if at_ns is None else now - max(0.0, (now_ns - int(at_ns)) / _clock.NS)
        oom = self._was_oom(signal, pid)
        text = words.exit_words(code, signal, core=core, oom=oom)
        self._journal.note(f"worker {slot}: {text}", level="info" if expected else "error", slot=slot, pid=pid)
        if slot is not None and self._incidents.reported(slot, pid):
            status = words.exit_status(code, signal, core=core, oom=oom)
            self._journal.attempt("incidents", lambda: self._incidents.ended(slot, pid, status))
        elif not expected and code != 0:
            base = self._gather(now, slot, pid, message.get("generation"))
            found = last_words.of_death(message, at=now, happened=happened, oom=oom, base=base)
            self._journal.attempt("incidents", lambda: self._incidents.save(found))
        self._mourned.append(pid)
        if slot is not None:
            self._curves.forget(slot, pid)
            self._hung.pop(slot, None)
        self._wake()

    def _was_oom(self, signal: int | None, pid: int) -> bool:
        if signal != 9:  # noqa: PLR2004 - SIGKILL
            return False
        return out_of_memory.was_oom(signal, pid, self.oom_kills, oom_kills(), out_of_memory.read_kernel_log())

    def _gather(self, now: float, slot: int | None, pid: int, generation: int | None) -> last_words.LastWords:
        own = [process for process in self.collected.processes if process.pid == pid]
        family = own or [process for process in self.collected.processes if process.slot == slot]
        return last_words.LastWords(
            at=now,
            kind="death",
            title="",
            slot=slot,
            pid=pid,
            generation=generation,
            events=self._journal.since(now - last_words.LAST_SECONDS, slot),
            in_flight=[one for process in family for one in process.in_flight],
            series=[one for process in own for one in self._collector.series_of(process.key)],
            curve=self._curves.of(slot, pid) if slot is not None else (),
            output=last_words.output_tails(self._arena, slot, generation or 0) if slot is not None else {},
        )

    def retire(self, members: Sequence[Member]) -> None:
        """Add the dead to the totals and remove their files.

        A worker's arena waits until the keeper has said how it ended; after an agent's start at most ten seconds.
        """
        current = {member.pid for member in members if member.state not in {WorkerState.LOST, WorkerState.EXITED}}
        waited = self.told or _clock.monotonic() - self._began > DEATHS_TOLD_WITHIN
        dead = [
            one.key
            for one in self.collected.processes
            if not one.alive and one.pid not in current and (one.descendant or one.pid in self._mourned or waited)
        ]
        if dead:
            self._journal.attempt("totals", lambda: self._collector.retire(dead))

    # -- a hang

    def look_at_hangs(self, observations: dict[int, Observation], members: Sequence[Member]) -> None:
        """Ask a worker that hangs for its stacks once.

        Until they are saved its observation does not say that it hangs.
        """
        by_slot = {member.slot: member for member in members}
        for slot, seen in list(observations.items()):
            if not seen.hung and seen.judgement.liveness is not Liveness.NOT_PROGRESSING:
                self._hung.pop(slot, None)
                continue
            if self._hung.get(slot) != seen.pid:
                self._hung[slot] = seen.pid
                task = asyncio.get_running_loop().create_task(self._report_hang(by_slot[slot], seen))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            if not self._incidents.reported(slot, seen.pid):
                observations[slot] = replace(seen, hung=False)

    async def _report_hang(self, member: Member, seen: Observation) -> None:
        dumped = await self.dump(member)
        now = _clock.wall()
        late = seen.judgement.stale_for
        found = last_words.of_hang(
            self._gather(now, member.slot, seen.pid, member.generation),
            kind="hang" if seen.judgement.hung else "no-progress",
            reason=seen.judgement.reason,
            since=now - late if late is not None else None,
            stacks=dumped.text,
            no_stacks=dumped.why_not,
        )
        self._journal.attempt("incidents", lambda: self._incidents.save(found))
        self._journal.note(found.title, level="error", slot=member.slot, pid=seen.pid)
        self._wake()

    async def dump(self, member: Member) -> stacks.Stacks:
        """Return the Python stacks of a worker, or why they cannot be had."""
        process = self.collected.of(member.pid)
        if member.pid is None or process is None:
            return stacks.Stacks(why_not="no runtime of ours is in the process")
        name = Path(str(process.info.get("stacks") or f"stacks-{member.pid}")).name
        return await stacks.dump(
            member.pid,
            member.start_ticks or process.start_ticks,
            signal=process.stack_signal,
            descriptor=process.stack_fd,
            path=self._arena / name,
            send=self._signal,
        )

    def _signal(self, pid: int, start_ticks: int, signal: int) -> None:
        if self._keeper is None:
            stacks.direct(pid, start_ticks, signal)
        else:
            self._keeper.send({"do": "signal", "pid": pid, "start_ticks": start_ticks, "signal": signal})

    async def close(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
