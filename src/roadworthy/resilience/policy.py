"""A policy: everything that stands between a program and something that may fail, under one name.

From the outside to the inside a call passes: fallback, deadline, retry with its budget, breaker, rate limit, bulkhead,
hedge, attempt timeout. Each hedge takes its own permits. Another order is made of several policies by
:func:`roadworthy.resilience.chain.chain`.
"""

# ruff: noqa: ANN401 - what is wrapped is the program's own, of whatever type it is

from __future__ import annotations

from roadworthy import _clock

# All that a call needs comes with the policy: a signal handler or a finalizer that uses one must never come upon, or
# begin, an import (tests/unit/resilience/test_policy.py).
from roadworthy.resilience import arun, hook, run, signature, states, timeout
from roadworthy.resilience.arguments import BadArgument, duration
from roadworthy.resilience.block import Attempts, Guard
from roadworthy.resilience.circuit import Breaker, Era
from roadworthy.resilience.outcome import FAILURE, NAMES, NEUTRAL, SLOW, SUCCESS
from roadworthy.resilience.rejected import Rejected
from roadworthy.resilience.wrap import wrapped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, ParamSpec, TypeVar, overload

    from roadworthy.resilience.breaker import CircuitBreaker
    from roadworthy.resilience.bulkhead import Bulkhead
    from roadworthy.resilience.fallback import Fallback
    from roadworthy.resilience.hedge import Hedge
    from roadworthy.resilience.hook import Hook
    from roadworthy.resilience.inject import Injection
    from roadworthy.resilience.rate_limit import RateLimiter
    from roadworthy.resilience.retry import Retry
    from roadworthy.resilience.timeout import AdjustingTimeout
    from roadworthy.resilience.timer import Timer

    P = ParamSpec("P")
    R = TypeVar("R")
    C = TypeVar("C", staticmethod[..., Any], classmethod[Any, ..., Any])
else:

    def overload(function: object) -> object:
        """Stand in for the one in ``typing``, which costs a start milliseconds."""
        return function


NEVER_NS = 1 << 63
MOST_NAME = 100


