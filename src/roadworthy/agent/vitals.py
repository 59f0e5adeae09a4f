"""From arenas and samples to the signs that liveness is judged by: what needs memory between ticks lives here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from roadworthy._clock import NS
from roadworthy.agent.crew import Member, Observation
from roadworthy.agent.process import WORK
from roadworthy.types import InFlight, Liveness, WorkerState
from roadworthy.watch.liveness import Judgement, Limits, Pulse, Signs, judge

if TYPE_CHECKING:
    from roadworthy.agent.process import Process
    from roadworthy.agent.sample import Sample
    from roadworthy.config.values import HangPolicy

GAP: float = 2.5
"""Seconds between two ticks from which on we ourselves were away (a stopped or starved agent)."""


class Vitals:
    """Judges every worker once a tick; remembers since when counts stand still and processes are stopped."""

    def __init__(self, policy: HangPolicy) -> None:
        self.follow(policy)
        self._counts: dict[tuple[int, str, str], tuple[int, int]] = {}
        self._stopped: dict[int, int] = {}
        self._work: dict[int, int] = {}
        self._watching_since: int | None = None
        self._last_tick = 0

    def follow(self, policy: HangPolicy) -> None:
        """Judge by this policy from now on."""
        self._limits = Limits(policy.after, policy.progress_after, policy.request_after)
        self._action = policy.action

    def judge(
        self, now_ns: int, members: Sequence[Member], processes: Sequence[Process], sample: Sample
    ) -> dict[int, Observation]:
        """Return slot to observation for every worker that has a process."""
        if self._watching_since is None or now_ns - self._last_tick > GAP * NS:
            self._watching_since = now_ns
        self._last_tick = now_ns
        watched = (now_ns - self._watching_since) / NS
        alive = [process for process in processes if process.alive]
        found = {}
        for member in members:
            if member.pid is None or member.state in {WorkerState.LOST, WorkerState.EXITED}:
                continue
            own = [process for process in alive if _belongs(process, member)]
            found[member.slot] = self._observe(now_ns, member, own, sample, watched)
        self._forget({process.pid for process in alive} | {member.pid for member in members if member.pid is not None})
        return found

    def _observe(
        self, now_ns: int, member: Member, own: Sequence[Process], sample: Sample, watched: float
    ) -> Observation:
        pid = member.pid or 0
        process = sample.process(pid)
        state = process.state if process else None
        main = [one for one in own if one.pid == pid]
        # A descendant's silence is its own affair: a pool's child may be idle for hours.
        pulses = tuple(self._pulses(now_ns, main or own))
        requests = [request for one in own for request in one.in_flight]
        oldest = max(requests, key=lambda request: request.age, default=None)
        completed = self._completed(pid, own)
        signs = Signs(
            state=state,
            stopped_for=self._stopped_for(now_ns, pid, state),
            cpu_percent=process.cpu_percent if process else None,
            pulses=pulses,
            oldest_request=oldest.age if oldest else None,
            oldest_request_name=_request_name(oldest),
            advanced=completed,
            watched=watched,
        )
        judgement: Judgement = judge(signs, self._limits)
        created = min((one.created_ns for one in main), default=None)
        return Observation(
            slot=member.slot,
            pid=pid,
            judgement=judgement,
            marked_ready=any(one.marked_ready for one in own),
            listening=any(one.listening for one in own),
            lame=any(one.lame for one in own),
            beat_came=any(pulse.kind in WORK and pulse.age is not None for pulse in pulses),
            work_seen=completed or bool(requests),
            running_for=None if created is None else (now_ns - created) / NS,
            hung=judgement.hung or self._forced(judgement),
        )

    def _forced(self, judgement: Judgement) -> bool:
        """Return whether ``hung.action = "restart"`` makes more than a stalled signal a reason to replace it."""
        if self._action != "restart" or judgement.stale_for is None:
            return False
        limit = self._limits.progress_after if judgement.liveness is Liveness.NOT_PROGRESSING else self._limits.after
        return limit > 0 and judgement.stale_for >= limit

    def _pulses(self, now_ns: int, processes: Iterable[Process]) -> Iterable[Pulse]:
        for process in processes:
            for beat in process.beats:
                turns = process.turns.get(beat.name, 0) if beat.kind == "loop" else 0
                count = turns or beat.count
                pulse = Pulse(
                    beat.name, beat.kind, beat.age, beat.every, frame_age=process.frames.get(beat.name),
                    counts_turns=turns > 0,
                )  # fmt: skip
                key = (process.pid, beat.kind, beat.name)
                known = self._counts.get(key)
                if known is None or known[0] != count:
                    self._counts[key] = known = (count, now_ns)
                unchanged = (now_ns - known[1]) / NS if beat.age is not None else None
                yield replace(pulse, unchanged=unchanged)

    def _completed(self, pid: int, own: Sequence[Process]) -> bool:
        """Return whether the worker's processes recorded anything since the last tick."""
        total = sum(one.recorded for one in own)
        before = self._work.get(pid)
        self._work[pid] = total
        return before is not None and total > before

    def _stopped_for(self, now_ns: int, pid: int, state: str | None) -> float | None:
        if state not in {"T", "t"}:
            self._stopped.pop(pid, None)
            return None
        return (now_ns - self._stopped.setdefault(pid, now_ns)) / NS

    def _forget(self, pids: set[int]) -> None:
        for key in [key for key in self._counts if key[0] not in pids]:
            del self._counts[key]
        for memory in (self._stopped, self._work):
            for pid in [pid for pid in memory if pid not in pids]:
                del memory[pid]


def _belongs(process: Process, member: Member) -> bool:
    if process.pid == member.pid:
        return True
    return process.slot == member.slot and process.generation == member.generation


def _request_name(request: InFlight | None) -> str:
    if request is None:
        return ""
    return f"{request.name} ({request.context})" if request.context else request.name
