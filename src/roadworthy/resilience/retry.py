"""When a failed call is made again, and after which pause: a decision of values and ``now``, without state per call.

The pause before attempt n+1 is drawn from 0 to ``min(most, first * 2 ** (n - 1))`` seconds: exponential backoff with
full jitter (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015), which spreads callers that
failed together widest for the least work. "equal" draws from the upper half of that, "none" takes its end.

Never made again: what is no Exception (cancellation, KeyboardInterrupt, SystemExit, GeneratorExit), a refusal of our
own (:class:`~roadworthy.resilience.rejected.Rejected`), an exception that ``on`` does not name, a call whose
:mod:`~roadworthy.resilience.terms` forbid it. Nor when attempts, total time, deadline or budget are used up; or when
the other side asks for a longer pause than there is time.
"""

from __future__ import annotations

from roadworthy._clock import NS
from roadworthy.resilience import terms
from roadworthy.resilience.arguments import BadArgument, choice, duration, function, kinds, number, whole
from roadworthy.resilience.budget import Budget
from roadworthy.resilience.chance import chance
from roadworthy.resilience.rejected import Rejected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from roadworthy.resilience.arguments import Kinds

    Jitter = Literal["full", "equal", "none"]

MOST_ASKED = 60.0
"""Seconds: a server that asks for a longer pause than this gets none of our attempts, unless ``total`` has the room."""

_MOST_DOUBLINGS = 1_000