class Policy:
    """Keep calls alive: ``db = Policy("db", retry=Retry(3, on=ConnectionError), breaker=CircuitBreaker())``.

    Use it as a decorator (``@db`` on functions, methods, coroutine functions, generators, async generators, partials
    and callable objects), as ``db.call(fn, …)`` and ``await db.acall(fn, …)``, as a block (``with db.guard():``,
    ``async with``) or as a loop (``for attempt in db: with attempt: …``, ``async for``). Each part may be left out.

    - ``deadline``: seconds for the whole call with all its attempts, ``attempt_timeout``: for each. They interrupt
      coroutines. Plain functions cannot be interrupted: they are told what is left (``deadline_remaining()``), and one
      that took longer than its ``attempt_timeout`` counts as failed though its result is returned.
    - ``retry``, ``breaker``, ``rate_limit``, ``bulkhead``, ``hedge``, ``fallback``: see there.

    It is shown under its ``name``, which also is what the processes of a host know a breaker of scope "host" by. What a
    call raises is the last real error of the other side, or a refusal
    (:class:`~roadworthy.resilience.rejected.Rejected`) when it was not asked at all. Raises
    :class:`~roadworthy.resilience.arguments.BadArgument` for impossible settings.
    """

    __slots__ = (
        "__weakref__",
        "adjusting",
        "attempt_timeout",
        "attempt_timer",
        "breaker",
        "bulkhead",
        "deadline",
        "deadline_timer",
        "fail_ns",
        "failure_if",
        "fallback",
        "fault",
        "gate",
        "hedge",
        "late",
        "meter",
        "name",
        "rate_limit",
        "retry",
        "slow_ns",
    )

    def __init__(  # noqa: PLR0913 - a policy is its parts, each by its name
        self,
        name: str,
        *,
        deadline: float | str | None = None,
        attempt_timeout: float | str | AdjustingTimeout | None = None,
        retry: Retry | None = None,
        breaker: CircuitBreaker | None = None,
        rate_limit: RateLimiter | None = None,
        bulkhead: Bulkhead | None = None,
        hedge: Hedge | None = None,
        fallback: Fallback | None = None,
    ) -> None:
        self.name = _name(name)
        self.deadline = None if deadline is None else duration("deadline", deadline)
        self.attempt_timeout = _attempt_timeout(attempt_timeout)
        self.adjusting = self.attempt_timeout if isinstance(self.attempt_timeout, timeout.AdjustingTimeout) else None
        self.retry = _part("retry", retry, "Retry")
        _part("breaker", breaker, "CircuitBreaker")
        self.rate_limit = _part("rate_limit", rate_limit, "RateLimiter")
        self.bulkhead = _part("bulkhead", bulkhead, "Bulkhead")
        self.hedge = _part("hedge", hedge, "Hedge")
        self.fallback = _part("fallback", fallback, "Fallback")
        self.meter = hook.Meter(self.name)
        self.breaker = None if breaker is None else Breaker(breaker, self.meter)
        self.gate: Breaker | Gate = self.breaker or Gate()
        self.failure_if = None if breaker is None else breaker.failure_if
        self.slow_ns = NEVER_NS if breaker is None or breaker.slow_after is None else int(breaker.slow_after * 1e9)
        self.fail_ns = NEVER_NS if breaker is None or breaker.fail_after is None else int(breaker.fail_after * 1e9)
        self.late = SLOW
        self.deadline_timer: Timer | None = None
        self.attempt_timer: Timer | None = None
        self.fault: Any = None
        if self.hedge is not None:
            self.hedge.started = self._hedged
        hook.made(self)

    # -- ways to use it

    @overload
    def __call__(self, function: C, /) -> C: ...  # noqa: D102 - see below
    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]: ...  # noqa: D102, F811 - an overload
    def __call__(self, function: Any, /) -> Any:  # noqa: F811 - as above
        """Return a function that goes through this policy, with the same signature and of the same kind.

        Raises :class:`~roadworthy.resilience.arguments.BadArgument` for what cannot be called.
        """
        if not callable(function) and not isinstance(function, staticmethod | classmethod):
            raise BadArgument("function", function, "something that can be called")
        return wrapped(self, function)

    def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a plain function through this policy and return its result; a coroutine function needs :meth:`acall`."""
        code = getattr(function, "__code__", None)
        if (signature.flags_behind(function) if code is None else code.co_flags) & signature.COROUTINE:
            raise BadArgument("function", function, "a plain function here: use acall for a coroutine function")
        result: R = run.call(self, function, args, kwargs)
        return result

    async def acall(self, function: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Await a coroutine function through this policy and return its result."""
        result: R = await arun.call(self, function, args, kwargs)
        return result

    def guard(self) -> Guard:
        """Return a block that is one attempt: no retry, hedge or fallback. Use ``with``, or ``async with``."""
        return Guard(self)

    def __iter__(self) -> Attempts:
        """Return the attempts of one piece of work: ``for attempt in policy: with attempt: …``."""
        return Attempts(self)

    def __aiter__(self) -> Attempts:
        """Return the attempts of one piece of work: ``async for attempt in policy: async with attempt: …``."""
        return self.__iter__()

    def inject(
        self,
        fail: float = 0.0,
        delay: float | str = 0.0,
        *,
        error: Callable[[], BaseException] | None = None,
        seed: int | None = None,
    ) -> Injection:
        """Return a block in which that share of calls fails, and each takes ``delay`` seconds longer.

        For tests and drills; see :class:`~roadworthy.resilience.inject.Injection`. Raises
        :class:`~roadworthy.resilience.arguments.BadArgument`.
        """
        from roadworthy.resilience.inject import Injected, Injection

        return Injection(self, fail, delay, Injected if error is None else error, seed)

    # -- what is known of it

    def snapshot(self) -> dict[str, object]:
        """Return how it stands: calls by outcome in this process, the breaker, the budget."""
        counts = list(self.meter.counts)
        counts[SUCCESS] = self.meter.successes()
        budget = None if self.retry is None else self.retry.budget
        return {
            "name": self.name,
            "calls": dict(zip(NAMES, counts, strict=True)),
            "breaker": None if self.breaker is None else self.breaker.snapshot(),
            "budget_left": None if budget is None else budget.left(_clock.monotonic_ns()),
            "attempt_timeout": self.attempt_seconds,
        }

    def describe(self) -> dict[str, object]:
        """Return its settings as plain values, None for parts that it has not; the breaker's with its state."""
        breaker = self.breaker
        limit = self.attempt_timeout
        return {
            "name": self.name,
            "fallback": None if self.fallback is None else self.fallback.describe(),
            "deadline": self.deadline,
            "retry": None if self.retry is None else self.retry.describe(),
            "breaker": None
            if breaker is None
            else {**breaker.settings.describe(), "state": breaker.state, "shared": breaker.shared},
            "rate_limit": None if self.rate_limit is None else self.rate_limit.describe(),
            "bulkhead": None if self.bulkhead is None else self.bulkhead.describe(),
            "hedge": None if self.hedge is None else self.hedge.describe(),
            "attempt_timeout": limit if limit is None or isinstance(limit, float) else limit.describe(),
        }

    def __repr__(self) -> str:
        parts = [key for key, value in self.describe().items() if key != "name" and value is not None]
        return f"Policy({self.name!r}{''.join(f', {part}=…' for part in parts)})"

    @property
    def attempt_seconds(self) -> float | None:
        """Seconds that an attempt may take now."""
        limit = self.attempt_timeout
        return limit if limit is None or isinstance(limit, float) else limit.seconds

    @property
    def is_fixed_timeout(self) -> bool:
        """Whether each attempt has the same time."""
        return isinstance(self.attempt_timeout, float)

    @property
    def is_timed(self) -> bool:
        """Whether a good call may have taken too long."""
        return min(self.slow_ns, self.fail_ns) < NEVER_NS

    # -- for the modules that make the calls

    def judge(self, error: BaseException) -> int:
        """Return what an exception is: FAILURE or NEUTRAL."""
        if self.breaker is not None:
            try:
                return self.breaker.settings.judge(error)
            except Exception as broken:  # a predicate of the program's that fails says nothing about the other side
                if hook.failed(f"policy {self.name}: failure_on", broken):
                    raise
                return NEUTRAL
        return FAILURE if isinstance(error, Exception) and not isinstance(error, Rejected) else NEUTRAL

    def pause(self, number: int, error: BaseException, result: object, begun_ns: int) -> float | None:
        """Return the seconds to wait before another attempt; None: the outcome stands."""
        retry = self.retry
        if retry is None or not isinstance(error, Exception):
            return None
        return self._pause(retry, number, error, result, begun_ns)

    def result_pause(self, number: int, result: object, begun_ns: int) -> float | None:
        """Return the seconds to wait before another attempt because of what this one returned; None: it stands."""
        retry = self.retry
        if retry is None:
            return None
        if retry.on_result is not None:
            pause = self._pause(retry, number, None, result, begun_ns)
            if pause is not None:
                return pause
        if number == 1 and retry.budget is not None:
            retry.budget.earned()
        return None

    def sleep(self, seconds: float) -> None:
        """Wait, in a plain function."""
        if seconds > 0:
            _clock.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        """Wait, in a coroutine."""
        import asyncio

        await asyncio.sleep(seconds)

    def timers(self) -> tuple[Timer, Timer]:
        """Return what interrupts coroutines: for the deadline, and for an attempt."""
        deadline, attempt = self.deadline_timer, self.attempt_timer
        if deadline is None or attempt is None:
            from roadworthy.resilience.timer import Timer

            deadline = self.deadline_timer = Timer(self.deadline, self.name, is_deadline=True)
            attempt = self.attempt_timer = Timer(self.attempt_timeout, self.name)
        return deadline, attempt

    def attach(self, listener: Hook | None) -> None:
        """Report to ``listener`` from now on, and share what is to be shared."""
        self.meter.attach(listener)
        if listener is None:
            return
        if self.breaker is not None:
            self.breaker.attach()
        limit = self.rate_limit
        if limit is not None and limit.scope == "host":
            store = hook.shared_store()
            word = None if store is None else hook.told("word", store.word, f"limit:{self.name}")
            if word is not None:
                limit.bind(word)

    def _pause(
        self, retry: Retry, number: int, error: BaseException | None, result: object, begun_ns: int
    ) -> float | None:
        now_ns = _clock.monotonic_ns()
        try:
            pause = retry.pause(number, error, result, begun_ns, now_ns, timeout.deadline_ns())
            if pause is None and retry.budget is not None and number < retry.attempts and retry.covers(error, result):
                left = retry.budget.left(now_ns)
                if left is not None and left < 1:
                    self.meter.add("retries.denied")
            return pause
        except Exception as broken:  # a predicate of the program's that fails: the outcome stands as it is
            if hook.failed(f"policy {self.name}: retry", broken):
                raise
            return None

    def _hedged(self) -> None:
        self.meter.add("hedges")


