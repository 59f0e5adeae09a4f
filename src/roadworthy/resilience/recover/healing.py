"""Bringing one service back: its procedures, the proof that they helped, and the breaker that ends endless attempts.

A procedure's return value proves nothing. Afterwards the service's check is run; without a check the breaker lets one
call through, and the first real call decides. Whoever asked waits a few seconds for that; when no call came by then,
the recovery is *unproven*: it is not called a success, and the call that comes later settles it.
"""

from __future__ import annotations

from roadworthy import _clock
from roadworthy._clock import NS
from roadworthy.resilience.outcome import FAILURE, NEUTRAL, SUCCESS
from roadworthy.resilience.rejected import BreakerOpen
from roadworthy.resilience.switch import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from roadworthy.resilience.circuit import Breaker
    from roadworthy.resilience.recover.services import Service

ATTEMPTS = 3
"""Recoveries in a row that may fail before there is a pause."""

PAUSES = (30, 600)
"""Seconds of that pause: the first, the longest."""

LEAST_PAUSE_NS = 5 * NS
"""Between two recoveries that started by themselves."""

PROOF = 5.0
"""Seconds to wait for a real call, where there is no check."""

PROCEDURE_TIMEOUT = 60.0
"""Seconds that a procedure which is a coroutine function may take."""

RECOVER, RESTART = "recover", "restart"
_POLL = 0.05
_PROVEN = ""
_UNPROVEN = "no call has come yet that would prove it"


class Result:
    """How a recovery or restart went: ``ok`` only when it was proven; ``took`` in seconds."""

    __slots__ = ("detail", "ok", "took")

    def __init__(self, detail: str, *, ok: bool, took: float = 0.0) -> None:
        self.ok = ok
        self.detail = detail
        self.took = took

    def as_dict(self) -> dict[str, object]:
        """Return it as the agent takes it."""
        return {"ok": self.ok, "detail": self.detail, "took": round(self.took, 6)}

    def __repr__(self) -> str:
        return f"Result({'ok' if self.ok else 'failed'}, {self.detail!r})"