class Retry:
    """Make a failed call again, up to ``attempts`` times in all.

    - ``on``: exception classes, or a function of the exception. Required: only the caller knows what may be repeated.
    - ``on_result``: a function of a result; true means that it was no answer. What it raises, passes to the caller.
    - ``backoff``: seconds that the first pause may take at most, and that any pause may.
    - ``jitter``: "full", "equal" or "none".
    - ``total``: seconds from the start of the first attempt after which none is started; None: no such limit.
    - ``retry_after``: a function of (exception or None, result) that returns the seconds the other side asks for, or
      None. Default: the ``Retry-After`` of the answer, see :func:`asked`. The pause is never shorter than that.
    - ``budget``: shared by all calls of the policy, and by all policies that are given the same.

    Holds no state of a call: one object serves any number of threads, tasks and policies. Raises
    :class:`~roadworthy.resilience.arguments.BadArgument`.
    """

    __slots__ = (
        "_doublings",
        "_kinds",
        "_predicate",
        "attempts",
        "backoff",
        "budget",
        "jitter",
        "on",
        "on_result",
        "retry_after",
        "total",
    )

    def __init__(
        self,
        attempts: int = 3,
        *,
        on: Kinds | Callable[[Exception], object],
        on_result: Callable[..., object] | None = None,
        backoff: tuple[float, float] = (0.1, 5.0),
        jitter: Jitter = "full",
        total: float | None = None,
        retry_after: Callable[[BaseException | None, object], float | None] | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.attempts = whole("attempts", attempts)
        self.on = on
        self._kinds, self._predicate = _covered(on)
        self.on_result = None if on_result is None else function("on_result", on_result)
        self.backoff = _backoff(backoff)
        self._doublings = _doublings(*self.backoff)
        self.jitter = choice("jitter", jitter, "full", "equal", "none")
        self.total = None if total is None else duration("total", total)
        if retry_after is not None:
            function("retry_after", retry_after)
        self.retry_after = retry_after or asked
        if not (budget is None or isinstance(budget, Budget)):
            raise BadArgument("budget", budget, "a Budget or None")
        self.budget = budget

    def pause(
        self,
        attempt: int,
        error: BaseException | None,
        result: object,
        begun_ns: int,
        now_ns: int,
        deadline_ns: int | None,
    ) -> float | None:
        """Return the seconds to wait before attempt ``attempt + 1``, or None: the outcome stands.

        ``attempt`` counts from 1 and has ended, with ``error`` or, that being None, with ``result``; ``begun_ns`` is
        when the first one began. An answer other than None has taken one from the budget.
        """
        if attempt >= self.attempts or not self.covers(error, result) or not terms.repeatable():
            return None
        wanted = self.retry_after(error, result)
        pause = self.drawn(attempt)
        if wanted is not None and wanted > 0:
            if not wanted <= (MOST_ASKED if self.total is None else self.total):
                return None
            pause += wanted
        next_ns = now_ns + int(pause * NS)
        if deadline_ns is not None and next_ns >= deadline_ns:
            return None
        if self.total is not None and next_ns - begun_ns >= self.total * NS:
            return None
        if self.budget is not None and not self.budget.spend(now_ns):
            return None
        if error is None:
            terms.dropped(result)
        return pause

    def covers(self, error: BaseException | None, result: object = None) -> bool:
        """Return whether this outcome is one that may be tried again at all."""
        if error is None:
            return self.on_result is not None and bool(self.on_result(result))
        if not isinstance(error, Exception) or isinstance(error, Rejected):
            return False
        return isinstance(error, self._kinds) if self._predicate is None else bool(self._predicate(error))

    def most(self, attempt: int) -> float:
        """Return the longest backoff, in seconds, after attempt ``attempt``, without what the other side asks for."""
        first, most = self.backoff
        if not first:  # twice nothing is nothing
            return 0.0
        return most if attempt > self._doublings else min(most, first * 2.0 ** (attempt - 1))

    def drawn(self, attempt: int) -> float:
        """Return a backoff in seconds after attempt ``attempt``, with jitter."""
        most = self.most(attempt)
        if self.jitter == "none" or not most:
            return most
        return most * chance() if self.jitter == "full" else most * (0.5 + chance() / 2)

    def describe(self) -> dict[str, object]:
        """Return what it was made with, as plain values."""
        return {
            "attempts": self.attempts,
            "on": _name(self.on),
            "on_result": None if self.on_result is None else _name(self.on_result),
            "backoff": list(self.backoff),
            "jitter": self.jitter,
            "total": self.total,
            "budget": None if self.budget is None else self.budget.describe(),
        }

    def __repr__(self) -> str:
        return f"Retry({self.attempts}, on={_name(self.on)}, backoff={self.backoff}, jitter={self.jitter!r})"


def asked(error: BaseException | None, result: object) -> float | None:
    """Return the seconds that the answer asks for in its ``Retry-After`` header, or None.

    Looks at the headers of the result, or of the exception or its ``response``, as httpx, requests, aiohttp and
    urllib have them; and at a number ``retry_after`` of the exception. Seconds and HTTP dates are understood (RFC
    9110, 10.2.3).
    """
    holders = (result,) if error is None else (getattr(error, "response", None), error)
    for holder in holders:
        get = getattr(getattr(holder, "headers", None), "get", None)
        value = get("Retry-After") or get("retry-after") if callable(get) else None
        if isinstance(value, str):
            return seconds_of(value)
    said = getattr(error, "retry_after", None)
    return float(said) if isinstance(said, int | float) and 0 <= said < float("inf") else None


def seconds_of(value: str, wall: float | None = None) -> float | None:
    """Return the seconds from ``wall`` (default: now) that a ``Retry-After`` says; None when it cannot be understood.

    A date that is over means 0.
    """
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) <= 9 else float("inf")  # noqa: PLR2004 - more digits than 31 years have seconds
    from datetime import UTC
    from email.utils import parsedate_to_datetime

    try:
        when = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    if wall is None:
        from roadworthy import _clock

        wall = _clock.wall()
    return max(0.0, when.timestamp() - wall)


def _covered(on: object) -> tuple[tuple[type[Exception], ...], Callable[[Exception], object] | None]:
    if isinstance(on, tuple | type):
        covered = kinds("on", on)
        for one in covered:
            if issubclass(one, Rejected):
                raise BadArgument("on", on, "without refusals of our own: they are never tried again")
        return covered, None
    return (), function("on", on)


def _backoff(value: object) -> tuple[float, float]:
    wanted = "two numbers of seconds, (first, most), the second not below the first"
    if not isinstance(value, tuple | list) or len(value) != 2:  # noqa: PLR2004 - a pair
        raise BadArgument("backoff", value, wanted)
    first, most = number("backoff[0]", value[0]), number("backoff[1]", value[1])
    if most < first:
        raise BadArgument("backoff", value, wanted)
    return first, most


def _doublings(first: float, most: float) -> int:
    """Return after how many attempts the backoff no longer grows: no power of two is taken beyond that."""
    count, pause = 1, first
    while pause < most and count < _MOST_DOUBLINGS:
        pause *= 2
        count += 1
    return count


def _name(value: object) -> object:
    if isinstance(value, tuple):
        return [_name(one) for one in value]
    return getattr(value, "__qualname__", None) or repr(value)
