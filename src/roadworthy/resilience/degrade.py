"""Services that are degraded: what they answer meanwhile, why, since when, and how it ends.

::

    degradation_manager.register_degradation_rule("reports", {"degraded_responses": {
        "list": {"reports": [], "message": "Report service degraded"},
        "generate": {"status": "queued", "message": "Generation queued"}}})

    @degradation_manager.degradable("reports", "list")
    def list_reports(): ...

    degradation_manager.activate_degradation("reports", "high_load")     # list_reports() now gives the dict above
    degradation_manager.deactivate_degradation("reports")

A rule may name a ``trigger``, a function that tells whether the cause is there: it starts the degradation and, when it
has been false for ``hold`` seconds, ends it. An operation without a degraded response goes on as always. A service
that only lives on its fallback (:class:`ServiceFallback`) is listed as degraded too, but each call still tries it
first: its rule's responses are given only when somebody activated them.
"""

from __future__ import annotations

from roadworthy._clock import monotonic_ns
from roadworthy.resilience import arguments, outward
from roadworthy.resilience.fallback import Fallback, mark_degraded
from roadworthy.resilience.switch import (
    FALLBACK,
    HOLD,
    LOOK_NS,
    OPERATOR,
    PROGRAM,
    RECOVERY,
    Switch,
    check_name,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from typing import Any, ParamSpec, TypeVar

    from roadworthy.resilience.arguments import Kinds

    P = ParamSpec("P")
    R = TypeVar("R")

_KEYS = frozenset({"degraded_responses", "trigger", "hold"})
_NONE: Any = object()
_TRIGGER = "trigger"


class Rule:
    """What a service answers while it is degraded, and what degrades it by itself."""

    __slots__ = ("hold", "looked_ns", "responses", "trigger")

    def __init__(self, rule: Mapping[str, Any]) -> None:
        """Raise :class:`~roadworthy.errors.UsageError`, naming the field, for anything that is no rule."""
        if not hasattr(rule, "keys"):
            raise arguments.BadArgument("rule", rule, 'a dict like {"degraded_responses": {...}}')
        unknown = sorted(str(key) for key in rule.keys() - _KEYS)
        if unknown:
            raise arguments.BadArgument("rule", ", ".join(unknown), f"a dict with keys of {', '.join(sorted(_KEYS))}")
        responses = rule.get("degraded_responses", {})
        if not hasattr(responses, "items"):
            raise arguments.BadArgument("degraded_responses", responses, "a dict of operation to response")
        for operation in responses:
            check_name("degraded_responses: operation", operation)
        trigger = rule.get("trigger")
        if trigger is not None:
            arguments.function("trigger", trigger)
        self.responses: dict[str, object] = dict(responses)
        self.trigger: Callable[[], object] | None = trigger
        self.hold = arguments.number("hold", rule.get("hold", HOLD), above=True)
        self.looked_ns = 0


class DegradationManager:
    """The services of this program that can be degraded; :data:`degradation_manager` is the one to use."""

    def __init__(self) -> None:
        self._rules: dict[str, Rule] = {}
        self._switches: dict[str, Switch] = {}

    def register_degradation_rule(self, service: str, rule: Mapping[str, Any]) -> None:
        """Say what ``service`` answers while degraded; the same service again replaces its rule.

        Keys: ``degraded_responses`` (operation to response), ``trigger`` (function; optional), ``hold`` (seconds that
        the trigger must be false before the end; 30). Raises :class:`~roadworthy.errors.UsageError` naming the field.
        """
        self._rules[check_name("service", service)] = Rule(rule)
        self._switch(service)

    def activate_degradation(
        self,
        service: str,
        reason: str,
        for_: float | None = None,
        *,
        while_: Callable[[], object] | None = None,
        hold: float = HOLD,
        source: str = PROGRAM,
    ) -> None:
        """Degrade a service, in all processes of the application.

        It ends after ``for_`` seconds; or once ``while_()`` has been false for ``hold`` seconds; or by
        :meth:`deactivate_degradation`. A service without a rule is only listed as degraded. Raises
        :class:`~roadworthy.errors.UsageError` for what is no name or no time.
        """
        self._switch(check_name("service", service)).hold(source, reason, for_, while_, hold)

    def deactivate_degradation(self, service: str) -> bool:
        """Take back what the program, its rules and recoveries degraded; returns whether the service is normal now.

        What the operator has degraded stays so until the operator says otherwise.
        """
        switch = self._switches.get(service)
        if switch is None:
            return True
        for source in (PROGRAM, RECOVERY, FALLBACK, _TRIGGER):
            switch.release(source)
        return not switch.is_off

    def release(self, service: str, source: str) -> None:
        """Take back what one source holds; others may still hold the service degraded."""
        switch = self._switches.get(service)
        if switch is not None:
            switch.release(source)

    def operator(self, service: str, reason: str | None, for_: float | None = None) -> None:
        """Degrade a service in the operator's name, or with None take that back; what the control page does."""
        switch = self._switch(check_name("service", service))
        if reason is None:
            switch.release(OPERATOR)
        else:
            switch.hold(OPERATOR, reason, for_)

    def is_degraded(self, service: str) -> bool:
        """Tell whether the service is degraded now, by whomever; never raises."""
        switch = self._switches.get(service)
        if switch is None:
            return False
        self._look(service, monotonic_ns())
        return switch.is_off

    def response(self, service: str, operation: str, default: object = None) -> Any:  # noqa: ANN401 - the rule's own
        """Return what the operation answers now because its service is degraded, else ``default``.

        The answer is a copy: what the caller changes in it is not in the next one.
        """
        found = self._response(service, operation)
        return default if found is _NONE else found

    def degradable(self, service: str, operation: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate a function, plain or async, that gives its degraded response while the service is degraded.

        There must be a rule by the time of the call for this to have an effect. What the function raises goes out.
        """
        check_name("service", service)
        check_name("operation", operation)

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            from functools import wraps
            from inspect import iscoroutinefunction

            if iscoroutinefunction(function):

                @wraps(function)
                async def answered(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401 - as the function
                    found = self._response(service, operation)
                    return await function(*args, **kwargs) if found is _NONE else found

                return answered  # type: ignore[return-value]  # the same parameters, and a coroutine as the function

            @wraps(function)
            def answer(*args: P.args, **kwargs: P.kwargs) -> R:
                found = self._response(service, operation)
                return function(*args, **kwargs) if found is _NONE else found

            return answer

        return decorate

    def degraded(self) -> list[dict[str, object]]:
        """Return the services that are degraded now: name, reason, source, since, until (wall seconds; None: open)."""
        return [
            {"name": name, **switch.times()} for name, switch in list(self._switches.items()) if self.is_degraded(name)
        ]

    def why(self, service: str) -> dict[str, object]:
        """Return reason, source, since and until (wall seconds) of a service's degradation, and ``by`` whom.

        ``by`` is ``people``, ``program`` or, when it is not degraded, empty.
        """
        switch = self._switches.get(service)
        if switch is None:
            return {"reason": "", "source": "", "since": None, "until": None, "by": ""}
        return switch.times()

    def services(self) -> list[str]:
        """Return the names of all services that have a rule or were ever degraded here."""
        return list(self._switches)

    def operations(self, service: str) -> list[str]:
        """Return the operations of a service that have a degraded response."""
        rule = self._rules.get(service)
        return list(rule.responses) if rule is not None else []

    def tick(self, now_ns: int | None = None) -> None:
        """Ask the triggers that are due and notice what has ended; the runtime calls it, never raises."""
        now = monotonic_ns() if now_ns is None else now_ns
        for name, switch in list(self._switches.items()):
            self._look(name, now)
            switch.look()

    def _switch(self, service: str) -> Switch:
        found = self._switches.get(service)
        return found if found is not None else self._switches.setdefault(service, Switch("service", service))

    def _response(self, service: str, operation: str) -> Any:  # noqa: ANN401 - the rule's own
        rule = self._rules.get(service)
        if rule is not None and operation in rule.responses:
            self._look(service, monotonic_ns())
            switch = self._switches[service]
            if switch.is_off and any(held.source != FALLBACK for held in switch.holds()):
                from copy import deepcopy

                mark_degraded()
                return deepcopy(rule.responses[operation])
        mark_degraded(False)  # noqa: FBT003 - a setter of a flag
        return _NONE

    def _look(self, service: str, now_ns: int) -> None:
        """Start what the rule's trigger asks for, at most once a second."""
        rule = self._rules.get(service)
        if rule is None or rule.trigger is None or now_ns - rule.looked_ns < LOOK_NS:
            return
        rule.looked_ns = now_ns
        try:
            present = bool(rule.trigger())
        except Exception as error:  # noqa: BLE001 - unknown starts nothing, and ends nothing (see Hold.over)
            outward.tell("failed", error, {"component": service, "operation": "degradation trigger"})
            return
        if present:
            name = getattr(rule.trigger, "__name__", "trigger")
            self._switches[service].hold(_TRIGGER, f"trigger: {name}", None, rule.trigger, rule.hold)


degradation_manager = DegradationManager()
"""The one of this process."""


class ServiceFallback(Fallback):
    """What is answered when a service fails: its last good result, then the fallback function (C-11).

    ``degraded_mode``: using it marks the service degraded, until :data:`HOLD` seconds after the last use.
    ``cache_duration``: a good result stays usable as the answer for so many seconds (by the call's arguments or
    ``key``; the ``most`` newest), then the function is called with the call's arguments; 0: always the function.
    Usable as ``fallback=`` of a policy or a service, as decorator, by ``call`` and ``acall``. Raises BadArgument.
    """

    __slots__ = ("_inner", "_manager", "cache_duration", "degraded_mode", "fallback_function", "service_name")

    def __init__(
        self,
        service_name: str,
        fallback_function: Callable[..., Any],
        degraded_mode: bool = True,  # noqa: FBT001, FBT002 - the call form of the seeds
        cache_duration: float = 300,
        *,
        most: int = 1000,
        key: Callable[..., Hashable] | None = None,
        on: Kinds = Exception,
        manager: DegradationManager | None = None,
    ) -> None:
        super().__init__(arguments.function("fallback_function", fallback_function), on=on)
        self.service_name = check_name("service_name", service_name)
        self.fallback_function = fallback_function
        self.degraded_mode = arguments.flag("degraded_mode", degraded_mode)
        self.cache_duration = arguments.number("cache_duration", cache_duration)
        self._inner = (
            Fallback.last_good(cache_duration, key, most, otherwise=fallback_function, on=on)
            if cache_duration
            else Fallback(fallback_function, on=on)
        )
        self._manager = manager if manager is not None else degradation_manager

    def good(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: object) -> None:
        """Keep a good result; never raises."""
        self._inner.good(args, kwargs, result)

    def answer(self, error: BaseException, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> object:
        """Return what stands in for the failed call; raises what the fallback function raises."""
        found = self._inner.answer(error, args, kwargs)
        if self.degraded_mode:
            reason = f"fallback in use: {type(error).__name__}"
            self._manager.activate_degradation(self.service_name, reason, HOLD, source=FALLBACK)
        return found

    def call(self, function: Callable[..., R], *args: Any, **kwargs: Any) -> R:  # noqa: ANN401 - the function's own
        """Call ``function``; when it raises an Exception, answer in its place."""
        try:
            result = function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever the service fails with
            return self.answer(error, args, kwargs)  # type: ignore[return-value]  # what stands in for it
        self.good(args, kwargs, result)
        return result

    async def acall(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the function's own
        """As :meth:`call` for a coroutine function; the fallback function may be one, too."""
        try:
            result = await function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever the service fails with
            answer: Any = self.answer(error, args, kwargs)
            return await answer if hasattr(answer, "__await__") else answer
        self.good(args, kwargs, result)
        return result

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function, plain or async, with this fallback."""
        from functools import wraps
        from inspect import iscoroutinefunction

        if iscoroutinefunction(function):

            @wraps(function)
            async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401 - as the function
                return await self.acall(function, *args, **kwargs)

            return awaited  # type: ignore[return-value]  # the same parameters, and a coroutine as the function

        @wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            return self.call(function, *args, **kwargs)

        return called

    def describe(self) -> dict[str, object]:
        """Return what it was made with, as plain values."""
        return {
            "kind": "service",
            "service": self.service_name,
            "function": getattr(self.fallback_function, "__qualname__", repr(self.fallback_function)),
            "degraded_mode": self.degraded_mode,
            "cache_duration": self.cache_duration,
        }
