"""The faults that every breaker and retry library we measured has: none here, in plain functions nor in coroutines.

Written from the faults, through the public decorator; nothing here looks inside.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import threading
import time
from concurrent.futures import CancelledError, Future

import pytest

from roadworthy.resilience import (
    BreakerOpen,
    Budget,
    Bulkhead,
    BulkheadFull,
    CircuitBreaker,
    DeadlineExceeded,
    Fallback,
    Hedge,
    Policy,
    RateLimited,
    RateLimiter,
    Rejected,
    Retry,
    deadline,
)
from roadworthy.resilience.offload import Threads
from roadworthy.testing import MovableClock, no_wait
from support.guarded import Async, Backend, Down, Sync, down, until

_names = itertools.count()


def named(**parts):
    return Policy(f"faults-{next(_names)}", **parts)


def breaker(**changed):
    return CircuitBreaker(**{"consecutive": 3, "open_for": 5, "probes": 1, "probe_lease": 5, **changed})


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def world(request):
    made = request.param()
    yield made
    made.close()


@pytest.fixture
def clock():
    with MovableClock() as made:
        yield made


def trip(world, policy, guarded, backend, times=3):
    """Have the other side refuse until the breaker is open; returns seconds until it may be asked again."""
    before, backend.step = backend.step, down
    for _ in range(times):
        with pytest.raises(Down):
            world.run(guarded)
    backend.step = before
    assert policy.breaker.state == "open"
    return rejected(world, guarded).retry_after


def rejected(world, guarded):
    with pytest.raises(BreakerOpen) as caught:
        world.run(guarded)
    return caught.value


# -- half-open: one probe is one probe


def test_of_a_herd_that_waits_for_half_open_only_the_probes_come_through(world, clock):
    backend = Backend()
    policy = named(breaker=breaker(probes=2))
    guarded = policy(world.function(backend))
    clock.move(trip(world, policy, guarded, backend))
    entered, gate = backend.entries, Future()
    backend.step = lambda: gate
    herd = [world.start(guarded) for _ in range(20)]
    until(lambda: sum(call.done() for call in herd) == 18, "18 rejections")
    assert backend.entries - entered == 2
    gate.set_result("ok")
    outcomes = [call.exception(60) for call in herd]
    assert outcomes.count(None) == 2
    assert sum(isinstance(outcome, BreakerOpen) for outcome in outcomes) == 18
    assert policy.breaker.state == "closed"


def test_a_herd_in_threads_that_all_arrive_at_one_instant_is_held_back_too(clock):
    world = Sync()
    backend = Backend()
    policy = named(breaker=breaker())
    guarded = policy(world.function(backend))
    clock.move(trip(world, policy, guarded, backend))
    for _ in range(10):
        entered, gate = backend.entries, Future()
        backend.step = lambda gate=gate: gate
        barrier = threading.Barrier(16)

        def arrive(barrier=barrier):
            barrier.wait(60)
            return guarded()

        herd = [world.start(arrive) for _ in range(16)]
        until(lambda herd=herd: sum(call.done() for call in herd) == 15, "15 rejections")
        gate.set_exception(Down("still"))
        kinds = sorted(type(call.exception(60)).__name__ for call in herd)
        assert kinds == ["BreakerOpen"] * 15 + ["Down"]
        assert backend.entries - entered == 1
        clock.move(rejected(world, guarded).retry_after)
    world.close()


@pytest.mark.parametrize("outcome", ["success", "failure"])
def test_a_late_result_of_a_call_from_before_the_break_does_not_touch_the_break(world, clock, outcome):
    backend = Backend()
    policy = named(breaker=breaker())
    guarded = policy(world.function(backend))
    gate = Future()
    backend.step = lambda: gate
    late = world.start(guarded)
    until(lambda: backend.entries == 1)
    after = trip(world, policy, guarded, backend)
    clock.move(after / 2)
    left = rejected(world, guarded).retry_after
    if outcome == "success":
        gate.set_result("late")
        assert late.result(60) == "late"
    else:
        gate.set_exception(Down("late"))
        assert isinstance(late.exception(60), Down)
    assert policy.breaker.state == "open"
    assert rejected(world, guarded).retry_after == left


@pytest.mark.parametrize("outcome", ["success", "failure"])
def test_a_late_result_does_not_count_as_that_of_a_probe(world, clock, outcome):
    backend = Backend()
    policy = named(breaker=breaker())
    guarded = policy(world.function(backend))
    old, probing = Future(), Future()
    backend.step = lambda: old
    late = world.start(guarded)
    until(lambda: backend.entries == 1)
    clock.move(trip(world, policy, guarded, backend))
    entered = backend.entries
    backend.step = lambda: probing
    probe = world.start(guarded)
    until(lambda: backend.entries == entered + 1)
    assert policy.breaker.state == "half_open"
    if outcome == "success":
        old.set_result("late")
    else:
        old.set_exception(Down("late"))
    late.exception(60)
    assert policy.breaker.state == "half_open"
    rejected(world, guarded)
    probing.set_result("ok")
    assert probe.result(60) == "ok"
    assert policy.breaker.state == "closed"


def test_failures_from_before_the_break_do_not_count_after_it(world, clock):
    backend = Backend()
    policy = named(breaker=breaker())
    guarded = policy(world.function(backend))
    old = Future()
    backend.step = lambda: old
    late = [world.start(guarded) for _ in range(5)]
    until(lambda: backend.entries == 5)
    clock.move(trip(world, policy, guarded, backend))
    backend.step = lambda: "ok"
    assert world.run(guarded) == "ok"
    assert policy.breaker.state == "closed"
    old.set_exception(Down("late"))
    assert all(isinstance(call.exception(60), Down) for call in late)
    assert policy.breaker.state == "closed"
    assert world.run(guarded) == "ok"


def test_a_late_result_of_a_probe_whose_lease_ended_does_not_close_the_break_of_its_successor(world, clock):
    backend = Backend()
    policy = named(breaker=breaker())
    guarded = policy(world.function(backend))
    clock.move(trip(world, policy, guarded, backend))
    lost, gate = backend.entries, Future()
    backend.step = lambda: gate
    first = world.start(guarded)
    until(lambda: backend.entries == lost + 1)
    clock.move(rejected(world, guarded).retry_after)
    backend.step = down
    with pytest.raises(Down):
        world.run(guarded)
    assert policy.breaker.state == "open"
    gate.set_result("late")
    assert first.result(60) == "late"
    assert policy.breaker.state == "open"
    rejected(world, guarded)


def test_a_probe_that_never_ends_gives_way_to_another_when_its_lease_is_over(world, clock):
    backend = Backend()
    policy = named(breaker=breaker())
    guarded = policy(world.function(backend))
    clock.move(trip(world, policy, guarded, backend))
    entered, gate = backend.entries, Future()
    backend.step = lambda: gate
    lost = world.start(guarded)
    until(lambda: backend.entries == entered + 1)
    backend.step = lambda: "ok"
    clock.move(4.999)
    left = rejected(world, guarded).retry_after
    assert 0 < left <= 0.4  # leases are kept in sixteenths
    clock.move(left)
    assert world.run(guarded) == "ok"
    assert policy.breaker.state == "closed"
    gate.set_result("late")
    lost.result(60)


def test_a_cancelled_probe_gives_its_place_back_and_counts_nothing(clock):
    world = Async()
    backend = Backend()
    policy = named(breaker=breaker())
    guarded = policy(world.function(backend))
    clock.move(trip(world, policy, guarded, backend))
    for _ in range(5):
        entered = backend.entries
        backend.step = Future
        probe = world.start(guarded)
        until(lambda entered=entered: backend.entries == entered + 1)
        rejected(world, guarded)
        probe.cancel()
        with pytest.raises(CancelledError):
            probe.result(60)
        until(lambda: policy.breaker.state == "half_open")
    backend.step = lambda: "ok"
    until(lambda: _answers(world, guarded))
    assert policy.breaker.state == "closed"
    world.close()


def _answers(world, guarded):
    try:
        return world.run(guarded) == "ok"
    except BreakerOpen:
        return False


INTERRUPTS = [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError]


@pytest.mark.parametrize("interrupt", INTERRUPTS)
def test_a_probe_that_is_interrupted_gives_its_place_back_and_counts_nothing(world, clock, interrupt):
    backend = Backend()
    policy = named(breaker=breaker())
    guarded = policy(world.function(backend))
    clock.move(trip(world, policy, guarded, backend))
    backend.step = lambda: _raise(interrupt("stop"))
    for _ in range(5):
        with pytest.raises(interrupt):
            world.run(guarded)
        assert policy.breaker.state == "half_open"
    backend.step = lambda: "ok"
    assert world.run(guarded) == "ok"
    assert policy.breaker.state == "closed"


def _raise(error):
    raise error


# -- what is no failure of the other side


@pytest.mark.parametrize("interrupt", INTERRUPTS)
def test_an_interrupt_is_neither_retried_nor_counted_nor_changed(world, clock, interrupt):
    stop = interrupt("stop")
    backend = Backend(lambda: _raise(stop))
    policy = named(retry=Retry(5, on=Exception), breaker=breaker(consecutive=1))
    guarded = policy(world.function(backend))
    with pytest.raises(interrupt) as caught:
        world.run(guarded)
    if interrupt is not asyncio.CancelledError or world.name == "sync":  # asyncio makes a new one of each cancellation
        assert caught.value is stop
    assert backend.entries == 1
    assert clock.pauses == []
    assert policy.breaker.state == "closed"


@pytest.mark.parametrize("interrupt", INTERRUPTS)
def test_even_who_asks_for_it_gets_no_interrupt_retried(interrupt):
    backend = Backend(lambda: _raise(interrupt("stop")))
    try:
        policy = named(retry=Retry(5, on=BaseException))
    except (TypeError, ValueError, Exception):  # noqa: BLE001 - refused at construction: even better
        return
    with no_wait(), pytest.raises(interrupt):
        policy(backend)()
    assert backend.entries == 1


def test_refusals_of_ours_are_not_retried_nor_counted_as_failures(world, clock):
    backend = Backend(down)
    policy = named(retry=Retry(50, on=Exception, budget=None), breaker=breaker())
    guarded = policy(world.function(backend))
    with pytest.raises((BreakerOpen, Down)):
        world.run(guarded)
    assert backend.entries == 3
    assert policy.breaker.state == "open"
    spent = len(clock.pauses)
    assert spent <= 3
    left = rejected(world, guarded).retry_after
    for _ in range(10):
        rejected(world, guarded)
    assert rejected(world, guarded).retry_after == left
    assert len(clock.pauses) == spent
    assert backend.entries == 3


def test_a_refusal_of_an_inner_policy_is_none_of_the_outer_ones_failures(world, clock):
    backend = Backend(down)
    inner = named(breaker=breaker(consecutive=1))
    outer = named(retry=Retry(4, on=Exception), breaker=breaker(consecutive=2))
    guarded = outer(inner(world.function(backend)))
    for _ in range(10):
        with pytest.raises((Down, BreakerOpen)):
            world.run(guarded)
    assert backend.entries == 1
    assert outer.breaker.state == "closed"


# -- time


@pytest.mark.parametrize("hours", [1, -1])
def test_the_wall_clock_moves_no_breaker(world, clock, monkeypatch, hours):
    backend = Backend()
    policy = named(breaker=breaker())
    guarded = policy(world.function(backend))
    after = trip(world, policy, guarded, backend)
    clock.move_wall(3600 * hours)
    now, now_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: now() + 3600 * hours)
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() + 3600 * hours * 10**9)
    assert policy.breaker.state == "open"
    assert rejected(world, guarded).retry_after == after
    clock.move(after - 0.001)
    rejected(world, guarded)
    clock.move(0.002)
    assert world.run(guarded) == "ok"
    assert policy.breaker.state == "closed"


@pytest.mark.parametrize("hours", [1, -1])
def test_the_wall_clock_moves_no_retry_limiter_or_deadline(world, clock, hours):
    def step():
        clock.move_wall(3600 * hours)
        if backend.entries < 3:
            raise Down("refused")
        return "ok"

    backend = Backend(step)
    policy = named(
        deadline=60, retry=Retry(3, on=Down, backoff=(0.1, 0.2), total=50), rate_limit=RateLimiter(3, per=60)
    )
    guarded = policy(world.function(backend))
    assert world.run(guarded) == "ok"
    assert backend.entries == 3
    with pytest.raises(RateLimited):
        world.run(guarded)


def test_the_total_time_of_a_retry_ends_it(world, clock):
    def step():
        clock.move(0.05)
        raise Down("refused")

    backend = Backend(step)
    before = clock.monotonic()
    policy = named(retry=Retry(1000, on=Down, backoff=(0.05, 0.1), total=0.3))
    with pytest.raises(Down):
        world.run(policy(world.function(backend)))
    assert clock.monotonic() - before <= 0.3 + 0.05
    assert 2 <= backend.entries <= 7


def test_no_attempt_is_started_that_the_deadline_cannot_hold(world, clock):
    backend = Backend(down)
    before = clock.monotonic()
    policy = named(deadline=1, retry=Retry(1000, on=Down, backoff=(0.4, 0.4), jitter="none"))
    with pytest.raises((Down, DeadlineExceeded)):
        world.run(policy(world.function(backend)))
    assert clock.monotonic() - before <= 1
    assert backend.entries == 3


def test_a_deadline_from_outside_holds_inside(world, clock):
    backend = Backend(down)
    policy = named(deadline=100, retry=Retry(1000, on=Down, backoff=(0.4, 0.4), jitter="none"))
    before = clock.monotonic()
    if world.name == "sync":
        with deadline(1), pytest.raises((Down, DeadlineExceeded)):
            policy(world.function(backend))()
    else:

        async def outside():
            async with deadline(1):
                await policy(world.function(backend))()

        with pytest.raises((Down, DeadlineExceeded)):
            asyncio.run(outside())
    assert clock.monotonic() - before <= 1
    assert backend.entries == 3


def test_a_deadline_holds_for_all_rounds_of_a_loop(world, clock):
    policy = named(deadline=1, retry=Retry(1000, on=Down, backoff=(0.4, 0.4), jitter="none"))
    before, rounds = clock.monotonic(), []

    def loop():
        for attempt in policy:
            with attempt:
                rounds.append(1)
                raise Down("refused")

    async def aloop():
        async for attempt in policy:
            async with attempt:
                rounds.append(1)
                raise Down("refused")

    with pytest.raises((Down, DeadlineExceeded)):
        world.run(aloop if world.name == "async" else loop)
    assert clock.monotonic() - before <= 1
    assert len(rounds) == 3


def test_calls_that_hang_in_threads_starve_neither_each_other_nor_their_callers():
    pool, gate = Threads(3), threading.Event()
    other = named(attempt_timeout=60)
    try:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                pool.run(lambda: gate.wait(60), 0.01)
        before = time.monotonic()
        for _ in range(50):
            with pytest.raises(BulkheadFull):
                pool.run(lambda: 1, 60)
        assert time.monotonic() - before < 20  # refused at once, not after waiting for those that hang
        assert other(lambda: "ok")() == "ok"
    finally:
        gate.set()
    until(lambda: pool.busy == 0, "those that hung give their places back")
    assert pool.run(lambda: "ok", 60) == "ok"


def test_a_plain_call_that_takes_too_long_is_neither_cut_off_nor_waited_for_elsewhere(clock):
    def step():
        clock.move(5)
        return "late"

    backend = Backend(step)
    policy = named(attempt_timeout=1, breaker=breaker(consecutive=2))
    guarded = policy(backend)
    assert [guarded(), guarded()] == ["late", "late"]
    assert threading.active_count() < 40


# -- generators


def test_a_generator_is_not_begun_again_after_its_first_item():
    entries = []

    @named(retry=Retry(5, on=Down))
    def numbers():
        entries.append(1)
        yield 1
        yield 2
        raise Down("broken off")

    with no_wait() as pauses:
        running = numbers()
        assert [next(running), next(running)] == [1, 2]
        with pytest.raises(Down):
            next(running)
    assert len(entries) == 1
    assert pauses == []


def test_a_generator_that_fails_before_its_first_item_is_begun_again():
    entries = []

    @named(retry=Retry(5, on=Down))
    def numbers():
        entries.append(1)
        if len(entries) < 3:
            raise Down("not yet")
        yield from (1, 2)
        return "end"

    with no_wait() as pauses:
        assert list(numbers()) == [1, 2]
    assert len(entries) == 3
    assert len(pauses) == 2


def test_an_async_generator_is_not_begun_again_after_its_first_item_and_is_before_it():
    entries = []

    @named(retry=Retry(5, on=Down))
    async def numbers():
        entries.append(1)
        if len(entries) < 3:
            raise Down("not yet")
        yield 1
        yield 2
        raise Down("broken off")

    async def main():
        running = numbers()
        assert [await anext(running), await anext(running)] == [1, 2]
        with pytest.raises(Down, match="broken off"):
            await anext(running)

    with no_wait() as pauses:
        asyncio.run(main())
    assert len(entries) == 3
    assert len(pauses) == 2


def test_a_generator_that_breaks_off_counts_as_a_failure_and_one_that_is_left_does_not(clock):
    backend = Backend()
    policy = named(breaker=breaker())

    @policy
    def numbers(*, fail=False):
        backend()
        yield 1
        if fail:
            raise Down("broken off")
        yield 2

    for _ in range(2):
        with pytest.raises(Down):
            list(numbers(fail=True))
    for _ in range(5):
        left = numbers()
        assert next(left) == 1
        left.close()
        assert next(numbers()) == 1  # and this one by garbage collection
    assert policy.breaker.state == "closed"
    with pytest.raises(Down):
        list(numbers(fail=True))
    assert policy.breaker.state == "open"
    with pytest.raises(BreakerOpen) as caught:
        list(numbers())
    clock.move(caught.value.retry_after)
    for _ in range(3):  # probes that are left give their place back
        left = numbers()
        assert next(left) == 1
        left.close()
    assert list(numbers()) == [1, 2]
    assert policy.breaker.state == "closed"


def test_an_async_generator_that_is_left_as_a_probe_gives_its_place_back(clock):
    policy = named(breaker=breaker())

    @policy
    async def numbers(*, fail=False):
        yield 1
        if fail:
            raise Down("broken off")
        yield 2

    async def main():
        for _ in range(3):
            with pytest.raises(Down):
                _ = [item async for item in numbers(fail=True)]
        with pytest.raises(BreakerOpen) as caught:
            _ = [item async for item in numbers()]
        clock.move(caught.value.retry_after)
        for _ in range(3):
            left = numbers()
            assert await anext(left) == 1
            await left.aclose()
        assert [item async for item in numbers()] == [1, 2]

    asyncio.run(main())
    assert policy.breaker.state == "closed"


def test_a_guarded_generator_takes_what_is_sent_and_thrown_and_returns_its_value():
    @named(retry=Retry(3, on=Down), breaker=breaker())
    def echo():
        seen = []
        try:
            while True:
                try:
                    got = yield len(seen)
                except KeyError:
                    got = "thrown"
                if got == "end":
                    return seen
                seen.append(got)
        finally:
            seen.append("closed")

    running = echo()
    assert next(running) == 0
    assert running.send("a") == 1
    assert running.throw(KeyError("k")) == 2
    with pytest.raises(StopIteration) as caught:
        running.send("end")
    assert caught.value.value == ["a", "thrown", "closed"]


# -- cancellation


def test_a_timeout_around_a_retried_call_cancels_it_at_once_and_for_good():
    backend = Backend()
    policy = named(retry=Retry(5, on=Exception, backoff=(0.0, 0.0)))

    @policy
    async def fetch():
        backend()
        await asyncio.sleep(30)

    async def main():
        task = asyncio.current_task()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await fetch()
        assert task.cancelling() == 0

    before = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - before < 20
    assert backend.entries == 1


def test_a_pause_between_attempts_can_be_cancelled():
    world = Async()
    backend = Backend(down)
    call = world.start(named(retry=Retry(5, on=Down, backoff=(60, 60), jitter="none"))(world.function(backend)))
    until(lambda: backend.entries == 1)
    call.cancel()
    with pytest.raises(CancelledError):
        call.result(60)
    assert backend.entries == 1
    world.close()


def test_a_timeout_of_an_attempt_is_retried_and_leaves_no_cancellation_behind():
    backend = Backend()
    policy = named(attempt_timeout=0.02, retry=Retry(3, on=TimeoutError, backoff=(0.0, 0.0)))

    @policy
    async def fetch():
        backend()
        await asyncio.sleep(30)

    async def main():
        with pytest.raises(TimeoutError):
            await fetch()
        assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(0)

    asyncio.run(main())
    assert backend.entries == 3


def test_a_cancellation_while_a_timed_out_attempt_still_cleans_up_wins():
    backend = Backend()
    policy = named(attempt_timeout=0.02, retry=Retry(5, on=TimeoutError, backoff=(0.0, 0.0)))

    async def main():
        cleaning, leave = asyncio.Event(), asyncio.Event()

        @policy
        async def fetch():
            backend()
            try:
                await asyncio.sleep(30)
            finally:
                cleaning.set()
                await leave.wait()

        task = asyncio.create_task(fetch())
        await cleaning.wait()
        task.cancel()
        leave.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert backend.entries == 1


def test_the_programs_own_timeout_error_is_not_taken_for_one_of_the_attempt():
    mine = TimeoutError("mine")

    @named(attempt_timeout=30)
    async def fetch():
        raise mine

    with pytest.raises(TimeoutError) as caught:
        asyncio.run(fetch())
    assert caught.value is mine


# -- shared state


def test_one_retry_object_shared_by_threads_keeps_their_attempts_apart(clock):
    retry = Retry(5, on=Down, budget=None)
    shared = named(retry=retry)
    other = named(retry=retry)
    mine = threading.local()

    def flaky(call):
        seen = mine.__dict__.setdefault(call, [])
        seen.append(1)
        if len(seen) < 1 + call % 5:
            raise Down("refused")
        return len(seen)

    guards = [shared(flaky), other(flaky)]
    wrong = []

    def run(guarded):
        wrong.extend(call for call in range(60) if guarded(call) != 1 + call % 5)

    threads = [threading.Thread(target=run, args=(guards[n % 2],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_one_policy_looped_over_by_threads_counts_attempts_of_each_apart(clock):
    policy = named(retry=Retry(4, on=Down, budget=None))
    wrong = []

    def run(number):
        for _ in range(60):
            made = 0
            for attempt in policy:
                with attempt:
                    made += 1
                    if made < 1 + number:
                        raise Down("refused")
            if made != 1 + number:
                wrong.append((number, made))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_call_that_a_retried_call_makes_of_itself_has_attempts_of_its_own(world, clock):
    policy = named(retry=Retry(3, on=Down, budget=None))
    calls = []

    if world.name == "sync":

        @policy
        def nested(depth):
            calls.append(depth)
            if depth:
                nested(depth - 1)
            raise Down("refused")
    else:

        @policy
        async def nested(depth):
            calls.append(depth)
            if depth:
                await nested(depth - 1)
            raise Down("refused")

    with pytest.raises(Down):
        world.run(nested, 1)
    assert calls == [1, 0, 0, 0] * 3


# -- what grows


def _depth(error):
    depth, traceback = 0, error.__traceback__
    while traceback is not None:
        depth, traceback = depth + 1, traceback.tb_next
    return depth


def _chain(error):
    length = 0
    while error is not None:
        length, error = length + 1, error.__context__ or error.__cause__
    return length


def _refusals(world, kind):
    """Return a function that is refused each time, and what ends the refusing."""
    backend = Backend()
    if kind is BreakerOpen:
        policy = named(breaker=breaker(open_for=1000))
        guarded = policy(world.function(backend))
        trip(world, policy, guarded, backend)
        return guarded, lambda: None
    if kind is RateLimited:
        guarded = named(rate_limit=RateLimiter(1, per=1000))(world.function(backend))
        world.run(guarded)
        return guarded, lambda: None
    gate = Future()
    backend.step = lambda: gate
    guarded = named(bulkhead=Bulkhead(1, wait=0))(world.function(backend))
    held = world.start(guarded)
    until(lambda: backend.entries == 1)
    return guarded, lambda: (gate.set_result(1), held.result(60))


@pytest.mark.parametrize("kind", [BreakerOpen, RateLimited, BulkheadFull])
def test_three_thousand_refusals_are_three_thousand_errors_that_do_not_grow(world, clock, kind):
    guarded, end = _refusals(world, kind)

    async def once():
        try:
            return await world.answer(guarded)
        except kind as refused:
            return refused

    async def main():
        first = last = await once()
        shape = _depth(first), _chain(first)
        for _ in range(3000):
            before, last = last, await once()
            assert last is not before
        assert (_depth(last), _chain(last)) == shape
        assert isinstance(last, Rejected)
        assert last.policy.startswith("faults-")

    asyncio.run(main())
    end()


def test_the_last_real_error_comes_out_as_it_was_raised(world, clock):
    raised = []

    def step():
        raised.append(Down(f"attempt {len(raised) + 1}"))
        raise raised[-1]

    guarded = named(retry=Retry(4, on=Down))(world.function(Backend(step)))
    with pytest.raises(Down, match="attempt 4") as caught:
        world.run(guarded)
    assert caught.value is raised[-1]
    assert len(raised) == 4
    assert _chain(caught.value) <= 4


def test_ten_thousand_attempts_overflow_nothing(world, clock):
    backend = Backend(down)
    guarded = named(retry=Retry(10_000, on=Down, backoff=(0.1, 5.0), budget=None))(world.function(backend))
    with pytest.raises(Down):
        world.run(guarded)
    assert backend.entries == 10_000
    assert len(clock.pauses) == 9_999
    assert min(clock.pauses) >= 0
    assert max(clock.pauses) <= 5.0
    assert max(clock.pauses[-100:]) > 1.0


def test_a_breaker_that_opens_two_thousand_times_in_a_row_goes_on(world, clock):
    backend = Backend(down)
    policy = named(breaker=breaker(open_for=(5, 60)))
    guarded = policy(world.function(backend))
    trip(world, policy, guarded, backend)
    longest = 0.0
    for _ in range(2000 if world.name == "sync" else 200):
        after = rejected(world, guarded).retry_after
        assert 0 < after <= 60
        longest = max(longest, after)
        clock.move(after)
        with pytest.raises(Down):
            world.run(guarded)
    assert longest > 30
    backend.step = lambda: "ok"
    clock.move(rejected(world, guarded).retry_after)
    assert world.run(guarded) == "ok"
    assert policy.breaker.state == "closed"
    assert trip(world, policy, guarded, backend) <= 10  # the break begins small again


def test_an_empty_budget_ends_retrying_and_comes_back_with_successes(world, clock):
    backend = Backend(down)
    policy = named(retry=Retry(3, on=Down, budget=Budget(ratio=0.1, minimum=2, per=10)))
    guarded = policy(world.function(backend))
    for _ in range(100):
        with pytest.raises(Down):
            world.run(guarded)
    assert backend.entries <= 100 + 2 + 10
    assert backend.entries >= 102


# -- garbage


def test_failures_leave_no_garbage_cycles(world, clock):
    backend = Backend(down)
    policies = [
        named(retry=Retry(4, on=Down, budget=None)),
        named(breaker=breaker(consecutive=None, min_calls=10_000, window=20_000)),
        named(
            deadline=1000,
            retry=Retry(3, on=Down, budget=None),
            breaker=breaker(consecutive=50),
            rate_limit=RateLimiter(10_000, per=1),
            bulkhead=Bulkhead(5),
        ),
    ]
    guards = [policy(world.function(backend)) for policy in policies]

    _leaves_nothing([lambda guarded=guarded: world.answer(guarded) for guarded in guards], times=50)


def _looped(policy, world, backend):
    """Return a function that fails in a loop of attempts, and one that fails in a block."""
    if world.name == "sync":

        def loop():
            for attempt in policy:
                with attempt:
                    backend()

        def block():
            with policy.guard():
                backend()
    else:

        async def loop():
            async for attempt in policy:
                async with attempt:
                    backend()

        async def block():
            async with policy.guard():
                backend()

    return [loop, block]


def _slow(policy):
    """Return coroutine functions whose attempt, deadline or hedge ends them."""

    async def hang():
        await asyncio.sleep(30)

    hedge = Hedge(after=0.000_1)
    hedged = named(hedge=hedge, deadline=0.002)(hang), named(hedge=hedge, attempt_timeout=0.002)(hang)
    return [policy(hang), named(deadline=0.001)(hang), *hedged]


def test_failures_in_blocks_loops_generators_and_fallbacks_leave_no_garbage_cycles(world, clock):
    backend = Backend(down)
    policy = named(retry=Retry(3, on=Down, budget=None), breaker=breaker(consecutive=20), bulkhead=Bulkhead(3))

    @policy
    def numbers():
        yield backend()

    @policy
    async def anumbers():
        yield backend()

    async def drawn():
        return [item async for item in anumbers()] if world.name == "async" else list(numbers())

    def instead(*_):
        raise Down("nor that")

    answered = named(fallback=Fallback(instead), retry=Retry(2, on=Down))(world.function(backend))
    results = named(retry=Retry(3, on=Down, on_result=lambda result: result is None))(world.function(lambda: None))
    _leaves_nothing(
        [
            *(lambda one=one: world.answer(one) for one in _looped(policy, world, backend)),
            drawn,
            lambda: world.answer(answered),
            lambda: world.answer(results),
        ]
    )


def test_timeouts_and_cancellations_leave_no_garbage_cycles():
    policy = named(attempt_timeout=0.001, retry=Retry(2, on=TimeoutError, backoff=(0, 0)))

    async def cancelled():
        task = asyncio.create_task(policy.acall(asyncio.sleep, 30))
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def in_a_task():
        await asyncio.wait([asyncio.create_task(policy.acall(asyncio.sleep, 30))])

    async def failing_in_a_task():
        async def fail():
            raise Down("refused")

        await asyncio.wait([asyncio.create_task(policy.acall(fail))])

    async def by_a_deadline_around():
        with deadline(0.001):
            await asyncio.wait([asyncio.create_task(named().acall(asyncio.sleep, 30))])

    async def in_a_block():
        async def block():
            async with policy.guard() as guard:
                await asyncio.sleep(30)
            del guard

        await asyncio.wait([asyncio.create_task(block())])

    calls = [*_slow(policy), cancelled, in_a_task, failing_in_a_task, by_a_deadline_around, in_a_block]
    _leaves_nothing(calls, times=5)


def _leaves_nothing(calls, times=20):
    """Fail unless each of these calls, over and over, leaves nothing to the garbage collector."""

    async def fail(call):
        with contextlib.suppress(Down, Rejected, TimeoutError):
            await call()

    async def main():
        for call in calls:
            await fail(call)
        gc.collect()
        gc.disable()
        try:
            for number, call in enumerate(calls):
                for _ in range(times):
                    await fail(call)
                assert gc.collect() == 0, number
        finally:
            gc.enable()

    asyncio.run(main())
