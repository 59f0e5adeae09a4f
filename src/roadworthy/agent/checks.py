"""Runs health checks in the background: in parallel, each with its own interval and timeout, results kept.

Nobody who asks for a result waits for a check. Three failures in a row, on a check's own interval, are an outage.
A check whose time is over counts as failed; a thread that still hangs in it is left there and not started again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

from roadworthy import _clock
from roadworthy.agent import probes
from roadworthy.agent.outcome import InThread, Outcome, Probe
from roadworthy.config.values import CheckSetting, RunSettings
from roadworthy.log.redact import redact
from roadworthy.types import CheckResult, Snapshot, Status
from roadworthy.watch.health import failed_again

LEAST_EVERY: Final = 1.0
MOST_CHECKS: Final = 200
HURRIED_EVERY: Final = 0.5
"""Seconds between two runs of a check that somebody waits for."""

HEALTH_URL: Final = "health-url"
"""The name of the check that ``--health-url`` asks for."""

MEMORY: Final = "memory"
_DETAIL: Final = 500


@dataclass(frozen=True, slots=True)
class Declared:
    """A check that the program itself registered."""

    name: str
    kind: str
    timeout: float
    every: float
    slot: int | None = None


class AppChecks(Protocol):
    """How the program's own checks are asked (the agent's socket)."""

    def declared_checks(self) -> Iterable[Declared]:
        """Return what is registered now."""

    async def run_check(self, name: str, slot: int | None, timeout: float) -> Outcome:  # noqa: ASYNC109 - told to the program
        """Let the program run one of its checks."""


@dataclass(slots=True)
class _Check:
    result: CheckResult
    probe: Probe
    next_start: float = 0.0
    began: float | None = None
    task: asyncio.Task[Outcome] | None = None
    lingering: asyncio.Future[Outcome] | None = None
    runs: int = 0


@dataclass(slots=True)
class CheckRunner:
    """Holds the checks; :meth:`tick` starts those that are due, :meth:`results` never waits."""

    changed: Callable[[CheckResult], None] | None = None
    _checks: dict[tuple[str, int | None], _Check] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def add(self, setting: CheckSetting, probe: Probe, *, source: str = "builtin", slot: int | None = None) -> None:
        """Add a check, due at once; one of the same name is replaced. More than 200 are refused."""
        key = (setting.name, slot)
        if len(self._checks) >= MOST_CHECKS and key not in self._checks:
            return
        result = CheckResult(
            setting.name, setting.kind, Status.UNKNOWN, "has not run yet", None, None, max(LEAST_EVERY, setting.every),
            setting.timeout, source=source, slot=slot,
        )  # fmt: skip
        self._checks[key] = _Check(result, probe)

    def declare(self, app: AppChecks) -> None:
        """Follow what the program has registered: new checks are added, those that are gone are dropped."""
        wanted = {(one.name, one.slot): one for one in app.declared_checks()}
        for key in [key for key, one in self._checks.items() if one.result.source == "app" and key not in wanted]:
            del self._checks[key]
        for key, one in wanted.items():
            if key not in self._checks:
                setting = CheckSetting(one.name, "", one.kind, one.every, one.timeout)
                self.add(setting, _ask(app, one), source="app", slot=one.slot)

    def every(self, seconds: float, now: float) -> None:
        """Run the checks that do not say it themselves so often from now on; none later than that."""
        for (name, _slot), check in self._checks.items():
            if check.result.source != "app":
                most = {HEALTH_URL: 5.0, MEMORY: 10.0}.get(name, seconds)
                check.result = replace(check.result, every=max(LEAST_EVERY, min(seconds, most)))
                check.next_start = min(check.next_start, now + check.result.every)

    def tick(self, now: float) -> None:
        """Start every check that is due at ``now`` (monotonic seconds); call it inside a running event loop."""
        for key, check in self._checks.items():
            if check.task is None and now >= check.next_start:
                self._start(key, check, now)

    def hurry(self, name: str, now: float) -> None:
        """Run a check before it is due, because a worker that starts is waited for; at most twice a second."""
        for key, check in self._checks.items():
            if key[0] == name and check.task is None and (check.began is None or now - check.began >= HURRIED_EVERY):
                self._start(key, check, now)

    def _start(self, key: tuple[str, int | None], check: _Check, now: float) -> None:
        check.began, check.next_start = now, now + check.result.every
        task = asyncio.get_running_loop().create_task(self._run(key, check))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def results(self) -> tuple[CheckResult, ...]:
        """Return what every check last said."""
        return tuple(check.result for check in self._checks.values())

    async def run_all(self) -> tuple[CheckResult, ...]:
        """Run every check now, in parallel, and return the results."""
        await asyncio.gather(*(self._run(key, check) for key, check in self._checks.items()))
        return self.results()

    async def close(self) -> None:
        """Cancel what runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, key: tuple[str, int | None], check: _Check) -> None:
        if check.lingering is not None and not check.lingering.done():
            self._note(key, check, Outcome(Status.UNHEALTHY, "the run before has not ended yet"), None)
            return
        began = _clock.monotonic()
        check.task = asyncio.ensure_future(_awaited(check.probe))
        check.lingering = check.task
        done, _ = await asyncio.wait({check.task}, timeout=check.result.timeout)
        took = _clock.monotonic() - began
        if not done:
            if not isinstance(check.probe, InThread):
                check.task.cancel()
            outcome = Outcome(Status.UNHEALTHY, f"did not answer within {check.result.timeout:g} s")
        else:
            outcome = _outcome(check.task)
        check.task = None
        self._note(key, check, outcome, took)

    def _note(self, key: tuple[str, int | None], check: _Check, outcome: Outcome, took: float | None) -> None:
        before = check.result
        row, outage = failed_again(before, status=outcome.status)
        check.runs += 1
        check.result = replace(
            before,
            status=outcome.status,
            detail=redact(outcome.detail)[:_DETAIL],
            at=_clock.wall(),
            duration=took,
            failures_in_row=row,
            outage=outage,
        )
        if (
            self.changed is not None
            and (before.status, before.outage) != (outcome.status, outage)
            and key in self._checks
        ):
            self.changed(check.result)


