"""Many at once: what everybody did and what was counted must balance, and nothing stays held."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import threading
from collections import Counter

import pytest

from roadworthy import _clock
from roadworthy.resilience import (
    BreakerOpen,
    Budget,
    Bulkhead,
    BulkheadFull,
    CircuitBreaker,
    Policy,
    RateLimited,
    RateLimiter,
    Retry,
)
from roadworthy.testing import no_wait
from support.guarded import Down, until

THREADS = 6
CALLS = 1500

_names = itertools.count()


class Ignored(Exception):
    """Says nothing about the other side."""


def named(**parts):
    return Policy(f"stress-{next(_names)}", **parts)


@pytest.fixture(autouse=True)
def _threads_switch_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def at_once(run, threads=THREADS):
    """Run it in threads, with their numbers; what one raises fails the test."""
    raised = []

    def guarded(number):
        try:
            run(number)
        except BaseException as error:  # noqa: BLE001 - told below
            raised.append(error)

    started = [threading.Thread(target=guarded, args=(number,)) for number in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    assert raised == []


OUTCOMES = {
    Down: "failure",
    Ignored: "neutral",
    asyncio.CancelledError: "neutral",
    BreakerOpen: "breaker_open",
    BulkheadFull: "bulkhead_full",
    RateLimited: "rate_limited",
}


def outcome(call, *args):
    """Call it and return what that came to for its caller."""
    try:
        call(*args)
    except tuple(OUTCOMES) as error:
        return OUTCOMES[type(error)]
    return "success"


async def aoutcome(call, *args):
    """Return as :func:`outcome`, for a coroutine function."""
    try:
        await call(*args)
    except tuple(OUTCOMES) as error:
        return OUTCOMES[type(error)]
    return "success"


def outcomes(policy):
    """Return what the policy itself has counted."""
    return {name: n for name, n in policy.snapshot()["calls"].items() if n}


def act(chance, entered, share):
    """Be the other side: count who comes, and fail for that share of them."""
    next(entered)
    drawn = chance.random()
    if drawn < share:
        raise Down("refused")
    if drawn < share + 0.1:
        raise Ignored
    return "ok"


KINDS = {
    "count window": {"window": 20, "min_calls": 10, "failure_rate": 0.5},
    "time window": {"window": "1ms", "min_calls": 5, "failure_rate": 0.5},
    "in a row": {"consecutive": 4, "failure_rate": None},
}


@pytest.mark.parametrize("kind", KINDS)
def test_outcomes_of_threads_through_a_breaker_that_opens_and_closes_balance(kind):
    changes = []
    policy = named(
        breaker=CircuitBreaker(**KINDS[kind], open_for=(0.002, 0.004), probes=2, probe_lease=5, ignore=Ignored)
    )
    entered, seen = itertools.count(), [Counter() for _ in range(THREADS)]
    guarded = policy(act)

    def run(number):
        chance = random.Random(number)  # noqa: S311 - outcomes
        for call in range(CALLS):
            share = 0.9 if call // 500 % 3 == 1 else 0.02
            came_to = outcome(guarded, chance, entered, share)
            seen[number][came_to] += 1
            if came_to == "breaker_open":
                _clock.sleep(0.0001)
            if call % 100 == 0:
                changes.append(policy.breaker.state)

    at_once(run)
    total = sum(seen, Counter())
    assert sum(total.values()) == THREADS * CALLS
    assert outcomes(policy) == dict(total)
    assert next(entered) == total["success"] + total["failure"] + total["neutral"]
    assert total["breaker_open"] > 0
    assert policy.snapshot()["breaker"]["opened"] is not None
    chance = random.Random(0)  # noqa: S311 - as above

    def answers():
        return outcome(guarded, chance, entered, -1) == "success" and policy.breaker.state == "closed"

    until(answers, "the breaker closes on a healthy backend")


def test_never_more_threads_are_in_a_bulkhead_than_it_has_places_and_all_come_free():
    limit = 3
    policy = named(bulkhead=Bulkhead(limit, wait=0.001))
    inside, most, lock = [], [0], threading.Lock()
    seen = [Counter() for _ in range(THREADS)]

    @policy
    def work(number, call):
        with lock:
            inside.append(number)
            most[0] = max(most[0], len(inside))
        try:
            if call % 50 == 0:
                _clock.sleep(0.002)
            if call % 7 == 0:
                raise Down("refused")
        finally:
            with lock:
                inside.remove(number)

    def run(number):
        for call in range(400):
            seen[number][outcome(work, number, call)] += 1

    at_once(run)
    total = sum(seen, Counter())
    assert sum(total.values()) == THREADS * 400
    assert outcomes(policy) == {name: n for name, n in total.items() if n}
    assert 1 < most[0] <= limit
    gate, held = threading.Event(), []

    @policy
    def hold():
        held.append(1)
        gate.wait(60)

    holders = [threading.Thread(target=hold) for _ in range(limit)]
    for holder in holders:
        holder.start()
    until(lambda: len(held) == limit, "every place is free again")
    gate.set()
    for holder in holders:
        holder.join()


def test_threads_together_never_pass_a_rate_limit():
    limit, per, burst = 200, 1.0, 20
    policy = named(rate_limit=RateLimiter(limit, per=per, burst=burst))
    guarded = policy(lambda: 1)
    seen = [Counter() for _ in range(THREADS)]
    begun = _clock.monotonic()

    def run(number):
        while _clock.monotonic() < begun + 0.5:
            came_to = outcome(guarded)
            seen[number][came_to] += 1
            if came_to == "rate_limited":
                _clock.sleep(0.0002)

    at_once(run)
    took = _clock.monotonic() - begun
    total = sum(seen, Counter())
    assert burst <= total["success"] <= burst + limit * took / per + 1
    assert outcomes(policy) == dict(total)


def test_retries_of_threads_never_pass_their_budget():
    policy = named(retry=Retry(4, on=Down, budget=Budget(ratio=0.1, minimum=10, per=1000)))
    entered = itertools.count()
    good = [0] * THREADS

    @policy
    def flaky(chance):
        next(entered)
        if chance.random() < 0.3:
            raise Down("refused")

    def run(number):
        chance = random.Random(number)  # noqa: S311 - outcomes
        for _ in range(500):
            good[number] += outcome(flaky, chance) == "success"

    with no_wait() as pauses:
        at_once(run)
    retries = next(entered) - THREADS * 500
    assert retries == len(pauses)
    assert 10 <= retries <= 11 + 0.1 * sum(good)


def test_outcomes_of_tasks_balance_too():
    policy = named(
        breaker=CircuitBreaker(window=20, min_calls=10, open_for=(0.002, 0.004), ignore=Ignored),
        bulkhead=Bulkhead(8, wait=0.002),
    )
    seen = Counter()

    @policy
    async def work(chance, share):
        drawn = chance.random()
        await asyncio.sleep(0)
        if drawn < share:
            raise Down("refused")
        if drawn < share + 0.1:
            raise Ignored
        if drawn > 0.95:
            raise asyncio.CancelledError

    async def run(number):
        chance = random.Random(number)  # noqa: S311 - outcomes
        for call in range(400):
            came_to = await aoutcome(work, chance, 0.8 if call // 50 % 3 == 1 else 0.02)
            seen[came_to] += 1
            if came_to == "breaker_open":
                await asyncio.sleep(0.0002)

    async def main():
        await asyncio.gather(*(run(number) for number in range(12)))

    asyncio.run(main())
    assert sum(seen.values()) == 12 * 400
    assert outcomes(policy) == {name: n for name, n in seen.items() if n}
    assert seen["breaker_open"] > 0


def test_people_who_force_and_reset_while_threads_call_break_nothing():
    policy = named(breaker=CircuitBreaker(consecutive=2, open_for=(0.001, 0.002), ignore=Ignored))
    over = threading.Event()
    guarded = policy(act)
    entered = itertools.count()
    seen = [Counter() for _ in range(THREADS)]

    def run(number):
        chance = random.Random(number)  # noqa: S311 - outcomes
        if number == 0:
            for turn in range(300):
                state = ("forced_open", "disabled", "metrics_only", "closed", "open", "half_open")[turn % 6]
                policy.breaker.force(state, for_=0.001 if state in ("forced_open", "disabled", "open") else None)
                if turn % 11 == 0:
                    policy.breaker.reset()
            over.set()
        while not over.is_set():
            seen[number][outcome(guarded, chance, entered, 0.3)] += 1

    at_once(run)
    total = sum(seen, Counter())
    assert outcomes(policy) == {name: n for name, n in total.items() if n}
    policy.breaker.reset()
    assert policy.breaker.state == "closed"
    assert guarded(random.Random(0), entered, -1) == "ok"  # noqa: S311 - as above
