"""The workers as the agent's loop sees them: what somebody decides about them, and the facts that decision needs.

The supervisor (``agent.states``) implements :class:`Crew` for a program that the keeper runs. :class:`Watched` does for
one that we only look on: processes found by their arenas, whose exit status nobody can collect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from roadworthy.types import ExitStatus, WorkerState
from roadworthy.watch.words import exit_words

if TYPE_CHECKING:
    from roadworthy.agent.process import Process
    from roadworthy.watch.liveness import Judgement

SETTLED_AFTER: Final = 1.0
"""Seconds after which a process that declares nothing counts as ready by being alive."""


@dataclass(frozen=True, slots=True)
class Member:
    """One slot and the process that fills it now; times in wall seconds.

    ``after_death``: it replaces one that ended without being asked to.
    """

    slot: int
    generation: int
    pid: int | None
    start_ticks: int
    state: WorkerState
    since: float
    started: float | None
    reason: str = ""
    restarts: int = 0
    after_death: bool = False
    last_exit: ExitStatus | None = None
    next_start: float | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """What a tick found out about one worker's process."""

    slot: int
    pid: int
    judgement: Judgement
    marked_ready: bool
    beat_came: bool
    work_seen: bool
    running_for: float | None
    hung: bool = False
    listening: bool = False
    """Whether one of its processes was seen to listen on a port."""
    lame: bool = False
    """Whether one of its processes has stopped accepting."""


class Crew(Protocol):
    """Who decides about workers."""

    def members(self) -> Sequence[Member]:
        """Return all slots as they stand."""

    def observe(self, observations: Sequence[Observation], now: float) -> None:
        """Take what a tick found out (``now`` monotonic seconds); decisions go to the keeper from here."""

    def expected(self, message: dict[str, Any]) -> bool:
        """Return whether the death that the keeper reports was asked for (stop, reload, a hung worker's end)."""


class Watched:
    """A program that we look on at: every process with an arena is a worker; what is gone stays as *lost*."""

    def __init__(self) -> None:
        self._members: dict[int, Member] = {}

    def see(self, processes: Sequence[Process], now: float) -> None:
        """Take the processes that have arenas; those without a slot are numbered in the order of their appearance."""
        slots = {member.pid: slot for slot, member in self._members.items()}
        for process in processes:
            if process.descendant:
                continue
            slot = slots.get(process.pid)
            if slot is None:
                if not process.alive:
                    continue
                slot = process.slot if process.slot is not None else len(self._members)
                known = self._members.get(slot)
                self._members[slot] = Member(
                    slot, process.generation, process.pid, process.start_ticks, WorkerState.READY, now, process.created,
                    restarts=known.restarts + 1 if known else 0, after_death=known is not None,
                )  # fmt: skip
                slots[process.pid] = slot
            elif not process.alive and self._members[slot].state is WorkerState.READY:
                self._gone(slot, now)
        alive = {process.pid for process in processes if process.alive}
        for slot, member in list(self._members.items()):
            if member.state is WorkerState.READY and member.pid not in alive:
                self._gone(slot, now)

    def _gone(self, slot: int, now: float) -> None:
        words = exit_words(None, None)
        self._members[slot] = replace(
            self._members[slot], state=WorkerState.LOST, since=now, reason=words, last_exit=ExitStatus(words=words)
        )

    def members(self) -> Sequence[Member]:
        """Return all slots as they stand."""
        return tuple(self._members[slot] for slot in sorted(self._members))

    def observe(self, observations: Sequence[Observation], now: float) -> None:
        """Decide nothing: who only looks on starts and stops nobody."""

    def expected(self, message: dict[str, Any]) -> bool:
        """Return False: nothing was asked for."""
        del message
        return False