class Healing:
    """The procedures of one service.

    ``restart`` is a function, or True: a new process in this one's place is asked for. ``ask(reason)`` does that, and
    ``book(action, outcome)`` counts how each attempt turned out.
    """

    def __init__(
        self,
        service: Service,
        *,
        recover: Callable[[], object] | None,
        restart: Callable[[], object] | bool,
        check: Callable[[], object] | None,
        ask: Callable[[str], bool],
        book: Callable[[str, str], object],
    ) -> None:
        from roadworthy.resilience.breaker import CircuitBreaker
        from roadworthy.resilience.circuit import Breaker
        from roadworthy.resilience.hook import Meter

        self.service = service
        self.recover = recover
        self.restart = restart
        self.check = check
        self.attempted = 0
        self.succeeded = 0
        settings = CircuitBreaker(
            failure_rate=None, consecutive=ATTEMPTS, open_for=PAUSES, probes=1, probe_lease=PROCEDURE_TIMEOUT
        )
        self.breaker: Breaker = Breaker(settings, Meter(f"{service.name}.recovery"))
        self._ask = ask
        self._book = book
        self._loop = _running_loop()
        self._busy = False
        self._tried_ns: int | None = None
        self._owed = ""
        self._calls = (0, 0)

    def due(self, now_ns: int) -> bool:
        """Tell whether it is time to try by itself: the service's breaker is open, and the last try long enough ago."""
        if self._busy or self.service.breaker_state != "open" or not (self.recover or self.restart):
            return False
        return self._tried_ns is None or now_ns - self._tried_ns >= LEAST_PAUSE_NS

    def run(self, *, restart: bool = False, by_itself: bool = False, escalate: bool = True) -> Result:
        """Recover, and restart when that did not help; ``restart``: restart at once. May take long; never raises.

        ``by_itself``: refused while too many attempts have failed. What people ask for is done all the same. Without
        ``escalate`` no new process is asked for: whoever asked (the agent) does that itself.
        """
        begun = _clock.monotonic_ns()
        if self._busy:
            return Result("another recovery of it is under way", ok=False)
        if not (self.restart if restart else self.recover or self.restart):
            return Result(f"service {self.service.name!r} has no {RESTART if restart else RECOVER} procedure", ok=False)
        self._busy = True
        try:
            admission = None
            try:
                admission = self.breaker.admit(begun)
            except BreakerOpen as refused:
                if by_itself:
                    return Result(f"no attempts for {refused.retry_after or 0:.0f} s: too many failed", ok=False)
            self._tried_ns = begun
            self.attempted += 1
            result, outcome = self._act(restart=restart, escalate=escalate)
            ended = _clock.monotonic_ns()
            if admission is not None:
                admission.settle(outcome, ended)
            elif outcome == SUCCESS:
                self.breaker.reset(reason="recovered by hand")
            result.took = (ended - begun) / NS
            return result
        finally:
            self._busy = False

    def called(self, *, good: bool) -> None:
        """Learn of a real call of the service: it settles what is not proven yet."""
        successes, failures = self._calls
        self._calls = (successes + good, failures + (not good))
        owed, self._owed = self._owed, ""
        if owed:
            self._settle(owed, good=good)

    def _act(self, *, restart: bool, escalate: bool) -> tuple[Result, int]:
        trouble = ""
        if self.recover is not None and not restart:
            trouble = self._do(self.recover, RECOVER)
            if trouble in {_PROVEN, _UNPROVEN} or not self.restart or (self.restart is True and not escalate):
                return self._result(RECOVER, trouble)
        before = f"; recovery did not help: {trouble}" if trouble else ""
        if callable(self.restart):
            return self._result(RESTART, self._do(self.restart, RESTART), before)
        if not escalate:
            return Result(f"service {self.service.name!r} has no {RECOVER} procedure", ok=False), NEUTRAL
        asked = self._ask(f"service {self.service.name}: {trouble or 'restart was asked for'}")
        said = "a new process was asked for" if asked else "a new process is needed, and nobody may start one now"
        # Whether it helps is seen by that process. For this one it is an attempt that did not bring the service back.
        self._book(RESTART, "failure" if not asked else "unproven")
        return Result(said + before, ok=asked), FAILURE

    def _do(self, procedure: Callable[[], object], action: str) -> str:
        """Run a procedure and look for proof; returns what is wrong, empty when it is proven."""
        owed, self._owed = self._owed, ""
        if owed:
            self._book(owed, "unproven")
        try:
            self._called(procedure)
        except Exception as error:  # noqa: BLE001 - the program's procedure; that it failed is the result
            self._settle(action, good=False)
            return f"its procedure failed ({type(error).__name__}: {self.service.shown(error)})"
        if self.check is None:
            return self._first_call(action)
        try:
            answer = self._called(self.check)
        except Exception as error:  # noqa: BLE001 - as above
            answer, why = False, f"its check failed ({type(error).__name__}: {self.service.shown(error)})"
        else:
            why = f"its check says {text_of(answer)[:80]}"
        good = answer is None or bool(answer[0] if isinstance(answer, tuple) and answer else answer)
        self._settle(action, good=good)
        if good:
            self.service.healed("recovered")
        return _PROVEN if good else why

    def _first_call(self, action: str) -> str:
        """Let one call through, wait a little for it, and say what it came to."""
        self.service.try_breaker("recovered, to be proven")
        before = self._calls
        self._owed = action
        until = _clock.monotonic() + PROOF
        while self._calls == before and _clock.monotonic() < until:
            _clock.sleep(_POLL)
        successes, failures = self._calls
        if failures > before[1]:
            return "the next real call failed"
        return _PROVEN if successes > before[0] else _UNPROVEN

    def _result(self, action: str, trouble: str, before: str = "") -> tuple[Result, int]:
        done = "recovered" if action == RECOVER else "restarted"
        if trouble == _PROVEN:
            proof = "its check is good" if self.check is not None else "the next real call succeeded"
            return Result(f"{done}: {proof}{before}", ok=True), SUCCESS
        if trouble == _UNPROVEN:
            return Result(f"{action} ran; {trouble}{before}", ok=False), NEUTRAL
        return Result(f"not {done}: {trouble}{before}", ok=False), FAILURE

    def _settle(self, action: str, *, good: bool) -> None:
        self.succeeded += good
        self._book(action, "success" if good else "failure")

    def _called(self, procedure: Callable[[], object]) -> Any:  # noqa: ANN401 - the procedure's own
        answer: Any = procedure()
        if not hasattr(answer, "__await__"):
            return answer
        import asyncio

        async def awaited() -> object:
            return await asyncio.wait_for(answer, PROCEDURE_TIMEOUT)

        if self._loop is not None and self._loop.is_running():
            return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result(PROCEDURE_TIMEOUT)
        return asyncio.run(awaited())


def _running_loop() -> Any:  # noqa: ANN401 - an event loop, and asyncio is not imported for it
    import sys

    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
