"""Health checks and collectors that the program registers; each runs in a thread of its own when the agent asks.

A check's function answers by what it returns: nothing or True is good, False is bad, text is good with a detail, a
pair is (good, detail), a dict is judged by its ``ok``, ``healthy`` or ``status``. What it raises is bad, and is the
detail. A coroutine function runs on the event loop that was running when it was registered, else on a loop of its
own.
"""

# ruff: noqa: ANN401 - functions, loops and collectors are the program's own, of whatever type they are

from __future__ import annotations

import sys
from _collections_abc import Mapping  # collections.abc is the same, and imports collections

from roadworthy._clock import NS, monotonic_ns
from roadworthy.app import context as contexts
from roadworthy.app import guard, start
from roadworthy.config import reloads

KINDS = ("liveness", "readiness", "startup")
MOST = 64
"""Checks, and collectors, of one process."""

MOST_VALUES = 200
DETAIL = 300
_MOST_FINITE = 1.7976931348623157e308
_GOOD = frozenset({"ok", "healthy", "up", "pass", "passed", "ready", "true", "green", "alive"})

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar, overload

    F = TypeVar("F", bound=Callable[..., Any])
else:

    def overload(function: object) -> object:
        """Stand in for the one in ``typing``, which costs a start milliseconds."""
        return function


class Check:
    """A registered check and the loop it belongs to."""

    __slots__ = ("beat", "every", "function", "kind", "loop", "name", "timeout")

    def __init__(self, name: str, function: Callable[[], object], kind: str, timeout: float, every: float) -> None:
        self.name = name
        self.function = function
        self.kind = kind
        self.timeout = timeout
        self.every = every
        self.loop = _running_loop()
        self.beat: Callable[[], None] | None = None

    def run(self) -> tuple[bool, str, float]:
        """Run the check once; returns whether it is good, its detail, and the seconds it took. Never raises."""
        begun = monotonic_ns()
        try:
            answer = self.function()
            if hasattr(answer, "__await__"):
                answer = wait_for(answer, self.loop, self.timeout)
            good, detail = judge(answer)
        except Exception as error:
            good, detail = False, f"{type(error).__name__}: {contexts.label_text(error, DETAIL)}"
        took = (monotonic_ns() - begun) / NS
        if self.beat is not None:
            self.beat()
        return good, contexts.label_text(detail, DETAIL), took

    def declared(self) -> dict[str, object]:
        """Return what the agent is told of this check."""
        return {"name": self.name, "kind": self.kind, "timeout": self.timeout, "every": self.every}


class Collector:
    """A registered collector: an object with ``collect()``, or a function, that returns a dict of figures."""

    __slots__ = ("beat", "function", "loop", "name")

    def __init__(self, name: str, function: Callable[[], object]) -> None:
        self.name = name
        self.function = function
        self.loop = _running_loop()
        self.beat: Callable[[], None] | None = None

    def run(self) -> dict[str, float]:
        """Collect once and keep the figures as gauges ``<collector>.<key>``; raises what the collector raises."""
        answer = self.function()
        if hasattr(answer, "__await__"):
            answer = wait_for(answer, self.loop, 10.0)
        if not isinstance(answer, Mapping):
            raise TypeError(f"collect() returned {type(answer).__name__}, not a dict")
        values: dict[str, float] = {}
        refused: list[str] = []
        flatten(answer, "", values, refused)
        if refused:
            guard.report(
                f"collector.{self.name}",
                f"collector {self.name!r} returned values that are no numbers: {', '.join(refused[:5])}",
            )
        arena = start.current()
        if arena is not None:
            for key, value in values.items():
                arena.gauge(f"{self.name}.{key}").set(value)
        if self.beat is not None:
            self.beat()
        return values


checks: dict[str, Check] = {}
collectors: dict[str, Collector] = {}
reloaders = reloads.reloaders


