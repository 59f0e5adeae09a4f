"""Guarded coroutines, cancelled at each of their steps in turn: nothing stays held, and no cancellation is lost."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools

import pytest

from roadworthy.resilience import (
    BreakerOpen,
    Bulkhead,
    BulkheadFull,
    CircuitBreaker,
    Fallback,
    Hedge,
    Policy,
    RateLimiter,
    Rejected,
    Retry,
)
from roadworthy.testing import MovableClock
from support.guarded import Down

_names = itertools.count()
MOST_STEPS = 400


def named(**parts):
    return Policy(f"cancelled-{next(_names)}", **parts)


async def steps(n=3):
    for _ in range(n):
        await asyncio.sleep(0)


class Scene:
    """A policy, a call to cancel, and what else goes on meanwhile."""

    limit = 2

    def __init__(self, **parts):
        self.calls = 0
        self.policy = named(bulkhead=Bulkhead(self.limit, wait=30), **parts)
        self.guarded = self.policy(self.call)

    async def prepare(self, clock):
        """Come to where the call begins."""

    async def call(self):
        self.calls += 1
        await steps()
        return "ok"

    async def run(self):
        return await self.guarded()


class Plain(Scene):
    def __init__(self):
        super().__init__(
            deadline=1000, attempt_timeout=500, breaker=CircuitBreaker(), rate_limit=RateLimiter(1_000_000)
        )


class Retried(Scene):
    def __init__(self):
        super().__init__(
            deadline=1000, retry=Retry(4, on=Down, backoff=(0.1, 0.1)), breaker=CircuitBreaker(), attempt_timeout=500
        )

    async def call(self):
        self.calls += 1
        await steps()
        if self.calls < 4:
            raise Down("refused")
        return "ok"


class Waiting(Scene):
    """The bulkhead is full at first, and others wait before and behind."""

    limit = 1

    async def prepare(self, clock):
        self.others = [asyncio.create_task(self.guarded()) for _ in range(2)]
        await asyncio.sleep(0)

    async def run(self):
        self.others.append(asyncio.create_task(self.guarded()))
        return await self.guarded()


class Limited(Scene):
    def __init__(self):
        super().__init__(rate_limit=RateLimiter(2, per=10, burst=1, wait=100))

    async def run(self):
        await self.guarded()
        await self.guarded()
        return await self.guarded()


class Probing(Scene):
    def __init__(self):
        self.down = True
        super().__init__(breaker=CircuitBreaker(consecutive=1, open_for=5, probes=1, probe_lease=1e6, successes=2))

    async def prepare(self, clock):
        with contextlib.suppress(Down):
            await self.guarded()
        self.down = False
        with pytest.raises(BreakerOpen) as refused:
            await self.guarded()
        clock.move(refused.value.retry_after)

    async def call(self):
        await super().call()
        if self.down:
            raise Down("refused")
        return "ok"

    async def run(self):
        await self.guarded()
        return await self.guarded()


class Hedged(Scene):
    def __init__(self):
        super().__init__(hedge=Hedge(after=0.000_001), breaker=CircuitBreaker())

    async def call(self):
        self.calls += 1
        await steps(8)
        return "ok"


class FallenBack(Scene):
    def __init__(self):
        async def instead(*_):
            await steps()
            return "instead"

        super().__init__(fallback=Fallback(instead), retry=Retry(2, on=Down, backoff=(0.1, 0.1)))

    async def call(self):
        await super().call()
        raise Down("refused")


class Generated(Scene):
    def __init__(self):
        super().__init__(retry=Retry(3, on=Down, backoff=(0.1, 0.1)), breaker=CircuitBreaker())

        @self.policy
        async def items():
            self.calls += 1
            await steps()
            if self.calls < 3:
                raise Down("refused")
            for number in range(3):
                yield number
                await steps()

        self.items = items

    async def run(self):
        async with contextlib.aclosing(self.items()) as running:
            return [item async for item in running]


class Guarding(Scene):
    def __init__(self):
        super().__init__(breaker=CircuitBreaker(), attempt_timeout=500)

    async def run(self):
        async with self.policy.guard():
            await steps()
        return "ok"


class Looping(Scene):
    def __init__(self):
        super().__init__(retry=Retry(3, on=Down, backoff=(0.1, 0.1)), breaker=CircuitBreaker())

    async def run(self):
        async for attempt in self.policy:
            async with attempt:
                self.calls += 1
                await steps()
                if self.calls < 3:
                    raise Down("refused")
        return "ok"


SCENES = [Plain, Retried, Waiting, Limited, Probing, Hedged, FallenBack, Generated, Guarding, Looping]


@pytest.mark.parametrize("kind", SCENES, ids=lambda kind: kind.__name__)
def test_a_cancellation_at_any_step_is_passed_on_and_gives_everything_back(kind):
    async def cancelled_at(step, clock):
        scene = kind()
        await scene.prepare(clock)
        task = asyncio.create_task(scene.run())
        for _ in range(step):
            if task.done():
                break
            await asyncio.sleep(0)
        asked = task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() == asked, f"step {step}: {task}"
        if not asked:
            assert task.result() is not None
        for other in getattr(scene, "others", ()):
            assert await other == "ok", f"step {step}"
        await nothing_held(scene, step)
        await asyncio.sleep(0)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert left == [], f"step {step}"
        return asked

    async def main():
        with MovableClock() as clock:
            for step in range(MOST_STEPS):
                if not await cancelled_at(step, clock):
                    return step
        message = f"not done after {MOST_STEPS} steps"
        raise AssertionError(message)

    assert asyncio.run(main()) > 2
    gc.collect()


async def nothing_held(scene, step):
    """All places of the bulkhead are free, and the breaker lets a call through."""
    gate = asyncio.get_running_loop().create_future()
    inside = []

    async def hold():
        inside.append(1)
        await gate

    holders = [asyncio.create_task(scene.policy.acall(hold)) for _ in range(scene.limit)]
    if isinstance(scene, (Probing, Limited)):
        # One probe at a time, or one call in five seconds: whoever is not let in now is refused, not blocked.
        await asyncio.sleep(0)
    for _ in range(100):
        if len(inside) + sum(holder.done() for holder in holders) == scene.limit:
            break
        await asyncio.sleep(0.0005)
    gate.set_result(None)
    results = await asyncio.gather(*holders, return_exceptions=True)
    refused = [result for result in results if isinstance(result, BaseException)]
    assert inside, f"step {step}: {results}"
    assert not [one for one in refused if isinstance(one, BulkheadFull)], f"step {step}"
    assert all(isinstance(one, Rejected) for one in refused), f"step {step}: {refused}"


def test_a_waiter_that_is_cancelled_in_the_instant_it_gets_its_place_hands_it_on():
    async def main():
        for between in range(6):
            policy = named(bulkhead=Bulkhead(1, wait=30))
            gate = asyncio.get_running_loop().create_future()

            async def hold(gate=gate):
                await gate

            holder = asyncio.create_task(policy.acall(hold))
            await asyncio.sleep(0)
            waiter = asyncio.create_task(policy.acall(steps))
            behind = asyncio.create_task(policy.acall(steps))
            await asyncio.sleep(0)
            gate.set_result(None)
            for _ in range(between):
                await asyncio.sleep(0)
            waiter.cancel()
            async with asyncio.timeout(30):
                await asyncio.wait([holder, waiter, behind])
            assert behind.exception() is None
            async with asyncio.timeout(30):
                await policy.acall(steps)

    asyncio.run(main())


def test_a_thousand_cancelled_callers_leave_the_breaker_and_the_bulkhead_as_they_were():
    async def main():
        policy = named(bulkhead=Bulkhead(10, wait=0.01), breaker=CircuitBreaker(consecutive=1), retry=Retry(3, on=Down))

        @policy
        async def forever():
            await asyncio.Event().wait()

        for _ in range(20):
            tasks = [asyncio.create_task(forever()) for _ in range(50)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(result) for result in results} <= {asyncio.CancelledError, BulkheadFull}
        assert policy.breaker.state == "closed"
        gate = asyncio.get_running_loop().create_future()

        @policy
        async def hold():
            await gate
            return "in"

        holders = [asyncio.create_task(hold()) for _ in range(10)]
        await asyncio.sleep(0)
        gate.set_result(None)
        assert await asyncio.gather(*holders) == ["in"] * 10

    asyncio.run(main())
