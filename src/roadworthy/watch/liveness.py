"""What progress says about a living worker: a table from signs to a judgement. Pure; ages are seconds.

Two clocks of the runtime, one turned by the event loop and one by its own thread, together with the process state tell
the classes of a hang apart within a second:

=============  ============  =====  ==================================================
event loop     own thread    state  verdict
=============  ============  =====  ==================================================
stale          fresh         S, D   the loop is blocked (a blocking call in a coroutine)
stale          fresh         R      spinning (a loop that never awaits)
stale          stale         any    the GIL is held
any            any           T      stopped (SIGSTOP, a debugger)
=============  ============  =====  ==================================================

Only what was declared can stall: a heartbeat, a loop, an event loop or a started request that had come at least once
and stopped coming. Without such a signal a worker that shows nothing is *idle or busy*; it is never called hung, and a
thread that cannot get the GIL for ten minutes may be a batch step doing its work.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from roadworthy.types import Liveness

FRESH: Final = 1.0
"""Seconds that a beat may be late before it counts as stale, at the least."""

FRESH_INTERVALS: Final = 3.0
"""How many of its own intervals a beat may be late."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """One declared signal of one worker.

    ``age`` is since it last came, None when it never did. ``unchanged`` is since its count (of a loop: its turns, when
    it counts turns) last moved; ``frame_age`` is how long the frame under way has lasted.
    """

    name: str
    kind: str
    age: float | None
    every: float | None = None
    unchanged: float | None = None
    frame_age: float | None = None
    counts_turns: bool = False


@dataclass(frozen=True, slots=True)
class Signs:
    """What is known of one living worker; ``watched`` is for how long we have looked on without a gap of our own."""

    state: str | None = None
    stopped_for: float | None = None
    cpu_percent: float | None = None
    pulses: tuple[Pulse, ...] = ()
    oldest_request: float | None = None
    oldest_request_name: str = ""
    advanced: bool = False
    watched: float = 1e9


@dataclass(frozen=True, slots=True)
class Limits:
    """From when on silence counts; seconds, 0 for never."""

    after: float = 10.0
    progress_after: float = 60.0
    request_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict; ``hung`` only when a declared signal stalled or the process is stopped, for long enough."""

    liveness: Liveness
    reason: str
    hung: bool = False
    stale_for: float | None = None


def judge(signs: Signs, limits: Limits) -> Judgement:
    """Return what the signs say about a worker that is there; one line of the table decides, the first that holds."""
    return (
        _stopped(signs, limits)
        or _request(signs, limits)
        or _runtime(signs, limits)
        or _declared(signs, limits)
        or _progress(signs, limits)
        or _quiet(signs)
    )


def _stopped(signs: Signs, limits: Limits) -> Judgement | None:
    if signs.state not in {"T", "t"}:
        return None
    since = signs.stopped_for or 0.0
    by = "a signal (SIGSTOP or SIGTSTP)" if signs.state == "T" else "a debugger"
    reason = f"the process is stopped by {by}, for {since:.0f} s"
    return Judgement(Liveness.STOPPED, reason, hung=_over(since, limits.after, signs), stale_for=since)


def _request(signs: Signs, limits: Limits) -> Judgement | None:
    age = signs.oldest_request
    if limits.request_after <= 0 or age is None or not _over(age, limits.request_after, signs):
        return None
    return Judgement(
        Liveness.STALLED,
        f"{signs.oldest_request_name} began {age:.0f} s ago and has not ended",
        hung=True,
        stale_for=age,
    )


def _runtime(signs: Signs, limits: Limits) -> Judgement | None:
    """Tell the event loop's silence by the thread's and the process state."""
    # A loop that has ended expects no beat any more (asyncio.run() for a part of a program): it cannot be late.
    loop = _stalest((pulse for pulse in signs.pulses if pulse.every), "event_loop")
    thread = _stalest(signs.pulses, "thread")
    thread_stale = thread is not None and not _fresh(thread)
    if loop is None or _fresh(loop) or loop.age is None:
        if thread is None or not thread_stale or thread.age is None or loop is not None:
            return None
        return Judgement(
            Liveness.GIL_HELD,
            f"no Python thread got the GIL for {thread.age:.1f} s{_doing(signs)}",
            stale_for=thread.age,
        )
    hung = _over(loop.age, _limit(limits, loop), signs)
    late = f"for {loop.age:.1f} s"
    if thread_stale:
        return Judgement(
            Liveness.GIL_HELD, f"no Python thread ran {late}: the GIL is held{_doing(signs)}", hung, loop.age
        )
    if signs.state == "R":
        return Judgement(
            Liveness.SPINNING, f"the event loop did not turn {late}, the process is computing", hung, loop.age
        )
    return Judgement(Liveness.LOOP_BLOCKED, f"the event loop did not turn {late}, a call in it blocks", hung, loop.age)


