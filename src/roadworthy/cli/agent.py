"""The agent's process, which ``roadworthy run`` starts beside the program. Everything is put together here.

Started by the keeper with the run directory as its argument; :mod:`roadworthy.cli.attach` starts the same without a
keeper. Settings come resolved from ``run.json``. No program depends on this process: it may be killed at any time.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from roadworthy import __version__, _clock
from roadworthy.agent import garbage, turns
from roadworthy.agent.acts import WORKER, Acts
from roadworthy.agent.asked import line
from roadworthy.agent.auditor import Auditor
from roadworthy.agent.baselines import Baselines
from roadworthy.agent.configuring import Configuring
from roadworthy.agent.control import Control, Verb, supervisor_verbs
from roadworthy.agent.history.late import open_history
from roadworthy.agent.history.sqlite import SqliteHistory
from roadworthy.agent.host import listens
from roadworthy.agent.link import KeeperLink, PidfdWatch
from roadworthy.agent.log_levels import DEFAULT, LogLevels
from roadworthy.agent.loop import Agent
from roadworthy.agent.resilience import Resilience
from roadworthy.agent.server import Server, new_token
from roadworthy.agent.statefiles import remove_half_written, write_atomically
from roadworthy.agent.supervisor import Supervisor
from roadworthy.agent.switches import Switches
from roadworthy.agent.watchfiles import EVERY as SOURCES_EVERY
from roadworthy.agent.watchfiles import SourceWatch
from roadworthy.arena.control import ControlWriter
from roadworthy.arena.identity import start_ticks
from roadworthy.cli.errors import show
from roadworthy.cli.reconfigure import validate
from roadworthy.cli.running import clear_away, look
from roadworthy.config.places import Places, make
from roadworthy.config.values import RunSettings
from roadworthy.errors import ConfigurationError, RoadworthyError, Unavailable
from roadworthy.types import History, WorkerState
from roadworthy.view import reports
from roadworthy.view.web.app import PUBLIC, routes
from roadworthy.view.web.app import Control as View
from roadworthy.view.web.endpoint import Problem
from roadworthy.view.web.past import PastViews

COLLECT_EVERY: Final = 1.0
"""Seconds between two rounds of the program's own collectors."""

COLLECT_TIMEOUT: Final = 2.0
CHANGES_EVERY: Final = 0.5
LOOK_EVERY: Final = 0.5
"""Seconds between two looks whether a timed change has ended, or a report is due: both times may change meanwhile."""

ALIVE_EVERY: Final = 5.0
"""Seconds between two signs of life for the keeper, which replaces an agent that gives none."""

_LIVING: Final = frozenset({WorkerState.STARTING, WorkerState.READY, WorkerState.STOPPING})


