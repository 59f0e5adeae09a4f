"""The one place that an error is brought to: it is classified, what can be done is done, and the program is advised.

::

    recovery = initialize_error_recovery()
    try:
        world.generate()
    except Exception as error:
        action = recovery.handle_error_with_context(error, "world_engine", "generate_world", turn, frame)
        if action is RecoveryAction.SHUTDOWN: ...

Nothing here waits, and nothing raises into the program: when recovery itself fails, that is counted and the advice is
to go on. A strategy's success is judged by the next real call: :meth:`ErrorRecoveryManager.succeeded`, or the block
:meth:`ErrorRecoveryManager.attempt`, or a call of a registered service.
"""

from __future__ import annotations

from roadworthy._clock import NS, monotonic_ns, wall
from roadworthy.resilience import arguments, outward
from roadworthy.resilience.degrade import degradation_manager
from roadworthy.resilience.recover import classify
from roadworthy.resilience.recover.advice import Advice, Attempt, Held
from roadworthy.resilience.recover.backing_off import BackOff, Throttle, Timeouts
from roadworthy.resilience.recover.context import ErrorContext, RecoveryAction
from roadworthy.resilience.recover.decide import MOST_TRIES, Situation, decide
from roadworthy.resilience.recover.emergency import Emergency
from roadworthy.resilience.recover.ledger import FAILURE, SUCCESS, UNPROVEN, Known, Ledger, Pending
from roadworthy.resilience.recover.making_room import AWAY, DiskFull, Memory
from roadworthy.resilience.recover.mending import Files, Imports, LockedDatabase
from roadworthy.resilience.recover.pressure import LESS, MORE, Pressure, Shedding
from roadworthy.resilience.recover.restarts import Restarts
from roadworthy.resilience.recover.rules import Rule
from roadworthy.resilience.recover.services import Services
from roadworthy.resilience.recover.strategies import Strategies
from roadworthy.resilience.switch import RECOVERY, check_name, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from roadworthy.resilience.breaker import CircuitBreaker
    from roadworthy.resilience.fallback import Fallback
    from roadworthy.resilience.policy import Policy
    from roadworthy.resilience.recover.repair import Strategy
    from roadworthy.resilience.recover.services import Service


