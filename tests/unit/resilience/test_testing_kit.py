"""What ``roadworthy.testing`` offers to whoever tests a program with policies."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time

import pytest

from roadworthy import _clock
from roadworthy.errors import UsageError
from roadworthy.resilience import (
    BadArgument,
    BreakerOpen,
    Bulkhead,
    CircuitBreaker,
    Fallback,
    Policy,
    RateLimiter,
    Retry,
)
from roadworthy.resilience.inject import Injected
from roadworthy.testing import MovableClock, moved, no_wait
from support.guarded import Async, Backend, Down, Sync, down

_names = itertools.count()


def named(**parts):
    return Policy(f"kit-{next(_names)}", **parts)


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def world(request):
    made = request.param()
    yield made
    made.close()


# -- the clock


def test_a_movable_clock_moves_policies_that_were_made_and_used_before(world):
    backend = Backend(down)
    policy = named(breaker=CircuitBreaker(window="30s", consecutive=1, open_for=1000))
    guarded = policy(world.function(backend))
    with pytest.raises(Down):
        world.run(guarded)
    backend.step = lambda: "ok"
    with MovableClock() as clock:
        with pytest.raises(BreakerOpen) as refused:
            world.run(guarded)
        assert 990 < refused.value.retry_after <= 1000
        clock.move(1000)
        assert [world.run(guarded), world.run(guarded)] == ["ok", "ok"]
        assert policy.breaker.state == "closed"


def test_a_movable_clock_stands_still_and_moves_by_pauses(world):
    backend = Backend(down)
    guarded = named(retry=Retry(3, on=Down, backoff=(100, 300), jitter="none"))(world.function(backend))
    with MovableClock() as clock:
        before = clock.monotonic(), clock.wall()
        with pytest.raises(Down):
            world.run(guarded)
        assert clock.pauses == [100, 200]
        assert (clock.monotonic(), clock.wall()) == (pytest.approx(before[0] + 300), pytest.approx(before[1] + 300))


def test_a_movable_clock_moves_nobody_else():
    async def pause():
        await asyncio.sleep(0.001)

    with MovableClock() as clock:
        clock.move(10_000)
        mine = _clock.monotonic()
        assert abs(mine - time.monotonic()) < 1000
        asyncio.run(pause())
        _clock.sleep(0.001)
        assert clock.pauses == []
    assert _clock.monotonic_ns is time.monotonic_ns
    assert _clock.sleep is time.sleep
    assert asyncio.sleep.__module__ == "asyncio.tasks"


def test_moved_runs_the_block_later():
    policy = named(rate_limit=RateLimiter(1, per=3600))
    guarded = policy(lambda: "ok")
    assert guarded() == "ok"
    with moved(3600) as clock:
        assert guarded() == "ok"
        clock.move(3600)
        assert guarded() == "ok"


def test_a_clock_is_put_back_when_its_block_raises():
    with pytest.raises(Down), MovableClock():
        down()
    assert _clock.monotonic_ns is time.monotonic_ns


def test_a_clock_that_is_replaced_cannot_be_replaced_again():
    with MovableClock(), pytest.raises(UsageError, match="already replaced"):
        no_wait().__enter__()
    with no_wait(), pytest.raises(UsageError, match="already replaced"):
        MovableClock().__enter__()


def test_a_monotonic_clock_is_not_moved_back():
    with MovableClock() as clock, pytest.raises(ValueError, match="monotonic"):
        clock.move(-1)


# -- no waiting


def test_no_wait_skips_pauses_and_tells_them(world):
    backend = Backend(down)
    guarded = named(retry=Retry(4, on=Down, backoff=(1000, 4000), jitter="none"))(world.function(backend))
    before = time.monotonic()
    with no_wait() as pauses, pytest.raises(Down):
        world.run(guarded)
    assert pauses == [1000, 2000, 4000]
    assert time.monotonic() - before < 100


def test_no_wait_skips_waits_for_a_rate_limit(world):
    guarded = named(rate_limit=RateLimiter(1, per=1000, wait=5000))(world.function(Backend()))
    with no_wait() as pauses:
        assert [world.run(guarded) for _ in range(3)] == ["ok"] * 3
    assert pauses == [pytest.approx(1000, abs=60), pytest.approx(2000, abs=60)]


# -- faults on purpose


def test_injected_failures_are_the_share_that_was_asked_for_and_never_reach_the_other_side(world):
    backend = Backend()
    policy = named()
    guarded = policy(world.function(backend))
    with policy.inject(fail=0.3, seed=1) as injection:
        outcomes = [_outcome(world, guarded) for _ in range(200)]
    assert injection.calls == 200
    assert outcomes.count(Injected) == injection.failed
    assert 40 <= injection.failed <= 80
    assert backend.entries == 200 - injection.failed
    assert _outcome(world, guarded) == "ok"


def _outcome(world, guarded):
    try:
        return world.run(guarded)
    except (Injected, Down, BreakerOpen) as error:
        return type(error)


def test_the_same_seed_makes_the_same_calls_fail(world):
    policy = named()
    guarded = policy(world.function(Backend()))
    seen = []
    for _ in range(2):
        with policy.inject(fail=0.5, seed=7):
            seen.append([_outcome(world, guarded) for _ in range(50)])
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == 2


def test_injected_failures_are_retried_and_open_the_breaker(world):
    backend = Backend()
    policy = named(
        retry=Retry(3, on=ConnectionError), breaker=CircuitBreaker(consecutive=5), fallback=Fallback.value("instead")
    )
    guarded = policy(world.function(backend))
    with no_wait() as pauses, policy.inject(fail=1.0):
        assert [world.run(guarded) for _ in range(3)] == ["instead"] * 3
    assert len(pauses) >= 3
    assert backend.entries == 0
    assert policy.breaker.state == "open"
    policy.breaker.reset()
    assert world.run(guarded) == "ok"


def test_an_injected_delay_is_one_of_the_call():
    policy = named(attempt_timeout=0.02, retry=Retry(2, on=TimeoutError, backoff=(0, 0)))
    backend = Backend()

    @policy
    async def fetch():
        backend()

    with policy.inject(delay=30), pytest.raises(TimeoutError):
        asyncio.run(fetch())
    assert backend.entries == 0
    asyncio.run(fetch())
    assert backend.entries == 1


def test_an_injected_delay_moves_a_movable_clock(world):
    policy = named(breaker=CircuitBreaker(slow_after=1, slow_rate=0.5, min_calls=2))
    guarded = policy(world.function(Backend()))
    with MovableClock() as clock, policy.inject(delay=2):
        before = clock.monotonic()
        assert [world.run(guarded), world.run(guarded)] == ["ok", "ok"]
        assert clock.monotonic() - before == pytest.approx(4)
    assert policy.breaker.state == "open"


def test_another_error_can_be_injected_and_is_a_new_one_each_time(world):
    policy = named()
    guarded = policy(world.function(Backend()))
    seen = []
    with policy.inject(fail=1, error=lambda: Down("mine")):
        for _ in range(2):
            with pytest.raises(Down, match="mine") as caught:
                world.run(guarded)
            seen.append(caught.value)
    assert seen[0] is not seen[1]


def test_faults_end_with_their_block_even_when_it_raises(world):
    policy = named()
    guarded = policy(world.function(Backend()))
    with pytest.raises(KeyError), policy.inject(fail=1):
        raise KeyError
    assert world.run(guarded) == "ok"


def test_of_nested_faults_the_inner_one_strikes_and_each_ends_by_itself(world):
    policy = named()
    guarded = policy(world.function(Backend()))
    outer = policy.inject(fail=1, error=Down)
    inner = policy.inject(fail=1)
    outer.__enter__()
    inner.__enter__()
    assert _outcome(world, guarded) is Injected
    outer.__exit__()  # a drill that ends while another goes on
    assert _outcome(world, guarded) is Injected
    inner.__exit__()
    assert world.run(guarded) == "ok"
    assert policy.gate.held == 0


def test_faults_strike_blocks_and_loops_too():
    policy = named(retry=Retry(3, on=ConnectionError), bulkhead=Bulkhead(1))
    with policy.inject(fail=1):
        with pytest.raises(Injected), policy.guard():
            pass
        rounds = []

        def loop():
            for attempt in policy:
                with attempt:
                    rounds.append(1)

        with no_wait(), pytest.raises(Injected):
            loop()
        assert len(rounds) == 3
    with policy.guard():
        pass


def test_faults_strike_async_blocks_and_loops_too():
    policy = named(retry=Retry(3, on=ConnectionError), bulkhead=Bulkhead(1))
    rounds = []

    async def block():
        async with policy.guard():
            pass

    async def loop():
        async for attempt in policy:
            async with attempt:
                rounds.append(1)

    with policy.inject(fail=1):
        with pytest.raises(Injected):
            asyncio.run(block())
        with no_wait(), pytest.raises(Injected):
            asyncio.run(loop())
    assert len(rounds) == 3
    asyncio.run(block())


def test_faults_strike_generators_before_their_first_item():
    policy = named(retry=Retry(3, on=ConnectionError))
    entries = []

    @policy
    def numbers():
        entries.append(1)
        yield 1

    with no_wait() as pauses, policy.inject(fail=1), pytest.raises(Injected):
        list(numbers())
    assert (len(pauses), entries) == (2, [])
    assert list(numbers()) == [1]


def test_faults_in_many_threads_add_up():
    world = Sync()
    policy = named()
    backend = Backend()
    guarded = policy(backend)
    with policy.inject(fail=0.5) as injection:
        threads = [threading.Thread(target=lambda: [_outcome(world, guarded) for _ in range(200)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    world.close()
    assert injection.calls == 800
    assert backend.entries == 800 - injection.failed


@pytest.mark.parametrize(
    ("given", "field"),
    [({"fail": 1.1}, "fail"), ({"fail": -0.1}, "fail"), ({"delay": -1}, "delay"), ({"error": 3}, "error")],
)
def test_impossible_faults_are_refused(given, field):
    with pytest.raises(BadArgument) as caught:
        named().inject(**given)
    assert caught.value.field == field
