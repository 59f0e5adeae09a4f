"""What a circuit breaker goes by: when it opens and closes, and what counts as a failure.

The live one, that each policy has of its own, is in :mod:`roadworthy.resilience.circuit`.
"""

from __future__ import annotations

from roadworthy._clock import NS
from roadworthy.resilience import states
from roadworthy.resilience.arguments import BadArgument, choice, duration, function, kinds, number, whole
from roadworthy.resilience.outcome import FAILURE, NEUTRAL
from roadworthy.resilience.rejected import Rejected
from roadworthy.resilience.window import CountWindow, TimeWindow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from roadworthy.resilience.arguments import Kinds

SCOPES = ("process", "host")

_MOST_WINDOW = 100_000


class CircuitBreaker:
    """Settings of a circuit breaker; one object may serve any number of policies, each of which has a state of its own.

    - ``window``: judged by the last so many calls (100), or by those of a time ("30s").
    - ``failure_rate``: share of failures, above 0 up to 1, at which it opens; None: not judged by it.
    - ``min_calls``: no rate is judged by fewer calls in the window than this. Default: 20, or the window if smaller.
    - ``consecutive``: opens after so many failures in a row, whatever the rates.
    - ``slow_after``: seconds from which a good call is slow; ``slow_rate``: share of slow calls at which it opens.
    - ``open_for``: seconds that it stays open, (at first, at most): twice as long each time in a row, with jitter. One
      number: always that long.
    - ``probes``: calls at once that may try the other side when that time is over, up to 12; ``successes``: how many
      of them must be good to close it (default: as many as probes). One bad or slow probe opens it again.
    - ``probe_lease``: seconds after which a probe that is not back no longer keeps another from trying.
    - ``failure_on``: exception classes, or a function of the exception, that are failures; others say nothing.
      ``ignore``: exceptions that are none after all. ``failure_if``: a function of a result that makes it a failure.
    - ``scope``: "process", or "host": one state for all processes of this application on this host.

    A rate is judged when a failure or a slow call comes in. Raises
    :class:`~roadworthy.resilience.arguments.BadArgument`.
    """

    fail_after: float | None = None

    def __init__(  # noqa: PLR0913, PLR0917 - every setting stands for itself
        self,
        window: int | str = 100,
        failure_rate: float | None = 0.5,
        min_calls: int | None = None,
        consecutive: int | None = None,
        slow_after: float | None = None,
        slow_rate: float | None = 0.8,
        open_for: float | tuple[float, float] = (5, 60),
        probes: int = 2,
        probe_lease: float = 5,
        successes: int | None = None,
        failure_on: Kinds | Callable[[Exception], object] = Exception,
        failure_if: Callable[[Any], object] | None = None,
        ignore: Kinds | tuple[()] | Callable[[Exception], object] = (),
        scope: str = "process",
    ) -> None:
        timed = isinstance(window, str)
        self.window = window
        span = duration("window", window) if timed else whole("window", window, most=_MOST_WINDOW)
        self._span_ns = int(span * NS) if timed else 0
        self._size = 0 if timed else int(span)
        self.failure_rate = None if failure_rate is None else number("failure_rate", failure_rate, most=1, above=True)
        self.min_calls = _min_calls(min_calls, self._size)
        self.consecutive = None if consecutive is None else whole("consecutive", consecutive, most=states.MOST_TALLY)
        self.slow_after = None if slow_after is None else duration("slow_after", slow_after)
        self.slow_rate = None if slow_rate is None else number("slow_rate", slow_rate, most=1, above=True)
        self.open_for = _open_for(open_for)
        self.probes = whole("probes", probes, most=states.MOST_PROBES)
        self.probe_lease = duration("probe_lease", probe_lease)
        self.successes = self.probes if successes is None else whole("successes", successes, most=1000)
        self.failure_on = failure_on
        self._failures, self._is_failure = _selection("failure_on", failure_on)
        self.failure_if = None if failure_if is None else function("failure_if", failure_if)
        self.ignore = ignore
        self._ignored, self._is_ignored = _selection("ignore", ignore)
        self.scope = choice("scope", scope, *SCOPES)
        if self.failure_rate is None and self.consecutive is None and (self.slow_after is None or slow_rate is None):
            raise BadArgument("failure_rate", failure_rate, "set, or consecutive, or slow_after with slow_rate")

    def judge(self, error: BaseException) -> int:
        """Return what an exception is: FAILURE or NEUTRAL."""
        if not isinstance(error, Exception) or isinstance(error, Rejected):
            return NEUTRAL
        if self._is_ignored(error) if self._is_ignored is not None else isinstance(error, self._ignored):
            return NEUTRAL
        failure = self._is_failure(error) if self._is_failure is not None else isinstance(error, self._failures)
        return FAILURE if failure else NEUTRAL

    def rules(self) -> states.Rules:
        """Return what its transitions go by."""
        return states.Rules(
            failure_rate=self.failure_rate,
            min_calls=self.min_calls,
            consecutive=self.consecutive,
            slow_rate=None if self.slow_after is None else self.slow_rate,
            half_calls=max(1, self._size // 2),
            half_ns=self._span_ns // 2,
            shortest_ns=int(self.open_for[0] * NS),
            longest_ns=int(self.open_for[1] * NS),
            probes=self.probes,
            successes=self.successes,
            lease_ns=int(self.probe_lease * NS),
        )

    def counting(self) -> CountWindow | TimeWindow:
        """Return an empty window."""
        return TimeWindow(self._span_ns) if self._span_ns else CountWindow(self._size)

    def describe(self) -> dict[str, object]:
        """Return the settings as plain values."""
        return {
            "window": self.window,
            "failure_rate": self.failure_rate,
            "min_calls": self.min_calls,
            "consecutive": self.consecutive,
            "slow_after": self.slow_after,
            "slow_rate": None if self.slow_after is None else self.slow_rate,
            "open_for": list(self.open_for),
            "probes": self.probes,
            "probe_lease": self.probe_lease,
            "successes": self.successes,
            "failure_on": shown(self.failure_on),
            "failure_if": None if self.failure_if is None else shown(self.failure_if),
            "ignore": shown(self.ignore),
            "scope": self.scope,
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in self.describe().items())})"


