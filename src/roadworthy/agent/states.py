"""The life of a worker slot as pure transitions: state, event and ``now`` in, state and commands out.

Of the generations of a slot at most one is wanted. Two live at once only while a reload replaces one by the other (or
while one that was told to stop is still going). Times are seconds of the monotonic clock; commands are the messages
that the keeper understands, and ``{"do": "lame_duck", "pid"}``, which the agent's side turns into the control page.

==================  =========================================================================================
what happened       what follows
==================  =========================================================================================
main process ended  with descendants and code 0: daemonized, followed until they are gone; with descendants and
                    anything else: they are stopped; the slot is decided when nothing of the generation is left
all of it is gone   asked for → next generation at once, or the end; else the restart policy decides
ended early, often  backoff doubles; `crash_loop_deaths` of them within `crash_loop_window` → held, tried slowly
hung                (a declared signal stalled, stacks are saved) stopped and replaced
restart             a server whose socket the keeper holds is a lame duck first, as long as its grace has room for
                    that; then it is stopped and started again. Everything else is stopped at once
reload              fresh generation → ready → the old one is a lame duck → stopped; a fresh one that ends or is
                    not ready in time is given up and the old one stays
==================  =========================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from roadworthy.config.values import RestartPolicy, RunSettings
from roadworthy.types import ExitStatus, WorkerState

Command = Mapping[str, Any]
Commands = tuple[Command, ...]

LAME_FOR: Final = 2.0
"""Seconds that a lame duck has to finish what it answers before it is asked to stop."""

LAME_SHARE: Final = 0.5
"""Of the grace of a restart, what the lame duck takes at most: the rest is for the end that SIGTERM asks for."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What transitions need to know of the settings; ``rolling`` when the keeper holds a listening socket to share."""

    restart: RestartPolicy = field(default_factory=RestartPolicy)
    stop_signal: int = 15
    grace: float = 10.0
    ready_timeout: float = 40.0
    hang_action: str = "auto"
    rolling: bool = False

    @classmethod
    def of(cls, settings: RunSettings, *, rolling: bool) -> Policy:
        """Return the policy that the settings ask for."""
        return cls(
            settings.restart,
            settings.stop_signal,
            settings.stop_grace,
            settings.ready_timeout,
            settings.hang.action,
            rolling,
        )


@dataclass(frozen=True, slots=True)
class Generation:
    """One start of the program in a slot."""

    number: int
    started: float
    pid: int | None = None
    start_ticks: int = 0
    exit: ExitStatus | None = None
    stopping: bool = False
    lame_until: float | None = None
    stop_by: float | None = None
    """When its grace is over, if that began with its time as a lame duck."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot: the generation that is wanted, the one that comes, the one that goes, and what is remembered."""

    slot: int
    state: WorkerState = WorkerState.STARTING
    since: float = 0.0
    current: Generation | None = None
    fresh: Generation | None = None
    old: Generation | None = None
    newest: int = 0
    restarts: int = 0
    after_death: bool = False
    failures: int = 0
    deaths: tuple[float, ...] = ()
    held: bool = False
    last_exit: ExitStatus | None = None
    next_start: float | None = None
    again: bool = False
    ending: bool = False
    reason: str = ""

    @property
    def generations(self) -> tuple[Generation, ...]:
        """Return the generations that are not known to be gone."""
        return tuple(one for one in (self.current, self.fresh, self.old) if one is not None)

    def find(self, number: int) -> Generation | None:
        """Return the live generation with this number, or None."""
        return next((one for one in self.generations if one.number == number), None)


def _put(slot: Slot, changed: Generation) -> Slot:
    if slot.fresh is not None and slot.fresh.number == changed.number:
        return replace(slot, fresh=changed)
    if slot.old is not None and slot.old.number == changed.number:
        return replace(slot, old=changed)
    return replace(slot, current=changed)


def _move(slot: Slot, state: WorkerState, now: float, reason: str) -> Slot:
    return replace(slot, state=state, since=slot.since if slot.state is state else now, reason=reason)


def _start_command(slot: int, number: int) -> Command:
    return {"do": "start", "slot": slot, "generation": number}


