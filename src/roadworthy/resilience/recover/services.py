"""Services that the program depends on, each with a breaker, a fallback, and procedures that bring it back.

**recover** is what the program itself can do without a new process: reconnect, clear, try again. **restart** is a new
process for the service, or, where the service is a part of this program, of this program (CONFLICTS C-13).

::

    db = recovery.register_service("db", CircuitBreakerConfig(failure_threshold=5), recover=reconnect, check=ping)
    rows = db.call(load, 7)

While a service's breaker is open it is tried to be recovered by itself, in a thread of its own. Those attempts have a
breaker of their own (:mod:`.healing`): a broken service is not restarted for ever (HLT-20, CBR-05).
"""

from __future__ import annotations

from _thread import start_new_thread

from roadworthy import _clock
from roadworthy.errors import Exhausted, NotFound, RoadworthyError
from roadworthy.resilience import arguments, outward
from roadworthy.resilience.degrade import ServiceFallback, degradation_manager
from roadworthy.resilience.recover.context import ErrorContext
from roadworthy.resilience.recover.healing import Healing, Result
from roadworthy.resilience.rejected import Rejected
from roadworthy.resilience.switch import RECOVERY, check_name, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from roadworthy.resilience.breaker import CircuitBreaker
    from roadworthy.resilience.fallback import Fallback
    from roadworthy.resilience.policy import Policy
    from roadworthy.resilience.recover.manager import ErrorRecoveryManager

    R = TypeVar("R")

UP, DEGRADED, DOWN, UNKNOWN = "up", "degraded", "down", "unknown"
MOST = 200


