"""The agent's loop: once a second everything is sampled, judged, remembered and published as one frozen Snapshot.

Ticks keep to a fixed schedule: a late one does not shift the next. Deaths do not wait for a tick: the keeper's message
about one is worked on when it comes, and the next tick is made at once. What fails in here is shown in the verdict as a
finding; only a programming error ends the agent, and the keeper starts it again.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from roadworthy import _clock
from roadworthy.agent import incidents as last_words
from roadworthy.agent import stacks
from roadworthy.agent.checks import AppChecks, CheckRunner, builtin
from roadworthy.agent.collect import Collected, Collector, Process
from roadworthy.agent.crew import Crew, Member, Observation, Watched
from roadworthy.agent.memory import Memory
from roadworthy.agent.output import Output
from roadworthy.agent.sample import Sample, new_sampler
from roadworthy.agent.signals import SignalBook
from roadworthy.agent.vitals import Vitals
from roadworthy.errors import RoadworthyError
from roadworthy.log.redact import redact, redact_argv
from roadworthy.types import (
    CheckResult,
    Event,
    EventKind,
    Finding,
    History,
    Liveness,
    Overhead,
    Resources,
    Severity,
    Snapshot,
    Startup,
    Status,
    Verdict,
    Worker,
    WorkerState,
)
from roadworthy.watch import gauges as charts
from roadworthy.watch import health, words
from roadworthy.watch.operations import Windows

if TYPE_CHECKING:
    from roadworthy.config.places import Places
    from roadworthy.config.values import RunSettings

PERIOD: Final = 1.0
EVENTS_KEPT: Final = 5_000
EVENTS_SHOWN: Final = 200
STARTUPS_KEPT: Final = 20
SIZE_EVERY: Final = 60
REMEMBER_EVERY: Final = 10
DEATHS_TOLD_WITHIN: Final = 10.0
"""Seconds that a new agent waits for the keeper to tell how workers ended, before their arenas are only counted."""

COLLECT_EVERY: Final = 15.0
COLLECT_TIMEOUT: Final = 5.0

SOONEST: Final = 0.05
"""Seconds between two ticks at the least, however much happens."""

_OURS: Final = "roadworthy"


class KeeperLink(Protocol):
    """The socket to the keeper, as far as the loop uses it."""

    def send(self, message: Mapping[str, Any]) -> None:
        """Ask the keeper to do something."""


class Agent:
    """Watches one application; :class:`~roadworthy.types.SnapshotSource` for the views.

    ``crew`` decides about workers (None: we only look on), ``keeper_link`` carries signals to processes (None: they are
    sent directly), ``control`` asks the program's own checks (None: it has none).
    """

    def __init__(
        self,
        settings: RunSettings,
        places: Places,
        history: History,
        crew: Crew | None = None,
        keeper_link: KeeperLink | None = None,
        control: AppChecks | None = None,
    ) -> None:
        self.settings = settings
        self._places = places
        self._history = history
        self._watched = Watched() if crew is None else None
        self._crew: Crew = crew if crew is not None else Watched() if self._watched is None else self._watched
        self._keeper = keeper_link
        self._control = control
        self._memory = Memory(places.state)
        self._collector = Collector(places.arena, places.state, self._memory.positions)
        self._sampler = new_sampler(disk_path=str(places.state), redact=redact)
        self._output = Output(places.arena)
        self._vitals = Vitals(settings.hang)
        self._windows = Windows()
        self._gauges = charts.Gauges()
        self._names = charts.Names()
        self._signals = SignalBook()
        self._curves = last_words.Curves()
        self._incidents = last_words.Incidents(settings.app, places.state / "incidents", history)
        self._checks: CheckRunner = builtin(settings, places.state, self.latest)
        self._checks.changed = self._check_changed
        self._events: deque[tuple[int, Event]] = deque(maxlen=EVENTS_KEPT)
        self._numbers = itertools.count(1)
        self._subscribers: list[Callable[[Snapshot], None]] = []
        self._snapshot: Snapshot | None = None
        self._collected = Collected()
        self._sample = Sample()
        self._hung: dict[int, int] = {}
        self._startups: deque[Startup] = deque(self._memory.startups, maxlen=STARTUPS_KEPT)
        self._failures: dict[str, str] = {}
        self._oom_before: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._tick = 0
        self._tick_seconds: float | None = None
        self._state_bytes: int | None = None
        self._started = _clock.wall()
        self._was_started = False
        self._next_collect = 0.0
        self._failing_collectors: set[str] = set()
        self._mourned: deque[int] = deque(maxlen=256)
        self._knows_deaths = crew is None
        self.keeper_pid: int | None = None
        self.program_started: float | None = None

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
        found = [entry for entry in self._events if entry[0] > after]
        return found[-limit:] if limit > 0 else []

    def frequency(self, fingerprint: str) -> tuple[tuple[float, int], ...]:
        """Return errors a minute of one error group."""
        return self._memory.errors.frequency(fingerprint)

    def members(self) -> Sequence[Member]:
        """Return all worker slots as they stand."""
        return self._crew.members()

    # -- the loop

    async def run(self) -> None:
        """Tick once a second until cancelled; what was taken is saved at the end."""
        self.note("agent started", level="info")
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
        """Wait until ``due`` or until something happened that should be shown at once.

        Then a tick is made in between.
        """
        while (left := due - _clock.monotonic()) > 0:
            try:
                await asyncio.wait_for(self._wake.wait(), left)
            except TimeoutError:
                return
            await asyncio.sleep(min(left, SOONEST))
            self._wake.clear()
            self.tick()

    def wake(self) -> None:
        """Make a tick at once."""
        self._wake.set()

    async def close(self) -> None:
        """Save what must survive, end background work and release files."""
        for task in self._tasks:
            task.cancel()
        await self._checks.close()
        self._remember(force=True)
        self._collector.close()
        self._sampler.close()

    def tick(self) -> Snapshot:
        """Make one snapshot now, publish it and return it."""
        began = _clock.monotonic_ns()
        now = _clock.wall()
        self._tick += 1
        collected = self._collected = self._collector.collect(began, now)
        if self._watched is not None:
            self._watched.see(collected.processes, now)
        members = self._crew.members()
        roots = {one.slot: one.pid for one in members if one.pid is not None}
        sample = self._sample = self._sampler.sample(began, roots, keeper=self.keeper_pid, agent=os.getpid())
        self._take_events(collected, members, now)
        observations = self._vitals.judge(began, members, collected.processes, sample)
        self._look_at_hangs(observations, members)
        self._crew.observe(tuple(observations.values()), began / _clock.NS)
        self._run_checks(began / _clock.NS)
        snapshot = self._build(began, now, members, observations)
        self._retire(members)
        self._keep(snapshot)
        self._tick_seconds = (_clock.monotonic_ns() - began) / _clock.NS
        self._snapshot = snapshot
        self._publish(snapshot)
        return snapshot

    def _take_events(self, collected: Collected, members: Sequence[Member], now: float) -> None:
        lines = self._output.read(now, [(one.slot, one.generation, one.pid) for one in members if one.pid is not None])
        for event in (*collected.known, *collected.events, *lines):
            self._events.append((next(self._numbers), event))
        self._memory.errors.take(collected.events)
        self._signals.events(collected.events)
        self._signals.output(now, self._output.grown)
        beats = [beat for process in collected.processes if process.alive for beat in process.beats]
        self._signals.series(now, collected.changed)
        self._signals.gauges(collected.gauges_set)
        self._signals.beats(now, beats)
        self._signals.checks([one for one in self._checks.results() if one.source == "app"])
        for notices in (self._collector.notices, self._memory.notices):
            for notice in notices:
                self.note(notice, level="error")
            notices.clear()

    def _run_checks(self, now: float) -> None:
        if self._control is not None:
            self._checks.declare(self._control)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        self._checks.tick(now)
        self._run_collectors(now)

    def _run_collectors(self, now: float) -> None:
        """Ask the program's collectors for their figures, which they write into their own arena."""
        if self._control is None or now < self._next_collect:
            return
        self._next_collect = now + COLLECT_EVERY
        for pid, name in self._control.collectors():
            self._spawn(self._run_collector(self._control, pid, name))

    async def _run_collector(self, control: AppChecks, pid: int, name: str) -> None:
        try:
            answer = await control.collect(pid, name, COLLECT_TIMEOUT)
            why = "" if answer.get("ok") is True else str(answer.get("detail", "it failed"))
        except RoadworthyError as error:
            why = error.what
        if why and name not in self._failing_collectors:
            self.note(f"collector {name}: {why}", level="warning", pid=pid)
            self._failing_collectors.add(name)
        elif not why:
            self._failing_collectors.discard(name)

    def _build(
        self, now_ns: int, now: float, members: Sequence[Member], observations: Mapping[int, Observation]
    ) -> Snapshot:
        collected, sample = self._collected, self._sample
        mono = now_ns / _clock.NS
        self._windows.update(mono, collected.changed)
        alive = [process for process in collected.processes if process.alive]
        in_flight = tuple(one for process in alive for one in process.in_flight)
        counts: dict[str, int] = {}
        for one in in_flight:
            counts[one.name] = counts.get(one.name, 0) + 1
        operations = self._windows.operations(mono, counts)
        beats = tuple(beat for process in alive for beat in process.beats)
        workers = tuple(self._worker(member, observations.get(member.slot), now) for member in members)
        for worker in workers:
            self._curves.add(now, worker.slot, worker.pid, worker.resources)
        figures = self._gauges.at(
            mono,
            windows=self._windows,
            series=collected.series,
            beats=beats,
            in_flight=len(in_flight) if alive else None,
            resources=sample.total,
        )
        self._note_startups(alive)
        self._note_recoveries(workers, now)
        return Snapshot(
            app=self.settings.app,
            at=now,
            tick=self._tick,
            mono_ns=now_ns,
            started=self.program_started or min((one.started for one in workers if one.started), default=self._started),
            verdict=self._verdict(now, workers, observations),
            workers=workers,
            resources=sample.total,
            system=sample.system,
            series=collected.series,
            operations=operations,
            in_flight=in_flight,
            beats=beats,
            checks=self._checks.results(),
            errors=self._memory.errors.groups(),
            incidents=self._incidents.recent(),
            signals=self._signals.signals(now),
            startups=tuple(self._startups),
            events=tuple(event for _, event in itertools.islice(reversed(self._events), EVENTS_SHOWN))[::-1],
            gauges=figures,
            overhead=self._overhead(),
            command=tuple(redact_argv(self.settings.command).split()) if self.settings.command else (),
            keeper_pid=self.keeper_pid,
            agent_pid=os.getpid(),
        )

    def _worker(self, member: Member, seen: Observation | None, now: float) -> Worker:
        process = self._collected.of(member.pid) if member.pid is not None else None
        sampled = self._sample.process(member.pid)
        judgement = seen.judgement if seen is not None else None
        up = member.state in {WorkerState.READY, WorkerState.STARTING}
        injected: bool | None = process.injected if process is not None else None
        reason = ""
        if process is not None:
            reason = str(process.info.get("reason", ""))
        elif member.pid is not None and up:
            injected = False if member.started is not None and now - member.started > 5 else None  # noqa: PLR2004 - time to import
            reason = "no runtime of ours reported from it"
        return Worker(
            slot=member.slot,
            generation=member.generation,
            pid=member.pid,
            state=member.state,
            since=member.since,
            started=member.started,
            liveness=judgement.liveness if judgement is not None else Liveness.UNKNOWN,
            reason=judgement.reason if judgement is not None and up else member.reason,
            resources=self._sample.slots.get(member.slot, Resources()),
            restarts=member.restarts,
            injected=injected,
            inject_reason=reason,
            last_exit=member.last_exit,
            next_start=member.next_start,
            python=process.python if process is not None else "",
            command=sampled.command if sampled is not None else "",
        )

    def _verdict(self, now: float, workers: Sequence[Worker], observations: Mapping[int, Observation]) -> Verdict:
        kinds = frozenset({"request"}) & self._windows.kinds() or frozenset({"operation", "timer"})
        self._was_started = self._was_started or any(one.state is WorkerState.READY for one in workers)
        evidence = health.Evidence(
            now=now,
            workers=workers,
            hung=tuple(
                health.Hung(slot, seen.judgement.reason) for slot, seen in observations.items() if seen.judgement.hung
            ),
            checks=self._checks.results(),
            work=self._windows.window(_clock.monotonic(), kinds),
            system=self._sample.system,
            memory_percent=self._sample.total.memory_percent,
            fds=self._fullest()[0],
            fd_limit=self._fullest()[1],
            started=self._was_started,
            finished=bool(workers) and all(_ended_well(one) for one in workers),
            broken_arenas=self._collected.broken,
            extra=tuple(
                Finding(subject, Status.DEGRADED, why, Severity.ERROR)
                for subject, why in sorted(self._failures.items())
            )
            + tuple(health.slow_starts(self._startups)),
        )
        return health.verdict(evidence, self._snapshot.verdict if self._snapshot is not None else None)

    def _fullest(self) -> tuple[int | None, int | None]:
        """Return the open descriptors and the limit of the process that is nearest to its own limit."""
        told = [(one.fds, one.fd_limit) for one in self._sample.processes if one.fds is not None and one.fd_limit]
        return max(told, key=lambda pair: (pair[0] or 0) / (pair[1] or 1), default=(None, None))

    def _overhead(self) -> Overhead:
        agent, keeper, collected = self._sample.agent, self._sample.keeper, self._collected
        if self._tick % SIZE_EVERY == 1:
            self._state_bytes = _size(self._places.state)
        return Overhead(
            agent_cpu_percent=agent.cpu_percent if agent else None,
            agent_rss=agent.rss if agent else None,
            keeper_cpu_percent=keeper.cpu_percent if keeper else None,
            keeper_rss=keeper.rss if keeper else None,
            arena_bytes=collected.arena_bytes,
            state_bytes=self._state_bytes,
            series=len(collected.series),
            tick_seconds=self._tick_seconds,
            events_missed=collected.missed,
            series_overflowed=collected.overflowed,
            internal_errors=collected.internal_errors,
        )

    def _keep(self, snapshot: Snapshot) -> None:
        """Write the tick's figures to the history; a full disk is a finding and ends nothing."""
        recorded = self._names.figures(
            snapshot.gauges,
            snapshot.resources,
            {worker.slot: worker.resources for worker in snapshot.workers},
            snapshot.operations,
            snapshot.series,
        )
        self._try("history", lambda: self._history.append(snapshot.at, recorded))
        notices = getattr(self._history, "notices", None)
        while notices:
            self.note(notices.pop(0), level="error")
        if self._tick % REMEMBER_EVERY == 0:
            self._remember()

    def _remember(self, *, force: bool = False) -> None:
        self._try("state", lambda: self._memory.save(self._collector.positions(), self._startups, force=force))

    def _publish(self, snapshot: Snapshot) -> None:
        for callback in list(self._subscribers):
            try:
                callback(snapshot)
            except Exception as error:  # noqa: BLE001 - a view that breaks must not end the watching; it is shown
                self._subscribers.remove(callback)
                self._failures["view"] = f"a subscriber was dropped: {type(error).__name__}: {redact(str(error))[:200]}"

    def _try(self, subject: str, act: Callable[[], object]) -> bool:
        """Do something that may fail for reasons outside (disk full); the failure is a finding until it works again."""
        try:
            act()
        except RoadworthyError as error:
            if subject not in self._failures:
                self.note(str(error), level="error")
            self._failures[subject] = error.what
            return False
        self._failures.pop(subject, None)
        return True

    # -- events of our own

    def note(self, text: str, *, level: str = "info", slot: int | None = None, pid: int | None = None) -> None:
        """Add an event of the agent itself (a state change, a failure) to what is shown and kept in last words."""
        event = Event(EventKind.STATE, _clock.wall(), level, _OURS, redact(text), pid or os.getpid(), slot)
        self._events.append((next(self._numbers), event))

    def _check_changed(self, result: CheckResult) -> None:
        level = "info" if result.status is Status.OK else "critical" if result.outage else "warning"
        text = (
            f"check {result.name}: {result.status.value}"
            + (" (outage)" if result.outage else "")
            + f", {result.detail}"
        )
        event = Event(EventKind.CHECK, _clock.wall(), level, result.name, redact(text), os.getpid(), result.slot)
        self._events.append((next(self._numbers), event))

    def _note_startups(self, alive: Iterable[Process]) -> None:
        """Keep one entry a process, replaced while its start goes on."""
        for process in alive:
            if process.startup is None or process.descendant:
                continue
            for index, known in enumerate(self._startups):
                if known.pid == process.pid and abs(known.at - process.startup.at) < 1:
                    self._startups[index] = process.startup
                    break
            else:
                self._startups.append(process.startup)

    def _note_recoveries(self, workers: Iterable[Worker], now: float) -> None:
        for worker in workers:
            if worker.slot in self._incidents.open_slots() and worker.state is WorkerState.READY:
                self._recover(worker, now)

    def _recover(self, worker: Worker, now: float) -> None:
        if not self._incidents.replaced(worker.slot, worker.pid):
            return
        done = None

        def complete() -> None:
            nonlocal done
            done = self._incidents.recovered(worker.slot, now)

        self._try("incidents", complete)
        if done is not None and done.recovered_after is not None:
            self.note(
                f"worker {worker.slot} works again after {words.span(done.recovered_after)}",
                slot=worker.slot,
                pid=worker.pid,
            )

    # -- deaths and hangs

    def died(self, message: Mapping[str, Any]) -> None:
        """Take the keeper's message that a worker has ended: last words are gathered and saved before this returns.

        Call it when the message comes, before anything is decided about a restart.
        """
        expected = self._crew.expected(dict(message))
        now, now_ns = _clock.wall(), _clock.monotonic_ns()
        slot, pid = message.get("slot"), int(message.get("pid") or 0)
        # What was committed until the end is read now: the last tick may be a second old.
        self._collected = self._collector.collect(now_ns, now)
        self._take_events(self._collected, self._crew.members(), now)
        at_ns = message.get("at_ns")
        happened = now if at_ns is None else now - max(0.0, (now_ns - int(at_ns)) / _clock.NS)
        oom = self._was_oom(message.get("signal"), pid)
        text = words.exit_words(message.get("code"), message.get("signal"), core=bool(message.get("core")), oom=oom)
        self.note(f"worker {slot}: {text}", level="info" if expected else "error", slot=slot, pid=pid)
        if slot is not None and self._incidents.reported(slot, pid):
            status = words.exit_status(message.get("code"), message.get("signal"), oom=oom)
            self._try("incidents", lambda: self._incidents.ended(slot, pid, status))
        elif not expected and message.get("code") != 0:
            base = self._gather(now, slot, pid, message.get("generation"))
            found = last_words.of_death(message, at=now, happened=happened, oom=oom, base=base)
            self._try("incidents", lambda: self._incidents.save(found))
        self._mourned.append(pid)
        if slot is not None:
            self._curves.forget(slot, pid)
            self._hung.pop(slot, None)
        self.wake()

    def keeper_says(self, message: Mapping[str, Any]) -> None:
        """Take one message of the keeper's; call it before the supervisor does, which may forget who ended."""
        what = message.get("t")
        if what == "state":
            self.keeper_pid = message.get("pid")
            self.program_started = message.get("started_wall")
            for exited in message.get("exits", ()):
                self.died(exited)
            self._knows_deaths = True
        elif what == "exited":
            self.died(message)
        elif what == "failed":
            self.note(
                f"worker {message.get('slot')} could not be started: {message.get('error')}",
                level="error",
                slot=message.get("slot"),
            )
        elif what == "started":
            text = f"worker {message.get('slot')} was started, generation {message.get('generation')}"
            self.note(text, slot=message.get("slot"), pid=message.get("pid"))
            self.wake()
        elif what == "asked":
            self.note(f"asked to {message.get('what')}")

    def _was_oom(self, signal: int | None, pid: int) -> bool:
        if signal != 9:  # noqa: PLR2004 - SIGKILL
            return False
        from roadworthy.agent.host import oom_kills

        before, now = self._sample.oom_kills, oom_kills()
        return last_words.was_oom(signal, pid, before, now, last_words.read_kernel_log())

    def _gather(self, now: float, slot: int | None, pid: int, generation: int | None) -> last_words.LastWords:
        own = [process for process in self._collected.processes if process.pid == pid]
        family = own or [process for process in self._collected.processes if process.slot == slot]
        since = now - last_words.LAST_SECONDS
        return last_words.LastWords(
            at=now,
            kind="death",
            title="",
            slot=slot,
            pid=pid,
            generation=generation,
            events=[event for _, event in self._events if event.at >= since and event.slot in {slot, None}],
            in_flight=[one for process in family for one in process.in_flight],
            series=[one for process in own for one in self._collector.series_of(process.key)],
            curve=self._curves.of(slot, pid) if slot is not None else (),
            output=last_words.output_tails(self._places.arena, slot, generation or 0) if slot is not None else {},
        )

    def _look_at_hangs(self, observations: dict[int, Observation], members: Sequence[Member]) -> None:
        """Ask a worker that counts as hung for its stacks once; until they are saved it is not reported as hung."""
        by_slot = {member.slot: member for member in members}
        for slot, seen in list(observations.items()):
            stuck = seen.hung or seen.judgement.liveness is Liveness.NOT_PROGRESSING
            if not stuck:
                self._hung.pop(slot, None)
                continue
            if self._hung.get(slot) != seen.pid:
                self._hung[slot] = seen.pid
                self._spawn(self._report_hang(by_slot[slot], seen))
            if not self._incidents.reported(slot, seen.pid):
                observations[slot] = replace(seen, hung=False)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        except RuntimeError:
            work.close()
            return
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _report_hang(self, member: Member, seen: Observation) -> None:
        dumped = await self.dump(member)
        now = _clock.wall()
        late = seen.judgement.stale_for
        kind = "hang" if seen.judgement.hung else "no-progress"
        base = self._gather(now, member.slot, seen.pid, member.generation)
        found = last_words.of_hang(
            base, kind=kind, reason=seen.judgement.reason, since=now - late if late is not None else None,
            stacks=dumped.text, no_stacks=dumped.why_not,
        )  # fmt: skip
        self._try("incidents", lambda: self._incidents.save(found))
        self.note(
            f"worker {member.slot} {found.title.partition(' ')[2]}", level="error", slot=member.slot, pid=seen.pid
        )
        self.wake()

    async def dump(self, member: Member) -> stacks.Stacks:
        """Return the Python stacks of a worker, or why they cannot be had."""
        process = self._collected.of(member.pid)
        if member.pid is None or process is None:
            return stacks.Stacks(why_not="no runtime of ours is in the process")
        name = Path(str(process.info.get("stacks") or f"stacks-{member.pid}")).name
        return await stacks.dump(
            member.pid,
            member.start_ticks or process.start_ticks,
            signal=process.stack_signal,
            descriptor=process.stack_fd,
            path=self._places.arena / name,
            send=self._signal,
        )

    def _signal(self, pid: int, start_ticks: int, signal: int) -> None:
        if self._keeper is None:
            stacks.direct(pid, start_ticks, signal)
        else:
            self._keeper.send({"do": "signal", "pid": pid, "start_ticks": start_ticks, "signal": signal})

    def _retire(self, members: Sequence[Member]) -> None:
        """Add the dead to the totals.

        A worker's arena waits until the keeper said how it ended (at most a few seconds).
        """
        current = {member.pid for member in members if member.state not in {WorkerState.LOST, WorkerState.EXITED}}
        waited = self._knows_deaths or _clock.wall() - self._started > DEATHS_TOLD_WITHIN
        dead = [
            one.key
            for one in self._collected.processes
            if not one.alive and one.pid not in current and (one.descendant or one.pid in self._mourned or waited)
        ]
        if dead:
            self._try("totals", lambda: self._collector.retire(dead))


def _ended_well(worker: Worker) -> bool:
    ended = worker.last_exit
    return worker.state is WorkerState.EXITED and ended is not None and ended.code == 0


def _size(directory: Path) -> int | None:
    try:
        return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    except OSError:
        return None