class Gate:
    """What a policy without a breaker has in its place: everything may pass, unless somebody holds it."""

    __slots__ = ("_era", "era", "held")

    def __init__(self) -> None:
        self._era = Era(None, states.CLOSED, 0)
        self.era: Era | None = self._era
        self.held = 0

    def admit(self, now_ns: int) -> Era:  # noqa: ARG002 - as the breaker's
        """Return what a call settles."""
        return self._era

    def hold(self, by: int) -> None:
        """Send every call the long way round (+1) until it is taken back (-1)."""
        self.held += by
        self.era = None if self.held else self._era


def _name(value: object) -> str:
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= MOST_NAME
        or not value.isprintable()
        or value != value.strip()
    ):
        raise BadArgument("name", value, f"a text of 1 to {MOST_NAME} printable characters")
    return value


def _attempt_timeout(value: Any) -> float | AdjustingTimeout | None:
    if value is None or isinstance(value, timeout.AdjustingTimeout):
        return value
    return duration("attempt_timeout", value)


def _part(field: str, value: Any, wanted: str) -> Any:
    """Return a part if it is one, known by its class's name: a policy does not import parts that it does not have."""
    if value is None or any(one.__name__ == wanted for one in type(value).__mro__):
        return value
    raise BadArgument(field, value, f"a {wanted} or None")
