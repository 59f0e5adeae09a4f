"""A second attempt beside the first when that takes unusually long: the first good answer counts.

"Hedged requests" (J. Dean, L. A. Barroso, "The Tail at Scale", CACM 56/2, 2013): sent after the 95th percentile of the
usual duration they add about 5 % of load and cut the slowest answers. Only for calls that may be made twice, which the
owner says by using it. Each attempt is a call of its own for breaker, rate limit and bulkhead.
"""

from __future__ import annotations

from itertools import count

from roadworthy import _clock
from roadworthy._clock import NS
from roadworthy.resilience import terms
from roadworthy.resilience.arguments import BadArgument, duration, whole
from roadworthy.resilience.rejected import Rejected

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from typing import Any, TypeVar

    from roadworthy.resilience.offload import Job, Threads

    T = TypeVar("T")

_KEPT = 128
_LEAST = 20
_EVERY = 16
_SHORTEST = 0.001
_GRACE = 1.0
_DIGITS = 4
_LEAST_SHARE = 0.5


class Durations:
    """The last 128 durations of an operation, in nanoseconds, noted without a lock, and percentiles of them.

    Under threads a note may be overwritten by another's; it is an estimate, and stays one. The percentile is worked out
    anew every 16 notes.
    """

    __slots__ = ("_kept", "_next", "_noted", "_share", "_value", "_valued_at")

    def __init__(self, share: float) -> None:
        self._share = share
        self._kept = [0] * _KEPT
        self._next = count().__next__
        self._noted = 0
        self._value: int | None = None
        self._valued_at = 0

    def note(self, ns: int) -> None:
        """Keep one duration."""
        number = self._next()
        self._kept[number % _KEPT] = ns
        self._noted = number + 1

    def percentile(self) -> int | None:
        """Return the smallest duration that so many did not exceed, in ns; None before 20 were noted."""
        noted = self._noted
        if noted < _LEAST:
            return None
        if self._value is None or noted - self._valued_at >= _EVERY:
            ordered = sorted(self._kept[: min(noted, _KEPT)])
            self._value = ordered[min(len(ordered) - 1, int(self._share * len(ordered)))]
            self._valued_at = noted
        return self._value


class Hedge:
    """Start another attempt after ``after``, up to ``most`` of them; the first good answer counts.

    ``after``: seconds, or a percentile of the recent successful durations like "p95", which is unknown, so that nothing
    is hedged, before 20 of them were seen; 1 ms at least. One object belongs to one policy, since it learns its
    durations. Raises :class:`~roadworthy.resilience.arguments.BadArgument`.

    - Coroutines: the losing attempts are cancelled and awaited, up to a second each: whoever swallows its cancellation
      for longer is left behind.
    - Plain functions run in the bounded threads of :mod:`~roadworthy.resilience.offload`. A losing attempt cannot be
      cancelled; it runs to its end, in its place. Without a free thread there is no hedge.

    An attempt that fails before the others have started ends the call: trying again is the retry's business. When all
    fail, the exception of the first one is raised, except for a refusal of our own, which only tells that there was no
    room for that attempt.
    """

    __slots__ = ("_delay", "_durations", "_threads", "after", "most", "started")

    def __init__(self, after: float | str = "p95", most: int = 1) -> None:
        self.after = after
        self.most = whole("most", most, most=10)
        share = _share(after)
        self._durations = None if share is None else Durations(share)
        self._delay = duration("after", after) if share is None else None
        self._threads: Threads | None = None
        self.started: Callable[[], object] = count().__next__
        """Called once for each hedge that is started; a policy puts its counter here."""

    def delay(self) -> float | None:
        """Return the seconds after which another attempt starts; None while that is unknown."""
        if self._durations is None:
            return self._delay
        ns = self._durations.percentile()
        return None if ns is None else max(_SHORTEST, ns / NS)

    def note(self, ns: int) -> None:
        """Note how long a good answer took."""
        if self._durations is not None:
            self._durations.note(ns)

    async def run(self, start: Callable[[], Awaitable[T]]) -> T:
        """Return what the first good attempt returns; ``start`` begins one. A cancellation ends all of them."""
        delay = self.delay()
        if delay is None or not terms.repeatable():
            return await self._timed(start)
        import asyncio

        attempts: list[asyncio.Future[T]] = [asyncio.ensure_future(self._timed(start))]
        won: asyncio.Future[T] | None = None
        try:
            won = await self._first(attempts, start, delay)
            return won.result()
        finally:
            await _end(attempts, won)
            attempts.clear()  # they hold exceptions, whose tracebacks hold this frame
            won = None

    async def _first(
        self, attempts: list[asyncio.Future[T]], start: Callable[[], Awaitable[T]], delay: float
    ) -> asyncio.Future[T]:
        """Return the first good attempt; start what is missing, and wait until the last one has failed."""
        import asyncio

        running = set(attempts)
        done: set[asyncio.Future[T]] = set()
        try:
            while running:
                more = len(attempts) <= self.most
                done, running = await asyncio.wait(
                    running, timeout=delay if more else None, return_when=asyncio.FIRST_COMPLETED
                )
                for number in range(len(attempts)):
                    if attempts[number] in done and _good(attempts[number]):
                        return attempts[number]
                if more and not done:
                    self.started()
                    attempts.append(asyncio.ensure_future(self._timed(start)))
                    running.add(attempts[-1])
            raise _telling([asyncio.CancelledError() if one.cancelled() else one.exception() for one in attempts])
        finally:
            done.clear()  # as above
            running.clear()

    def call(self, start: Callable[[], T]) -> T:
        """Return what the first good attempt returns, for plain functions; ``start`` makes one."""
        delay = self.delay()
        if delay is None or not terms.repeatable():
            return self._timed_call(start)
        from roadworthy.resilience.offload import threads

        race = _Race(threads(), lambda: self._timed_call(start))
        if not race.start():
            return self._timed_call(start)
        try:
            while True:
                more = len(race.jobs) <= self.most and not race.full
                ended = race.next(delay if more else None)
                if ended is None:
                    if race.start():
                        self.started()
                elif ended.error is None:
                    result: T = ended.result
                    return result
                elif race.running == 0:
                    raise _telling([job.error for job in race.jobs])
        finally:
            race.end()
            ended = None

    async def _timed(self, start: Callable[[], Awaitable[T]]) -> T:
        begun = _clock.monotonic_ns()
        result = await start()
        self.note(_clock.monotonic_ns() - begun)
        return result

    def _timed_call(self, start: Callable[[], T]) -> T:
        begun = _clock.monotonic_ns()
        result = start()
        self.note(_clock.monotonic_ns() - begun)
        return result

    def describe(self) -> dict[str, object]:
        """Return what it was made with, and the delay that this comes to now, in seconds."""
        return {"after": self.after, "most": self.most, "delay": self.delay()}

    def __repr__(self) -> str:
        return f"Hedge(after={self.after!r}, most={self.most})"