async def _awaited(probe: Probe) -> Outcome:
    return await probe()


def _outcome(task: asyncio.Task[Outcome] | asyncio.Future[Outcome]) -> Outcome:
    """Return a finished check's answer; a check that broke itself has no answer, which counts as a failure."""
    if task.cancelled():
        return Outcome(Status.UNKNOWN, "was cancelled")
    error = task.exception()
    if error is not None:
        return Outcome(Status.UNKNOWN, f"the check itself failed: {type(error).__name__}: {error}")
    return task.result()


def _ask(app: AppChecks, one: Declared) -> Probe:
    return lambda: app.run_check(one.name, one.slot, one.timeout)


def builtin(settings: RunSettings, state: Path, latest: Callable[[], Snapshot | None]) -> CheckRunner:
    """Return the checks that every program gets (disk, memory, directories) and those asked for in the settings.

    Raises :class:`ConfigurationError` for a target that no probe understands.
    """
    runner = CheckRunner()
    every = settings.check_every

    async def used_memory() -> Outcome:
        snapshot = latest()
        if snapshot is None:
            return Outcome(Status.UNKNOWN, "nothing was measured yet")
        system = snapshot.system
        return probes.memory(system.memory_percent, system.memory_total, system.cpu_percent)

    runner.add(CheckSetting("disk", str(state), "informational", every), InThread(probes.storage, state))
    runner.add(CheckSetting(MEMORY, "", "informational", min(every, 10.0)), used_memory)
    needed = tuple(Path(path) for path in settings.data_dirs)
    runner.add(
        CheckSetting("directories", "", "readiness" if needed else "informational", every),
        InThread(lambda cwd: _directories(cwd, needed), Path(settings.cwd)),
    )
    for setting in settings.checks:
        runner.add(setting, probes.probe_for(setting.target), source="settings")
    if settings.health_url:
        wanted = CheckSetting(HEALTH_URL, settings.health_url, "readiness", min(every, 5.0))
        runner.add(wanted, probes.probe_for(settings.health_url), source="settings")
    return runner


def _directories(cwd: Path, needed: Iterable[Path] = ()) -> Outcome:
    """Look at the directories that the program needs: its own, and those with its data, which it must write to."""
    if not cwd.is_dir():
        return Outcome(Status.UNHEALTHY, f"the working directory {cwd} does not exist")
    looked = {path: probes.directory(path) for path in needed}
    bad = [outcome.detail for outcome in looked.values() if outcome.status is not Status.OK]
    if bad:
        return Outcome(Status.UNHEALTHY, "; ".join(bad))
    writable = f", {len(looked)} with data can be written to" if looked else ""
    return Outcome(Status.OK, f"the working directory exists{writable}")


def by_name(results: Iterable[CheckResult]) -> Mapping[str, CheckResult]:
    """Return the results by name; of several workers' checks of one name the worst."""
    found: dict[str, CheckResult] = {}
    rank = {Status.OK: 0, Status.RECOVERING: 1, Status.UNKNOWN: 2, Status.DEGRADED: 3, Status.UNHEALTHY: 4}
    for one in results:
        if one.name not in found or rank[one.status] > rank[found[one.name].status]:
            found[one.name] = one
    return found
