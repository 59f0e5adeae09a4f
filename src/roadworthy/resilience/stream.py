"""Generators through a policy: one attempt is a generator's whole life, and only its first item may be tried again.

After the first item the consumer has seen something: from there on an error passes. How long it took to the first item
is what decides whether it was slow; the rest is the consumer's time as much as ours. What was taken is given back when
it ends, however that happens; a consumer that has had enough says nothing about the other side.
"""

# ruff: noqa: ANN401 - what is iterated is the program's own, of whatever type it is

from __future__ import annotations

from roadworthy import _clock
from roadworthy._clock import NS
from roadworthy.resilience import timeout
from roadworthy.resilience.attempt import aenter, check_deadline, enter, settle
from roadworthy.resilience.rejected import Rejected
from roadworthy.resilience.tries import Tries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping
    from typing import Any, Self

    from roadworthy.resilience.attempt import Ticket
    from roadworthy.resilience.policy import Policy


class _Life:
    """What an attempt has while its generator lives."""

    __slots__ = ("begun_ns", "first_ns", "policy", "ticket")

    def __init__(self, policy: Policy, ticket: Ticket) -> None:
        self.policy = policy
        self.ticket: Ticket | None = ticket
        self.begun_ns = _clock.monotonic_ns()
        self.first_ns = 0

    def over(self, error: BaseException | None = None, *, overdue: bool = False) -> None:
        """Give everything back, once."""
        ticket, self.ticket = self.ticket, None
        if ticket is not None:
            now_ns = _clock.monotonic_ns()
            settle(self.policy, ticket, now_ns - (self.first_ns or now_ns - self.begun_ns), error, overdue=overdue)

    def begun(self) -> None:
        """Note that the first item has come."""
        self.first_ns = _clock.monotonic_ns() - self.begun_ns


class Stream:
    """A generator whose first item is there; made to be delegated to by ``yield from``."""

    __slots__ = ("_first", "_generator", "_life", "_waiting")

    def __init__(self, generator: Generator[Any, Any, Any] | None, first: Any, life: _Life) -> None:
        self._generator = generator
        self._first = first
        self._waiting = True
        self._life = life

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        """Return the next item; the first one is there already."""
        if self._generator is None:
            raise StopIteration(self._first)
        if self._waiting:
            self._waiting = False
            first, self._first = self._first, None
            return first
        try:
            return self._generator.send(value)
        except StopIteration:
            self._life.over()
            raise
        except BaseException as error:
            self._life.over(error)
            raise

    def throw(self, error: BaseException, *rest: Any) -> Any:
        """Raise inside the generator, as its own ``throw``."""
        if self._generator is None:
            raise error
        try:
            return self._generator.throw(error, *rest)
        except StopIteration:
            self._life.over()
            raise
        except BaseException as ended:
            self._life.over(ended)
            raise

    def close(self) -> None:
        """End it, because its consumer has had enough."""
        try:
            if self._generator is not None:
                self._generator.close()
        finally:
            self._life.over(GeneratorExit())


def opened(
    policy: Policy, fn: Callable[..., Generator[Any, Any, Any]], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Stream:
    """Return the generator with its first item, tried as often as the policy says."""
    token = None if policy.deadline is None else timeout.set_until(_clock.monotonic_ns() + int(policy.deadline * NS))
    tries = Tries(policy)
    try:
        while True:
            try:
                check_deadline(policy)
                return _begun(policy, fn, args, kwargs)
            except BaseException as error:
                if not tries.failed(error):
                    raise
            policy.sleep(tries.next())
    finally:
        tries.over()
        if token is not None:
            timeout.reset(token)


def _begun(
    policy: Policy, fn: Callable[..., Generator[Any, Any, Any]], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Stream:
    life = _Life(policy, enter(policy))
    try:
        if policy.fault is not None:
            policy.fault.strike(policy)
        generator = fn(*args, **kwargs)
        first = next(generator)
    except StopIteration as stop:
        life.over()
        return Stream(None, stop.value, life)
    except BaseException as error:
        life.over(error)
        raise
    life.begun()
    return Stream(generator, first, life)


class AsyncStream:
    """An async generator whose first item is there; the wrapper hands everything on to it."""

    __slots__ = ("_generator", "_life", "first", "is_over")

    def __init__(self, generator: AsyncGenerator[Any, Any] | None, first: Any, life: _Life) -> None:
        self._generator = generator
        self.first = first
        self.is_over = generator is None
        self._life = life

    async def asend(self, value: Any) -> Any:
        """Return the next item."""
        return await self._step(lambda generator: generator.asend(value))

    async def athrow(self, error: BaseException) -> Any:
        """Raise inside the generator, as its own ``athrow``."""
        return await self._step(lambda generator: generator.athrow(error))

    async def aclose(self) -> None:
        """End it, because its consumer has had enough."""
        try:
            if self._generator is not None:
                await self._generator.aclose()
        finally:
            self._life.over(GeneratorExit())

    async def _step(self, step: Callable[[AsyncGenerator[Any, Any]], Any]) -> Any:
        if self._generator is None:
            raise StopAsyncIteration
        try:
            return await step(self._generator)
        except StopAsyncIteration:
            self._life.over()
            raise
        except BaseException as error:
            self._life.over(error)
            raise


async def aopened(
    policy: Policy, fn: Callable[..., AsyncGenerator[Any, Any]], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> AsyncStream:
    """Return the async generator with its first item, tried as often as the policy says."""
    token = None if policy.deadline is None else timeout.set_until(_clock.monotonic_ns() + int(policy.deadline * NS))
    tries = Tries(policy)
    try:
        while True:
            try:
                check_deadline(policy)
                return await _abegun(policy, fn, args, kwargs)
            except BaseException as error:
                if not tries.failed(error):
                    raise
            await policy.asleep(tries.next())
    finally:
        tries.over()
        if token is not None:
            timeout.reset(token)


async def _abegun(
    policy: Policy, fn: Callable[..., AsyncGenerator[Any, Any]], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> AsyncStream:
    life = _Life(policy, await aenter(policy))
    ended: BaseException | None = None
    timer = watch = None
    try:
        if policy.attempt_timeout is not None or timeout.deadline_ns() is not None:
            timer = policy.timers()[1]
            watch = timer.begin(life.begun_ns, timeout.deadline_ns())
        if policy.fault is not None:
            await policy.fault.astrike(policy)
        generator = fn(*args, **kwargs)
        first = await generator.__anext__()
    except StopAsyncIteration:
        if timer is not None:
            timer.end(watch)
        life.over()
        return AsyncStream(None, None, life)
    except BaseException as error:
        ended = None if timer is None else timer.end(watch, error)
        life.over(ended or error, overdue=ended is not None and not isinstance(ended, Rejected))
        if ended is None:
            raise
        try:
            raise ended from error
        finally:
            ended = None
    if timer is not None:
        timer.end(watch)
    life.begun()
    return AsyncStream(generator, first, life)