class Composition:
    """The agent's parts and how they are tied; :meth:`run` works until it is told to end."""

    def __init__(self, settings: RunSettings, places: Places) -> None:
        self._loop = asyncio.get_running_loop()
        self.auditor = Auditor(places.state, settings.app, self._attempt)
        self.configuring = Configuring(
            settings,
            places.run,
            validate=validate,
            apply=self._follow,
            audit=self.auditor.record,
            note=self._acted,
            reloaded=self._tell_program,
        )
        self.settings = self.configuring.settings
        self.places = places
        remove_half_written(places.state)
        self.history = open_history(lambda: _history(self.settings, places))
        self.page = ControlWriter(places.arena)
        self._lame: list[int] = []
        self.switches = Switches(places.state, self._publish)
        self.log_levels = LogLevels(places.arena, self._publish)
        self._publish()
        self.link: KeeperLink | None = None
        self.supervisor: Supervisor | None = None
        self.watches: list[PidfdWatch] = []
        self.ended = asyncio.Event()
        self._due: asyncio.TimerHandle | None = None
        self._bounding: asyncio.Task[None] | None = None
        self._kept = False
        self._reloading: asyncio.Task[None] | None = None

    # -- putting together

    async def run(self) -> None:
        """Start everything, serve until the keeper, a signal or the program's end says so, and leave nothing behind."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.ended.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._reload_settings)
        self.link = KeeperLink.from_environment(self._heard, self._keeper_lost)
        self._kept = self.link is not None
        index = None if self.link is not None else self._left_behind()
        if self.link is not None or index is not None:
            self.supervisor = Supervisor(
                self.settings,
                self._tell,
                lame_duck=self._lame_duck,
                healthy=self._healthy if self.settings.health_url else None,
                port_open=self._port_open if self.settings.port is not None else None,
                drained=self._drained,
                remember=self._remember,
                turns=turns.kept(self.places.run),
            )
        verbs: dict[str, Any] = {
            "stacks": self._stacks,
            "log-level": self.auditor.verb("log-level", self.log_levels.verb),
            **self._config_verbs(),
        }
        if self.supervisor is not None:
            asked = supervisor_verbs(
                self._request, lambda: self.supervisor is not None and self.supervisor.ready, self.settings.app
            )
            asked["stop-comes"] = self._stop_comes
            verbs |= {what: verb if what == "ping" else self.auditor.verb(what, verb) for what, verb in asked.items()}
            verbs["restart"] = self._restart_verb(verbs["restart"])
        else:
            verbs["ping"] = self._ping
        self.control = Control(self.places.run / "agent.sock", verbs, refused=self.auditor.refused)
        picture = Resilience(self.switches, self.control)
        self.agent = Agent(self.settings, self.places, self.history, self.supervisor, self.link, self.control, picture)
        self.acts = self._acts(picture)
        self.agent.note(self.configuring.told)
        if index is not None:
            self._adopt(index)
            self._keeper_lost()
        self.agent.subscribe(lambda _snapshot: self._schedule())
        self.agent.subscribe(lambda _snapshot: self._expire_levels())
        server = self._server()
        await self.control.start()
        self._announce(server)
        tasks = [
            asyncio.create_task(self.agent.run(), name="loop"),
            asyncio.create_task(server.serve(), name="server"),
            asyncio.create_task(self._collect(), name="collect"),
            asyncio.create_task(self._live(), name="alive"),
            asyncio.create_task(self.ended.wait(), name="end"),
        ]
        tasks.append(asyncio.create_task(self._report(), name="report"))
        tasks.append(asyncio.create_task(self._end_changes(), name="changes"))
        if self.settings.dev:
            tasks.append(asyncio.create_task(self._watch_sources(), name="sources"))
        self._loop.call_later(garbage.SETTLED_AFTER, garbage.settle)
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            server.stop()
            for task in done:
                task.result()
        finally:
            for task in tasks:
                if task.get_name() != "server":
                    task.cancel()
            await asyncio.wait(tasks, timeout=2)
            await self._close()

    def _attempt(self, subject: str, act: Callable[[], object]) -> bool:
        return self.agent.attempt(subject, act)

    def _acts(self, picture: Resilience) -> Acts:
        for notice in (*self.switches.notices, *self.configuring.notices):
            self.agent.note(notice, level="error")
        return Acts(
            picture,
            self.switches,
            self.control,
            request=self._request if self.supervisor is not None else None,
            slots=lambda: () if self.supervisor is None else [one.slot for one in self.supervisor.members()],
            audit=self.auditor.record,
            note=self._acted,
        )

    def _acted(self, text: str, level: str) -> None:
        self.agent.note(text, level=level)
        self.agent.wake()

    def _server(self) -> Server:
        settings = self.settings
        token = new_token(self.places.run / "token")
        controls = (
            {what: self.auditor.view(what, self._begin(what)) for what in ("restart", "reload")}
            if self.supervisor is not None
            else {}
        )
        server = Server(
            routes(
                self.agent,
                self.history,
                controls={**controls, **self.acts.table(), **self._config_verbs()},
                frequency=self.agent.frequency,
                baselines=Baselines(self.places.state),
            ),
            token=token,
            host=settings.ops_host,
            port=settings.ops_port,
            port_given=settings.ops_port_given,
            allowed_hosts=settings.allowed_hosts,
            probe_bind=settings.probe_bind,
            public=PUBLIC,
            refused=self.auditor.refused,
        )
        before = self._before()
        if before is not None and not settings.ops_port_given:
            server.port = before  # people have the page open at the address of the agent that died
        server.bind()
        return server

    def _before(self) -> int | None:
        try:
            return int(json.loads((self.places.run / "agent.json").read_text("utf-8"))["port"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _announce(self, server: Server) -> None:
        token_file = self.places.run / "token"
        url = f"{server.url}/"
        told = {
            "schema": 1,
            "app": self.settings.app,
            "pid": os.getpid(),
            "start_ticks": start_ticks(os.getpid()),
            "host": self.settings.ops_host,
            "port": server.port,
            "url": url,
            "token_file": str(token_file),
            "version": __version__,
        }
        first = self._before() is None
        write_atomically(self.places.run / "agent.json", json.dumps(told))
        line = f"{self.settings.app} · dashboard {url}#token={token_file.read_text('ascii').strip()}"
        if self.link is None:
            print(line, flush=True)
        elif first:
            self._tell({"do": "say", "text": line})

    # -- the keeper

    def _tell(self, message: Mapping[str, Any]) -> None:
        if self.link is not None:
            self.link.send(message)

    def _heard(self, message: dict[str, Any]) -> None:
        assert self.supervisor is not None  # noqa: S101 - there is one wherever there is a keeper
        now = _clock.monotonic()
        kind = message.get("t")
        self.agent.keeper_says(message)
        if kind == "asked" and message.get("what") == "reload":
            self._reload_settings()
        self.supervisor.handle(message, now)
        if kind == "asked" and message.get("what") != "exit":
            self.auditor.signalled(str(message.get("what")), message.get("signal"))
        if kind == "asked" and message.get("what") == "exit":
            self.ended.set()
        elif kind in {"started", "stopped", "asked", "failed"}:
            self.agent.wake()
        self._schedule()

    def _schedule(self) -> None:
        """Have the supervisor called when its next decision is due."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self.supervisor is not None and (at := self.supervisor.next_due()) is not None:
            self._due = self._loop.call_later(max(0.0, at - _clock.monotonic()), self._decide)

    def _decide(self) -> None:
        if self.supervisor is not None:
            self.supervisor.tick(_clock.monotonic())
            self._schedule()

    def _keeper_lost(self) -> None:
        """Go on looking after a keeper's death: the program is unharmed, but nobody can collect exit statuses."""
        if self.supervisor is None:
            return
        self._kept = False
        told = any(member.pid is not None for member in self.supervisor.members())
        if not told and (index := self._left_behind()) is not None:
            self._adopt(index)  # it died before it could tell us of the program
        self.agent.keeper_lost()
        self.supervisor.keeper_lost(_clock.monotonic())
        self._watch_members()
        if self._bounding is None:
            # Imported here: it brings ctypes and a part of the keeper, of which an agent with a keeper uses nothing.
            from roadworthy.cli.orphaned_output import OrphanedOutput

            output = OrphanedOutput.of(self.agent, self.places.arena)
            self._bounding = self._loop.create_task(output.keep(), name="output")
            self._bounding.add_done_callback(self._not_bounded)
        self.agent.wake()

    def _not_bounded(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.agent.note(f"the program's output files are not bounded any more: {error!r}", level="error")

    def _watch_members(self) -> None:
        assert self.supervisor is not None  # noqa: S101 - called only with one
        for member in self.supervisor.members():
            if member.pid is not None:
                self.watches.append(PidfdWatch(member.pid, member.start_ticks, self._vanished))
        if not self.watches:
            self.ended.set()

    def _vanished(self, pid: int, at_ns: int) -> None:
        assert self.supervisor is not None  # noqa: S101 - called only with one
        for member in self.supervisor.members():
            if member.pid == pid:
                died = {
                    "t": "exited", "slot": member.slot, "generation": member.generation, "pid": pid,
                    "start_ticks": member.start_ticks, "code": None, "signal": None, "core": False, "at_ns": at_ns,
                }  # fmt: skip
                self.agent.died(died)
        self.supervisor.lost(pid, _clock.monotonic())
        if all(member.pid is None for member in self.supervisor.members()):
            self.agent.subscribe(lambda _snapshot: self.ended.set())  # one more tick, so that the end is in the history
            self.agent.wake()

    def _left_behind(self) -> dict[str, Any] | None:
        """Return the index that a dead keeper left, when its workers still run; None otherwise."""
        found = look(self.places)
        return dict(found.index) if found.workers else None

    def _adopt(self, index: dict[str, Any]) -> None:
        assert self.supervisor is not None  # noqa: S101 - called only with one
        now = _clock.monotonic()
        self.supervisor.handle({"t": "state", **index, "exits": []}, now)
        self.agent.program_started = index.get("started_wall")

    # -- settings that change

    def _config_verbs(self) -> dict[str, Any]:
        act = self.configuring
        return {
            "config-show": act.shown,
            "config-reload": act.reload,
            "config-set": act.set,
            "config-unset": act.unset,
        }

    def _follow(self, settings: RunSettings) -> None:
        """Take settings over; raises :class:`Exhausted` when the program cannot be told, with nothing changed."""
        before, self.settings = self.settings, settings
        try:
            if settings.log_level != before.log_level:
                self.log_levels.set("", settings.log_level or DEFAULT)
            self._publish()
        except RoadworthyError:
            self.settings = before
            raise
        self.agent.follow(settings)
        self.history.keep_for(settings.retention_hours)
        if self.supervisor is not None:
            self.supervisor.follow(settings)
            self._schedule()

    def _tell_program(self) -> None:
        self.control.reload()

    def _reload_settings(self) -> None:
        """Read the configuration anew because of SIGHUP; what is wrong with it is an event, and changes nothing."""
        if self._reloading is None or self._reloading.done():
            self._reloading = self._loop.create_task(self._reloaded())

    async def _reloaded(self) -> None:
        try:
            done = await self.configuring.reload({"actor": "SIGHUP"})
        except RoadworthyError as error:
            self.agent.note(f"the configuration was not reloaded: {error}", level="error")
        else:
            self.agent.note(str(done["what"]))

    async def _end_changes(self) -> None:
        """Have timed changes end when their time is over."""
        while True:
            await asyncio.sleep(CHANGES_EVERY)
            self.agent.attempt("settings", lambda: self.configuring.tick(_clock.wall()))

    # -- what people and the program ask

    def _request(self, what: str, slot: int | None = None) -> bool:
        if self.supervisor is None:
            return False
        begun = self.supervisor.request(what, slot)
        if begun:
            self.agent.note(f"{what} was asked for" + ("" if slot is None else f" for worker {slot}"))
            if what == "reload":
                self.control.reload()
            self.agent.wake()
        self._schedule()
        return begun

    def _restart_verb(self, by_hand: Verb) -> Verb:
        """Return the verb that also the program uses, giving a reason: with a cooldown then, and in the trail."""

        async def act(message: Mapping[str, Any]) -> Mapping[str, Any]:
            slot, reason = message.get("slot"), message.get("reason")
            if isinstance(slot, int) and isinstance(reason, str):
                return await self.acts.restart({"name": f"{WORKER}{slot}", "reason": line(reason), "actor": "program"})
            done = by_hand(message)
            return await done if inspect.isawaitable(done) else done

        return act

    def _stop_comes(self, _message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Take note that somebody ends the program himself, because there is no keeper to do it."""
        if self.supervisor is None or self._kept:
            raise Unavailable(
                "its keeper ends it",
                why="Only without a keeper may somebody else do that.",
                hint=f"roadworthy stop {self.settings.app}",
            )
        self.agent.note("stop was asked for")
        self.supervisor.stop_comes(_clock.monotonic())
        self.agent.wake()
        return {"what": f"the end of {self.settings.app} is expected"}

    def _begin(self, what: str) -> View:
        async def act(asked: Mapping[str, Any]) -> Mapping[str, Any]:
            if not self._request(what, asked.get("slot")):
                raise Unavailable(
                    f"{what} is not possible",
                    why="There is no such worker, or the keeper has died.",
                    hint="See /api/snapshot.",
                )
            return {"what": f"{what} of {self.settings.app} has begun"}

        return act

    async def _stacks(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        snapshot = self.agent.latest()
        wanted = message.get("slot")
        found = {}
        for worker in snapshot.workers if snapshot is not None else ():
            member = next(
                (
                    one
                    for one in self.agent.members()
                    if one.slot == worker.slot and (wanted is None or wanted == worker.slot)
                ),
                None,
            )
            if member is not None and member.state not in {WorkerState.EXITED, WorkerState.LOST}:
                dumped = await self.agent.dump(member)
                found[str(worker.slot)] = dumped.text or f"no stacks: {dumped.why_not}"
        if not found:
            raise Unavailable(
                "there is no such worker to ask", why="It has ended, or the slot is wrong.", hint="roadworthy status"
            )
        return {"what": f"stacks of {self.settings.app}", "stacks": found}

    def _ping(self, _message: Mapping[str, Any]) -> Mapping[str, Any]:
        snapshot = self.agent.latest()
        return {
            "what": "pong",
            "app": self.settings.app,
            "pid": os.getpid(),
            "ready": snapshot is not None and snapshot.verdict.ready,
        }

    def _healthy(self, age: float) -> bool | None:
        return self.agent.health_url_answered(_clock.wall() - age)

    def _port_open(self) -> bool | None:
        return None if self.settings.port is None else listens(self.settings.port)

    def _drained(self, slot: int, generation: int) -> bool:
        return self.agent.drained(slot, generation)

    def _remember(self, to_come: Sequence[turns.Turn]) -> None:
        self.agent.attempt("reload", lambda: turns.keep(self.places.run, to_come))

    def _lame_duck(self, pids: Sequence[int]) -> None:
        self._lame = list(pids)
        self._publish()

    def _publish(self) -> None:
        """Tell the program what it is told, on the control page; raises :class:`Exhausted` when that is too much."""
        self.page.publish({**self._told(), "lame_duck": self._lame} if self._lame else self._told())

    def _expire_levels(self) -> None:
        """Take back the log levels whose time is over, once a second; what cannot be told now is tried again."""
        try:
            for ended in self.log_levels.expire(_clock.wall()):
                self.agent.note(ended.what)
                target, change = ended.logger or "the root logger", {"old": ended.old, "new": ended.new}
                self.auditor.done("log-level", target, "roadworthy", ok=True, detail=ended.what, **change)
        except RoadworthyError as error:
            self.agent.note(f"a log level was not taken back: {error}", level="warning")

    def _told(self) -> dict[str, Any]:
        """Return what the program is told on the control page."""
        settings = self.settings
        return {
            "log_levels": self.log_levels.told(),
            "log_levels_until": self.log_levels.until(),
            "resilience": self.switches.book.page(),
            "sampling": {"performance": settings.sample_performance, "errors": settings.sample_errors},
            "environment": settings.environment,
        }

    async def _report(self) -> None:
        """Write a report every so often (``--report-every``), and remove those that are older than the retention."""
        told = PastViews(self.agent, self.history, Baselines(self.places.state), self.agent.frequency)
        waited = 0.0
        while True:
            await asyncio.sleep(LOOK_EVERY)
            every, waited = self.settings.report_every, waited + LOOK_EVERY
            if not every or waited < every:
                continue
            waited = 0.0
            try:
                made = await told.reported(min(every / 3600, self.settings.retention_hours))
                path = await asyncio.to_thread(reports.keep, self.places.state / "reports", made, self.settings)
            except (RoadworthyError, Problem) as error:
                self.agent.note(f"no report was written: {error}", level="error")
            else:
                self.agent.note(f"a report was written: {path.name}")

    async def _collect(self) -> None:
        """Have the program's collectors run, each process in turn; the figures become gauges in its arena."""
        while True:
            for pid, name in self.control.collectors():
                try:
                    await self.control.collect(pid, name, COLLECT_TIMEOUT)
                except Unavailable as error:
                    self.agent.note(error.what, level="warning", pid=pid)
            await asyncio.sleep(COLLECT_EVERY)

    async def _live(self) -> None:
        """Give the keeper a sign of life every few seconds."""
        while True:
            self._tell({"do": "alive"})
            await asyncio.sleep(ALIVE_EVERY)

    async def _watch_sources(self) -> None:
        """Reload when a source file changes (``--dev``)."""
        sources = await asyncio.to_thread(SourceWatch, self.settings.watch_paths)
        while True:
            await asyncio.sleep(SOURCES_EVERY)
            changed = await asyncio.to_thread(sources.changed)
            if changed:
                self.agent.note(f"changed: {', '.join(Path(path).name for path in changed[:5])}")
                self._request("reload")

    async def _close(self) -> None:
        if self._due is not None:
            self._due.cancel()
        for watch in self.watches:
            watch.close()
        if self._bounding is not None:
            self._bounding.cancel()
            await asyncio.wait({self._bounding})
        await self.control.close()
        self.history.close()
        self.page.close()
        if self.link is not None:
            self.link.close()
        if self._kept:
            return  # the keeper clears away
        if any(one.state in _LIVING for one in self.agent.members()) or self._left_behind() is not None:
            (self.places.run / "agent.json").unlink(missing_ok=True)
        else:
            clear_away(self.places)


def _history(settings: RunSettings, places: Places) -> History:
    place, hours = places.state / "history", settings.retention_hours
    if settings.history_url:
        # Imported here: it brings psycopg, which an agent without such a database must not carry.
        from roadworthy.agent.history.postgres import PostgresHistory

        return PostgresHistory(settings.history_url, place, settings.app, retention_hours=hours)
    return SqliteHistory(place, retention_hours=hours)


def load(run_dir: Path) -> tuple[RunSettings, Places]:
    """Return the settings that ``run.json`` holds; raises :class:`ConfigurationError` when it cannot be read."""
    path = run_dir / "run.json"
    try:
        settings = RunSettings.from_json(path.read_text("utf-8"))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigurationError(
            f"{path} cannot be used", why=str(error), hint="Start the program anew with `roadworthy run`."
        ) from error
    return settings, make(
        Places(settings.app, Path(settings.arena_dir), Path(settings.run_dir), Path(settings.state_dir))
    )


async def _serve(settings: RunSettings, places: Places) -> None:
    made = Composition(settings, places)
    try:
        await made.run()
    finally:
        if made.link is not None:
            made.link.close()  # when a part could not be made, the keeper's messages would find none


def main(argv: list[str]) -> int:
    """Run the agent of the application whose run directory is given; returns the exit code."""
    _name_process()
    try:
        settings, places = load(Path(argv[0]))
        asyncio.run(_serve(settings, places))
    except RoadworthyError as error:
        return show(error)
    return 0


def _name_process() -> None:
    """Call this process ``rw-agent``, so that it is found among others (CONFLICTS C-72)."""
    with contextlib.suppress(OSError):  # there is none where there is no Linux
        Path("/proc/self/comm").write_bytes(b"rw-agent")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
