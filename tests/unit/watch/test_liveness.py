"""The table of liveness: signs in, judgement out."""

from __future__ import annotations

import pytest

from roadworthy.types import Liveness
from roadworthy.watch.liveness import Limits, Pulse, Signs, judge

LIMITS = Limits(after=10, progress_after=60)
DEEP = Limits(after=10, progress_after=60, request_after=30)


def loop(age):
    return Pulse("asyncio", "event_loop", age, every=0.25)


def thread(age):
    return Pulse("runtime", "thread", age, every=0.25)


def heartbeat(age, **more):
    return Pulse("main", "heartbeat", age, **more)


def frames(age, **more):
    return Pulse("main", "loop", age, **more)


def progress(unchanged):
    return Pulse("turns", "progress", unchanged, unchanged=unchanged)


TABLE = [
    ("stopped just now", Signs("T", stopped_for=1), Liveness.STOPPED, False),
    ("stopped for long", Signs("T", stopped_for=10), Liveness.STOPPED, True),
    ("stopped by a debugger", Signs("t", stopped_for=20), Liveness.STOPPED, True),
    ("loop stale, thread fresh, sleeping", Signs("S", pulses=(loop(2), thread(0.1))), Liveness.LOOP_BLOCKED, False),
    ("the same for ten seconds", Signs("S", pulses=(loop(10), thread(0.1))), Liveness.LOOP_BLOCKED, True),
    (
        "loop stale, thread fresh, waiting in the kernel",
        Signs("D", pulses=(loop(2), thread(0.1))),
        Liveness.LOOP_BLOCKED,
        False,
    ),
    ("loop stale, thread fresh, running", Signs("R", pulses=(loop(2), thread(0.1))), Liveness.SPINNING, False),
    ("the same for ten seconds", Signs("R", pulses=(loop(11), thread(0.1))), Liveness.SPINNING, True),
    ("both stale, running", Signs("R", pulses=(loop(2), thread(2))), Liveness.GIL_HELD, False),
    ("both stale for ten seconds", Signs("R", pulses=(loop(12), thread(12))), Liveness.GIL_HELD, True),
    (
        "no loop, thread stale for ten minutes: a batch step",
        Signs("R", pulses=(thread(600),)),
        Liveness.GIL_HELD,
        False,
    ),
    (
        "an event loop that has ended, in a program that goes on without one",
        Signs("S", pulses=(Pulse("asyncio", "event_loop", 600, every=None), thread(0.1))),
        Liveness.IDLE_OR_BUSY,
        False,
    ),
    ("both fresh", Signs("S", pulses=(loop(0.1), thread(0.1))), Liveness.IDLE_OR_BUSY, False),
    ("an event loop that never turned", Signs("S", pulses=(loop(None), thread(0.1))), Liveness.IDLE_OR_BUSY, False),
    ("heartbeat fresh", Signs("S", pulses=(heartbeat(0.5),)), Liveness.WORKING, False),
    ("heartbeat late, not for long", Signs("S", pulses=(heartbeat(5),)), Liveness.IDLE_OR_BUSY, False),
    ("heartbeat stalled", Signs("S", pulses=(heartbeat(10),)), Liveness.STALLED, True),
    (
        "heartbeat of one a minute, late by its own measure",
        Signs("S", pulses=(heartbeat(60, every=60),)),
        Liveness.WORKING,
        False,
    ),
    ("the same, three times too late", Signs("S", pulses=(heartbeat(181, every=60),)), Liveness.STALLED, True),
    ("heartbeat declared, never came", Signs("S", pulses=(heartbeat(None),)), Liveness.IDLE_OR_BUSY, False),
    ("loop between frames for long", Signs("S", pulses=(frames(12),)), Liveness.STALLED, True),
    ("frame under way for long", Signs("R", pulses=(frames(1, frame_age=15),)), Liveness.STALLED, True),
    (
        "one of two heartbeats stalled",
        Signs("S", pulses=(heartbeat(0.1), Pulse("b", "heartbeat", 20))),
        Liveness.STALLED,
        True,
    ),
    (
        "heartbeats come, progress does not",
        Signs("S", pulses=(heartbeat(0.1), progress(60))),
        Liveness.NOT_PROGRESSING,
        False,
    ),
    (
        "frames go on, turns do not",
        Signs("R", pulses=(frames(0.01, unchanged=61, counts_turns=True),)),
        Liveness.NOT_PROGRESSING,
        False,
    ),
    ("progress alone, slow but not too slow", Signs("S", pulses=(progress(30),)), Liveness.IDLE_OR_BUSY, False),
    ("an old request, when nobody set a limit", Signs("S", oldest_request=900), Liveness.IDLE_OR_BUSY, False),
    ("operations complete", Signs("S", advanced=True), Liveness.WORKING, False),
    ("nothing declared, computing for ten minutes", Signs("R", cpu_percent=100), Liveness.IDLE_OR_BUSY, False),
    ("an idle server", Signs("S", cpu_percent=0), Liveness.IDLE_OR_BUSY, False),
    ("not readable", Signs(None), Liveness.UNKNOWN, False),
    (
        "stalled, but we ourselves were away",
        Signs("S", pulses=(heartbeat(30),), watched=2),
        Liveness.IDLE_OR_BUSY,
        False,
    ),
    ("stopped, but we ourselves were away", Signs("T", stopped_for=30, watched=1), Liveness.STOPPED, False),
]


@pytest.mark.parametrize(
    ("name", "signs", "liveness", "hung"), TABLE, ids=[f"{n}-{row[0]}" for n, row in enumerate(TABLE)]
)
def test_the_first_line_of_the_table_that_holds_decides(name, signs, liveness, hung):
    found = judge(signs, LIMITS)
    assert (found.liveness, found.hung) == (liveness, hung), found.reason
    assert found.reason


def test_a_request_that_never_ends_counts_when_a_limit_is_set():
    found = judge(Signs("S", oldest_request=31, oldest_request_name="GET /slow"), DEEP)
    assert (found.liveness, found.hung) == (Liveness.STALLED, True)
    assert "GET /slow began 31 s ago" in found.reason


def test_no_limit_at_all_means_that_nothing_is_ever_hung():
    never = Limits(after=0, progress_after=0)
    for _, signs, _, _ in TABLE:
        assert not judge(signs, never).hung
