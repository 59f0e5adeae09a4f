"""Shows the policies of a program and steers them: what :mod:`roadworthy.resilience` tells goes into the arena.

Successes are counted by the policies' own wrappers, in the word of the arena that is theirs (``resilience.calls``); all
else that they tell passes here. What people set with the agent comes by the control page, what the processes of a host
share lies in the arena's shared file. This module is imported by :mod:`roadworthy.app.start` when there is a policy.
"""

# ruff: noqa: ANN401 - arenas and instruments are imported late

from __future__ import annotations

import os

from roadworthy import _clock
from roadworthy.app import context as contexts
from roadworthy.app import guard, host_state, page, pulse, socket, start
from roadworthy.resilience import hook, states
from roadworthy.resilience.outcome import NAMES, SUCCESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from roadworthy.resilience.policy import Policy
    from roadworthy.types import StateStore

CALLS = "resilience.calls"
STATE = "resilience.breaker.state"
BUDGET = "resilience.retry.budget"
KEY = "resilience"
SAME_TIME = 1.0
"""Seconds by which two ends of a forced state may differ and still be the same one, told by wall clocks."""

_BAD = frozenset({"open", "forced_open"})
_INFO, _WARNING = 20, 30
_CODES = {name: code for code, name in enumerate(states.NAMES)}
_SERIES_OF_ONE = len(NAMES) + 4
"""Counters that one policy can have: its outcomes, retries, denied retries, fallbacks, hedges."""

_NAN = float("nan")


class Live:
    """The listener; see :class:`roadworthy.resilience.hook.Hook`."""

    def __init__(self) -> None:
        self._counters: dict[tuple[str, str, str], Any] = {}
        self._gauges: dict[tuple[str, str], Any] = {}
        self._follows = False

    def words(self, policy: str) -> tuple[Any, int] | None:
        """Return where successes of a policy are counted."""
        counter = self._calls(policy, SUCCESS)
        if counter is None:
            return None
        cell = getattr(counter, "_cell", None)
        if cell is None:  # a compiled hot module shows no views
            return _Adder(counter), 0
        return cell.d, counter._index  # noqa: SLF001 - one house; a call for each success would cost its third

    def count(self, policy: str, outcome: int, n: int) -> None:
        """Count calls by their outcome."""
        counter = self._calls(policy, outcome)
        if counter is not None:
            counter.add(n)

    def add(self, series: str, policy: str, n: int) -> None:
        """Count in ``resilience.<series>``."""
        counter = self._counter(f"{KEY}.{series}", policy, "")
        if counter is not None:
            counter.add(n)

    def changed(
        self, policy: str, kind: str, before: str, after: str, reason: str, fields: Mapping[str, object]
    ) -> None:
        """Put a change of state into the flight recorder, and its gauge where it now stands."""
        arena = start.current()
        if arena is None:
            return
        text = f"{kind} {policy}: {before} -> {after}"
        told = {"from": before, "to": after, "reason": reason, **fields}
        level = _WARNING if after in _BAD else _INFO
        arena.event("state", level, f"policy:{policy}", contexts.line(text), contexts.plain(told))
        code = _CODES.get(after)
        if kind == "breaker" and before != after and code is not None:
            self.gauge(STATE, policy, code)  # its own only: an outage changes many at once

    def declared(self, policy: Any) -> None:
        """Tell the agent of a policy, and follow what people set for it."""
        socket.declares["policies"] = described
        socket.declared()
        pulse.every("policies", watch)
        _applied.pop(id(policy), None)  # told to one that is gone, whose number this one got
        if not self._follows:
            self._follows = True
            page.follow(KEY, told)
        elif _wanted is not None and _steer(policy, _wanted):
            page.follow(KEY, told)  # not possible now: at the next look, for all
        if self._calls(policy.name, SUCCESS) is not None:
            for key, value in _measured(policy, _clock.monotonic_ns()):
                self.gauge(*key, value)

    def store(self) -> StateStore | None:
        """Return the words that the processes of this application share."""
        return host_state.store()

    def failed(self, place: str, error: BaseException) -> bool:
        """Count a failure of ours; True when the exception is the program's own."""
        return guard.failed(place, error)

    def gauge(self, series: str, policy: str, value: float) -> None:
        """Set a gauge of a policy."""
        key = (series, policy)
        found = self._gauges.get(key)
        if found is None:
            arena = start.current()
            if arena is None:
                return
            found = arena.gauge(series, (("policy", contexts.label_value(policy)),), merge="max")
            found = self._gauges.setdefault(key, found)
        found.set(value)

    def forget(self, names: set[str], gauges: Mapping[tuple[str, str], float]) -> None:
        """Let go of policies that are gone; what they stood at is not known any more."""
        for key in tuple(self._gauges):  # a copy: other threads make policies meanwhile
            gone = self._gauges.pop(key, None) if key not in gauges else None
            if gone is not None:
                gone.set(_NAN)
                socket.declared()
        if len(self._counters) > _SERIES_OF_ONE * len(names):
            for counted in tuple(self._counters):
                if counted[1] not in names:
                    self._counters.pop(counted, None)

    def _calls(self, policy: str, outcome: int) -> Any:
        return self._counter(CALLS, policy, NAMES[outcome])

    def _counter(self, series: str, policy: str, outcome: str) -> Any:
        key = (series, policy, outcome)
        found = self._counters.get(key)
        if found is None:
            arena = start.current()
            if arena is None:
                return None
            labels = (("policy", contexts.label_value(policy)),)
            found = arena.counter(series, (("outcome", outcome), *labels) if outcome else labels, unit="{call}")
            found = self._counters.setdefault(key, found)
        return found