@overload
def check(  # noqa: D103 - see below
    name: str,
    fn: F,
    kind: str = "readiness",
    timeout: float = 2.0,
    every: float = 60.0,
) -> F: ...
@overload
def check(  # noqa: D103, F811 - an overload, which ruff cannot see
    name: str,
    fn: None = None,
    kind: str = "readiness",
    timeout: float = 2.0,
    every: float = 60.0,
) -> Callable[[F], F]: ...
def check(  # noqa: F811 - as above
    name: str,
    fn: F | None = None,
    kind: str = "readiness",
    timeout: float = 2.0,
    every: float = 60.0,
) -> F | Callable[[F], F]:
    """Register a health check: ``check("database", ping)``, or ``@check("database")`` above a function, sync or async.

    ``kind`` is readiness, liveness or startup; the agent asks every ``every`` seconds and counts no answer within
    ``timeout`` seconds as bad. The same name again replaces the check before. Returns the function. Never raises.
    """
    if fn is None:
        return lambda function: check(name, function, kind, timeout, every)
    try:
        if start.is_off():
            return fn
        text = contexts.label_value(name)
        if kind not in KINDS:
            guard.report(
                f"check.{text}",
                f"check {text!r} asks for kind={kind!r}, which is none of {', '.join(KINDS)}; it is readiness",
            )
            kind = "readiness"
        given: object = fn
        if not callable(given):
            guard.report(f"check.{text}", f"check {text!r} was given {type(fn).__name__}, which cannot be called")
            return fn
        _register(checks, text, Check(text, fn, kind, _seconds(timeout, 2.0), _seconds(every, 60.0)), "check")
    except Exception as error:
        if guard.failed("check", error):
            raise
    return fn


def informational(name: str, fn: Callable[[], object], every: float, timeout: float = 2.0) -> None:
    """Register a check of our own that is shown and judged, and makes no program unready. Never raises."""
    try:
        text = contexts.label_value(name)
        _register(checks, text, Check(text, fn, "informational", timeout, every), "check")
    except Exception as error:
        if guard.failed("check", error):
            raise


def collector(obj: Any, name: str = "") -> Any:
    """Register an object whose ``collect()`` returns a dict of figures, or such a function; the agent asks for them.

    Nested dicts become dotted names; ``timestamp`` is passed over; what is no number is refused and told once.
    Returns the object, so that it also works as a decorator. Never raises.
    """
    try:
        if start.is_off():
            return obj
        function = getattr(obj, "collect", None)
        if not callable(function):
            function = obj if callable(obj) else None
        text = contexts.label_value(
            name or getattr(obj, "name", "") or getattr(obj, "__name__", "") or type(obj).__name__
        )
        if function is None:
            guard.report(f"collector.{text}", f"collector({text}) has no collect() and cannot be called")
            return obj
        _register(collectors, text, Collector(text, function), "collector")
    except Exception as error:
        if guard.failed("collector", error):
            raise
    return obj


def judge(answer: object) -> tuple[bool, str]:
    """Return whether a check's answer is good, and its detail."""
    if answer is None or answer is True:
        return True, "ok"
    if isinstance(answer, str):
        return True, answer
    if isinstance(answer, tuple) and len(answer) == 2:  # noqa: PLR2004 - the documented pair
        return bool(answer[0]), str(answer[1])
    if isinstance(answer, Mapping):
        detail = str(answer.get("detail") or answer.get("message") or answer.get("error") or "")
        for key in ("ok", "healthy", "status"):
            if key in answer:
                said = answer[key]
                good = said.lower() in _GOOD if isinstance(said, str) else bool(said)
                return good, detail or f"{key}: {said}"
        return True, detail or "ok"
    return bool(answer), "ok" if answer else f"returned {answer!r}"


