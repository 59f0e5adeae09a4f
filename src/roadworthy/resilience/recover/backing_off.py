"""What is cured by patience: connections that fail, services that ask to be left alone, time limits that are too tight.

Nothing here waits: a strategy says how long to wait, and the program waits where it can.
"""

from __future__ import annotations

from roadworthy._clock import NS, monotonic_ns
from roadworthy.resilience import arguments
from roadworthy.resilience.recover import classify
from roadworthy.resilience.recover.repair import Repair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from roadworthy.resilience.recover.context import ErrorContext
    from roadworthy.resilience.timeout import AdjustingTimeout

MOST_COMPONENTS = 256
_MOST_DOUBLINGS = 30


def growing(tries: int, least: float, most: float, jitter: float) -> float:
    """Return the pause before the next try in seconds: ``d/2 + d/2 * jitter`` with ``d = least * 2^(tries-1)``.

    ``d`` is at most ``most``; ``jitter`` is a random number from 0 to 1. The least pause grows with every try, so that
    they surely become longer; half of each is random, so that callers do not come back all at once (AWS Architecture
    Blog, "Exponential Backoff And Jitter": equal jitter).
    """
    pause = min(most, least * 2.0 ** min(max(tries, 1) - 1, _MOST_DOUBLINGS))
    return pause / 2 + pause / 2 * jitter


def random_number() -> float:
    """Return a random number from 0 to 1; what spreads callers in time."""
    import random

    return random.random()  # noqa: S311 - spreads callers in time, keeps no secret


class BackOff:
    """Connection errors and locked databases without a registered connection: growing pauses (ERR-02)."""

    name = "back_off"
    kinds = frozenset({classify.CONNECTION})

    def __init__(self, least: float = 0.1, most: float = 30.0, jitter: Callable[[], float] = random_number) -> None:
        self.least = arguments.number("least", least, above=True)
        self.most = arguments.number("most", most, least=self.least)
        self._jitter = jitter

    def run(self, error: BaseException, _context: ErrorContext, tries: int, _now_ns: int) -> Repair:
        """Say how long to wait; what the other side asks for (Retry-After) counts if it is longer."""
        pause = growing(tries, self.least, self.most, self._jitter())
        asked = classify.retry_after_of(error)
        pause = max(pause, min(asked, self.most)) if asked is not None else pause
        return Repair(f"wait {pause:.2f} s", retry_after=pause)


class Throttle:
    """HTTP 429 and its kin: exponential back-off, and calls that queue up at a lower rate until it is well (ERR-02).

    After a refusal nobody is let through for the pause; then calls are spaced by an interval, which doubles with each
    refusal (up to ``widest``) and shrinks by a tenth with each success, until it is below ``narrowest`` and gone.
    """

    name = "throttle"
    kinds = frozenset({classify.RATE_LIMIT})

    def __init__(
        self,
        least: float = 1.0,
        most: float = 60.0,
        narrowest: float = 0.05,
        widest: float = 10.0,
        jitter: Callable[[], float] = random_number,
    ) -> None:
        self.least = arguments.number("least", least, above=True)
        self.most = arguments.number("most", most, least=self.least)
        self.narrowest = arguments.number("narrowest", narrowest, above=True)
        self.widest = arguments.number("widest", widest, least=self.narrowest)
        self._jitter = jitter
        self._lanes: dict[str, tuple[int, float]] = {}

    def run(self, error: BaseException, context: ErrorContext, tries: int, now_ns: int) -> Repair:
        """Close the component's lane for the pause and widen the interval of its calls."""
        pause = growing(tries, self.least, self.most, self._jitter())
        asked = classify.retry_after_of(error)
        if asked is not None:
            pause = max(pause, min(asked, self.most))
        free, interval = self._lanes.get(context.component, (0, 0.0))
        interval = min(self.widest, max(self.narrowest, interval * 2))
        if context.component not in self._lanes and len(self._lanes) >= MOST_COMPONENTS:
            del self._lanes[next(iter(self._lanes))]
        self._lanes[context.component] = max(free, now_ns + int(pause * NS)), interval
        return Repair(f"wait {pause:.2f} s, then one call in {interval:.2f} s", retry_after=pause)

    def reserve(self, component: str, now_ns: int | None = None) -> float:
        """Take the next place in the component's queue and return how many seconds to wait for it (0.0: go)."""
        lane = self._lanes.get(component)
        if lane is None:
            return 0.0
        now = monotonic_ns() if now_ns is None else now_ns
        free, interval = lane
        start = max(now, free)
        self._lanes[component] = start + int(interval * NS), interval
        return (start - now) / NS

    def succeeded(self, component: str) -> None:
        """Let the component's calls come a little closer together again."""
        lane = self._lanes.get(component)
        if lane is not None:
            interval = lane[1] * 0.9
            if interval < self.narrowest:
                self._lanes.pop(component, None)
            else:
                self._lanes[component] = lane[0], interval


class Timeouts:
    """Time limits that adjust themselves within declared bounds (ERR-04); without one, growing pauses."""

    name = "adjust_timeout"
    kinds = frozenset({classify.TIMEOUT})

    def __init__(self, jitter: Callable[[], float] = random_number) -> None:
        self._of: dict[str, AdjustingTimeout] = {}
        self._jitter = jitter

    def adjust(self, component: str, timeout: AdjustingTimeout) -> None:
        """Have the component's timeouts adjust ``timeout``, whose ``seconds`` the program uses for its calls."""
        self._of[component] = timeout

    def run(self, _error: BaseException, context: ErrorContext, tries: int, _now_ns: int) -> Repair:
        """Give the component's next call more time, within the bounds."""
        pause = growing(tries, 0.1, 10.0, self._jitter())
        timeout = self._of.get(context.component)
        if timeout is None:
            return Repair(f"wait {pause:.2f} s", retry_after=pause)
        before = timeout.seconds
        timeout.timed_out()
        after = timeout.seconds
        return Repair(f"time limit {before:.3g} s, now {after:.3g} s", repaired=after > before, retry_after=pause)

    def succeeded(self, component: str, took_ns: int | None) -> None:
        """Tell the component's time limit how long a good call took."""
        timeout = self._of.get(component)
        if timeout is not None and took_ns is not None:
            timeout.answered(took_ns)
