"""How many calls may be under way at once, threads and tasks together: a slow dependency takes its share, not all.

Permits and those who wait for one stand in two deques, whose ends are atomic: no lock is held by anybody, so nothing
that interrupts a caller (a signal handler, a GC callback, a cancellation) can leave one behind. A permit that is
given back goes to who has waited longest. Whoever gives up and whoever is given a permit meanwhile agree by one
``pop`` of the waiter's claim: exactly one of both gets it.
"""

from __future__ import annotations

from _thread import allocate_lock
from collections import deque

from roadworthy import _clock
from roadworthy._clock import NS
from roadworthy.resilience.arguments import duration, whole
from roadworthy.resilience.rejected import BulkheadFull

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Claim = list[Callable[[], object]]


class Bulkhead:
    """Let ``limit`` calls be under way at once; others wait up to ``wait`` seconds, first come first served.

    Each ``enter`` or ``aenter`` that returned is paired with one ``leave``. One object may be shared by policies that
    use the same resource. Raises :class:`~roadworthy.resilience.arguments.BadArgument`.
    """

    __slots__ = ("_free", "_waiting", "limit", "wait")

    def __init__(self, limit: int, wait: float | str = 0.0) -> None:
        self.limit = whole("limit", limit, most=1_000_000)
        self.wait = duration("wait", wait, above=False)
        self._free: deque[None] = deque([None] * self.limit)
        # A claim holds what wakes its waiter, and is empty once it was granted or given up.
        self._waiting: deque[Claim] = deque()

    @property
    def in_use(self) -> int:
        """How many calls are under way."""
        return max(0, self.limit - len(self._free))

    @property
    def waiting(self) -> int:
        """How many callers wait."""
        return len(self._waiting)

    def enter(self, deadline_ns: int | None = None) -> None:
        """Take a permit, or wait for one in this thread.

        Raises :class:`~roadworthy.resilience.rejected.BulkheadFull` when there was none for ``wait`` seconds, or until
        the deadline. An exception that comes in while waiting (a signal handler's) passes, and loses no permit.
        """
        if not self._waiting:
            try:
                self._free.pop()
            except IndexError:
                pass
            else:
                return
        patience = self._patience(deadline_ns)
        woken = allocate_lock()
        woken.acquire()
        claim: Claim = [woken.release]
        try:
            self._queue(claim)
            granted = woken.acquire(timeout=patience)
        except BaseException:
            self._give_up(claim)
            raise
        if not granted and self._withdraw(claim):
            raise self._refusal()

    async def aenter(self, deadline_ns: int | None = None) -> None:
        """Take a permit, or wait for one in this task; as :meth:`enter`. A cancellation passes, and loses no permit."""
        if not self._waiting:
            try:
                self._free.pop()
            except IndexError:
                pass
            else:
                return
        patience = self._patience(deadline_ns)
        from asyncio import get_running_loop

        loop = get_running_loop()
        woken = loop.create_future()
        claim: Claim = [lambda: loop.call_soon_threadsafe(_wake, woken)]
        timer = loop.call_later(patience, _wake, woken)
        try:
            self._queue(claim)
            await woken
        except BaseException:
            self._give_up(claim)
            raise
        finally:
            timer.cancel()
        if self._withdraw(claim):
            raise self._refusal()

    def leave(self) -> None:
        """Give the permit back; it goes to who has waited longest."""
        self._free.append(None)
        if self._waiting:
            self._hand_over()

    def _queue(self, claim: Claim) -> None:
        self._waiting.append(claim)
        # A permit may have been given back between the look at the free ones and this line, when nobody waited yet.
        self._hand_over()

    def _hand_over(self) -> None:
        """Give free permits to waiters, the longest waiting first, as long as there are both."""
        while self._waiting:
            try:
                self._free.pop()
            except IndexError:
                return
            try:
                wake = self._waiting.popleft().pop()
            except IndexError:  # nobody waits any more, or this one has given up
                self._free.append(None)
                continue
            try:
                wake()
            except RuntimeError:  # its event loop was closed while it waited: nobody is there
                self._free.append(None)

    def _withdraw(self, claim: Claim) -> bool:
        """Stop waiting; False when the permit was granted in this very moment."""
        try:
            claim.pop()
        except IndexError:
            return False
        try:
            self._waiting.remove(claim)
        except ValueError:  # taken out by who found the claim empty
            pass
        return True

    def _give_up(self, claim: Claim) -> None:
        if not self._withdraw(claim):
            self.leave()

    def _patience(self, deadline_ns: int | None) -> float:
        patience = self.wait
        if deadline_ns is not None:
            patience = min(patience, (deadline_ns - _clock.monotonic_ns()) / NS)
        if patience <= 0:
            raise self._refusal()
        return patience

    def _refusal(self) -> BulkheadFull:
        return BulkheadFull(f"{self.limit} calls are under way already", hint="call less at once, or raise the limit")

    def describe(self) -> dict[str, object]:
        """Return what it was made with, as plain values."""
        return {"limit": self.limit, "wait": self.wait}

    def __repr__(self) -> str:
        return f"Bulkhead({self.limit}, wait={self.wait:g})"


def _wake(woken: object) -> None:
    if not woken.done():  # type: ignore[attr-defined] # a Future; asyncio is not imported for its name
        woken.set_result(None)  # type: ignore[attr-defined]
