"""The program's workers as processes: started, collected, followed when they daemonize, stopped with all that descends.

As subreaper the keeper is the parent of every orphan below it, so nothing that a worker started can escape: an orphan
is given to the worker whose marks its environment carries, else to the one whose process group or session it is in.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # no stub; `signal` itself would import enum
import os

from roadworthy import _clock
from roadworthy.keeper import reap
from roadworthy.keeper.output import Sink, Stream
from roadworthy.keeper.spawn import spawn
from roadworthy.keeper.worker import DOWN, RUNNING, STOPPING, Worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from roadworthy.keeper.wire import Message

SWEEP_EVERY = 0.05
"""Seconds between two rounds of SIGKILL while something still lives."""

LOOK_EVERY = 0.2
"""Seconds between two looks whether a stopping or followed tree is gone; a death of a child is looked at once."""

_SIGKILL = int(_signal.SIGKILL)
_SIGCONT = int(_signal.SIGCONT)


class Program:
    """All workers, living and lately dead, and the only place that starts and ends them."""

    def __init__(
        self,
        settings: Message,
        env: dict[str, str],
        sinks: tuple[Sink, Sink],
        listen: int,
        tell: Callable[[Message], None],
    ) -> None:
        self.workers: dict[tuple[int, int], Worker] = {}
        self.exempt: set[int] = set()
        """Children that are no part of the program: the agent."""
        self._settings = settings
        self._env = env
        self._sinks = sinks
        self._listen = listen
        self._tell = tell
        self._owners: dict[tuple[int, int], Worker] = {}
        self._latest: Worker | None = None
        self._looked = 0.0
        self._look_now = False

    # ------------------------------------------------------------------------------------------------------- start
    def start(self, slot: int, generation: int) -> Worker:
        """Start a generation of a slot; raises ``OSError`` when the program cannot be started."""
        self._forget(slot, generation - 2)
        names = (f"out-{slot}-{generation}", f"err-{slot}-{generation}")
        streams = tuple(
            Stream(f"{self._settings['arena_dir']}/{name}", sink) for name, sink in zip(names, self._sinks, strict=True)
        )
        worker = Worker(slot, generation, streams)
        stdin, relay = self._stdin()
        env = {**self._env, "ROADWORTHY_SLOT": str(slot), "ROADWORTHY_GENERATION": str(generation)}
        worker.started_ns = _clock.monotonic_ns()
        try:
            worker.pid = spawn(
                self._settings["command"],
                env,
                stdin=stdin,
                stdout=streams[0].path,
                stderr=streams[1].path,
                keep=(self._listen,) if self._listen >= 0 else (),
            )
        except OSError:
            for stream in streams:
                stream.close()
                stream.remove()
            if relay >= 0:
                os.close(relay)
            raise
        finally:
            if relay >= 0 and stdin is not None:
                os.close(stdin)
        worker.stdin = relay
        worker.ticks = reap.start_ticks(worker.pid) or 0
        worker.main = True
        self.workers[slot, generation] = worker
        self._latest = worker
        return worker

    def _stdin(self) -> tuple[int | None, int]:
        """Return the descriptor that a worker reads from and, when we relay a terminal into it, our end."""
        if self._settings["workers"] != 1:
            return None, -1
        if not os.isatty(0):
            return 0, -1
        theirs, ours = os.pipe()  # in its own process group it may not read the terminal: that would stop it
        os.set_blocking(ours, False)
        return theirs, ours

    def _forget(self, slot: int, newest: int) -> None:
        """Drop the dead generations of a slot up to ``newest`` and the output that they left."""
        for key, worker in list(self.workers.items()):
            if key[0] == slot and key[1] <= newest and worker.state == DOWN:
                for stream in worker.streams:
                    stream.close()
                    stream.remove()
                del self.workers[key]

    # -------------------------------------------------------------------------------------------------------- end
    def collected(self, pid: int, status: int, usage: Any) -> None:  # noqa: ANN401 - resource.struct_rusage, without importing resource
        """Take note of a child that was collected: a worker's main process or an orphan."""
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        self._look_now = True
        for worker in self.workers.values():
            if worker.pid == pid and worker.main:
                break
        else:
            self._orphan_ended(pid, code, signal)
            return
        worker.main = False
        worker.exit = {"code": code, "signal": signal, "core": os.WCOREDUMP(status)}
        worker.last = (code, signal)
        self._pump(worker)
        if worker.stdin >= 0:
            os.close(worker.stdin)
            worker.stdin = -1
        left = self.left_of(worker)
        self._tell(
            {
                "t": "exited",
                "slot": worker.slot,
                "generation": worker.generation,
                "pid": worker.pid,
                "start_ticks": worker.ticks,
                **worker.exit,
                "at_ns": _clock.monotonic_ns(),
                "maxrss_kb": usage.ru_maxrss,
                "user_s": usage.ru_utime,
                "system_s": usage.ru_stime,
                "leftover": [process.pid for process in left],
            }
        )
        if worker.state == STOPPING:
            self._signal(left, self._settings["stop_signal"])
        if not left:
            self._down(worker)

    def _orphan_ended(self, pid: int, code: int | None, signal: int | None) -> None:
        owner = next((worker for (number, _), worker in self._owners.items() if number == pid), None)
        for key in [key for key in self._owners if key[0] == pid]:
            del self._owners[key]
        if owner and owner.state == RUNNING and not owner.main and (code or signal) and owner.last == (0, None):
            owner.last = (code, signal)
        self._tell({"t": "orphan", "pid": pid, "code": code, "signal": signal})

    def _down(self, worker: Worker) -> None:
        worker.state = DOWN
        worker.stop_by = None
        self._pump(worker)
        self._tell(
            {
                "t": "stopped",
                "slot": worker.slot,
                "generation": worker.generation,
                "killed": worker.killed,
                "code": worker.last[0],
                "signal": worker.last[1],
            }
        )

    # ------------------------------------------------------------------------------------------------------- stop
    def stop(self, worker: Worker, signum: int, grace: float) -> None:
        """Ask a worker's process group to end; what is left of its whole tree after ``grace`` seconds is killed."""
        if worker.state == DOWN:
            return
        by = _clock.monotonic() + grace
        first = worker.state != STOPPING
        worker.state = STOPPING
        worker.stop_by = by if worker.stop_by is None else min(by, worker.stop_by)
        if first and grace > 0:
            mine = self.members(reap.table()).get(worker, [])
            self._signal([one for one in mine if not worker.main or one.group == worker.pid], signum)
        self._look_now = True

    @staticmethod
    def _signal(processes: list[reap.Process], signum: int) -> None:
        for process in processes:
            if reap.send(process.pid, process.ticks, signum) and signum != _SIGKILL:
                reap.send(process.pid, process.ticks, _SIGCONT)  # a stopped process could not act on it

    def tick(self, now: float) -> None:
        """Look whether stopping and followed trees are gone, and kill what outlived its grace."""
        waiting = [w for w in self.workers.values() if w.state == STOPPING or (w.state == RUNNING and not w.main)]
        due = any(w.stop_by is not None and w.stop_by <= now and now - w.swept >= SWEEP_EVERY for w in waiting)
        look, self._look_now = (
            self._look_now,
            False,
        )  # with nobody waiting there is nothing to look at: it must not stay set
        if not waiting or not (look or due or now - self._looked >= LOOK_EVERY):
            return
        self._looked = now
        members = self.members(reap.table())
        for worker in waiting:
            left = members.get(worker, [])
            if not left and not worker.main and not (left := self.left_of(worker)):
                self._down(worker)
            elif worker.stop_by is not None and worker.stop_by <= now:
                worker.swept = now
                worker.killed += [one.pid for one in left if one.pid not in worker.killed]
                self._signal(left, _SIGKILL)

    def wait_at_most(self, now: float) -> float:
        """Return for how many seconds nothing needs to be looked at."""
        if self._look_now:
            return 0.0
        wait = 60.0
        for worker in self.workers.values():
            if worker.state == STOPPING and worker.stop_by is not None:
                wait = min(wait, max(SWEEP_EVERY, worker.stop_by - now), LOOK_EVERY)
            elif worker.state == RUNNING and not worker.main:
                wait = min(wait, LOOK_EVERY)
        return wait

    # --------------------------------------------------------------------------------------------------- who is whose
    def members(self, rows: dict[int, reap.Process]) -> dict[Worker, list[reap.Process]]:
        """Return the living processes of each worker: its main process, its descendants, its orphans and theirs."""
        me = os.getpid()
        mains = {worker.pid: worker for worker in self.workers.values() if worker.main}
        found: dict[Worker, list[reap.Process]] = {}
        for row in rows.values():
            if row.parent != me or row.pid in self.exempt:
                continue
            owner = mains.get(row.pid) or self._owner(row)
            if owner is not None:
                found.setdefault(owner, []).extend(reap.below(rows, (row.pid,), self.exempt))
        return found

    def left_of(self, worker: Worker) -> list[reap.Process]:
        """Return what lives of a worker, for sure: a process that forked while the table was read is found, too.

        One that was seen dead may have had a child that was not listed yet; a look without a newly dead one has no gap.
        """
        known: set[int] = set()
        while True:
            rows = reap.table()
            mine = self.members(rows).get(worker, [])
            dead = {row.pid for row in rows.values() if row.dead and row.parent == os.getpid()}
            if mine or dead <= known:
                return mine
            known |= dead

    def _owner(self, row: reap.Process) -> Worker | None:
        key = (row.pid, row.ticks)
        owner = self._owners.get(key)
        if owner is not None and owner.state != DOWN:
            return owner
        live = [worker for worker in self.workers.values() if worker.state != DOWN]
        marks = reap.marks(row.pid)
        for worker in live:
            if (
                marks.get("ROADWORTHY_RUN_DIR") == self._settings["run_dir"]
                and marks.get("ROADWORTHY_SLOT") == str(worker.slot)
                and marks.get("ROADWORTHY_GENERATION") == str(worker.generation)
            ):
                owner = worker
                break
        else:
            owner = next((w for w in live if w.pid in {row.group, row.session}), None)
            if owner is None and live:  # it left its group and wiped its environment
                owner = self._latest if self._latest in live else live[0]
        if owner is not None:
            self._owners[key] = owner
        return owner

    # ----------------------------------------------------------------------------------------------------- output
    def pump(self, now: float) -> int:
        """Pass on new output of all workers that are not down and return how many bytes moved."""
        return sum(stream.pump(now) for w in self.workers.values() if w.state != DOWN for stream in w.streams)

    @property
    def behind(self) -> int:
        """Return how many bytes of output wait to be passed on."""
        return sum(s.behind for w in self.workers.values() for s in w.streams if not s.sink.closed)

    def flush(self, now: float) -> int:
        """Pass on what the dead left, too; returns how many bytes moved."""
        return sum(stream.pump(now) for w in self.workers.values() for stream in w.streams)

    @staticmethod
    def _pump(worker: Worker) -> None:
        now = _clock.monotonic()
        for stream in worker.streams:
            while stream.pump(now):
                pass

    # ------------------------------------------------------------------------------------------------------ answers
    @property
    def listens(self) -> Message | None:
        """Return where the shared listening socket is bound, or None when there is none."""
        return {"host": self._settings["bind"], "port": self._settings["port"]} if self._listen >= 0 else None

    @property
    def living(self) -> list[Worker]:
        """Return the workers that are not down, newest last."""
        return [worker for worker in self.workers.values() if worker.state != DOWN]

    def rows(self) -> list[Message]:
        """Return the lines of ``keeper.json``: all that live, and the newest of each slot."""
        newest = {slot: max(g for s, g in self.workers if s == slot) for slot, _ in self.workers}
        return [w.row() for w in self.workers.values() if w.state != DOWN or newest[w.slot] == w.generation]

    def status(self) -> int:
        """Return the program's exit status: of the first slot that did not end with 0, else 0."""
        newest = {slot: max(g for s, g in self.workers if s == slot) for slot, _ in self.workers}
        return next((s for slot in sorted(newest) if (s := self.workers[slot, newest[slot]].status())), 0)
