"""The agent's loop: once a second everything is sampled, judged, remembered and published as one frozen Snapshot.

Ticks keep to a fixed schedule: a late one does not shift the next. Deaths do not wait for a tick: the keeper's message
about one is worked on when it comes, and the next tick is made at once. While a worker starts, a cheap look ten times a
second finds its first sign of work, so that "running again" is not rounded up to the next second. What fails in here is
shown in the verdict as a finding; only a programming error ends the agent, and the keeper starts it again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from roadworthy import _clock
from roadworthy.agent import picture, room
from roadworthy.agent.checks import HEALTH_URL, AppChecks, CheckRunner, builtin
from roadworthy.agent.crew import SETTLED_AFTER, Crew, Member, Observation, Watched
from roadworthy.agent.deaths import Deaths, KeeperLink
from roadworthy.agent.host import connections, listens
from roadworthy.agent.incidents import Incidents
from roadworthy.agent.injection import Absences
from roadworthy.agent.intake import Intake
from roadworthy.agent.journal import Journal
from roadworthy.agent.outlook import Outlook, size
from roadworthy.agent.resilience import Resilience
from roadworthy.agent.sample import Sample, new_sampler
from roadworthy.agent.switches import Switches
from roadworthy.agent.vitals import Vitals
from roadworthy.log.redact import learn_file, redact
from roadworthy.types import Event, History, Snapshot, Startup, Status, Verdict, Worker, WorkerState
from roadworthy.watch import gauges as charts
from roadworthy.watch import health
from roadworthy.watch import starts as startups
from roadworthy.watch.trends import FIGURES, MOST_POINTS, Trend, limits, trend

if TYPE_CHECKING:
    from roadworthy.agent.collect import Collected
    from roadworthy.agent.output import Offset
    from roadworthy.agent.stacks import Stacks
    from roadworthy.config.places import Places
    from roadworthy.config.values import RunSettings

PERIOD: Final = 1.0
SOONEST: Final = 0.05
"""Seconds between two ticks at the least, however much happens."""

GLANCE: Final = 0.1
"""Seconds between two looks whether a worker that starts is ready."""

EVENTS_SHOWN: Final = 200
STARTUPS_KEPT: Final = 20
SIZE_EVERY: Final = 60
REMEMBER_FIRST: Final = 3
REMEMBER_EVERY: Final = 10
"""Ticks until what must survive is saved: soon after the start, and then again and again."""


class Agent:
    """Watches one application; :class:`~roadworthy.types.SnapshotSource` for the views.

    ``crew`` decides about workers (None: we only look on), ``keeper_link`` carries signals to processes (None: they are
    sent directly), ``control`` asks the program's own checks (None: it has none), ``resilience`` follows its policies.
    """

    def __init__(
        self,
        settings: RunSettings,
        places: Places,
        history: History,
        crew: Crew | None = None,
        keeper_link: KeeperLink | None = None,
        control: AppChecks | None = None,
        resilience: Resilience | None = None,
    ) -> None:
        self.settings = settings
        self.keeper_pid: int | None = None
        self.program_started: float | None = None
        self._state = places.state
        self._rooms = {"arena": places.arena, "run": places.run}
        self._history = history
        self._watched = Watched() if crew is None else None
        self._crew: Crew = crew or self._watched or Watched()
        self._control = control
        self.resilience = resilience or Resilience(Switches(places.state))
        learn_file(f"{settings.cwd}/.env")  # what the program may read from it, it may also print
        self._journal = Journal()
        self._intake = Intake(places, self._journal)
        self._sampler = new_sampler(disk_path=str(places.state), redact=redact)
        self._absences = Absences(places.arena, inject=settings.inject)
        self._vitals = Vitals(settings.hang)
        self._gauges = charts.Gauges()
        self._wake = asyncio.Event()
        self._deaths = Deaths(
            arena=places.arena,
            collector=self._intake.collector,
            incidents=Incidents(settings.app, places.state / "incidents", history),
            journal=self._journal,
            keeper=keeper_link,
            wake=self.wake,
        )
        self._deaths.told = crew is None
        self._outlook = Outlook(history.query, settings.data_dirs, settings.thresholds)
        self._checks: CheckRunner = builtin(settings, places.state, self.latest)
        self._checks.changed = self._journal.check
        self._subscribers: list[Callable[[Snapshot], None]] = []
        self._snapshot: Snapshot | None = None
        self._startups: list[Startup] = list(self._intake.memory.startups)
        self._command = picture.shown(settings.command)
        self._tick = 0
        self._tick_seconds: float | None = None
        self._state_bytes: float | None = None
        self._began = _clock.wall()
        self._was_ready = False
        self._keeper_listens = False

    def follow(self, settings: RunSettings) -> None:
        """Watch and judge by these settings from now on."""
        self.settings = settings
        self._vitals.follow(settings.hang)
        self._checks.every(settings.check_every, _clock.monotonic())
        self._outlook.thresholds = settings.thresholds

    # -- SnapshotSource

    def latest(self) -> Snapshot | None:
        """Return the newest snapshot, or None before the first tick."""
        return self._snapshot

    def subscribe(self, callback: Callable[[Snapshot], None]) -> Callable[[], None]:
        """Call ``callback`` with every new snapshot; returns what ends the subscription.

        A callback that raises is dropped and the error shown in the verdict.
        """
        self._subscribers.append(callback)

        def end() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

        return end

    def recent_events(self, after: int, limit: int) -> Iterable[tuple[int, Event]]:
        """Return kept events with a running id greater than ``after``, oldest first, at most the newest ``limit``."""
        return self._journal.after(after, limit)

    # -- more that may be asked

    def members(self) -> Sequence[Member]:
        """Return all worker slots as they stand."""
        return self._crew.members()

    def health_url_answered(self, since: float) -> bool | None:
        """Return what ``--health-url`` has answered after ``since`` (wall), None when it was not asked yet.

        An answer from before a start was the predecessor's.
        """
        found = next((one for one in self._checks.results() if one.name == HEALTH_URL), None)
        if found is None or found.at is None or found.at - (found.duration or 0.0) < since:
            return None
        return found.status is Status.OK

    def drained(self, slot: int, generation: int) -> bool:
        """Return whether all of a worker's processes are lame ducks and hold no connection on the port any more.

        False where that cannot be told.
        """
        pids = self._intake.collector.lame(slot, generation)
        if pids is None or self.settings.port is None:
            return False
        return connections(pids, self.settings.port) == 0

    def read_output(self) -> Mapping[str, Offset]:
        """Read what the program has written by now, and return how far each of its output files was taken note of."""
        self._read(_clock.monotonic_ns(), _clock.wall(), self._crew.members())
        return self.output_read()

    def output_read(self) -> Mapping[str, Offset]:
        """Return how far each output file was read, or passed over and counted."""
        return self._intake.output.offsets()

    def frequency(self, fingerprint: str) -> tuple[tuple[float, int], ...]:
        """Return errors a minute of one error group: (start of the minute, count)."""
        return self._intake.memory.errors.frequency(fingerprint)

    def trends(self, hours: float = 2.0) -> dict[str, Trend]:
        """Return where the main figures went over the last ``hours``, with the time left until a limit is reached.

        A figure that the history does not know is ``unknown``.
        """
        snapshot = self._snapshot
        if snapshot is None:
            return {}
        against = limits(snapshot)
        found = self._history.query(FIGURES, snapshot.at - hours * 3600.0, snapshot.at, MOST_POINTS)
        return {name: trend(found.get(name, ()), limit=against.get(name)) for name in FIGURES}

    async def dump(self, member: Member) -> Stacks:
        """Return the Python stacks of a worker, or why they cannot be had."""
        return await self._deaths.dump(member)

    def note(self, text: str, *, level: str = "info", slot: int | None = None, pid: int | None = None) -> None:
        """Add an event of the agent itself (a state change, a failure) to what is shown and kept in last words."""
        self._journal.note(text, level=level, slot=slot, pid=pid)

    def attempt(self, subject: str, act: Callable[[], object]) -> bool:
        """Do something that may fail for reasons outside; what fails is shown in the verdict until it works again."""
        return self._journal.attempt(subject, act)

    # -- what the keeper says

    def keeper_says(self, message: Mapping[str, Any]) -> None:
        """Take one message of the keeper's; call it before the supervisor does, which may forget who ended."""
        slot = message.get("slot")
        match message.get("t"):
            case "state":
                self.keeper_pid = message.get("pid")
                self.program_started = message.get("started_wall")
                self._keeper_listens = message.get("listen") is not None
                for exited in message.get("exits", ()):
                    self.died(exited)
                self._deaths.told = True
            case "exited":
                self.died(message)
            case "failed":
                self.note(f"worker {slot} could not be started: {message.get('error')}", level="error", slot=slot)
            case "started":
                text = f"worker {slot} was started, generation {message.get('generation')}"
                self.note(text, slot=slot, pid=message.get("pid"))
                self.wake()
            case "asked":
                self.note(f"asked to {message.get('what')}")

    def keeper_lost(self) -> None:
        """Note, for as long as we live, that there is no keeper any more."""
        self.keeper_pid = None
        self._deaths.told = True  # nobody will tell how anything has ended
        why = "the keeper has died: exit statuses are unknown from here on, nothing can be restarted"
        self.note(why, level="critical")
        self._journal.fail("keeper", why)

    def died(self, message: Mapping[str, Any]) -> None:
        """Take the keeper's message that a worker has ended: last words are gathered and saved before this returns.

        Call it when the message comes, before anything is decided about a restart.
        """
        expected = self._crew.expected(dict(message))
        now_ns, now = _clock.monotonic_ns(), _clock.wall()
        # What was committed until the end is read now: the last tick may be a second old.
        self._read(now_ns, now, self._crew.members())
        self._deaths.died(message, expected=expected, now_ns=now_ns, now=now)

    # -- the loop

    async def run(self) -> None:
        """Tick once a second until cancelled; what was taken is saved at the end."""
        self.note("agent started")
        due = _clock.monotonic()
        try:
            while True:
                self.tick()
                due += PERIOD
                now = _clock.monotonic()
                if due < now:
                    # Ticks that were missed (a suspended machine) are not made up for.
                    due += (now - due) // PERIOD * PERIOD + PERIOD
                await self._until(due)
        finally:
            await self.close()

    async def _until(self, due: float) -> None:
        """Wait until ``due``; when something happens that should be shown at once a tick is made in between."""
        while (left := due - _clock.monotonic()) > 0:
            starting = [one for one in self._crew.members() if one.state is WorkerState.STARTING and one.pid]
            try:
                await asyncio.wait_for(self._wake.wait(), min(left, GLANCE) if starting else left)
            except TimeoutError:
                if not self._appears_ready(starting):
                    continue
            else:
                await asyncio.sleep(min(left, SOONEST))
            self._wake.clear()
            self.tick()

    def _appears_ready(self, starting: Sequence[Member]) -> bool:
        """Return whether a tick is worth making, because one of these has begun to work or lives long enough."""
        if self.settings.health_url:
            self._checks.hurry(HEALTH_URL, _clock.monotonic())
            return any(one.started is not None and self.health_url_answered(one.started) for one in starting)
        now = _clock.wall()
        port = None if self._keeper_listens else self.settings.port
        if port is not None and listens(port):
            return True
        return any(
            (self.settings.port is None and one.started is not None and now - one.started >= SETTLED_AFTER)
            or self._intake.collector.shows_work(one.pid or 0, one.slot, one.generation)
            for one in starting
        )

    def wake(self) -> None:
        """Make a tick at once."""
        self._wake.set()

    async def close(self) -> None:
        """Save what must survive, end background work and release files; who has ended is added to the totals."""
        await self._deaths.close()
        await self._checks.close()
        await self._outlook.close()
        self._read(_clock.monotonic_ns(), _clock.wall(), self._crew.members())
        self._deaths.retire(self._crew.members())
        self._intake.close(self._startups)
        self._sampler.close()

    def tick(self) -> Snapshot:
        """Make one snapshot now, publish it and return it; checks run only inside a running event loop."""
        now_ns, now = _clock.monotonic_ns(), _clock.wall()
        self._tick += 1
        members = self._crew.members()
        collected = self._read(now_ns, now, members)
        if self._watched is not None:
            self._watched.see(collected.processes, now)
            members = self._crew.members()
        roots = {one.slot: one.pid for one in members if one.pid is not None}
        sample = self._sampler.sample(now_ns, roots, keeper=self.keeper_pid, agent=os.getpid())
        self._deaths.oom_kills = sample.oom_kills
        observations = self._vitals.judge(now_ns, members, collected.processes, sample)
        self._deaths.look_at_hangs(observations, members)
        self._crew.observe(tuple(observations.values()), now_ns / _clock.NS)
        members = self._crew.members()  # as they stand after what was just found out: a recovery is shown now
        self._run_checks(now_ns / _clock.NS)
        self._journal.attempt("switches", lambda: self.resilience.expire(now, self._journal.note))
        self.resilience.look(now_ns)
        workers = tuple(
            picture.worker(one, observations.get(one.slot), collected, sample, now, self._absences) for one in members
        )
        self._deaths.see(workers, now)
        snapshot = self._build(now_ns, now, collected, sample, workers, observations)
        self._deaths.retire(members)
        self._keep(snapshot)
        self._tick_seconds = (_clock.monotonic_ns() - now_ns) / _clock.NS
        self._snapshot = snapshot
        self._publish(snapshot)
        return snapshot

    def _read(self, now_ns: int, now: float, members: Sequence[Member]) -> Collected:
        """Read all arenas and output files, and hand on what is new in them; nothing new may be read elsewhere."""
        collected = self._deaths.collected = self._intake.read(now_ns, now, members)
        self.resilience.hear(now_ns, now, collected)
        return collected

    def _run_checks(self, now: float) -> None:
        if self._control is not None:
            self._checks.declare(self._control)
        self._intake.signals.checks([one for one in self._checks.results() if one.source == "app"])
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        if self.settings.checks_on:
            self._checks.tick(now)
        self._outlook.tick(now, self._snapshot)
        self._journal.attempt("outlook", self._outlook.verify)

    def _build(
        self,
        now_ns: int,
        now: float,
        collected: Collected,
        sample: Sample,
        workers: tuple[Worker, ...],
        observations: Mapping[int, Observation],
    ) -> Snapshot:
        mono = now_ns / _clock.NS
        alive = [process for process in collected.processes if process.alive]
        in_flight = tuple(one for process in alive for one in process.in_flight)
        beats = tuple(beat for process in alive for beat in process.beats)
        starts = [process.startup for process in alive if process.startup is not None and not process.descendant]
        self._startups = picture.merge_startups(self._startups, startups.completed(workers, starts), STARTUPS_KEPT)
        figures = self._gauges.at(
            mono,
            windows=self._intake.windows,
            series=collected.series,
            beats=beats,
            in_flight=len(in_flight) if alive else None,
            resources=sample.total,
        )
        if self._tick % SIZE_EVERY == 1:
            self._absences.sweep()
            self._state_bytes = size(str(self._state))
        own = picture.overhead(sample, collected, tick_seconds=self._tick_seconds, state_bytes=self._state_bytes)
        started = self.program_started or min((one.started for one in workers if one.started), default=self._began)
        return Snapshot(
            app=self.settings.app,
            at=now,
            tick=self._tick,
            mono_ns=now_ns,
            started=started,
            verdict=self._verdict(now, mono, collected, sample, workers, observations),
            workers=workers,
            resources=sample.total,
            system=sample.system,
            series=collected.series,
            layout=collected.layout,
            operations=self._intake.windows.operations(mono, picture.counted(in_flight)),
            in_flight=in_flight,
            beats=beats,
            checks=self._checks.results(),
            errors=self._intake.memory.errors.groups(),
            incidents=self._deaths.recent(),
            signals=self._intake.signals.signals(now),
            startups=tuple(self._startups),
            policies=self.resilience.policies,
            services=self.resilience.services,
            features=self.resilience.features,
            events=self._journal.newest(EVENTS_SHOWN),
            gauges={**figures, **self._outlook.figures(own)},
            overhead=own,
            command=self._command,
            keeper_pid=self.keeper_pid,
            agent_pid=os.getpid(),
        )

    def _verdict(
        self,
        now: float,
        mono: float,
        collected: Collected,
        sample: Sample,
        workers: tuple[Worker, ...],
        observations: Mapping[int, Observation],
    ) -> Verdict:
        self._was_ready = self._was_ready or any(one.state is WorkerState.READY for one in workers)
        fds, fd_limit = picture.fullest(sample)
        evidence = health.Evidence(
            now=now,
            workers=workers,
            after_death=frozenset(one.slot for one in self._crew.members() if one.after_death),
            hung=tuple(
                health.Hung(slot, seen.judgement.reason) for slot, seen in observations.items() if seen.judgement.hung
            ),
            checks=self._checks.results(),
            work=self._intake.windows.work(mono),
            system=sample.system,
            memory_percent=sample.total.memory_percent,
            fds=fds,
            fd_limit=fd_limit,
            started=self._was_ready,
            finished=bool(workers) and all(picture.ended_well(one) for one in workers),
            broken_arenas=collected.broken,
            extra=(
                *self._journal.findings(),
                *room.findings(self._rooms),
                *health.slow_starts(self._startups),
                *self._outlook.findings(),
                *self.resilience.findings(),
            ),
        )
        return health.verdict(evidence, self._snapshot.verdict if self._snapshot is not None else None)

    def _keep(self, snapshot: Snapshot) -> None:
        """Write the tick's figures to the history; a full disk is a finding and ends nothing."""
        recorded = self._intake.figures(snapshot)
        self._journal.attempt("history", lambda: self._history.append(snapshot.at, recorded))
        notices: list[str] = getattr(self._history, "notices", [])
        while notices:
            self.note(notices.pop(0), level="error")
        if self._tick == REMEMBER_FIRST or self._tick % REMEMBER_EVERY == 0:
            self._intake.remember(self._startups)

    def _publish(self, snapshot: Snapshot) -> None:
        for callback in list(self._subscribers):
            try:
                callback(snapshot)
            except Exception as error:  # noqa: BLE001 - a view that breaks must not end the watching; it is shown
                self._subscribers.remove(callback)
                self._journal.fail("view", f"a subscriber was dropped: {type(error).__name__}: {error}")
