"""What the program itself wants done: ``recovery.on(MemoryError, recovery.collect, feature("cache").off)``."""

from __future__ import annotations

from roadworthy._clock import NS
from roadworthy.resilience import arguments
from roadworthy.resilience.switch import RECOVERY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from roadworthy.resilience.recover.context import ErrorContext

_GIVEN = frozenset({"error", "context", "reason", "source"})


class Rule:
    """Steps for errors of some classes, at most once in ``every`` seconds for a component."""

    __slots__ = ("_last", "classes", "every_ns", "failed", "name", "ran", "steps")

    def __init__(
        self, classes: tuple[type[BaseException], ...], steps: tuple[Callable[..., object], ...], every: float
    ) -> None:
        """Raise BadArgument for what are no exception classes, no steps or no time."""
        for one in classes:
            given: object = one
            if not (isinstance(given, type) and issubclass(given, BaseException)):
                raise arguments.BadArgument("on", one, "an exception class or a tuple of such")
        if not classes or not steps:
            raise arguments.BadArgument("steps", steps, "at least one function")
        self.classes = classes
        self.steps = [(arguments.function("steps", step), _wanted(step)) for step in steps]
        self.every_ns = int(arguments.number("every", every) * NS)
        self.name = "on " + ", ".join(one.__name__ for one in classes)
        self._last: dict[str, int] = {}
        self.ran = 0
        self.failed = 0

    def due(self, error: BaseException, component: str, now_ns: int) -> bool:
        """Tell whether the steps are to run now, and take note that they do."""
        if not isinstance(error, self.classes):
            return False
        last = self._last.get(component)
        if last is not None and now_ns - last < self.every_ns:
            return False
        if component not in self._last and len(self._last) >= 256:  # noqa: PLR2004 - bounded
            del self._last[next(iter(self._last))]
        self._last[component] = now_ns
        return True

    def run(self, error: BaseException, context: ErrorContext) -> bool:
        """Run the steps in order, also after one that fails; tells whether all of them ended well."""
        given: dict[str, Any] = {
            "error": error,
            "context": context,
            "reason": f"{type(error).__name__} in {context.component}",
            "source": RECOVERY,
        }
        self.ran += 1
        good = True
        for step, wanted in self.steps:
            try:
                step(**{name: given[name] for name in wanted})
            except Exception:  # noqa: BLE001 - the program's own step; it is counted, and the next one may help
                good = False
                self.failed += 1
        return good


def _wanted(step: Callable[..., object]) -> frozenset[str]:
    """Return which of error, context, reason and source a step has parameters for."""
    from inspect import signature

    try:
        return _GIVEN & frozenset(signature(step).parameters)
    except (TypeError, ValueError):
        return frozenset()  # something of C without a signature: called without arguments