def _share(after: object) -> float | None:
    """Return 0.95 for "p95"; None for what is no percentile."""
    if not (isinstance(after, str) and after.startswith("p")):
        return None
    digits = after[1:]
    share = float(f"0.{digits}") if digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS else 0.0
    if share < _LEAST_SHARE:
        raise BadArgument("after", after, 'seconds or a percentile from "p50" to "p9999"')
    return share


def _good(attempt: asyncio.Future[Any]) -> bool:
    return not attempt.cancelled() and attempt.exception() is None


def _telling(errors: list[BaseException | None]) -> BaseException:
    """Return the exception that tells most: the first one that came from the other side, else the first."""
    real = [error for error in errors if error is not None]
    return next((error for error in real if not isinstance(error, Rejected)), real[0])


async def _end(attempts: list[asyncio.Future[Any]], won: asyncio.Future[Any] | None) -> None:
    """Cancel what still runs, wait for its end, and hand over results that nobody will get."""
    import asyncio

    running = [one for one in attempts if not one.done()]
    for one in running:
        one.cancel()
    if running:
        await asyncio.wait(running, timeout=_GRACE)
    for one in attempts:
        if not one.done():
            _left_behind.add(one)
            one.add_done_callback(_collect)
        elif one is not won and _good(one):
            terms.dropped(one.result())


_left_behind: set[asyncio.Future[Any]] = set()


def _collect(attempt: asyncio.Future[Any]) -> None:
    _left_behind.discard(attempt)
    if _good(attempt):
        terms.dropped(attempt.result())


class _Race:
    """Attempts of one call in threads: which have ended, and what becomes of those that lost."""

    __slots__ = ("_attempt", "_ended", "_over", "_pool", "_terms", "full", "jobs", "running")

    def __init__(self, pool: Threads, attempt: Callable[[], Any]) -> None:
        from queue import SimpleQueue

        self._pool = pool
        self._attempt = attempt
        self._ended: SimpleQueue[Job] = SimpleQueue()
        self._over = False
        self._terms = terms.current()
        self.full = False
        self.jobs: list[Job] = []
        self.running = 0

    def start(self) -> bool:
        """Start an attempt; False when no thread is free."""
        try:
            self.jobs.append(self._pool.start(self._attempt, self._then))
        except (Rejected, RuntimeError):
            self.full = True
            return False
        self.running += 1
        return True

    def next(self, seconds: float | None) -> Job | None:
        """Return the attempt that has ended next; None when none did in so many seconds."""
        from queue import Empty

        try:
            job = self._ended.get(timeout=seconds)
        except Empty:
            return None
        self.running -= 1
        return job

    def end(self) -> None:
        """Leave the attempts that still run to themselves."""
        self._over = True
        self._drop()
        for job in self.jobs:
            job.forget()
        self.jobs.clear()

    def _then(self, job: Job) -> None:
        self._ended.put(job)
        if self._over:
            self._drop()

    def _drop(self) -> None:
        """Hand over what nobody will get."""
        from queue import Empty

        while True:
            try:
                job = self._ended.get_nowait()
            except Empty:
                return
            if job.error is None and self._terms is not None and self._terms.dropped is not None:
                self._terms.dropped(job.result)
