"""Shows features, services and recoveries of a program and steers them: what they tell goes to arena and agent.

What people switch with the agent comes by the control page, and is done within a quarter of a second in every process;
what the agent asks for (``recover``) runs in a thread of its own. :mod:`roadworthy.app.start` imports this module when
the program uses a feature, a service or recovery.
"""

# ruff: noqa: ANN401 - arenas and instruments are imported late

from __future__ import annotations

import os

from roadworthy import _clock
from roadworthy.app import context as contexts
from roadworthy.app import errors, guard, host_state, page, pulse, runs, socket, start
from roadworthy.log import correlation
from roadworthy.log import security as events
from roadworthy.log.redact import redact
from roadworthy.resilience import outward
from roadworthy.resilience.degrade import degradation_manager
from roadworthy.resilience.feature import feature, features

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from roadworthy.resilience.recover.manager import ErrorRecoveryManager
    from roadworthy.types import StateStore

KEY = "resilience"
OFF = "resilience.feature.off"
RECOVERIES = "resilience.recoveries"
MOST = 200
"""Features, and services, that the page may name, and that are told."""

EVERY_NS = _clock.NS
"""Nanoseconds between two looks at triggers, services and what nobody has proven."""

_INFO, _WARNING = 20, 30
_BAD = frozenset({"off", "degraded", "down"})
_applied: dict[tuple[str, str], tuple[object, ...]] = {}
_given_back: set[tuple[str, str]] = set()
_due_ns = 0


class Live:
    """The listener; see :class:`roadworthy.resilience.outward.Outward`."""

    def __init__(self) -> None:
        self._cause = ""
        self._series: dict[tuple[str, ...], Any] = {}

    def changed(self, kind: str, name: str, before: str, after: str, reason: str, fields: Mapping[str, object]) -> None:
        """Put a change of state into the flight recorder, and a feature's gauge where it now stands."""
        arena = start.current()
        if arena is None:
            return
        told = {"from": before, "to": after, "reason": reason, **fields}
        level = _WARNING if after in _BAD else _INFO
        text = f"{kind} {name}: {before} -> {after}"
        arena.event("state", level, f"{kind}:{name}", contexts.line(text), contexts.plain(told))
        if kind == "feature":
            self.gauge(name, off=after == "off")

    def failed(self, error: BaseException, fields: Mapping[str, object]) -> None:
        """Record an error as the program's own ``roadworthy.error()`` would."""
        operation = str(fields.get("operation") or fields.get("component") or "")
        self._cause = errors.record(error, operation=operation, context=fields)

    def recovered(self, component: str, kind: str, action: str, outcome: str) -> None:
        """Count how a recovery turned out."""
        found = self._series.get((component, kind, action, outcome))
        if found is None:
            arena = start.current()
            if arena is None:
                return
            labels = contexts.labels({"component": component, "kind": kind, "action": action, "outcome": outcome})
            found = arena.counter(RECOVERIES, labels, unit="{recovery}", help="recoveries by what the next call proved")
            self._remember((component, kind, action, outcome), found)
        found.add()

    def security(self, event: str, severity: str, text: str, fields: Mapping[str, object]) -> None:
        """Make a security event of it: for the trail, the security log and the flight recorder."""
        word = "CRITICAL" if severity == "critical" else "WARNING"
        events.limited(self._cause or f"{event}:{errors.normalise(text)}", event, text, word, fields)

    def correlation(self) -> str:
        """Return the identifier of the request or job under way."""
        return correlation.current()

    def redact(self, text: str) -> str:
        """Return the text without secrets."""
        return redact(text)

    def ask_restart(self, reason: str) -> bool:
        """Ask the agent for a new process in this one's place; True: it was told. Does not wait for it."""
        slot = os.environ.get("ROADWORTHY_SLOT", "")
        if not slot.isdecimal():
            return False  # nobody started us who could start another
        arena = start.current()
        if arena is not None:
            text = contexts.line(f"asks for a restart: {reason}")
            arena.event("state", _WARNING, "recovery", text, contexts.plain({"slot": slot, "reason": reason}))
        return _ask_agent({"do": "restart", "slot": int(slot), "reason": contexts.label_text(reason, 200)})

    def declared(self) -> None:
        """Tell the agent anew of features and services."""
        socket.declared()

    def state_directory(self) -> str:
        """Return where this application keeps its state; each slot has a place of its own for what is a process's."""
        from roadworthy.config import where

        place = where.state_root(os.environ, start.name())
        slot = os.environ.get("ROADWORTHY_SLOT", "")
        return os.path.join(place, f"worker-{slot}") if slot.isdecimal() else place

    def store(self) -> StateStore | None:
        """Return the words that the processes of this application share."""
        return host_state.store()

    def gauge(self, name: str, *, off: bool) -> None:
        """Set the gauge of a feature."""
        found = self._series.get((name,))
        if found is None:
            arena = start.current()
            if arena is None:
                return
            labels = (("feature", contexts.label_value(name)),)
            found = arena.gauge(OFF, labels, help="1 while the feature is switched off", merge="max")
            self._remember((name,), found)
        found.set(1.0 if off else 0.0)

    def _remember(self, key: tuple[str, ...], instrument: Any) -> None:
        if len(self._series) < 4 * MOST:
            self._series[key] = instrument


live = Live()


