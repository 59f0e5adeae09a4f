"""Which features are used, with which outcome, and in which order."""

from __future__ import annotations

from contextvars import ContextVar

from roadworthy._clock import monotonic_ns
from roadworthy.app import context as contexts
from roadworthy.app import guard, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 1024
"""Combinations of feature, outcome and success that are kept at hand."""

_previous: ContextVar[tuple[str, int]] = ContextVar("roadworthy_feature", default=("", 0))
_adders: dict[tuple[str, str, bool], Callable[[], None]] = {}


def usage(feature: str, outcome: str = "", success: bool | None = True) -> None:  # noqa: FBT001, FBT002 - MON-10
    """Count one use of a feature: ``usage("batch_extraction", "completed", success=True)``.

    Uses that follow one another in the same thread, task or request also make a workflow: the step from the feature
    before to this one is counted, and how long the one before was in use. ``success=None`` says that it is not known.
    Never raises.
    """
    try:
        arena = start.ensure()
        if arena is None:
            return
        key = (contexts.label_value(feature), contexts.label_value(outcome), success)
        add = _adders.get(key)  # type: ignore[arg-type]  # None stands beside True and False
        if add is None:
            told = "unknown" if success is None else "true" if success else "false"
            labels = (("feature", key[0]), ("outcome", key[1]), ("success", told))
            add = arena.counter("usage", labels, help="uses of features").add
            if len(_adders) < MOST:
                _adders[key] = add  # type: ignore[index]  # as above
        add()
        before, since = _previous.get()
        now = monotonic_ns()
        _previous.set((key[0], now))
        if before:
            steps = (("from", before), ("to", key[0]))
            arena.counter("usage.transition", steps, help="steps from one feature to the next").add()
            arena.histogram("usage.duration", (("feature", before),), unit="s", scale=1e9).record(now - since)
    except Exception as error:
        if guard.failed("usage", error):
            raise