def _stop_command(slot: int, number: int, policy: Policy, *, grace: float | None = None) -> Command:
    return {
        "do": "stop",
        "slot": slot,
        "generation": number,
        "signal": policy.stop_signal,
        "grace": policy.grace if grace is None else grace,
    }


def _stop(slot: Slot, generation: Generation, policy: Policy, *, grace: float | None = None) -> tuple[Slot, Commands]:
    if generation.stopping:
        return slot, ()
    command = _stop_command(slot.slot, generation.number, policy, grace=grace)
    return _put(slot, replace(generation, stopping=True)), (command,)


def _end_lame(slot: Slot, generation: Generation, policy: Policy, now: float) -> tuple[Slot, Commands]:
    left = None if generation.stop_by is None else max(0.0, generation.stop_by - now)
    return _stop(slot, generation, policy, grace=left)


# ------------------------------------------------------------------------------------------------------------- starting
def start(slot: Slot, now: float) -> tuple[Slot, Commands]:
    """Start the next generation as the wanted one."""
    number = slot.newest + 1
    made = replace(
        slot,
        current=Generation(number, now),
        newest=number,
        next_start=None,
        again=False,
        restarts=slot.restarts + (slot.newest > 0),
    )
    return _move(made, WorkerState.STARTING, now, "starting"), (_start_command(slot.slot, number),)


def started(slot: Slot, number: int, pid: int, start_ticks: int, at: float) -> Slot:
    """Note that the keeper has started a generation; one that we do not know was started before we came."""
    known = slot.find(number)
    if known is not None:
        return _put(slot, replace(known, pid=pid, start_ticks=start_ticks, started=at))
    if slot.current is not None or number <= slot.newest:
        return slot
    adopted = replace(slot, current=Generation(number, at, pid, start_ticks), newest=number)
    return _move(adopted, WorkerState.STARTING, at, "starting")


def ready(slot: Slot, pid: int, now: float) -> tuple[Slot, Commands]:
    """Note that the process is ready: a start is over, or a reload goes on to the old generation."""
    if slot.fresh is not None and slot.fresh.pid == pid:
        old = slot.current
        moved = replace(slot, current=slot.fresh, fresh=None)
        commands: Commands = ()
        if old is not None:
            moved = replace(moved, old=replace(old, lame_until=now + LAME_FOR))
            commands = ({"do": "lame_duck", "slot": slot.slot, "pid": old.pid},)
        moved = replace(moved, restarts=moved.restarts + 1, after_death=False)
        return _move(moved, WorkerState.READY, now, "reloaded"), commands
    if slot.current is not None and slot.current.pid == pid and slot.state is WorkerState.STARTING and not slot.ending:
        daemonized = slot.current.exit is not None
        return _move(slot, WorkerState.READY, now, slot.reason if daemonized else ""), ()
    return slot, ()


# --------------------------------------------------------------------------------------------------------------- ending
def exited(slot: Slot, number: int, status: ExitStatus, left: int, policy: Policy, now: float) -> tuple[Slot, Commands]:
    """Note how a main process ended; :func:`gone` decides what follows, when nothing of the generation is left."""
    known = slot.find(number)
    if known is None:
        return slot, ()
    slot = _put(slot, replace(known, exit=status))
    if not left or known.stopping:
        return slot, ()
    if status.code == 0:
        reason = f"daemonized: its main process ended, {left} of its processes live on and are followed"
        return _move(slot, slot.state, now, reason), ()
    return _stop(slot, replace(known, exit=status), policy)


