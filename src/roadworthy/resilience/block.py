"""A policy around a block instead of a function: ``with policy.guard():``, or repeated, ``for attempt in policy:``."""

from __future__ import annotations

from roadworthy import _clock
from roadworthy._clock import NS
from roadworthy.resilience import timeout
from roadworthy.resilience.attempt import aenter, check_deadline, cut, enter, settle
from roadworthy.resilience.rejected import Rejected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType
    from typing import Any, Self

    from roadworthy.resilience.attempt import Ticket
    from roadworthy.resilience.policy import Policy


class Guard:
    """One attempt as a block, sync or async; used once. What the block raises passes, counted.

    Retry, hedge and fallback have no part in it: a block cannot be run again, and has no result.
    """

    __slots__ = ("_begun_ns", "_policy", "_ticket", "_timer", "_token", "_watch")

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._ticket: Ticket | None = None
        self._begun_ns = 0
        self._token: Token[int | None] | None = None
        self._timer: Any = None
        self._watch: Any = None

    def __enter__(self) -> Self:
        check_deadline(self._policy)
        self._begin(enter(self._policy))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if error is None and self._policy.fault is not None:
            try:
                self._policy.fault.strike(self._policy)
            except BaseException as struck:
                self._struck(struck, cut(self._policy, struck, self._begun_ns))
                raise
        self._reset()
        self._end(error, None if error is None else cut(self._policy, error, self._begun_ns))
        return None

    async def __aenter__(self) -> Self:
        policy = self._policy
        check_deadline(policy)
        ticket = await aenter(policy)
        try:
            seconds, is_deadline = self._limit()
            if seconds is not None:
                self._timer = policy.timers()[0 if is_deadline else 1]
                self._watch = self._timer.begin(_clock.monotonic_ns(), timeout.deadline_ns())
        except BaseException as error:
            settle(policy, ticket, _clock.monotonic_ns(), error)
            raise
        self._begin(ticket)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if error is None and self._policy.fault is not None:
            try:
                await self._policy.fault.astrike(self._policy)
            except BaseException as struck:
                self._struck(struck, None if self._timer is None else self._timer.end(self._watch, struck))
                raise
        self._reset()
        self._end(error, None if self._timer is None else self._timer.end(self._watch, error))
        return None

    def _struck(self, error: BaseException, ended: TimeoutError | None) -> None:
        """End with a fault on purpose: the work of the block is done, and its outcome is lost."""
        self._reset()
        self._end(error, ended)

    def _limit(self) -> tuple[float | None, bool]:
        """Return the seconds that the block has, and whether they are the deadline's."""
        deadline, limit = self._policy.deadline, self._policy.attempt_seconds
        if limit is None or (deadline is not None and deadline <= limit):
            return deadline, True
        return limit, False

    def _begin(self, ticket: Ticket) -> None:
        self._ticket = ticket
        self._begun_ns = _clock.monotonic_ns()
        seconds, _ = self._limit()
        if seconds is not None:
            self._token = timeout.set_until(self._begun_ns + int(seconds * NS))

    def _reset(self) -> None:
        token, self._token = self._token, None
        if token is not None:
            timeout.reset(token)

    def _end(self, error: BaseException | None, ended: TimeoutError | None) -> None:
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            limit = self._policy.attempt_seconds
            late = limit is not None and _clock.monotonic_ns() - self._begun_ns >= limit * NS
            overdue = (error is None and late) or (ended is not None and not isinstance(ended, Rejected))
            settle(self._policy, ticket, self._begun_ns, ended or error, overdue=overdue)
        if ended is not None:
            try:
                raise ended from error
            finally:
                del ended, error


class Attempt(Guard):
    """One attempt of a loop: ``with attempt:`` or ``async with attempt:``. ``number`` counts from 1."""

    __slots__ = ("_loop", "_outer", "number")

    def __init__(self, policy: Policy, loop: Attempts, number: int) -> None:
        super().__init__(policy)
        self._loop = loop
        self._outer: Token[int | None] | None = None
        self.number = number

    def __enter__(self) -> Self:
        self._hold()
        try:
            return super().__enter__()
        except BaseException as error:
            last = self._not_begun(error)
            if last is None:
                raise
        try:
            raise last
        finally:
            last = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            super().__exit__(kind, error, trace)
            return self._loop.ended(self.number, error)
        except Exception as ended:
            if self._loop.ended(self.number, ended):
                return True
            raise
        finally:
            self._let_go()

    async def __aenter__(self) -> Self:
        self._hold()
        try:
            return await super().__aenter__()
        except BaseException as error:
            last = self._not_begun(error)
            if last is None:
                raise
        try:
            raise last
        finally:
            last = None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            await super().__aexit__(kind, error, trace)
            return self._loop.ended(self.number, error)
        except Exception as ended:
            if self._loop.ended(self.number, ended):
                return True
            raise
        finally:
            self._let_go()

    def _hold(self) -> None:
        """Have the deadline of the whole loop count from here to the decision about another attempt."""
        if self._loop.until_ns is not None:
            self._outer = timeout.set_until(self._loop.until_ns)

    def _let_go(self) -> None:
        token, self._outer = self._outer, None
        if token is not None:
            timeout.reset(token)

    def _not_begun(self, error: BaseException) -> Exception | None:
        """Return what to raise instead: the last error of the other side, when it was not asked again."""
        self._let_go()
        return self._loop.refused() if isinstance(error, Rejected) else None


class Attempts:
    """The attempts of one loop, ``for attempt in policy: with attempt: …`` (or ``async for``), until one is good.

    The last real error comes out of the loop when no other attempt may follow. Pauses lie between the rounds. The
    policy's deadline holds from the first round on; hedge and fallback have no part in it.
    """

    __slots__ = ("_begun_ns", "_last", "_number", "_pause", "_policy", "until_ns")

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._number = 0
        self._begun_ns = 0
        self._pause: float | None = 0.0
        self._last: Exception | None = None
        self.until_ns: int | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Attempt:
        pause = self._due()
        if pause is None:
            raise StopIteration
        if pause > 0:
            self._policy.sleep(pause)
        return self._next()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Attempt:
        pause = self._due()
        if pause is None:
            raise StopAsyncIteration
        if pause > 0:
            await self._policy.asleep(pause)
        return self._next()

    def ended(self, number: int, error: BaseException | None) -> bool:
        """Take in how a block ended; True when another attempt follows instead of its error."""
        self._pause = self._last = None
        if isinstance(error, Exception) and number == self._number:
            self._pause = self._policy.pause(number, error, None, self._begun_ns)
            if self._pause is not None:
                self._last = error
        return self._pause is not None

    def refused(self) -> Exception | None:
        """Return the last error of the other side, if there was one: no attempt follows one that could not begin."""
        last, self._last, self._pause = self._last, None, None
        return last

    def _due(self) -> float | None:
        pause, self._pause = self._pause, None  # a round whose attempt is not entered is the last
        return pause

    def _next(self) -> Attempt:
        self._number += 1
        if self._number == 1:
            self._begun_ns = _clock.monotonic_ns()
            if self._policy.deadline is not None:
                self.until_ns = self._begun_ns + int(self._policy.deadline * NS)
        else:
            self._policy.meter.add("retries")
        return Attempt(self._policy, self, self._number)
