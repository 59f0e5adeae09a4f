"""How long starting takes, step by step: checkpoints in the arena, and profiles that the program reads itself."""

from __future__ import annotations

from itertools import count

from roadworthy._clock import monotonic_ns
from roadworthy.app import context as contexts
from roadworthy.app import guard, start

MOST_PROFILES = 64
MOST_STEPS = 256
_NS = 1e9


class Step:
    """A step of a profile: ``at`` seconds after its beginning, ``took`` seconds since the step before."""

    __slots__ = ("at", "label", "took")

    def __init__(self, label: str, at: float, took: float) -> None:
        self.label = label
        self.at = at
        self.took = took

    def __repr__(self) -> str:
        return f"Step(label={self.label!r}, at={self.at!r}, took={self.took!r})"


class Profile:
    """What one profile measured; the steps' durations add up to ``total`` (seconds)."""

    __slots__ = ("profile_id", "service", "steps", "total")

    def __init__(self, profile_id: str, service: str, total: float, steps: tuple[Step, ...]) -> None:
        self.profile_id = profile_id
        self.service = service
        self.total = total
        self.steps = steps

    def __repr__(self) -> str:
        return f"Profile({self.profile_id!r}, {self.service!r}, total={self.total!r}, steps={self.steps!r})"

    @property
    def slowest(self) -> tuple[Step, ...]:
        """The steps, slowest first: where a start loses its time."""
        return tuple(sorted(self.steps, key=lambda step: -step.took))


class _Running:
    """A profile under way."""

    __slots__ = ("begun", "marks", "service")

    def __init__(self, service: str, begun: int) -> None:
        self.service = service
        self.begun = begun
        self.marks: list[tuple[str, int]] = []


class Startup:
    """The start of this process; use the one object ``roadworthy.startup``."""

    def __init__(self) -> None:
        self._profiles: dict[str, _Running] = {}
        self._next = count(1).__next__
        self._is_ready = False

    def checkpoint(self, label: str) -> None:
        """Note that a step of starting is done: ``startup.checkpoint("database_connected")``. Never raises."""
        try:
            arena = start.ensure()
            if arena is not None:
                arena.mark("checkpoint", contexts.label_value(label))
        except Exception as error:
            if guard.failed("startup.checkpoint", error):
                raise

    def ready(self, label: str = "ready") -> None:
        """Note that the program is up and can do its work; counts once. Never raises."""
        try:
            arena = start.ensure()
            if arena is not None and not self._is_ready:
                self._is_ready = True
                arena.mark("ready", contexts.label_value(label))
        except Exception as error:
            if guard.failed("startup.ready", error):
                raise

    def start_profiling(self, service: str) -> str:
        """Begin a profile and return its identifier; when more than 64 run, the oldest is dropped. Never raises."""
        profile = f"{contexts.label_value(service)}-{self._next()}"
        if len(self._profiles) >= MOST_PROFILES:
            self._profiles.pop(next(iter(list(self._profiles)), ""), None)
        self._profiles[profile] = _Running(contexts.label_value(service), monotonic_ns())
        return profile

    def add_checkpoint(self, profile_id: str, label: str) -> None:
        """Note a step of that profile, and of this process's start; an unknown profile is told once. Never raises."""
        running = self._profiles.get(profile_id)
        if running is None:
            guard.report(f"startup.{profile_id}", f"there is no start-up profile {profile_id!r} to add {label!r} to")
            return
        if len(running.marks) < MOST_STEPS:
            running.marks.append((contexts.label_value(label), monotonic_ns()))
        self.checkpoint(label)

    def finish_profiling(self, profile_id: str) -> Profile | None:
        """End a profile and return it; what follows the last checkpoint is the step "finish". None when unknown."""
        running = self._profiles.pop(profile_id, None)
        if running is None:
            guard.report(f"startup.{profile_id}", f"there is no start-up profile {profile_id!r} to finish")
            return None
        end = monotonic_ns()
        steps = []
        before = running.begun
        for label, at in [*running.marks, ("finish", end)]:
            steps.append(Step(label, (at - running.begun) / _NS, (at - before) / _NS))
            before = at
        return Profile(profile_id, running.service, (end - running.begun) / _NS, tuple(steps))


startup = Startup()
