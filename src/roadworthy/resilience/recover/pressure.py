"""Shedding under lasting pressure: memory that fills up, a frame rate that falls, components that fail together.

Features are given up in a declared order, one after each ``hold`` seconds of pressure, and come back in reverse, one
after each ``release`` seconds without. A moment's peak sheds nothing, a moment's relief brings nothing back.
"""

from __future__ import annotations

from roadworthy._clock import NS
from roadworthy.resilience import arguments
from roadworthy.resilience.feature import feature
from roadworthy.resilience.switch import RECOVERY

MORE, LESS, SAME = 1, -1, 0


class Pressure:
    """One figure with a limit: ``Pressure("memory", above=90)``, ``Pressure("frame_rate", below=50)``.

    Between ``limit`` and ``back`` (default: 5 % better than the limit) nothing changes. Raises BadArgument.
    """

    __slots__ = ("_since_ns", "_state", "back", "hold_ns", "limit", "name", "release_ns", "sign")

    def __init__(
        self,
        name: str,
        *,
        above: float | None = None,
        below: float | None = None,
        back: float | None = None,
        hold: float = 5.0,
        release: float = 30.0,
    ) -> None:
        if (above is None) == (below is None):
            raise arguments.BadArgument("above", above, "given, or else below, and not both")
        self.name = name
        self.sign = 1 if above is not None else -1
        self.limit = arguments.number("limit", above if above is not None else below, least=-1e12, most=1e12)
        self.back = self.limit - self.sign * abs(self.limit) * 0.05 if back is None else back
        if self.sign * (self.limit - self.back) < 0:
            raise arguments.BadArgument("back", back, "on the good side of the limit")
        self.hold_ns = int(arguments.number("hold", hold) * NS)
        self.release_ns = int(arguments.number("release", release) * NS)
        self._state = SAME
        self._since_ns = 0

    def note(self, value: float, now_ns: int) -> int:
        """Take a measurement; returns MORE when one feature is to go now, LESS when one may come back, else SAME."""
        state = MORE if self.sign * (value - self.limit) > 0 else LESS if self.sign * (value - self.back) <= 0 else SAME
        if state != self._state:
            self._state, self._since_ns = state, now_ns
        wait = {MORE: self.hold_ns, LESS: self.release_ns}.get(state)
        if wait is None or now_ns - self._since_ns < wait:
            return SAME
        self._since_ns = now_ns
        return state


class Shedding:
    """Which features go first."""

    __slots__ = ("_order", "_shed")

    def __init__(self) -> None:
        self._order: list[str] = []
        self._shed: list[str] = []

    def declare(self, *names: str) -> None:
        """Say what the program can do without, the most dispensable first; adds to what was said before."""
        self._order += [feature(name).name for name in names if name not in self._order]

    @property
    def declared(self) -> bool:
        """Whether there is anything that could be given up."""
        return bool(self._order)

    def more(self, reason: str, for_: float | None = None) -> str:
        """Switch off the next feature that is still on and return its name; empty when there is none.

        With ``for_`` it comes back by itself after so many seconds; those that are off already are renewed.
        """
        for name in self._order:
            one = feature(name)
            if one.is_off:
                if for_ is not None and any(held.source == RECOVERY and held.until_ns for held in one.switch.holds()):
                    one.off(reason, for_, source=RECOVERY)
                continue
            one.off(reason, for_, source=RECOVERY)
            if for_ is None:
                self._shed.append(name)
            return name
        return ""

    def less(self) -> str:
        """Bring back what was given up last and return its name; empty when nothing is."""
        if not self._shed:
            return ""
        name = self._shed.pop()
        feature(name).switch.release(RECOVERY)
        return name