class ErrorRecoveryManager:
    """Error recovery of one program; :func:`get_error_recovery` returns the shared one."""

    def __init__(self) -> None:
        from threading import RLock

        self.shedding = Shedding()
        self.emergency = Emergency()
        self.throttle = Throttle()
        self.timeouts = Timeouts()
        self.memory = Memory(self.shedding)
        self.disk = DiskFull(self.shedding)
        self.files = Files()
        self.imports = Imports()
        self.database = LockedDatabase()
        self.back_off = BackOff()
        self.services = Services(self)
        self.restarts = Restarts()
        self.failures = 0
        """How often recovery itself failed, a strategy included."""
        self.last_failure = ""
        self._strategies = Strategies(
            (
                self.back_off, self.throttle, self.timeouts, self.memory, self.disk, self.files, self.imports,
                self.database,
            ),
            self.failed,
        )  # fmt: skip
        self._critical: set[str] = set()
        self._pressures: dict[str, Pressure] = {}
        self._ledger = Ledger()
        self._lock = RLock()
        outward.used()

    # -- what the program declares

    def critical(self, *components: str) -> None:
        """Declare components that the program cannot do without: their errors weigh more, they are never degraded."""
        self._critical.update(check_name("component", name) for name in components)

    def on(
        self,
        error: type[BaseException] | tuple[type[BaseException], ...],
        *steps: Callable[..., object],
        every: float = 60,
    ) -> None:
        """Run ``steps`` in order on such errors, at most once in ``every`` seconds for a component.

        A step that has a parameter called error, context, reason or source is given it. Raises BadArgument.
        """
        self._strategies.rules.append(Rule(error if isinstance(error, tuple) else (error,), steps, every))

    def add_strategy(self, strategy: Strategy) -> None:
        """Have a strategy of the program's own run before ours for the kinds that it names. Raises BadArgument."""
        self._strategies.add(strategy)

    def shed(self, *features: str) -> None:
        """Declare which features go first under pressure or when memory or disk run out; the most dispensable first."""
        self.shedding.declare(*features)

    def watch_pressure(self, name: str, **limits: Any) -> None:  # noqa: ANN401 - Pressure's own keywords
        """Shed features while a figure is beyond its limit: ``watch_pressure("frame_rate", below=50)``.

        Bring measurements by :meth:`pressure`. Keywords and errors as :class:`Pressure`.
        """
        self._pressures[check_name("name", name)] = Pressure(name, **limits)

    def emergency_state(self, save_fn: Callable[[], object], directory: str = "", name: str = "state") -> None:
        """Have ``save_fn()``, plain data, saved atomically on a critical failure; see :mod:`.emergency`."""
        self.emergency.register(save_fn, directory, name)

    def load_emergency_state(
        self, directory: str = "", name: str = "state", *, previous: bool = False
    ) -> Mapping[str, Any] | None:
        """Return what was saved: a dict with ``state``, ``at`` (wall seconds) and ``reason``; None when nothing was.

        Raises :class:`~.emergency.EmergencyStateBroken` for a damaged file, and says whether the one before is whole.
        """
        return self.emergency.load(directory, name=name, previous=previous)

    def register_service(
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
        """Register a service with its breaker and recovery procedures; see :meth:`.services.Services.register`."""
        return self.services.register(
            name, config, recover=recover, restart=restart, check=check, fallback=fallback, policy=policy
        )

    # -- errors

    def handle_error(self, error: BaseException, context: ErrorContext) -> RecoveryAction:
        """Record an error, do what can be done at once, return what the program should do. Never raises or waits."""
        return self.advise(error, context).action

    def handle_error_with_context(
        self,
        exc: BaseException,
        component: str,
        operation: str = "",
        turn_count: int = 0,
        frame_count: int = 0,
        **extra: object,
    ) -> RecoveryAction:
        """As :meth:`handle_error`; other keywords become context. Never raises or waits."""
        return self.advise(exc, ErrorContext(component, operation, turn_count, frame_count, **extra)).action

    def advise(self, error: BaseException, context: ErrorContext) -> Advice:
        """As :meth:`handle_error`, with the reasons, the pause before a retry, and where to look instead."""
        try:
            return self._advise(error, context)
        except Exception as own:  # noqa: BLE001 - recovery must never be what brings the program down
            self.failed(own)
            return Advice(RecoveryAction.CONTINUE, f"recovery itself failed ({type(own).__name__})")

    def attempt(
        self, component: str, operation: str = "", *, release: tuple[Callable[[], object], ...] = ()
    ) -> Attempt:
        """Return a block around a real call: its success proves recoveries, its error is handled and goes on its way.

        ``with recovery.attempt("db", "load") as tried: ...``; afterwards ``tried.advice`` tells what was advised, None
        after a success. Whatever happens, the functions in ``release`` are called at the end, last first.
        """
        return Attempt(self, component, operation, release)

    def succeeded(self, component: str, operation: str = "", took_ns: int | None = None) -> None:
        """Tell that a real call succeeded: what was tried for this operation has helped. Never raises."""
        try:
            self.timeouts.succeeded(component, took_ns)
            self.throttle.succeeded(component)
            if not self._ledger.open_for(component, operation):
                return
            with Held(self._lock):
                pending = self._ledger.settle(component, operation, SUCCESS)
            if pending is not None:
                self.memory.refill()
                self.tell_recovered(component, pending.kind, pending.action, SUCCESS)
        except Exception as own:  # noqa: BLE001 - see advise
            self.failed(own)

    def pressure(self, name: str, value: float | None) -> str:
        """Take a measurement of a watched figure; returns the feature that was given up or brought back, or nothing.

        None, not measured, changes nothing. Raises BadArgument for a name that nobody watches.
        """
        watched = self._pressures.get(name)
        if watched is None:
            raise arguments.BadArgument("pressure", name, "one of " + (", ".join(self._pressures) or "none, so far"))
        if value is None:
            return ""
        with Held(self._lock):
            step = watched.note(value, monotonic_ns())
            if step == MORE:
                return self.shedding.more(f"{name} is at {value:g}, the limit is {watched.limit:g}")
            return self.shedding.less() if step == LESS else ""

    def wait_for(self, component: str) -> float:
        """Return how many seconds a call of this component must wait for its turn (0.0: go), while it is throttled."""
        return self.throttle.reserve(component)

    def tick(self, now_ns: int | None = None) -> None:
        """Do what time asks for: close what nobody proved, end degradations, try to recover services.

        The runtime calls it about four times a second; a program without the runtime calls it itself. Never raises.
        """
        try:
            now = monotonic_ns() if now_ns is None else now_ns
            degradation_manager.tick(now)
            with Held(self._lock):
                self._ledger.expire(now)
            self.services.tick(now)
        except Exception as own:  # noqa: BLE001 - see advise
            self.failed(own)

    # -- what is told

    def summary(self) -> dict[str, Any]:
        """Return errors by kind, severity and component, what became of recoveries, and the newest errors (PRF-06).

        ``success_rate`` is of recoveries that were judged, None when none was.
        """
        with Held(self._lock):
            return {
                **self._ledger.summary(monotonic_ns()),
                "rules": {rule.name: {"ran": rule.ran, "failed_steps": rule.failed} for rule in self._strategies.rules},
                "rate_limited": self._strategies.limited,
                "restarts_asked": self.restarts.asked,
                "emergency": {"saved": self.emergency.saved, "failed": self.emergency.failed},
                "own_failures": self.failures,
                "degraded": degradation_manager.degraded(),
            }

    def tell_recovered(self, component: str, kind: str, action: str, outcome: str) -> None:
        """Tell the outside how a recovery turned out."""
        outward.tell("recovered", component, kind, action, outcome)

    def book(self, component: str, kind: str, action: str, outcome: str) -> None:
        """Count and tell a recovery that was judged elsewhere: a service's, by its check or its next call."""
        with Held(self._lock):
            self._ledger.book(component, kind, action, outcome)
        if outcome != UNPROVEN:
            self.tell_recovered(component, kind, action, outcome)

    def ask_restart(self, reason: str) -> bool:
        """Save emergency state, then ask for a new process, within the limits; tells whether somebody took it."""
        now = monotonic_ns()
        if not self.restarts.left(now):
            return False
        self.emergency.save(reason, now / NS, soon=True)  # first: the end may come at once
        return self.restarts.ask(reason)

    # -- how it is done

    def _advise(self, error: BaseException, context: ErrorContext) -> Advice:
        now = monotonic_ns()
        component = text_of(context.component)[:64] or classify.component_of(error)
        operation = text_of(context.operation)[:64]
        if component != context.component or operation != context.operation:
            context = ErrorContext(component, operation, context.turn, context.frame, **context.extra)
        kind = classify.kind_of(error)
        is_critical = component in self._critical
        severity = classify.severity_of(kind, critical=is_critical)
        mark = classify.fingerprint_of(error, component, operation)
        if kind == classify.ENDING:
            return Advice(*decide(Situation(kind)), kind=kind, severity=severity, reference=mark)
        with Held(self._lock):
            judged = self._ledger.settle(component, operation, FAILURE)
            new = Known(kind, severity, component, operation, type(error).__name__)
            known, tries = self._ledger.note(mark, new, context.turn, now)
            cascade = self._ledger.cascade(now)
        if judged is not None:
            self.tell_recovered(component, judged.kind, judged.action, FAILURE)
        repairs, ran = self._strategies.run(error, context, kind, tries, now)
        if cascade:
            self._shed_for(cascade, now)
        service = self.services.get(component)
        situation = Situation(
            kind,
            tries=MOST_TRIES + 1 if cascade and not is_critical else tries,
            repeats=known.repeats,
            critical=is_critical,
            repaired=any(one.repaired for one in repairs),
            fallback=service is not None and service.fallback is not None,
            degradable=bool(degradation_manager.operations(component)) or any(one.degraded for one in repairs),
            restarts_left=self.restarts.left(now),
        )
        action, reason = decide(situation)
        if severity == classify.CRITICAL or action is RecoveryAction.SHUTDOWN:
            self.emergency.save(f"{component}: {reason}", now / NS)
        if action is RecoveryAction.RESTART and not self.ask_restart(f"{component}: {reason}"):
            situation.restarts_left = 0
            action, reason = decide(situation)
        if action is RecoveryAction.DEGRADE:
            degradation_manager.activate_degradation(component, f"{kind} errors", AWAY, source=RECOVERY)
        advice = Advice(
            action, reason, kind=kind, severity=severity, reference=mark, strategies=tuple(ran),
            retry_after=max((one.retry_after for one in repairs if one.retry_after is not None), default=None),
            path=next((one.path for one in repairs if one.path), ""),
        )  # fmt: skip
        advice.notes = tuple(one.note for one in repairs if one.note)
        self._record(error, context, advice, now)
        return advice

    def _shed_for(self, cascade: list[str], now: int) -> None:
        if self.shedding.declared and self._strategies.may_run("cascade", "", now):
            self.shedding.more(f"failing together: {', '.join(cascade[:5])}", AWAY)

    def _record(self, error: BaseException, context: ErrorContext, advice: Advice, now: int) -> None:
        correlation = outward.tell("correlation") or ""
        fields: dict[str, object] = {
            "component": context.component,
            "operation": context.operation,
            "kind": advice.kind,
            "severity": advice.severity,
            "action": advice.action.value,
            "reference": advice.reference,
            "correlation": correlation,
            **({"done": "; ".join(advice.notes)[:500]} if advice.notes else {}),
            **({"turn": context.turn} if context.turn else {}),
            **({"frame": context.frame} if context.frame else {}),
        }
        with Held(self._lock):
            book = self._ledger
            book.recent.append({"type": type(error).__name__, **fields, "at": wall()})
            if advice.strategies or advice.action in {
                RecoveryAction.RETRY,
                RecoveryAction.FALLBACK,
                RecoveryAction.DEGRADE,
            }:
                pending = Pending(advice.kind, advice.action.value, advice.strategies, now)
                book.began(context.component, context.operation, pending)
        outward.tell("failed", error, {**context.extra, **fields})
        if advice.kind in {classify.SECURITY, classify.PERMISSION}:
            event = "security_error" if advice.kind == classify.SECURITY else "permission_denied"
            text = f"{type(error).__name__} in {context.component}"  # its own text may hold what was tried
            outward.tell("security", event, advice.severity, text, fields)

    def failed(self, error: BaseException) -> None:
        """Count a failure of recovery itself."""
        self.failures += 1
        self.last_failure = f"{type(error).__name__}: {text_of(error)[:200]}"


_shared: ErrorRecoveryManager | None = None


def initialize_error_recovery() -> ErrorRecoveryManager:
    """Return the shared manager, made now if need be; calling it again changes nothing (ERR-10)."""
    global _shared  # noqa: PLW0603 - one manager per process
    if _shared is None:
        _shared = ErrorRecoveryManager()
    return _shared


def get_error_recovery() -> ErrorRecoveryManager:
    """Return the shared manager, made now if need be."""
    return initialize_error_recovery()


def handle_error_with_context(
    exc: BaseException,
    component: str,
    operation: str = "",
    turn_count: int = 0,
    frame_count: int = 0,
    **extra: object,
) -> RecoveryAction:
    """Have the shared manager handle an error; see :meth:`ErrorRecoveryManager.handle_error_with_context` (C-15)."""
    return get_error_recovery().handle_error_with_context(exc, component, operation, turn_count, frame_count, **extra)


def shared() -> ErrorRecoveryManager | None:
    """Return the shared manager if there is one."""
    return _shared


def forget() -> None:
    """Forget the shared manager; for tests."""
    global _shared  # noqa: PLW0603 - one manager per process
    _shared = None