class CircuitBreakerConfig(CircuitBreaker):
    """A breaker by four numbers, as CONFLICTS C-11 reads them.

    ``failure_threshold`` failures in a row open it; it stays open for ``recovery_timeout`` seconds; then one call at a
    time tries, ``success_threshold`` good ones in a row close it, and one bad one opens it again. A call that took
    longer than ``timeout`` seconds counts as failed, whatever it returned. Raises
    :class:`~roadworthy.resilience.arguments.BadArgument`.
    """

    def __init__(
        self,
        failure_threshold: int = 5,
        success_threshold: int = 3,
        timeout: float = 60,
        recovery_timeout: float = 300,
        *,
        failure_on: Kinds | Callable[[Exception], object] = Exception,
        ignore: Kinds | tuple[()] | Callable[[Exception], object] = (),
        scope: str = "process",
    ) -> None:
        self.failure_threshold = whole("failure_threshold", failure_threshold, most=states.MOST_TALLY)
        self.success_threshold = whole("success_threshold", success_threshold, most=1000)
        self.timeout = self.fail_after = duration("timeout", timeout)
        self.recovery_timeout = duration("recovery_timeout", recovery_timeout)
        super().__init__(
            failure_rate=None,
            consecutive=self.failure_threshold,
            open_for=self.recovery_timeout,
            probes=1,
            probe_lease=self.timeout,
            successes=self.success_threshold,
            failure_on=failure_on,
            ignore=ignore,
            scope=scope,
        )


def _min_calls(value: object, size: int) -> int:
    if value is None:
        return min(20, size) if size else 20
    return whole("min_calls", value, most=size or _MOST_WINDOW)


def _open_for(value: object) -> tuple[float, float]:
    if isinstance(value, tuple | list):
        if len(value) != 2:  # noqa: PLR2004 - a pair
            raise BadArgument("open_for", value, "seconds, or a pair: seconds at first and at most")
        first, most = duration("open_for[0]", value[0]), duration("open_for[1]", value[1])
        if most < first:
            raise BadArgument("open_for", value, "a pair whose second number is not below the first")
        return first, most
    seconds = duration("open_for", value)
    return seconds, seconds


def _selection(field: str, value: object) -> tuple[tuple[type[Exception], ...], Callable[[Exception], object] | None]:
    if value == ():
        return (), None
    if isinstance(value, type | tuple):
        return kinds(field, value), None
    return (), function(field, value)


def shown(value: object) -> object:
    """Return a class, a function or a tuple of them as text."""
    if isinstance(value, tuple):
        return [shown(one) for one in value]
    return getattr(value, "__qualname__", None) or repr(value)