class Service:
    """One service; :meth:`Services.register` makes it."""

    def __init__(self, manager: ErrorRecoveryManager, name: str, policy: Policy, fallback: Fallback | None) -> None:
        self.name = name
        self.policy = policy
        self.fallback = fallback
        self.last_error = ""
        self.last_error_at: float | None = None
        self.healing: Healing
        self._manager = manager
        self._called = False

    # -- calls

    def call(self, function: Callable[..., R], *args: Any, **kwargs: Any) -> R:  # noqa: ANN401 - the function's own
        """Call ``function`` under the service's policy; when that fails, its fallback answers if it has one."""
        try:
            result = self.policy.call(function, *args, **kwargs)
        except Exception as error:
            self._failed(error, function)
            if self.fallback is None:
                raise
            return self.fallback.answer(error, args, kwargs)  # type: ignore[return-value]  # what stands in for it
        self._worked(function)
        if self.fallback is not None:
            self.fallback.good(args, kwargs, result)
        return result

    async def acall(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the function's own
        """As :meth:`call` for a coroutine function."""
        try:
            result = await self.policy.acall(function, *args, **kwargs)
        except Exception as error:
            self._failed(error, function)
            if self.fallback is None:
                raise
            answer: Any = self.fallback.answer(error, args, kwargs)
            return await answer if hasattr(answer, "__await__") else answer
        self._worked(function)
        if self.fallback is not None:
            self.fallback.good(args, kwargs, result)
        return result

    def _worked(self, function: Callable[..., object]) -> None:
        self._called = True
        self.healing.called(good=True)
        self._manager.succeeded(self.name, _name_of(function))

    def _failed(self, error: Exception, function: Callable[..., object]) -> None:
        if isinstance(error, Rejected):
            return  # refused by our own policy: nothing new is known of the service
        self._called = True
        shown = self.shown(error)
        self.last_error = f"{type(error).__name__}: {shown}" if shown else type(error).__name__
        self.last_error_at = _clock.wall()
        self.healing.called(good=False)
        self._manager.advise(error, ErrorContext(self.name, _name_of(function)))

    def shown(self, error: BaseException) -> str:
        """Return an exception's text as far as the runtime has redacted it; empty without a runtime."""
        text = outward.tell("redact", text_of(error)[:400])
        return text[:200] if isinstance(text, str) else ""

    # -- state

    @property
    def state(self) -> str:
        """``up``, ``degraded``, ``down`` (its breaker lets at most probes pass), or ``unknown``: never called."""
        if self.breaker_state in {"open", "half_open", "forced_open"}:
            return DOWN
        if degradation_manager.is_degraded(self.name):
            return DEGRADED
        return UP if self._called or self.healing.succeeded else UNKNOWN

    @property
    def breaker_state(self) -> str | None:
        """The breaker's state in words, None without a breaker."""
        breaker = self.policy.breaker
        return None if breaker is None else breaker.state

    def healed(self, reason: str) -> None:
        """Take back what its failures have brought, since it was seen to work; what people have forced stays."""
        degradation_manager.release(self.name, RECOVERY)
        if self.policy.breaker is not None and self.breaker_state in {"open", "half_open"}:
            self.policy.breaker.reset(reason=reason)

    def try_breaker(self, reason: str) -> None:
        """Let an open breaker try the service now."""
        if self.policy.breaker is not None and self.breaker_state == "open":
            self.policy.breaker.force("half_open", reason=reason)

    def describe(self) -> dict[str, object]:
        """Return what the agent is told of it; times are wall seconds."""
        held = degradation_manager.why(self.name)
        healing = self.healing
        state = self.state
        return {
            "name": self.name,
            "state": state,
            "breaker": self.breaker_state,
            "recover": healing.recover is not None or callable(healing.restart),
            "restart": healing.restart is True,
            "reason": held["reason"] or (self.last_error if state == DOWN else ""),
            "since": held["since"],
            "until": held["until"],
            "by": held["by"],
            "last_error": self.last_error,
            "last_error_at": self.last_error_at,
            "recoveries": healing.attempted,
            "recovered": healing.succeeded,
            "attempts": healing.breaker.state,
        }


class Services:
    """The services of one manager. ``spawn(function, arguments)`` starts what may take long; a thread by default."""

    def __init__(self, manager: ErrorRecoveryManager) -> None:
        self.spawn: Callable[[Callable[..., object], tuple[Any, ...]], object] = start_new_thread
        self._manager = manager
        self._services: dict[str, Service] = {}
        self._states: dict[str, str] = {}

    def register(
        self,
        name: str,
        config: CircuitBreaker | None = None,
        *,
        recover: Callable[[], object] | None = None,
        restart: Callable[[], object] | bool = False,
        check: Callable[[], object] | None = None,
        fallback: Fallback | Callable[..., object] | None = None,
        policy: Policy | None = None,
    ) -> Service:
        """Register a service, or replace the one of that name; returns it, for its ``call`` and ``policy``.

        ``config``: its breaker, by default ``CircuitBreakerConfig()``; or ``policy``, one that exists. ``recover`` and
        ``restart``: procedures, plain or coroutine functions; ``restart=True`` asks the agent for a new process.
        ``check``: tells whether the service works, by what it returns or raises; proves recoveries. ``fallback``:
        answers in its place, a function as :class:`~roadworthy.resilience.degrade.ServiceFallback`. Raises BadArgument,
        and Exhausted beyond 200 services.
        """
        from roadworthy.resilience.breaker import CircuitBreaker, CircuitBreakerConfig
        from roadworthy.resilience.fallback import Fallback
        from roadworthy.resilience.policy import Policy

        check_name("name", name)
        if config is not None and (policy is not None or not isinstance(config, CircuitBreaker)):
            raise arguments.BadArgument("config", config, "a CircuitBreakerConfig or CircuitBreaker, without a policy")
        if policy is not None and not isinstance(policy, Policy):
            raise arguments.BadArgument("policy", policy, "a Policy")
        for field, procedure in (("recover", recover), ("check", check)):
            if procedure is not None:
                arguments.function(field, procedure)
        if not isinstance(restart, bool):
            arguments.function("restart", restart)
        if name not in self._services and len(self._services) >= MOST:
            raise Exhausted("too many services are registered", why=f"There are {MOST}.", hint="Register fewer.")
        if fallback is not None and not isinstance(fallback, Fallback):
            fallback = ServiceFallback(name, arguments.function("fallback", fallback))
        guarded = policy if policy is not None else Policy(name, breaker=config or CircuitBreakerConfig())
        service = Service(self._manager, name, guarded, fallback)
        service.healing = Healing(
            service, recover=recover, restart=restart, check=check, ask=self._manager.ask_restart,
            book=lambda action, outcome: self._manager.book(name, "service", action, outcome),
        )  # fmt: skip
        self._services[name] = service
        outward.tell("declared")
        return service

    def get(self, name: str) -> Service | None:
        """Return a registered service, None when there is none of that name."""
        return self._services.get(name)

    def named(self, name: str) -> Service:
        """Return a registered service; raises :class:`~roadworthy.errors.NotFound`."""
        found = self._services.get(name)
        if found is None:
            known = ", ".join(self._services) or "none"
            raise NotFound(f"no service {name[:64]!r} is registered", hint=f"Registered: {known}.")
        return found

    def all(self) -> list[Service]:
        """Return all registered services."""
        return list(self._services.values())

    def recover(self, name: str, *, escalate: bool = True) -> Result:
        """Run a service's recovery now, whoever asks; may take long. Raises :class:`~roadworthy.errors.NotFound`.

        Without ``escalate`` no new process is asked for when it does not help.
        """
        result = self.named(name).healing.run(escalate=escalate)
        outward.tell("declared")
        return result

    def restart(self, name: str) -> Result:
        """Restart a service now; may take long. Raises :class:`~roadworthy.errors.NotFound`."""
        result = self.named(name).healing.run(restart=True)
        outward.tell("declared")
        return result

    def tick(self, now_ns: int) -> None:
        """Start the recoveries that are due, in threads, and tell of states that have changed."""
        for service in self.all():
            if service.healing.due(now_ns):
                self.spawn(self._by_itself, (service,))
            state = service.state
            before = self._states.get(service.name, UNKNOWN)
            if state != before:
                self._states[service.name] = state
                if before == DOWN and service.breaker_state == "closed":
                    # Good probes have closed it: that was proof and hold time enough.
                    degradation_manager.release(service.name, RECOVERY)
                    state = self._states[service.name] = service.state
                if DEGRADED not in {state, before}:  # that is told where it happens, with its reason
                    outward.tell("changed", "service", service.name, before, state, service.last_error, {})
                outward.tell("declared")

    def _by_itself(self, service: Service) -> None:
        try:
            service.healing.run(by_itself=True)
        except RoadworthyError as error:  # the words are held by others for too long: tried again with the next tick
            self._manager.failed(error)
        outward.tell("declared")


def _name_of(function: Callable[..., object]) -> str:
    return str(getattr(function, "__name__", None) or type(function).__name__)[:64]
