"""Single flight: of callers that want the same key at once, the first computes and the others wait for what it gets.

An exception of the first passes to all who waited. What ends only the first one's wait (its task is cancelled, its
thread gets KeyboardInterrupt) does not: one of the others computes instead. A computation that asks for its own key
computes it, since waiting for itself would be for ever; so does a signal handler that interrupts one. Coroutines wait
per event loop, threads wait per process.
"""

# ruff: noqa: ANN401 - what is computed is the program's own, of whatever type it is

from __future__ import annotations

from _thread import allocate_lock, get_ident
from contextvars import ContextVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from typing import Any

_mine: ContextVar[tuple[object, ...]] = ContextVar("roadworthy_flights", default=())
"""The flights that this context is computing."""


class _Flight:
    """One computation and who waits for it; ``dropped`` says that its result is out of date already."""

    __slots__ = ("dropped", "error", "over", "thread", "trace", "value", "waiters", "waiting")

    def __init__(self) -> None:
        self.dropped = False
        self.over = False
        self.value: Any = None
        self.error: Exception | None = None
        self.trace: TracebackType | None = None
        self.thread = get_ident()
        self.waiters = 0
        self.waiting: Any = None

    def ended(self, error: BaseException | None) -> None:
        """Note how it ended; ``over`` stays false where another caller must compute instead.

        An exception that nobody waits for is not kept: it refers to the frames that refer to it.
        """
        if error is None:
            self.over = True
        elif self.waiters and isinstance(error, Exception):
            self.error, self.trace = error, error.__traceback__
            self.over = True

    def result(self) -> Any:
        """Return, or raise, what the one who computed got."""
        if self.error is not None:
            raise self.error.with_traceback(self.trace)
        return self.value


class Flights:
    """The computations of one cache."""

    def __init__(self) -> None:
        self._flights: dict[object, _Flight] = {}
        self.ended: object = None
        """Another object each time that a computation has ended, and what it got is kept."""

    def drop(self, key: str) -> None:
        """Have what is being computed for ``key`` handed to who waits for it, and not kept."""
        for found in [one for one in tuple(self._flights) if one == key or (type(one) is tuple and one[0] == key)]:
            self._drop(found)

    def drop_all(self) -> None:
        """Have nothing kept that is being computed now."""
        for found in tuple(self._flights):
            self._drop(found)

    def _drop(self, found: object) -> None:
        flight = self._flights.pop(found, None)
        if flight is not None:
            flight.dropped = True

    def once(self, key: str, compute: Callable[[], Any], keep: Callable[[Any], None]) -> Any:
        """Return what ``compute`` gives, once for all threads that ask for ``key`` now; ``keep`` gets it first."""
        while True:
            flight = _Flight()
            flight.waiting = allocate_lock()
            flight.waiting.acquire()
            first = self._flights.setdefault(key, flight)
            if first is flight:
                return self._compute(key, flight, compute, keep)
            if first.thread == get_ident():
                return compute()
            first.waiters += 1
            with first.waiting:  # free when it is over
                pass
            if first.over:
                return first.result()

    def _compute(self, key: str, flight: _Flight, compute: Callable[[], Any], keep: Callable[[Any], None]) -> Any:
        try:
            value = flight.value = compute()
            if not flight.dropped:
                keep(value)
            flight.ended(None)
            return value
        except BaseException as error:
            flight.ended(error)
            raise
        finally:
            self._leave(key, flight)
            flight.waiting.release()

    async def aonce(
        self, key: str, compute: Callable[[], Awaitable[Any]], keep: Callable[[Any], Awaitable[None]]
    ) -> Any:
        """Return what ``compute`` gives, once for all tasks of this event loop that ask for ``key`` now."""
        import asyncio

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # an event loop of another library: each caller computes
            value = await compute()
            await keep(value)
            return value
        place = (key, id(loop))
        while True:
            flight = _Flight()
            flight.waiting = loop.create_future()
            first = self._flights.setdefault(place, flight)
            if first is flight:
                return await self._acompute(place, flight, compute, keep)
            if first in _mine.get():
                return await compute()
            first.waiters += 1
            await asyncio.shield(first.waiting)  # one who gives up must not end the wait of the others
            if first.over:
                return first.result()

    async def _acompute(
        self,
        place: object,
        flight: _Flight,
        compute: Callable[[], Awaitable[Any]],
        keep: Callable[[Any], Awaitable[None]],
    ) -> Any:
        token = _mine.set((*_mine.get(), flight))
        try:
            value = flight.value = await compute()
            if not flight.dropped:
                await keep(value)
            flight.ended(None)
            return value
        except BaseException as error:
            flight.ended(error)
            raise
        finally:
            try:
                _mine.reset(token)
            except ValueError:
                pass  # closed in another context, as a coroutine that is collected is
            self._leave(place, flight)
            if not flight.waiting.done():
                flight.waiting.set_result(None)

    def _leave(self, place: object, flight: _Flight) -> None:
        self.ended = object()  # first: who finds no flight any more is to see that there was one
        if self._flights.get(place) is flight:
            self._flights.pop(place, None)