def install() -> None:
    """Listen to features, services and recoveries of this process from now on."""
    arena = start.current()
    if arena is None or outward.attached() is live:
        return
    os.register_at_fork(after_in_child=_after_fork)
    arena.after_fork_hooks.append(_begin)
    outward.attach(live)
    socket.declares.update(services=told_services, features=told_features)
    socket.answers["recover"] = _answer_recover
    page.follow("switches", apply)
    _begin()
    socket.declared()


def told_features() -> list[dict[str, object]]:
    """Return what the agent is told of the features of this process."""
    return [one.describe() for one in features()[:MOST]]


def told_services() -> list[dict[str, object]]:
    """Return what the agent is told of registered services, and of others that have a rule or are degraded."""
    manager = _manager()
    registered = manager.services.all() if manager is not None else []
    found = [service.describe() for service in registered]
    names = {service.name for service in registered}
    for name in degradation_manager.services():
        if name not in names:
            held = degradation_manager.why(name)
            state = "degraded" if degradation_manager.is_degraded(name) else "up"
            held.pop("source", None)
            found.append({"name": name, "state": state, "recover": False, "restart": False, "breaker": None, **held})
    return found[:MOST]


def apply(value: dict[str, Any]) -> None:
    """Do what the page says of features and services: switch, and take back what it does not say any more."""
    wanted = value.get(KEY)
    wanted = wanted if isinstance(wanted, dict) else {}
    _apply("feature", _entries(wanted, "features"), "off", _feature)
    _apply("service", _entries(wanted, "services"), "degraded", degradation_manager.operator)


def _entries(wanted: Mapping[str, Any], key: str) -> dict[str, dict[str, Any]]:
    entries = wanted.get(key)
    if not isinstance(entries, dict):
        return {}
    good = {name: one for name, one in entries.items() if isinstance(name, str) and isinstance(one, dict)}
    return dict(list(good.items())[:MOST])


def _apply(
    kind: str, entries: dict[str, dict[str, Any]], word: str, act: Callable[[str, str | None, float | None], object]
) -> None:
    global _due_ns  # noqa: PLW0603 - as below
    for name, entry in entries.items():
        stamp = (entry.get(word), entry.get("epoch"), entry.get("until_wall"), entry.get("reason"))
        before = _applied.get((kind, name))
        if before == stamp:
            continue
        _applied[kind, name] = stamp
        until = entry.get("until_wall")
        left = until - _clock.wall() if isinstance(until, (int, float)) else None
        held = entry.get(word) is True and (left is None or left > 0)
        _act(act, kind, name, str(entry.get("reason") or "by the operator") if held else None, left if held else None)
        if entry.get(word) is False:
            # People's word that it be on, also against the program's own. It may wait for a lock: not in here.
            _given_back.add((kind, name))
            _due_ns = 0
    for known in [one for one in _applied if one[0] == kind and one[1] not in entries]:
        if _applied.pop(known)[0] is True:
            _act(act, kind, known[1], None, None)


def _act(
    act: Callable[[str, str | None, float | None], object], kind: str, name: str, reason: str | None, left: float | None
) -> None:
    try:
        act(name, reason, left)
    except Exception as error:
        if guard.failed(f"{kind} {name[:64]}: control page", error):
            raise


def _feature(name: str, reason: str | None, left: float | None) -> None:
    feature(name).operator(reason, left)


def _give_back() -> None:
    while _given_back:
        kind, name = _given_back.pop()
        if kind == "feature":
            feature(name).on()
        else:
            degradation_manager.deactivate_degradation(name)


def _manager() -> ErrorRecoveryManager | None:
    import sys

    module = sys.modules.get("roadworthy.resilience.recover.manager")
    return module.shared() if module is not None else None


def _begin() -> None:
    """Look after things, in this process or, once it has recorded something, in a forked child."""
    pulse.every("services", look)
    pulse.lasting()


def look(now_ns: int) -> None:
    """Have causes and triggers asked, and services recovered, once a second and in a thread of its own."""
    global _due_ns  # noqa: PLW0603 - one clockwork per process
    if now_ns < _due_ns:
        return
    _due_ns = now_ns + EVERY_NS
    runs.start(("recovery", "look"), _look, "recovery")


def _look() -> None:
    _give_back()
    for one in features():
        live.gauge(one.name, off=one.switch.look())
    manager = _manager()
    if manager is None:
        degradation_manager.tick()
        return
    manager.services.spawn = _spawn
    manager.tick()


def _spawn(function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    def work() -> None:
        function(*arguments)

    runs.start(("recovery", arguments[0].name), work, "recovery")


def _answer_recover(message: dict[str, Any]) -> dict[str, object]:
    name = str(message.get("name"))
    manager = _manager()
    if manager is None or manager.services.get(name) is None:
        return {"ok": False, "detail": f"no service {name[:64]!r} is registered here", "took": 0.0}
    # The agent itself goes on to a restart when this does not help (C-13).
    return manager.services.recover(name, escalate=False).as_dict()


def _ask_agent(message: dict[str, object]) -> bool:
    """Send the agent one message as the command line would; True when it was sent. Never waits, never raises."""
    import json

    connection = socket.connect()
    if connection is None:
        return False
    try:
        connection.send(json.dumps({"hello": "cli"}).encode() + b"\n" + json.dumps(message).encode() + b"\n")
        return True
    except OSError:
        return False
    finally:
        connection.close()


def _after_fork() -> None:
    """Forget the parent's instruments: the child has an arena of its own once it records something."""
    global _due_ns  # noqa: PLW0603 - as above
    _due_ns = 0
    live._series.clear()  # noqa: SLF001 - one house
