"""How many calls may begin in a time: the generic cell rate algorithm, in one shared number.

GCRA (ITU-T I.371) keeps one point in time, the theoretical arrival time of the next call if all came evenly spaced by
``per / limit``. A call that comes no more than ``burst - 1`` spaces before it may pass at once and moves it on by one
space; any other waits until that is so, or is refused. One number in a :class:`~roadworthy.types.StateWord` is all the
state, so that the threads of a process and the processes of a host are limited by the same code.
"""

from __future__ import annotations

from roadworthy import _clock
from roadworthy._clock import NS
from roadworthy.resilience.arguments import choice, duration, number, whole
from roadworthy.resilience.rejected import RateLimited
from roadworthy.resilience.store import Word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from roadworthy.types import StateWord


class RateLimiter:
    """Let ``limit`` calls begin in each ``per`` seconds, of which up to ``burst`` (default: ``limit``) at once.

    In no time of T seconds more than ``burst + limit * T / per`` begin. A call that would have to wait longer than
    ``wait`` seconds is refused at once; one that may wait has its turn from then on, in order, and uses it even when it
    is given up meanwhile. ``scope``: "process", or "host" for all processes of the application. The limiter belongs to
    one policy, or to several that are to share it. Raises :class:`~roadworthy.resilience.arguments.BadArgument`.
    """

    __slots__ = (
        "_furthest_ns",
        "_local",
        "_space_ns",
        "_tolerance_ns",
        "_wait_ns",
        "_word",
        "burst",
        "limit",
        "per",
        "scope",
        "wait",
    )

    def __init__(
        self,
        limit: int,
        per: float | str = 1,
        *,
        burst: int | None = None,
        wait: float | str = 0.0,
        scope: Literal["process", "host"] = "process",
    ) -> None:
        self.limit = whole("limit", limit)
        self.per = duration("per", per)
        self.burst = self.limit if burst is None else whole("burst", burst)
        self.wait = duration("wait", wait, above=False)
        self.scope = choice("scope", scope, "process", "host")
        self._space_ns = max(1, round(self.per * NS / self.limit))
        number("burst * per / limit", self.burst * self.per / self.limit)  # seconds; as ns it must fit into a word
        self._tolerance_ns = (self.burst - 1) * self._space_ns
        self._wait_ns = int(self.wait * NS)
        self._furthest_ns = self._tolerance_ns + self._wait_ns + self._space_ns
        self._local = Word()
        self._word: StateWord = self._local

    def bind(self, word: StateWord) -> None:
        """Keep the state in this word from now on: one of the host, if ``scope`` says so."""
        self._word = word

    def acquire(self, now_ns: int, deadline_ns: int | None = None) -> float:
        """Return the seconds to wait before this call may begin: 0.0 at once; its turn is taken.

        Raises :class:`~roadworthy.resilience.rejected.RateLimited`, and takes no turn, when that is longer than
        ``wait`` or ends after the deadline; its ``retry_after`` is when the call might begin.
        """
        longest_ns = self._wait_ns if deadline_ns is None else max(0, min(self._wait_ns, deadline_ns - now_ns))

        def take(theoretical: int, b: int, c: int) -> tuple[int, int, int]:
            at_ns = max(theoretical, now_ns)
            wait_ns = at_ns - self._tolerance_ns - now_ns
            if wait_ns > longest_ns:
                raise self._refusal(wait_ns)
            return at_ns + self._space_ns, b, c

        seen, _, _, stamp_ns = self._word.read()
        if seen > now_ns + self._furthest_ns:
            seen = self._mend(now_ns, seen, stamp_ns)
        take(seen, 0, 0)  # a refusal needs no update: it costs the others nothing
        values = self._word.update(take)
        if values is None:
            # The shared word could not be had for long. This process goes on from what it last saw of it, on its own.
            values = self._local.update(lambda theoretical, b, c: take(max(theoretical, seen), b, c))
            if values is None:
                raise self._refusal(self._space_ns)
        return max(0, values[0] - self._space_ns - self._tolerance_ns - now_ns) / NS

    def _mend(self, now_ns: int, seen: int, stamp_ns: int) -> int:
        """Take back a point in time that no call of this limit can have set: another limit's, or another boot's.

        A thread that was stopped since it read the clock sees what others rightly set after that: the word's own stamp
        tells how late they may have been. A stamp from the future is another boot's, and tells nothing.
        """
        latest_ns = max(now_ns, min(stamp_ns, _clock.monotonic_ns()))
        if seen <= latest_ns + self._furthest_ns:
            return seen
        furthest = now_ns + self._furthest_ns
        self._word.update(lambda theoretical, b, c: (furthest if theoretical == seen else theoretical, b, c))
        return furthest

    def _refusal(self, wait_ns: int) -> RateLimited:
        return RateLimited(
            f"more than {self.limit} calls in {self.per:g} s",
            retry_after=wait_ns / NS,
            hint="call less often, or later",
        )

    def describe(self) -> dict[str, object]:
        """Return what it was made with, as plain values."""
        return {"limit": self.limit, "per": self.per, "burst": self.burst, "wait": self.wait, "scope": self.scope}

    def __repr__(self) -> str:
        return f"RateLimiter({self.limit}, per={self.per:g}, burst={self.burst}, wait={self.wait:g})"