def _declared(signs: Signs, limits: Limits) -> Judgement | None:
    worst: tuple[float, Pulse] | None = None
    for pulse in signs.pulses:
        if pulse.kind not in {"heartbeat", "loop"} or pulse.age is None:
            continue
        silent = max(pulse.age, pulse.frame_age or 0.0)
        if _over(silent, _limit(limits, pulse), signs) and (worst is None or silent > worst[0]):
            worst = (silent, pulse)
    if worst is None:
        return None
    silent, pulse = worst
    if pulse.kind == "loop" and pulse.frame_age is not None:
        reason = f"a frame of the loop {pulse.name!r} has been under way for {silent:.0f} s"
    else:
        reason = f"the {pulse.kind} {pulse.name!r} has not come for {silent:.0f} s"
    return Judgement(Liveness.STALLED, reason, hung=True, stale_for=silent)


def _progress(signs: Signs, limits: Limits) -> Judgement | None:
    if limits.progress_after <= 0:
        return None
    for pulse in signs.pulses:
        counts = pulse.kind == "progress" or pulse.counts_turns
        if counts and pulse.unchanged is not None and _over(pulse.unchanged, limits.progress_after, signs):
            what = "progress" if pulse.kind == "progress" else "loop"
            alive = "alive, but " if any(_fresh(one) for one in signs.pulses if one.kind != "progress") else ""
            reason = f"{alive}the {what} {pulse.name!r} has not advanced for {pulse.unchanged:.0f} s"
            return Judgement(Liveness.NOT_PROGRESSING, reason, stale_for=pulse.unchanged)
    return None


def _quiet(signs: Signs) -> Judgement:
    fresh = [pulse for pulse in signs.pulses if pulse.kind in {"heartbeat", "loop", "progress"} and _fresh(pulse)]
    if fresh:
        return Judgement(Liveness.WORKING, f"the {fresh[0].kind} {fresh[0].name!r} comes")
    if signs.advanced:
        return Judgement(Liveness.WORKING, "operations are being completed")
    if signs.state is None:
        return Judgement(Liveness.UNKNOWN, "the process could not be read")
    if any(pulse.kind in {"event_loop", "thread"} and _fresh(pulse) for pulse in signs.pulses):
        return Judgement(Liveness.IDLE_OR_BUSY, "the interpreter responds, no work was seen")
    using = f", using {signs.cpu_percent:.0f} % of a core" if signs.cpu_percent is not None else ""
    return Judgement(Liveness.IDLE_OR_BUSY, f"the process runs{using}; it declares no signal of progress")


def _allowed(pulse: Pulse) -> float:
    return max(FRESH, FRESH_INTERVALS * (pulse.every or 0.0))


def _limit(limits: Limits, pulse: Pulse) -> float:
    return max(limits.after, _allowed(pulse)) if limits.after > 0 else 0.0


def _fresh(pulse: Pulse) -> bool:
    return pulse.age is not None and pulse.age <= _allowed(pulse)


def _over(age: float, limit: float, signs: Signs) -> bool:
    """Return whether silence lasted too long, not counting a time when we ourselves did not look."""
    return limit > 0 and age >= limit and signs.watched >= min(limit, age)


def _stalest(pulses: Iterable[Pulse], kind: str) -> Pulse | None:
    came = [pulse for pulse in pulses if pulse.kind == kind and pulse.age is not None]
    return max(came, key=lambda pulse: pulse.age or 0.0, default=None)


def _doing(signs: Signs) -> str:
    match signs.state:
        case "R":
            return " by code that computes"
        case "D":
            return " by a call that waits in the kernel"
        case "S":
            return " by a call that sleeps"
        case _:
            return ""
