"""Faults on purpose, in the calls of one policy: for tests, and for drills that watch a program bear them.

::

    with db.inject(fail=0.3, delay=0.5):
        ...

They strike where the other side would be called, inside of everything that the policy does: what they do to a call is
timed, retried, counted and judged as if the other side had done it. What is guarded as a block (``with db.guard():``,
``for attempt in db:``) is struck at its end: its outcome is lost. Faults end with their block, however that ends.
"""

from __future__ import annotations

from _thread import allocate_lock

from roadworthy import _clock
from roadworthy.resilience.arguments import BadArgument, duration, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from roadworthy.resilience.policy import Policy


class Injected(ConnectionError):
    """The failure of a call that was made to fail."""


class Injection:
    """Let the calls of ``policy`` fail and take longer while the block runs; made by :meth:`Policy.inject`.

    - ``fail``: the share of calls that fail, 0 to 1, without reaching the other side.
    - ``delay``: seconds that each call takes longer, those that fail included.
    - ``error``: what they fail with: an exception class, or a function that returns an exception.
    - ``seed``: which calls fail is drawn by this; the same again for the same number. Default: by chance.

    ``calls`` and ``failed`` count what it did. Of several for one policy the one that began last strikes. Raises
    :class:`~roadworthy.resilience.arguments.BadArgument`.
    """

    __slots__ = ("_before", "_chance", "_lock", "_policy", "calls", "delay", "error", "fail", "failed", "is_on")

    def __init__(
        self,
        policy: Policy,
        fail: float = 0.0,
        delay: float | str = 0.0,
        error: Callable[[], BaseException] = Injected,
        seed: int | None = None,
    ) -> None:
        from random import Random

        self._policy = policy
        self.fail = number("fail", fail, most=1.0)
        self.delay = duration("delay", delay, above=False)
        if not callable(error):
            raise BadArgument("error", error, "an exception class or a function that returns an exception")
        self.error = error
        self.calls = 0
        self.failed = 0
        self.is_on = False
        self._chance = Random(seed)  # noqa: S311 - which test call fails is no secret
        self._lock = allocate_lock()
        self._before: Injection | None = None

    def __enter__(self) -> Self:
        if self.is_on:
            raise BadArgument("inject", self, "a new one for each block")
        self.is_on = True
        self._before, self._policy.fault = self._policy.fault, self
        # The short way through a policy has no room for faults.
        self._policy.gate.hold(1)
        return self

    def __exit__(self, *raised: object) -> None:
        self.is_on = False
        policy = self._policy
        while policy.fault is not None and not policy.fault.is_on:
            policy.fault = policy.fault._before  # noqa: SLF001 - one of us
        policy.gate.hold(-1)

    def strike(self, policy: Policy) -> None:  # noqa: ARG002 - who asks
        """Do to a plain call what is due: nothing, a delay, a failure."""
        due = self._draw()
        if self.delay:
            _clock.sleep(self.delay)
        if due:
            raise self._made()

    async def astrike(self, policy: Policy) -> None:  # noqa: ARG002 - who asks
        """Do to a coroutine what is due."""
        due = self._draw()
        if self.delay:
            from asyncio import sleep

            await sleep(self.delay)
        if due:
            raise self._made()

    def _draw(self) -> bool:
        with self._lock:
            if not self.is_on:  # a call that had begun when the block ended
                return False
            self.calls += 1
            due = self._chance.random() < self.fail
            self.failed += due
            return due

    def _made(self) -> BaseException:
        return Injected("made to fail") if self.error is Injected else self.error()

    def __repr__(self) -> str:
        return f"<{self.failed} of {self.calls} calls of {self._policy.name} were made to fail>"