def gone(  # noqa: PLR0911 - one return a row of the table
    slot: Slot, number: int, status: ExitStatus | None, policy: Policy, now: float, random: float
) -> tuple[Slot, Commands]:
    """Decide when nothing of a generation is left; ``random`` (0 to 1) makes the jitter of the backoff."""
    known = slot.find(number)
    if known is None:
        return slot, ()
    status = status or known.exit or ExitStatus(words="ended; nobody could collect its exit status")
    if slot.ending:
        return _one_less(slot, number, status, now), ()
    if slot.old is not None and slot.old.number == number:
        return replace(slot, old=None), ()
    if slot.fresh is not None and slot.fresh.number == number:
        kept = replace(slot, fresh=None, last_exit=status)
        return _move(kept, slot.state, now, f"reload given up: the new generation {status.words or 'ended'}"), ()
    if slot.fresh is not None:  # the old one ended during a reload: the new one is the wanted one now
        moved = replace(slot, current=slot.fresh, fresh=None, last_exit=status, after_death=not known.stopping)
        return _move(moved, WorkerState.STARTING, now, "starting"), ()
    slot = replace(slot, current=None, last_exit=status)
    if slot.again:
        return start(slot, now)
    return _decide(slot, known, status, policy, now, random), ()


def _one_less(slot: Slot, number: int, status: ExitStatus, now: float) -> Slot:
    """Return the slot, which is ending, without this generation; it has ended when there is none left."""
    if slot.current is not None and slot.current.number == number:
        slot = replace(slot, current=None, last_exit=status)
    elif slot.old is not None and slot.old.number == number:
        slot = replace(slot, old=None)
    else:
        slot = replace(slot, fresh=None)
    return slot if slot.generations else _move(slot, WorkerState.EXITED, now, status.words)


def failed(slot: Slot, number: int, words: str, policy: Policy, now: float, random: float) -> tuple[Slot, Commands]:
    """Note that the keeper could not start a generation: an early death."""
    return gone(slot, number, ExitStatus(code=126, words=words), policy, now, random)


def _decide(slot: Slot, ended: Generation, status: ExitStatus, policy: Policy, now: float, random: float) -> Slot:
    rules = policy.restart
    slot = replace(slot, after_death=True)
    if rules.mode == "never" or (rules.mode == "on-failure" and status.code == 0):
        return _move(slot, WorkerState.EXITED, now, status.words)
    if now - ended.started >= rules.healthy_after:
        slot = replace(slot, failures=0, deaths=(), held=False)
        wait = rules.backoff_first
    else:
        deaths = (*(at for at in slot.deaths if now - at < rules.crash_loop_window), now)
        slot = replace(slot, failures=slot.failures + 1, deaths=deaths[-rules.crash_loop_deaths :])
        if slot.held or len(deaths) >= rules.crash_loop_deaths:
            reason = (
                f"crash loop: it ended within {rules.healthy_after:g} s of its start again and again; "
                f"held, tried once in {rules.held_retry:g} s. The last time: {status.words}"
            )
            return _move(replace(slot, held=True, next_start=now + rules.held_retry), WorkerState.HELD, now, reason)
        wait = backoff(rules, slot.failures)
    wait *= 1 + rules.jitter * (2 * random - 1)
    return _move(replace(slot, next_start=now + wait), WorkerState.BACKOFF, now, status.words)


def backoff(rules: RestartPolicy, failures: int) -> float:
    """Return the pause before the next start after so many early deaths in a row, without jitter; seconds."""
    exponent = min(max(0, failures - 1), 64)
    return min(rules.backoff_most, rules.backoff_first * rules.backoff_factor**exponent)


# ---------------------------------------------------------------------------------------------------------------- asked
def hung(slot: Slot, pid: int, why: str, policy: Policy, now: float) -> tuple[Slot, Commands]:
    """Replace a process whose declared signal stalled, unless only an alarm is wanted; its stacks are saved already."""
    current = slot.current
    if policy.hang_action == "alarm" or current is None or current.pid != pid or current.stopping or slot.ending:
        return slot, ()
    slot, commands = _stop(replace(slot, again=True, after_death=True), current, policy)
    return _move(slot, WorkerState.STOPPING, now, f"hung: {why}"), commands


