"""The public API of resilience as type checkers see it; checked by mypy --strict, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

from roadworthy.resilience import (
    Bulkhead,
    CircuitBreaker,
    CircuitBreakerConfig,
    Policy,
    RateLimiter,
    Retry,
    chain,
)
from roadworthy.resilience.block import Attempt

db = Policy(
    "db",
    deadline=10,
    attempt_timeout=2,
    retry=Retry(3, on=(ConnectionError, TimeoutError)),
    breaker=CircuitBreaker(window="30s", open_for=(5, 60), failure_if=lambda response: response.status >= 500),
    rate_limit=RateLimiter(50, per=1),
    bulkhead=Bulkhead(20, wait=0.1),
)
Policy("by four numbers", breaker=CircuitBreakerConfig(failure_threshold=5, recovery_timeout=300))


@db
def plain(a: int, *, b: str = "") -> float:
    """Keep parameters and result."""
    return float(a) + len(b)


@db
async def coroutine(a: int) -> str:
    """Stay a coroutine function."""
    return str(a)


@db
def generator() -> Iterator[int]:
    """Stay a generator."""
    yield 1


@db
async def async_generator() -> AsyncIterator[bytes]:
    """Stay an async generator."""
    yield b""


class Store:
    """A class with guarded methods."""

    @db
    def load(self, key: str) -> bytes:
        """Stay a method."""
        return key.encode()

    @db
    @staticmethod
    def static(n: int) -> int:
        """Stay a static method."""
        return n

    @db
    @classmethod
    def klass(cls, n: int) -> Store:
        """Stay a class method."""
        return cls()


async def use() -> None:
    """Use what was decorated above."""
    assert_type(plain(1, b="x"), float)
    assert_type(await coroutine(1), str)
    assert_type(Store().load("a"), bytes)
    assert_type(Store.static(1), int)
    assert_type(Store.klass(1), Store)
    for number in generator():
        assert_type(number, int)
    async for part in async_generator():
        assert_type(part, bytes)
    assert_type(db.call(plain, 1, b="x"), float)
    assert_type(await db.acall(coroutine, 1), str)
    with db.guard():
        pass
    async with db.guard():
        pass
    for attempt in db:
        assert_type(attempt, Attempt)
        with attempt:
            pass
    async for attempt in db:
        async with attempt:
            assert_type(attempt.number, int)
    assert_type(chain(db, db).call(plain, 1), float)
    plain("x")  # type: ignore[arg-type]
    db.call(plain, "x")  # type: ignore[arg-type]
    if db.breaker is not None:
        assert_type(db.breaker.state, str)
        db.breaker.force("forced_open", for_=60)
        db.breaker.reset()
    assert_type(db.snapshot(), dict[str, object])
    assert_type(db.describe(), dict[str, object])
