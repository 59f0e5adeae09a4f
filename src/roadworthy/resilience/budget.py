"""How many calls may be made again, all callers of a policy together: a share of the good ones, and a few.

Retries of everybody, at every tier, are what turns a failure into an outage: attempts multiply. With a budget the extra
load stays a share of the load that *succeeds*, so that a dead backend earns nothing and gets ``minimum`` more calls in
``per`` seconds, whoever asks. The idea is Finagle's RetryBudget and gRPC's retry throttling (gRFC A6).
"""

from __future__ import annotations

from _thread import allocate_lock
from itertools import count

from roadworthy import _clock
from roadworthy._clock import NS
from roadworthy.resilience.arguments import duration, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE = 0.05
_ONE = 1 - 1e-9  # ten tenths


class Budget:
    """Allow ``minimum`` retries in ``per`` seconds, and ``ratio`` for each call that succeeded at first.

    A bucket of tokens, one for each retry. ``minimum`` drip in over each ``per``, ``ratio`` with each success; it holds
    at most ``minimum + ratio * (successes within the last per)``. So over any time T no more retries pass than
    ``minimum * (1 + T / per) + ratio * successes``, and old success is no credit for a storm.

    ``earned`` is to be called once for each success without a retry: one C call, no lock. How many there were is only
    looked at by :meth:`spend` and :meth:`left`; what was earned between two looks further apart than ``per`` counts
    as if spread evenly between them. ``per``: seconds, or a text like "10s". Raises
    :class:`~roadworthy.resilience.arguments.BadArgument`.
    """

    __slots__ = (
        "_counted",
        "_lock",
        "_looked_ns",
        "_per_ns",
        "_recent",
        "_tokens",
        "earned",
        "minimum",
        "per",
        "ratio",
    )

    def __init__(self, ratio: float = 0.1, minimum: float = 3, per: float | str = "10s") -> None:
        self.ratio = number("ratio", ratio, most=1.0)
        self.minimum = number("minimum", minimum, most=1e9)
        self.per = duration("per", per)
        self._per_ns = int(self.per * NS)
        self.earned: Callable[[], int] = count().__next__
        """Note a call that succeeded at its first attempt."""
        self._counted = 0
        self._tokens = self.minimum
        self._recent = 0.0
        self._looked_ns = _clock.monotonic_ns()
        self._lock = allocate_lock()

    def spend(self, now_ns: int) -> bool:
        """Take one token; False when there is none, and when others hold the lock for too long."""
        # With a time limit: a signal handler must not wait for ever for the thread that it interrupted in here.
        if not self._lock.acquire(timeout=_PATIENCE):
            return False
        try:
            self._look(now_ns)
            if self._tokens < _ONE:
                return False
            self._tokens -= 1
            return True
        finally:
            self._lock.release()

    def left(self, now_ns: int) -> float | None:
        """Return how many tokens there are; None when others hold the lock for too long."""
        if not self._lock.acquire(timeout=_PATIENCE):
            return None
        try:
            self._look(now_ns)
            return self._tokens
        finally:
            self._lock.release()

    def _look(self, now_ns: int) -> None:
        """Bring tokens and recent successes up to now; only with the lock held."""
        ticks = self.earned()
        earned = ticks - self._counted
        self._counted = ticks + 1  # this look was a tick, too
        share = max(0, now_ns - self._looked_ns) / self._per_ns
        self._looked_ns = max(self._looked_ns, now_ns)
        fresh = earned if share <= 1 else earned / share
        self._recent = self._recent * max(0.0, 1 - share) + fresh
        full = self.minimum + self.ratio * self._recent
        self._tokens = max(0.0, min(full, self._tokens + self.minimum * share + self.ratio * fresh))

    def describe(self) -> dict[str, object]:
        """Return what it was made with, as plain values."""
        return {"ratio": self.ratio, "minimum": self.minimum, "per": self.per}

    def __repr__(self) -> str:
        return f"Budget(ratio={self.ratio:g}, minimum={self.minimum:g}, per={self.per:g})"