class _Adder:
    """Stands in for the word of a counter that shows none: ``adder[0] += 1`` counts one."""

    __slots__ = ("_counter",)

    def __init__(self, counter: Any) -> None:
        self._counter = counter

    def __getitem__(self, index: int) -> int:
        return 0

    def __setitem__(self, index: int, value: float) -> None:
        self._counter.add(value)


live = Live()
_applied: dict[int, int] = {}
_wanted: Mapping[str, Any] | None = None
"""What the page says of policies, as far as it was seen."""


def install(_arena: Any = None) -> None:
    """Listen to the policies of this process from now on."""
    os.register_at_fork(after_in_child=_after_fork)
    arena = start.current()
    if arena is not None:
        arena.after_fork_hooks.append(_born)
    hook.attach(live)


def described() -> list[dict[str, object]]:
    """Return what the agent is told of the policies of this process; of several with one name, of the newest."""
    found: dict[str, dict[str, object]] = {}
    for policy in hook.living():
        try:
            found[policy.name] = policy.describe()
        except Exception as error:
            if guard.failed(f"policy {policy.name}", error):
                raise
    return list(found.values())


def watch(_now_ns: int = 0) -> None:
    """Bring the gauges up to date: a state that others have changed or whose time is over, and what budgets hold.

    Of several policies with one name the worst is shown; one that is gone is unknown.
    """
    now_ns = _clock.monotonic_ns()
    living = hook.living()
    found: dict[tuple[str, str], float] = {}
    for policy in living:
        for key, value in _measured(policy, now_ns):
            before = found.get(key, value)
            found[key] = max(before, value) if key[0] == STATE else min(before, value)
    for key, value in found.items():
        live.gauge(*key, value)
    live.forget({policy.name for policy in living}, found)
    if len(_applied) > len(living):
        numbers = {id(policy) for policy in living}
        for number in tuple(_applied):
            if number not in numbers:
                _applied.pop(number, None)


def _measured(policy: Policy, now_ns: int) -> list[tuple[tuple[str, str], float]]:
    """Return what the gauges of a policy show."""
    breaker, retry = policy.breaker, policy.retry
    found: list[tuple[tuple[str, str], float]] = []
    if breaker is not None:
        found.append(((STATE, policy.name), breaker.code))
    if retry is not None and retry.budget is not None:
        left = retry.budget.left(now_ns)
        if left is not None:
            found.append(((BUDGET, policy.name), left))
    return found


def told(value: dict[str, Any]) -> bool:
    """Do what people set on the control page; True: not everything could be done, ask again."""
    global _wanted  # noqa: PLW0603 - one page per process
    wanted = value.get(KEY)
    policies = wanted.get("policies") if isinstance(wanted, dict) else None
    _wanted = policies = policies if isinstance(policies, dict) else {}
    again = False
    for policy in hook.living():
        again |= _steer(policy, policies)
    return again


def _steer(policy: Policy, wanted: Mapping[str, Any]) -> bool:
    entry = wanted.get(policy.name)
    return policy.breaker is not None and _apply(policy, entry if isinstance(entry, dict) else {})


def _apply(policy: Policy, entry: dict[str, Any]) -> bool:
    """Force or reset a breaker as an entry of the page says, once for each epoch of it; True: try again."""
    known = id(policy)
    reset = entry.get("reset")
    epoch = reset if isinstance(reset, int) else entry.get("epoch")
    epoch = epoch if isinstance(epoch, int) else 0
    before = _applied.get(known)
    if before == epoch:
        return False
    _applied[known] = epoch
    if not epoch or policy.breaker is None:
        return False
    try:
        if reset is not None:
            # What was reset before this process could hear of it is no order to this one: others go by the same state.
            if before is not None:
                policy.breaker.reset(reason="by the operator")
        else:
            _force(policy, entry)
    except Exception as error:
        _applied.pop(known, None) if before is None else _applied.update({known: before})
        if guard.failed(f"policy {policy.name}: control page", error):
            raise
        from roadworthy.errors import Temporary

        if isinstance(error, Temporary):
            return True
        _applied[known] = epoch
    return False


def _force(policy: Policy, entry: dict[str, Any]) -> None:
    breaker = policy.breaker
    until = entry.get("until_wall")
    left = until - _clock.wall() if isinstance(until, int | float) else None
    if breaker is None or (left is not None and left <= 0):
        return
    state = str(entry.get("force"))
    if breaker.state == state:
        standing = breaker.forced_for
        if standing == left or (left is not None and standing is not None and abs(standing - left) < SAME_TIME):
            return  # another process of this host has done it
    breaker.force(state, left, reason="by the operator")


# -- forks


def _after_fork() -> None:
    """Have a forked child count from 0, in the arena that it makes with its first record."""
    for policy in hook.living():
        policy.meter.forked(live.words(policy.name))


def _born() -> None:
    _after_fork()
    pulse.every("policies", watch)
    watch()