def flatten(
    answer: Mapping[Any, Any], prefix: str, values: dict[str, float], refused: list[str], depth: int = 0
) -> None:
    """Sort what a collector returned into figures by dotted name, and names of what is none."""
    for key, value in list(answer.items())[:MOST_VALUES]:
        name = f"{prefix}{contexts.label_value(key)}"
        if len(values) >= MOST_VALUES or name == "timestamp":
            continue
        if isinstance(value, Mapping) and depth < 4:  # noqa: PLR2004 - deeper is no set of figures
            flatten(value, f"{name}.", values, refused, depth + 1)
            continue
        try:
            if isinstance(value, (str, bytes)):
                raise TypeError  # noqa: TRY301 - "12" is text, though float() would take it
            number = float(value)
            if not -_MOST_FINITE <= number <= _MOST_FINITE:
                raise ValueError  # noqa: TRY301 - as above
            values[name] = number
        except (TypeError, ValueError, OverflowError):
            refused.append(name)


def wait_for(awaitable: Any, loop: Any, timeout: float) -> object:
    """Run an awaitable on the program's ``loop``, else on one of our own, for at most ``timeout`` seconds."""
    import asyncio

    async def bounded() -> object:
        return await asyncio.wait_for(awaitable, timeout)

    if loop is None or loop.is_closed() or not loop.is_running():
        with asyncio.Runner(loop_factory=_own_loop) as runner:
            return runner.run(bounded())
    future = asyncio.run_coroutine_threadsafe(bounded(), loop)
    try:
        return future.result(timeout + 0.5)
    except BaseException:
        future.cancel()
        raise


def _own_loop() -> Any:
    """Return a new event loop that is marked as ours: its silence between two checks is no stall of the program's."""
    import asyncio

    loop: Any = asyncio.new_event_loop()
    try:
        setattr(loop, guard.OWN_LOOP, True)
    except AttributeError:
        pass  # a loop of somebody else's class, without room for it
    return loop


def _register(table: dict[str, Any], name: str, made: Any, kind: str) -> None:
    if len(table) >= MOST and name not in table:
        guard.report(f"{kind}.most", f"more than {MOST} {kind}s were registered; {name!r} is left out")
        return
    table[name] = made

    def declare(arena: Any) -> None:
        made.beat = arena.beat(name, kind=kind, every=getattr(made, "every", None)).beat

    start.ensure()
    start.when_started(declare)
    declared()


def declared() -> None:
    """Have the agent told, and asked by it, what is registered here."""
    from roadworthy.app import socket

    socket.answers.update(check=_answer_check, collect=_answer_collect, reload=_answer_reload)
    socket.declares.update(
        checks=lambda: [found.declared() for found in tuple(checks.values())],
        collectors=lambda: list(collectors),
        reload=lambda: bool(reloaders),
    )
    socket.declared()


def _answer_check(message: dict[str, Any]) -> dict[str, object]:
    name = str(message.get("name"))
    found = checks.get(name)
    if found is None:
        return {"ok": False, "detail": f"no check {name[:64]!r} is registered here", "took": 0.0}
    good, detail, took = found.run()
    return {"ok": good, "detail": detail, "took": round(took, 6)}


def _answer_collect(message: dict[str, Any]) -> dict[str, object]:
    name = str(message.get("name"))
    source = collectors.get(name)
    if source is None:
        return {"ok": False, "detail": f"no collector {name[:64]!r} is registered here", "values": {}}
    try:
        return {"ok": True, "values": source.run()}
    except Exception as error:
        what = f"{type(error).__name__}: {contexts.label_text(error, 200)}"
        guard.report(f"collector.{name}", f"collector {name!r} could not be asked ({what})")
        return {"ok": False, "detail": what, "values": {}}


def _answer_reload(_message: dict[str, Any]) -> None:
    for function in tuple(reloaders):
        try:
            function()
        except Exception as error:
            guard.report(
                "reload", f"a reload subscriber failed ({type(error).__name__}: {contexts.label_text(error, 200)})"
            )


def _running_loop() -> Any:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _seconds(value: object, default: float) -> float:
    return float(value) if isinstance(value, (int, float)) and 0 < value < 1e6 else default  # noqa: PLR2004 - 11 days
