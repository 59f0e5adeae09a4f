"""Features that can be switched off while the program runs, with a reason, and come back by themselves.

::

    if feature("reports").is_on: ...
    feature("reports").off(reason="high_load", for_=300)
    feature("reports").on()
"""

from __future__ import annotations

from roadworthy.resilience.switch import HOLD, OPERATOR, PROGRAM, RECOVERY, Switch, check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_features: dict[str, Feature] = {}


class Feature:
    """A part of the program that it can do without for a while; :func:`feature` makes it."""

    __slots__ = ("name", "switch")

    def __init__(self, name: str, scope: str = "host") -> None:
        self.name = check_name("feature", name)
        self.switch = Switch("feature", name, scope)

    def off(
        self,
        reason: str = "",
        for_: float | None = None,
        *,
        while_: Callable[[], object] | None = None,
        hold: float = HOLD,
        source: str = PROGRAM,
    ) -> None:
        """Switch it off, in all processes of the application.

        It comes back after ``for_`` seconds; or once ``while_()`` has been false for ``hold`` seconds (asked at most
        once a second, by whoever asks for the feature; such an "off" is this process's own); or by :meth:`on`. Again
        while it is off renews reason and time. Raises BadArgument for times that are not positive.
        """
        self.switch.hold(source, reason, for_, while_, hold)

    def on(self) -> bool:
        """Take back what the program and its recoveries switched off; returns whether it is on now.

        What the operator has switched off stays off until the operator says otherwise.
        """
        self.switch.release(PROGRAM)
        self.switch.release(RECOVERY)
        return not self.switch.is_off

    @property
    def is_off(self) -> bool:
        """Whether it is switched off now, by whomever; never raises, and costs less than a microsecond."""
        return self.switch.is_off

    @property
    def is_on(self) -> bool:
        """Whether it may be used now."""
        return not self.switch.is_off

    def __bool__(self) -> bool:
        return not self.switch.is_off

    @property
    def reason(self) -> str:
        """Why it is off, all reasons; empty while it is on."""
        return str(self.switch.times()["reason"])

    def describe(self) -> dict[str, object]:
        """Return name, whether it is off, reason, source, since and until (wall seconds; None: open)."""
        off = self.switch.is_off
        return {"name": self.name, "off": off, **self.switch.times()}

    def operator(self, reason: str | None, for_: float | None = None) -> None:
        """Switch it off in the operator's name, or with None take that back; what the control page does."""
        if reason is None:
            self.switch.release(OPERATOR)
        else:
            self.switch.hold(OPERATOR, reason, for_)

    def __repr__(self) -> str:
        return f"feature({self.name!r}, {'off' if self.is_off else 'on'})"


def feature(name: str, scope: str = "") -> Feature:
    """Return the feature of that name, always the same object; it is on until it is switched off.

    ``scope`` is ``host`` (the default: switching it off holds in all processes of the application) or ``process``; the
    first call that gives one decides. Raises BadArgument for what is no name or scope.
    """
    found = _features.get(name)
    if found is None:
        made = Feature(name, scope or "host")  # judges the name
        found = _features.setdefault(made.name, made)
    return found


def features() -> list[Feature]:
    """Return all features that were ever named in this process."""
    return list(_features.values())


def forget() -> None:
    """Forget all features; for tests."""
    _features.clear()