def restart(slot: Slot, policy: Policy, now: float, *, serves: bool = False) -> tuple[Slot, Commands]:
    """Stop the slot's process and start it again; one that waits or has ended is started at once.

    One that ``serves`` on the socket that the keeper holds accepts no more and answers what it has before it is asked
    to stop: what it does not accept waits for its successor. Where the socket is its own that would help nobody: it
    ends with the process, and with it what waits in it.
    """
    if slot.ending:
        return slot, ()
    if slot.current is None:
        return start(replace(slot, failures=0, deaths=(), held=False, after_death=False), now)
    commands: Commands = ()
    slot = replace(slot, again=True, failures=0, deaths=(), held=False, after_death=False)
    for generation in slot.generations:
        if generation is slot.current and serves and policy.rolling and not generation.stopping:
            slot, more = _lame(slot, generation, policy, now)
        else:
            slot, more = _stop(slot, generation, policy)
        commands += more
    if slot.fresh is not None and slot.old is None:  # what was to come goes, like what was there
        slot = replace(slot, old=slot.fresh, fresh=None)
    return _move(slot, WorkerState.STOPPING, now, "restart was asked for"), commands


def _lame(slot: Slot, current: Generation, policy: Policy, now: float) -> tuple[Slot, Commands]:
    """Have the process accept no more; asked again, it stays as it is."""
    if current.lame_until is not None:
        return slot, ()
    until = now + min(LAME_FOR, policy.grace * LAME_SHARE)
    slot = _put(slot, replace(current, lame_until=until, stop_by=now + policy.grace))
    return slot, ({"do": "lame_duck", "slot": slot.slot, "pid": current.pid},)


def drained(slot: Slot, number: int, now: float) -> Slot:
    """Note that a lame duck has nothing left to answer: its time is over."""
    known = slot.find(number)
    if known is None or known.lame_until is None:
        return slot
    return _put(slot, replace(known, lame_until=min(now, known.lame_until)))


def reload(slot: Slot, policy: Policy, now: float) -> tuple[Slot, Commands]:
    """Replace the slot's process without a gap where a listening socket is shared, else by a restart."""
    if slot.ending or slot.fresh is not None or slot.old is not None:
        return slot, ()
    if not policy.rolling or slot.state is not WorkerState.READY or slot.current is None:
        return restart(slot, policy, now)
    number = slot.newest + 1
    slot = replace(slot, fresh=Generation(number, now), newest=number)
    return _move(slot, slot.state, now, "reloading"), (_start_command(slot.slot, number),)


def stop(slot: Slot, policy: Policy, now: float) -> tuple[Slot, Commands]:
    """End the slot for good."""
    commands: Commands = ()
    slot = replace(slot, ending=True, again=False, next_start=None)
    for generation in slot.generations:
        slot, more = _stop(slot, generation, policy)
        commands += more
    if not slot.generations:
        return (
            slot if slot.state is WorkerState.EXITED else _move(slot, WorkerState.EXITED, now, slot.reason)
        ), commands
    return _move(slot, WorkerState.STOPPING, now, "stop was asked for"), commands


def tick(slot: Slot, policy: Policy, now: float) -> tuple[Slot, Commands]:
    """Do what is due: a start, the end of a lame duck, giving up a reload."""
    if slot.ending:
        return slot, ()
    if slot.next_start is not None and now >= slot.next_start and slot.current is None:
        return start(slot, now)
    for lame in (slot.old, slot.current):
        if lame is not None and not lame.stopping and lame.lame_until is not None and now >= lame.lame_until:
            return _end_lame(slot, lame, policy, now)
    if slot.fresh is not None and now - slot.fresh.started >= policy.ready_timeout:
        slot, commands = _stop(slot, slot.fresh, policy)
        return _move(slot, slot.state, now, "reload given up: the new generation was not ready in time"), commands
    return slot, ()


def due(slot: Slot, policy: Policy) -> float | None:
    """Return when :func:`tick` has something to do, or None."""
    times = [
        slot.next_start,
        *(lame.lame_until for lame in (slot.old, slot.current) if lame is not None and not lame.stopping),
        slot.fresh.started + policy.ready_timeout if slot.fresh is not None and not slot.fresh.stopping else None,
    ]
    return min((at for at in times if at is not None), default=None)


def program_status(slots: Mapping[int, Slot]) -> int:
    """Return the exit status of the program: of the first slot that did not end with 0 (128 plus a signal), else 0."""
    for number in sorted(slots):
        ended = slots[number].last_exit
        if ended is not None and (ended.code or ended.signal):
            return ended.code or 128 + (ended.signal or 0)
    return 0
