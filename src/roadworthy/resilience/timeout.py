"""How long a call may take: the deadline of a piece of work, which travels with it, and the timeout of one attempt.

A deadline is a point in time, kept in a context variable: everything called from within sees it, in this thread and in
the tasks made from here; the earlier of two nested ones wins. It becomes a header to pass on to the next service.

Coroutines are interrupted when their time is up, as by :func:`asyncio.timeout`: the task is cancelled, and that
cancellation, and only that one, becomes an exception; a cancellation from outside always passes. Plain functions
cannot be interrupted: for them a deadline refuses calls that would start too late and shortens the timeouts of
clients that look at :func:`deadline_remaining`. Whoever must not wait for one uses
:func:`roadworthy.resilience.offload.run_in_thread`.
"""

from __future__ import annotations

from contextvars import ContextVar

from roadworthy import _clock
from roadworthy._clock import NS
from roadworthy.resilience.arguments import BadArgument, duration, number, whole
from roadworthy.resilience.rejected import DeadlineExceeded

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from contextvars import Token
    from types import TracebackType
    from typing import Self

HEADER = "X-Request-Deadline-Ms"
"""Milliseconds that were left when the request was sent. A duration, not a time: clocks of two hosts differ."""

_MOST_MS = 365 * 86_400_000

_deadline: ContextVar[int | None] = ContextVar("roadworthy_deadline", default=None)

in_use: list[bool] = []
"""Empty until the first deadline of this process: so long a call need not look for one."""

deadline_ns = _deadline.get
"""Return the monotonic ns of the deadline of the work under way, or None."""


def deadline_remaining() -> float | None:
    """Return the seconds left of the deadline of the work under way, never below 0; None without a deadline."""
    at = _deadline.get()
    return None if at is None else max(0, at - _clock.monotonic_ns()) / NS


def deadline_header() -> str | None:
    """Return the value of :data:`HEADER` for a request that is sent now; None without a deadline."""
    left = deadline_remaining()
    return None if left is None else str(int(left * 1000))


def deadline_from_header(value: str | None) -> float | None:
    """Return the seconds that a request says are left, for ``with deadline(...)``; None when it says nothing clear."""
    if value is None:
        return None
    text = value.strip()
    # Longer than any real one is as wrong as no number; it must not become a number of 4 000 digits either.
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_MOST_MS))):
        return None
    milliseconds = int(text)
    return milliseconds / 1000 if milliseconds <= _MOST_MS else None


def spent(policy: str = "") -> DeadlineExceeded:
    """Return the refusal for a call that has no time left."""
    return DeadlineExceeded("no time is left for this call", policy=policy, why="the deadline is over")


class deadline:  # noqa: N801 - used as a statement: `with deadline(2):`
    """Give everything in this block ``seconds`` from now, or what is left of an earlier deadline: the sooner counts.

    ``with`` lets policies and transports in the block know of it. ``async with`` also interrupts the block when the
    time is up and raises :class:`~roadworthy.resilience.rejected.DeadlineExceeded`, which is a ``TimeoutError``. A
    cancellation from outside passes unchanged. May be used again after it was left, not within itself. Seconds of 0
    refuse every call. Raises :class:`~roadworthy.resilience.arguments.BadArgument`.
    """

    __slots__ = ("_timeout", "_token", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = number("seconds", seconds)
        self._token: Token[int | None] | None = None
        self._timeout: asyncio.Timeout | None = None

    def __enter__(self) -> Self:
        self._token = set_until(_clock.monotonic_ns() + int(self.seconds * NS))
        return self

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _deadline.reset(self._token)
            self._token = None

    async def __aenter__(self) -> Self:
        from asyncio import timeout

        self.__enter__()
        try:
            made = timeout(deadline_remaining())
            await made.__aenter__()
        except BaseException:  # no loop or no task is there: nothing was begun
            self.__exit__()
            raise
        self._timeout = made
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        made, self._timeout = self._timeout, None
        self.__exit__()
        if made is None:
            return
        try:
            await made.__aexit__(kind, error, traceback)
        except TimeoutError as ended:
            raise spent() from ended.__cause__


def set_until(at_ns: int) -> Token[int | None]:
    """Set the deadline for what follows in this context, or keep the sooner one; :func:`reset` takes it back."""
    if not in_use:
        in_use.append(True)
    outer = _deadline.get()
    return _deadline.set(at_ns if outer is None or at_ns < outer else outer)


reset = _deadline.reset
"""Take back what :func:`set_until` did, by its token."""


class AdjustingTimeout:
    """An attempt timeout that follows what the other side needs, within bounds that the owner names (ERR-04).

    The rule: it begins at ``floor``. After an attempt that ended by it, it is ``factor`` times as long, at most
    ``ceiling``. After ``calm`` answers in a row that a shorter one would have waited for as well, it is shorter by
    ``factor``, at least ``floor``. All in seconds. Raises :class:`~roadworthy.resilience.arguments.BadArgument`.
    """

    __slots__ = ("_calm_now", "_shorter_ns", "calm", "ceiling", "factor", "floor", "seconds")

    def __init__(self, floor: float, ceiling: float, factor: float = 2.0, *, calm: int = 20) -> None:
        self.floor = duration("floor", floor)
        self.ceiling = duration("ceiling", ceiling)
        if self.ceiling < self.floor:
            raise BadArgument("ceiling", ceiling, f"at least the floor, {floor!r}")
        self.factor = number("factor", factor, least=1.0, most=1_000.0, above=True)
        self.calm = whole("calm", calm)
        self.seconds = self.floor
        """How long an attempt that begins now may take."""
        self._calm_now = 0
        self._shorter_ns = 0
        self._set(self.floor)

    def timed_out(self) -> None:
        """Note that an attempt ended because its time was up."""
        self._set(min(self.ceiling, self.seconds * self.factor))

    def answered(self, took_ns: int) -> None:
        """Note an answer, good or bad, that came within the time."""
        if self.seconds == self.floor:
            return
        self._calm_now = self._calm_now + 1 if took_ns <= self._shorter_ns else 0
        if self._calm_now >= self.calm:
            self._set(max(self.floor, self.seconds / self.factor))

    def _set(self, seconds: float) -> None:
        self.seconds = seconds
        self._calm_now = 0
        self._shorter_ns = int(max(self.floor, seconds / self.factor) * NS)

    def describe(self) -> dict[str, object]:
        """Return what it was made with, and what it has come to."""
        return {
            "floor": self.floor,
            "ceiling": self.ceiling,
            "factor": self.factor,
            "calm": self.calm,
            "seconds": self.seconds,
        }

    def __repr__(self) -> str:
        return f"AdjustingTimeout({self.floor:g}, {self.ceiling:g}, {self.factor:g}, calm={self.calm})"
