"""Drives the transitions of :mod:`roadworthy.agent.states` with what the keeper tells and what the ticks find out.

The composition root wires it: ``send`` goes to the keeper, :meth:`Supervisor.handle` takes the keeper's messages (after
``Agent.died`` took an ``exited`` one), :meth:`Supervisor.observe` is called by the agent's tick, and
:meth:`Supervisor.tick` whenever :meth:`Supervisor.next_due` says.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from roadworthy import _clock
from roadworthy.agent import states
from roadworthy.agent.crew import SETTLED_AFTER, Member, Observation
from roadworthy.agent.drain import Drain
from roadworthy.agent.states import Command, Commands, Policy, Slot
from roadworthy.errors import EXIT_UNHEALTHY
from roadworthy.types import ExitStatus, WorkerState
from roadworthy.watch.words import exit_words

if TYPE_CHECKING:
    from roadworthy.agent.turns import Turn
    from roadworthy.config.values import RunSettings

DEATHS_KEPT: Final = 256
UNSEEN_MOST: Final = 5.0
"""Seconds that a reload waits for the first look at a process that was adopted from the keeper."""


@dataclass(frozen=True, slots=True)
class Death:
    """How a main process ended, for the last words; ``at_ns`` and ``lived`` as the keeper saw it."""

    slot: int
    generation: int
    pid: int
    start_ticks: int
    exit: ExitStatus
    at_ns: int
    lived: float | None
    expected: bool
    leftover: tuple[int, ...] = ()
    maxrss_kb: int | None = None
    user_s: float | None = None
    system_s: float | None = None


class Supervisor:
    """Decides about all slots; implements :class:`roadworthy.agent.crew.Crew`.

    ``send`` takes each command for the keeper; ``lame_duck`` the pids that shall accept no more; ``healthy`` tells what
    ``--health-url`` answered within so many seconds (None: not asked since); ``port_open`` whether somebody listens on
    a ``--port`` that the program binds itself (None: not told); ``drained`` whether a lame duck (slot, generation) has
    no connection left; ``remember`` keeps whose turn in a reload is still to come, for the agent after this one, which
    is given that as ``turns``; ``chance`` gives numbers from 0 to 1.
    """

    def __init__(  # noqa: PLR0913 - each is a question or an act of its own
        self,
        settings: RunSettings,
        send: Callable[[Command], None],
        *,
        lame_duck: Callable[[Sequence[int]], None] | None = None,
        healthy: Callable[[float], bool | None] | None = None,
        port_open: Callable[[], bool | None] | None = None,
        drained: Callable[[int, int], bool] | None = None,
        remember: Callable[[Sequence[Turn]], None] | None = None,
        turns: Sequence[Turn] = (),
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = _clock.monotonic,
    ) -> None:
        self.settings = settings
        self.keeper = True
        """Whether there is a keeper to act; without one nothing can be started and exit statuses are unknown."""
        self.stopping = False
        self._send = send
        self._lame_duck = lame_duck
        self._healthy = healthy
        self._port_open = port_open
        self._drain = Drain(drained)
        self._remember = remember
        self._turns = tuple(turns)
        self._adopted: dict[int, float] = {}
        self._chance = chance
        self._clock = clock
        self._policy = Policy.of(settings, rolling=False)
        self._slots: dict[int, Slot] = {number: Slot(number) for number in range(settings.workers)}
        self._deaths: deque[Death] = deque(maxlen=DEATHS_KEPT)
        self._expected: set[tuple[int, int]] = set()
        self._seen: list[tuple[int, int]] = []
        self._reloading: list[int] = []
        self._lame: set[int] = set()
        self._serving: set[tuple[int, int]] = set()
        self._told_ready = False
        self._status_text = ""
        self._exit_sent = False
        self._verdict: int | None = None
        self._began = clock()

    def follow(self, settings: RunSettings) -> None:
        """Decide by these settings from now on."""
        self.settings = settings
        self._policy = Policy.of(settings, rolling=self._policy.rolling)

    # ------------------------------------------------------------------------------------------------ keeper's messages
    def handle(self, message: Mapping[str, Any], now: float) -> None:
        """Take one message of the keeper's; unknown ones are passed over."""
        what = message.get("t")
        if what == "state":
            self._adopt(message, now)
        elif what == "started":
            slot = self._slot(message)
            at = message["at_ns"] / _clock.NS
            self._slots[slot.slot] = states.started(
                slot, message["generation"], message["pid"], message["start_ticks"], at
            )
        elif what == "exited":
            self._exited(message, now)
        elif what == "stopped":
            self._stopped(message, now)
        elif what == "failed":
            slot = self._slot(message)
            text = f"could not be started: {message['error']}"
            self._apply(states.failed(slot, message["generation"], text, self._policy, now, self._chance()))
        elif what == "asked" and message.get("what") in {"stop", "exit"}:
            self._ending(now, tell=False)
        elif what == "asked" and message.get("what") == "reload":
            self.request("reload", now=now)
        self._after(now)

    def _slot(self, message: Mapping[str, Any]) -> Slot:
        number = int(message["slot"])
        return self._slots.setdefault(number, Slot(number))

    def _adopt(self, message: Mapping[str, Any], now: float) -> None:
        """Take over what the keeper tells: living generations, and the deaths that nobody has taken note of."""
        self._policy = Policy.of(self.settings, rolling=message.get("listen") is not None)
        rows = sorted(message.get("slots", ()), key=lambda row: (row["slot"], row["generation"]))
        for row in rows:
            slot = self._slot(row)
            slot = states.started(
                slot, row["generation"], row["pid"], row["start_ticks"], row["started_ns"] / _clock.NS
            )
            known = slot.find(row["generation"])
            if known is None and row["state"] != "down":  # the newer one of a reload that was under way
                slot = self._adopt_fresh(slot, row)
            self._slots[slot.slot] = slot
            self._adopted[slot.slot] = now
        for number, slot in self._slots.items():
            self._slots[number] = replace(slot, restarts=max(0, slot.newest - 1))
        for number, pid, ticks in self._turns:  # of a reload whose agent died
            slot = self._slots.get(number, Slot(number))
            one = slot.current
            if one is not None and slot.fresh is None and (one.pid, one.start_ticks) == (pid, ticks):
                self._reloading.append(number)
        for exited in message.get("exits", ()):
            self._exited(exited, now)
        for row in rows:
            if row["state"] == "down":
                self._stopped({**row, **(row.get("exit") or {})}, now)
        if message.get("stopping"):
            self._ending(now, tell=False)

    @staticmethod
    def _adopt_fresh(slot: Slot, row: Mapping[str, Any]) -> Slot:
        fresh = states.Generation(row["generation"], row["started_ns"] / _clock.NS, row["pid"], row["start_ticks"])
        return replace(slot, fresh=fresh, newest=row["generation"], state=WorkerState.READY)

    def _exited(self, message: Mapping[str, Any], now: float) -> None:
        slot, number = self._slot(message), int(message["generation"])
        code, signal, core = message.get("code"), message.get("signal"), bool(message.get("core"))
        status = ExitStatus(code, signal, core, exit_words(code, signal, core=core))
        known = slot.find(number)
        left = tuple(message.get("leftover") or ())
        self._deaths.append(
            Death(
                slot=slot.slot,
                generation=number,
                pid=int(message["pid"]),
                start_ticks=int(message["start_ticks"] or 0),
                exit=status,
                at_ns=int(message["at_ns"]),
                lived=message["at_ns"] / _clock.NS - known.started if known else None,
                expected=self.expected(dict(message)),
                leftover=left,
                maxrss_kb=message.get("maxrss_kb"),
                user_s=message.get("user_s"),
                system_s=message.get("system_s"),
            )
        )
        self._seen.append((slot.slot, number))
        self._apply(states.exited(slot, number, status, len(left), self._policy, now))

    def _stopped(self, message: Mapping[str, Any], now: float) -> None:
        slot, number = self._slot(message), int(message["generation"])
        code, signal = message.get("code"), message.get("signal")
        known = slot.find(number)
        status = None
        if code is not None or signal is not None:
            core = bool(known and known.exit and known.exit.core)
            status = ExitStatus(code, signal, core, exit_words(code, signal, core=core))
        for memory in (self._expected, self._serving):
            memory.discard((slot.slot, number))
        self._apply(states.gone(slot, number, status, self._policy, now, self._chance()))

    def keeper_lost(self, now: float) -> None:
        """Note that the keeper has died: from here on we only look on, and nothing can be started."""
        self.keeper = False
        for number, slot in self._slots.items():
            if slot.current is None and slot.state is not WorkerState.EXITED:
                text = "its keeper died: nobody can start it again"
                self._slots[number] = replace(slot, state=WorkerState.LOST, since=now, next_start=None, reason=text)

    def lost(self, pid: int, now: float) -> None:
        """Note that a process has ended that nobody could collect (there is no keeper)."""
        for number, slot in self._slots.items():
            if slot.current is not None and slot.current.pid == pid:
                words = exit_words(None, None)
                self._slots[number] = replace(
                    slot,
                    current=None,
                    state=WorkerState.EXITED if slot.ending else WorkerState.LOST,
                    since=now,
                    reason=words,
                    last_exit=ExitStatus(words=words),
                )

    # ------------------------------------------------------------------------------------------------------------ Crew
    def members(self) -> Sequence[Member]:
        """Return all slots as they stand; during a reload the new process is shown: it is the one to observe."""
        offset = _clock.wall() - self._clock()
        found = []
        for number in sorted(self._slots):
            slot = self._slots[number]
            shown = slot.fresh if slot.fresh is not None and slot.fresh.pid else slot.current
            found.append(
                Member(
                    slot=number,
                    generation=shown.number if shown else slot.newest,
                    pid=shown.pid if shown else None,
                    start_ticks=shown.start_ticks if shown else 0,
                    state=slot.state,
                    since=slot.since + offset if slot.since else _clock.wall(),
                    started=shown.started + offset if shown else None,
                    reason=slot.reason,
                    restarts=slot.restarts,
                    after_death=slot.after_death,
                    last_exit=slot.last_exit,
                    next_start=None if slot.next_start is None else slot.next_start + offset,
                )
            )
        return tuple(found)

    def observe(self, observations: Sequence[Observation], now: float) -> None:
        """Take what a tick found out: readiness, and hangs whose stacks are saved."""
        seen = {one.slot: one for one in observations}
        for number in list(self._slots):
            slot = self._slots[number]
            one = seen.get(number)
            generation = next((g for g in slot.generations if one is not None and g.pid == one.pid), None)
            if one is None or generation is None:
                continue
            if one.listening:
                self._serving.add((number, generation.number))
            if self.keeper and one.lame and generation is slot.current and generation.lame_until is None:
                self._apply(states.restart(slot, self._policy, now))  # an agent that died meanwhile had begun it
                continue
            if self._is_ready(one, now - generation.started):
                self._apply(states.ready(slot, one.pid, now))
            if one.hung:
                self._apply(states.hung(self._slots[number], one.pid, one.judgement.reason, self._policy, now))
        self._after(now)

    def _is_ready(self, seen: Observation, age: float) -> bool:
        # Where the keeper holds no socket but a port was named, it is that one that must be open, not just any.
        listens = seen.listening and (self._policy.rolling or self.settings.port is None)
        works = seen.marked_ready or seen.beat_came or seen.work_seen or listens
        if self._policy.rolling and not works:
            return False  # it says when it listens on the port that we hold, however long its imports take
        if self._healthy is not None and self.settings.health_url:
            return self._healthy(age) is True
        opened = None if works or self._port_open is None else self._port_open()
        return works or (age >= SETTLED_AFTER if opened is None else opened)

    def expected(self, message: dict[str, Any]) -> bool:
        """Return whether the death that the keeper reports was asked for."""
        return self.stopping or (message.get("slot"), message.get("generation")) in self._expected

    # ------------------------------------------------------------------------------------------------------------ asked
    def request(self, what: str, slot: int | None = None, *, now: float | None = None) -> bool:
        """Restart, reload or stop one slot or all; returns False when there is no such slot or no keeper to do it."""
        at = self._clock() if now is None else now
        numbers = [slot] if slot is not None else sorted(self._slots)
        if not self.keeper or any(number not in self._slots for number in numbers):
            return False
        if what == "stop" and slot is None:
            self._ending(at, tell=True)
        elif what == "reload":
            self._reloading += [number for number in numbers if number not in self._reloading]
        elif what == "restart":
            for number in numbers:
                self._apply(self._restarted(self._slots[number], at))
        else:
            for number in numbers:
                self._apply(states.stop(self._slots[number], self._policy, at))
        self._after(at)
        return True

    def _restarted(self, slot: Slot, now: float) -> tuple[Slot, Commands]:
        serves = slot.current is not None and (slot.slot, slot.current.number) in self._serving
        return states.restart(slot, self._policy, now, serves=serves and self._lame_duck is not None)

    def stop_comes(self, now: float) -> None:
        """Note that somebody ends the program, whose keeper has died: the deaths that follow were asked for."""
        self._ending(now, tell=False)
        self._after(now)

    def _ending(self, now: float, *, tell: bool) -> None:
        """Everything ends; the keeper, when it was the one that was asked, stops the processes itself."""
        self.stopping = True
        for number in list(self._slots):
            slot, commands = states.stop(self._slots[number], self._policy, now)
            self._apply((slot, commands if tell else ()))

    # ------------------------------------------------------------------------------------------------------------- time
    def tick(self, now: float) -> None:
        """Do what is due."""
        for number, generation in self._drain.look(self._lame_ones(), now):
            self._slots[number] = states.drained(self._slots[number], generation, now)
        for number in list(self._slots):
            self._apply(states.tick(self._slots[number], self._policy, now))
        self._after(now)

    def next_due(self) -> float | None:
        """Return when :meth:`tick` is to be called next (monotonic seconds), or None when nothing is due."""
        times = [states.due(slot, self._policy) for slot in self._slots.values()]
        times.append(self._drain.next_look(self._lame_ones()))
        if self.settings.health_check and not self._told_ready:
            times.append(self._began + self.settings.ready_timeout)
        return min((at for at in times if at is not None), default=None)

    def _lame_ones(self) -> list[tuple[int, int]]:
        return [
            (slot.slot, one.number)
            for slot in self._slots.values()
            for one in slot.generations
            if one.lame_until is not None and not one.stopping
        ]

    def pop_deaths(self) -> list[Death]:
        """Return the deaths since the last call; with this they count as taken note of."""
        found = list(self._deaths)
        self._deaths.clear()
        return found

    @property
    def ready(self) -> bool:
        """Return whether every slot that has not ended well is ready, and at least one is."""
        left = [slot.state for slot in self._slots.values() if slot.state is not WorkerState.EXITED]
        return bool(left) and all(state is WorkerState.READY for state in left)

    # ---------------------------------------------------------------------------------------------------------- act
    def _apply(self, result: tuple[Slot, Commands]) -> None:
        slot, commands = result
        self._slots[slot.slot] = slot
        for command in commands:
            if command["do"] == "lame_duck":
                self._lame.add(int(command["pid"]))
                self._publish_lame()
            else:
                if command["do"] == "stop":
                    self._expected.add((slot.slot, command["generation"]))
                self._tell(command)

    def _tell(self, command: Command) -> None:
        if self.keeper:
            self._send(command)

    def _publish_lame(self) -> None:
        alive = {one.pid for slot in self._slots.values() for one in slot.generations}
        self._lame &= alive
        if self._lame_duck is not None:
            self._lame_duck(sorted(self._lame))

    def _after(self, now: float) -> None:
        self._go_on_reloading(now)
        for slot, generation in self._seen:
            self._tell({"do": "seen", "slot": slot, "generation": generation})
        self._seen.clear()
        self._notify()
        late = now - self._began >= self.settings.ready_timeout
        if self.settings.health_check and late and not self._told_ready and not self.stopping:
            self._verdict = EXIT_UNHEALTHY
            self._tell({"do": "say", "text": f"not ready within {self.settings.ready_timeout:g} s, so it is ended"})
            self._ending(now, tell=True)
        done = all(slot.state is WorkerState.EXITED and not slot.generations for slot in self._slots.values())
        if done and self.keeper and not self._exit_sent:
            self._exit_sent = True
            status = states.program_status(self._slots) if self._verdict is None else self._verdict
            self._tell({"do": "exit", "status": status})

    def _go_on_reloading(self, now: float) -> None:
        """One slot after the other: the next begins when nothing of the one before is on its way any more."""
        busy = any(slot.fresh or slot.old for slot in self._slots.values()) or (
            self._policy.rolling and any(slot.state is WorkerState.STOPPING for slot in self._slots.values())
        )
        while self._reloading and not busy and not self.stopping:
            number = self._reloading[0]
            unseen = now - self._adopted.get(number, now - UNSEEN_MOST) < UNSEEN_MOST
            if unseen and self._slots[number].state is WorkerState.STARTING:
                break  # the agent before this one may have seen it ready: then a restart would leave a gap
            self._reloading.pop(0)
            self._apply(states.reload(self._slots[number], self._policy, now))
            busy = self._policy.rolling
        waiting = [(number, self._slots[number].current) for number in self._reloading]
        turns = tuple((number, one.pid, one.start_ticks) for number, one in waiting if one is not None and one.pid)
        if turns != self._turns and self._remember is not None:
            self._remember(turns)
        self._turns = turns

    def _notify(self) -> None:
        text = _summary(self._slots.values())
        parts = []
        if self.ready and not self._told_ready:
            self._told_ready = True
            parts.append("READY=1")
        if text != self._status_text:
            self._status_text = text
            parts.append(f"STATUS={text}")
        if parts and self.settings.notify_socket:
            self._tell({"do": "notify", "text": "\n".join(parts)})


def _summary(slots: Iterable[Slot]) -> str:
    counts: dict[str, int] = {}
    for slot in slots:
        counts[slot.state.value] = counts.get(slot.state.value, 0) + 1
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
