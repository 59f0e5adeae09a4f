"""The agent's picture of policies, services and features: what the program counts and tells, and what people hold.

Heard whenever the arenas are read, put together once a tick; the program's own words come over the agent's socket.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from roadworthy import _clock
from roadworthy.agent.switches import FEATURES, POLICIES, SERVICES, Switches
from roadworthy.watch import policies, services

if TYPE_CHECKING:
    from roadworthy.agent.collect import Collected
    from roadworthy.types import FeatureSummary, Finding, PolicySummary, ServiceSummary


@dataclass(frozen=True, slots=True)
class Declaration:
    """What one connected process tells of one of its policies, services or features."""

    pid: int
    slot: int | None
    told: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Return the name under which it is shown."""
        return policies.text(self.told.get("name"))


class Apps(Protocol):
    """The program's processes, as the agent's socket knows them."""

    def declared(self, kind: str) -> Sequence[Declaration]:
        """Return what connected processes tell of ``"policies"``, ``"services"`` or ``"features"``."""

    async def recover(self, pid: int, name: str, timeout: float) -> Mapping[str, Any]:  # noqa: ASYNC109 - it is told
        """Let a process recover a service: ``{"ok", "detail", "took"}``; raises :class:`Unavailable`."""


class NoApps:
    """Nobody is connected: an agent of which only arenas are read, or a test."""

    def declared(self, _kind: str) -> Sequence[Declaration]:
        """Return nothing."""
        return ()


class Resilience:
    """Follows policies, services and features; the three lists are as of the last :meth:`look`."""

    def __init__(self, switches: Switches, apps: Apps | NoApps | None = None) -> None:
        self.switches = switches
        self._apps: Apps | NoApps = apps or NoApps()
        self._policies = policies.Policies()
        self._dependencies = services.Dependencies()
        self.policies: tuple[PolicySummary, ...] = ()
        self.services: tuple[ServiceSummary, ...] = ()
        self.features: tuple[FeatureSummary, ...] = ()

    def hear(self, now_ns: int, now: float, collected: Collected) -> None:
        """Take what is new in the arenas at ``now_ns`` (monotonic) and ``now`` (wall); every read must come here."""
        changed = [one for one in collected.changed if one.name.startswith(policies.PREFIX)]
        everything = None
        if collected.anew:
            everything = [one for one in collected.series if one.name.startswith(policies.PREFIX)]
        # What an agent before us has heard tells us, too, since when and why something stands as it does.
        events = (*collected.known, *collected.events)
        self._policies.take(now_ns / _clock.NS, now, changed, everything, events)
        self._dependencies.take(changed, everything, events)

    def look(self, now_ns: int) -> None:
        """Put the picture together at ``now_ns``."""
        told = {kind: [one.told for one in self._apps.declared(kind)] for kind in (POLICIES, SERVICES, FEATURES)}
        held = self.switches.held
        mono = now_ns / _clock.NS
        self.policies = self._policies.summaries(mono, told[POLICIES], held(POLICIES))
        by_name = {one.name: one for one in self.policies}
        self.services = self._dependencies.services(mono, told[SERVICES], held(SERVICES), by_name)
        self.features = self._dependencies.features(mono, told[FEATURES], held(FEATURES))

    def expire(self, now: float, note: Callable[[str], None]) -> None:
        """End what people held until now (wall) and say so; raises as :meth:`Switches.tick`."""
        for kind, names in self.switches.tick(now).items():
            for name in sorted(names):
                note(f"{_WORDS[kind]} {name}: its time is over, what was held is given back")

    def findings(self) -> tuple[Finding, ...]:
        """Return what all this says about the program's health."""
        return (*policies.findings(self.policies), *services.findings(self.services, self.features))


_WORDS = {POLICIES: "policy", SERVICES: "service", FEATURES: "feature"}
