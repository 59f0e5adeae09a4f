"""Which strategies and rules run for an error: by its kind, in order, and each of them rate-limited."""

from __future__ import annotations

from roadworthy._clock import NS
from roadworthy.resilience import arguments
from roadworthy.resilience.recover import classify
from roadworthy.resilience.recover.backing_off import BackOff, Timeouts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from roadworthy.resilience.recover.context import ErrorContext
    from roadworthy.resilience.recover.repair import Repair, Strategy
    from roadworthy.resilience.recover.rules import Rule

EVERY_NS = NS
"""Nanoseconds between two runs of one strategy for one component: a flood of errors is answered once a second."""

MOST = 1024
_ALWAYS = frozenset({BackOff.name, Timeouts.name})
"""Saying how long to wait costs nothing, and each caller needs to know."""


class Strategies:
    """``failed`` is told what a strategy raised: then it did not help, and the next one has its turn."""

    __slots__ = ("_failed", "_last", "_strategies", "limited", "rules")

    def __init__(self, strategies: Iterable[Strategy], failed: Callable[[BaseException], object]) -> None:
        self._strategies = list(strategies)
        self._failed = failed
        self._last: dict[tuple[str, str], int] = {}
        self.rules: list[Rule] = []
        self.limited = 0

    def add(self, strategy: Strategy) -> None:
        """Put a strategy before the others. Raises BadArgument for kinds that do not exist."""
        unknown = sorted(set(strategy.kinds) - classify.SEVERITY.keys())
        if unknown:
            raise arguments.BadArgument("kinds", ", ".join(unknown), "of " + ", ".join(classify.SEVERITY))
        self._strategies.insert(0, strategy)

    def run(
        self, error: BaseException, context: ErrorContext, kind: str, tries: int, now_ns: int
    ) -> tuple[list[Repair], list[str]]:
        """Run what is due; returns what was done, and the names of what ran."""
        repairs, ran = [], []
        for strategy in list(self._strategies):
            if kind not in strategy.kinds or not self.may_run(strategy.name, context.component, now_ns):
                continue
            try:
                repair = strategy.run(error, context, tries, now_ns)
            except Exception as own:  # noqa: BLE001 - it is counted, see the class
                self._failed(own)
                continue
            if repair is not None:
                repairs.append(repair)
                ran.append(strategy.name)
        for rule in list(self.rules):
            if rule.due(error, context.component, now_ns):
                rule.run(error, context)
                ran.append(rule.name)
        return repairs, ran

    def may_run(self, name: str, component: str, now_ns: int) -> bool:
        """Tell whether it is time, and take note that it runs."""
        if name in _ALWAYS:
            return True
        last = self._last.get((name, component))
        if last is not None and now_ns - last < EVERY_NS:
            self.limited += 1
            return False
        if len(self._last) >= MOST:
            self._last.clear()
        self._last[name, component] = now_ns
        return True
