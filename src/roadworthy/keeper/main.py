"""The keeper's loop: one thread, one poll over signals, the agent and the terminal; output and deadlines in between."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # no stub; `signal` itself would import enum
import errno
import os
import select
import sys

from roadworthy import _clock
from roadworthy.keeper import notify, reap, wire
from roadworthy.keeper.beside import Agent, base_environment
from roadworthy.keeper.cleaning import clean_up
from roadworthy.keeper.environment import program_environment
from roadworthy.keeper.output import Sink, trim_log
from roadworthy.keeper.program import Program
from roadworthy.keeper.system import become_subreaper, set_name
from roadworthy.keeper.terminal import Terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from roadworthy.keeper.wire import Message

CADENCE_MOST = 0.1
CADENCE_LEAST = 0.02
"""Seconds between two looks at the output: as rarely as every tenth while nothing comes."""

BUSY = 1 << 18
"""Bytes in one look from which the next follows at once."""

AGENT_AWAY_MOST = 10.0
"""Seconds that a finished program waits for an agent to decide."""

GOODBYE = 3.0
"""Seconds that the agent has to say what it has to say, and again to end, once the program is down."""

FLUSH_MOST = 5.0
"""Seconds without progress that unread output may hold up the end."""

AGENT_FAILURES = 3
"""Deaths of the agent soon after its start, in a row, from which it is said."""

PUBLISH_AGAIN = 1.0
"""Seconds until the index is written again after that failed."""

UNSEEN_MOST = 64
OUTPUT_LOG_MOST = 16 << 20
_TRIM_EVERY = 30.0
_SIGINT, _SIGTERM, _SIGHUP, _SIGCHLD = (int(getattr(_signal, n)) for n in ("SIGINT", "SIGTERM", "SIGHUP", "SIGCHLD"))


class Keeper:
    """Everything the keeper knows; :meth:`run` returns the exit status."""

    def __init__(self, settings: Message, listen: int = -1, lock: int = -1) -> None:
        env = base_environment()
        self.settings = settings
        self._lock = lock  # held by being open; released with the process, however it ends
        self._status: int | None = None
        self._stopping = False
        self._interrupts = 0
        self._reload_asked = False
        self._unseen: list[Message] = []
        self._dirty = True
        self._publish_again = 0.0
        self._cadence = CADENCE_LEAST
        self._down_since: float | None = None
        self._next_ping = 0.0
        self._next_trim = _clock.monotonic() + _TRIM_EVERY
        self._started_wall = _clock.wall()
        self._has_terminal = _terminal_is_there()
        self._sinks = (Sink(1), Sink(2))
        self._agent = Agent(settings["agent_argv"], env, f"{settings['state_dir']}/agent.log")
        self.program = Program(settings, program_environment(settings, env, listen), self._sinks, listen, self._tell)
        self._terminal = Terminal(self.program)
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            self._boot_id = file.read().strip()
        self._ticks = reap.start_ticks(os.getpid()) or 0

    # ------------------------------------------------------------------------------------------------------ telling
    def _tell(self, message: Message) -> None:
        self._dirty = True
        if message["t"] == "exited":
            self._unseen.append(message)
            del self._unseen[:-UNSEEN_MOST]
        self._agent.tell(message)

    def _say(self, text: str) -> None:
        self._sinks[1].write(f"roadworthy: {text}\n".encode(), _clock.monotonic())

    def state(self) -> Message:
        """Return what ``keeper.json`` holds."""
        return {
            "schema": 1,
            "pid": os.getpid(),
            "start_ticks": self._ticks,
            "boot_id": self._boot_id,
            "started_wall": self._started_wall,
            "app": self.settings["app"],
            "slots": self.program.rows(),
            "agent_pid": self._agent.pid or None,
            "listen": self.program.listens,
            "stopping": self._stopping,
        }

    def _publish(self) -> None:
        now = _clock.monotonic()
        if not self._dirty or now < self._publish_again:
            return
        path = f"{self.settings['run_dir']}/keeper.json"
        data = wire.dumps(self.state()).encode()
        try:
            fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                if os.write(fd, data) != len(data):  # the rest did not fit
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(fd)
            os.replace(path + ".new", path)
        except OSError as error:
            if not self._publish_again:
                self._say(f"{path} cannot be written: {error.strerror}; the program goes on")
            self._publish_again = now + PUBLISH_AGAIN
        else:
            self._dirty = False
            self._publish_again = 0.0

    # ------------------------------------------------------------------------------------------------------ signals
    def _signals(self, numbers: bytes) -> None:
        for signum in numbers:
            if signum == _SIGHUP and not (self._has_terminal and not _terminal_is_there()):
                self._hear_agent()  # what it has sent until now is no answer to this
                self._reload_asked = True
                self._tell({"t": "asked", "what": "reload", "signal": signum})
            elif signum in {_SIGTERM, _SIGINT, _SIGHUP}:
                self._interrupts += signum == _SIGINT
                self._stop_all(0.0 if self._interrupts > 1 else self.settings["stop_grace"], signum)

    def _stop_all(self, grace: float, signum: int | None) -> None:
        if not self._stopping:
            self._stopping = True
            notify.send(self.settings["notify_socket"], "STOPPING=1")
            self._tell({"t": "asked", "what": "stop", "signal": signum})
        for worker in self.program.living:
            self.program.stop(worker, self.settings["stop_signal"], grace)
        self._dirty = True

    # -------------------------------------------------------------------------------------------------------- agent
    def _hear_agent(self) -> None:
        for message in self._agent.receive():
            self._act(message)

    def _act(self, message: Message) -> None:
        """Do what the agent decided; a message that names nothing known is passed over."""
        what = message.get("do")
        if what == "exit":
            self._status = int(message["status"])
            self._stop_all(self.settings["stop_grace"], None)
        elif what == "notify":
            notify.send(self.settings["notify_socket"], str(message["text"]))
        elif what == "alive":
            self._agent.heard = _clock.monotonic()
        elif what == "say":
            self._say(str(message["text"]))
        elif what == "signal":
            reap.send(int(message["pid"]), int(message["start_ticks"]), int(message["signal"]))
        elif what in {"start", "stop", "seen"}:
            key = (int(message["slot"]), int(message["generation"]))
            self._reload_asked &= what == "seen"  # it acts: what was asked for has been heard
            if what == "seen":
                self._unseen = [m for m in self._unseen if (m["slot"], m["generation"]) != key]
            elif what == "start":
                self._start(*key)
            elif key in self.program.workers and self.program.workers[key] in self.program.living:
                self.program.stop(self.program.workers[key], int(message["signal"]), float(message["grace"]))
                self._dirty = True
            else:
                self._tell({"t": "stopped", "slot": key[0], "generation": key[1], "killed": []})

    def _start(self, slot: int, generation: int) -> OSError | None:
        if self._stopping or (slot, generation) in self.program.workers:
            return None
        self._down_since = None
        self._cadence = CADENCE_LEAST
        try:
            worker = self.program.start(slot, generation)
        except OSError as error:
            text = f"{self.settings['command'][0]}: {error.strerror}"
            self._tell({"t": "failed", "slot": slot, "generation": generation, "error": text, "errno": error.errno})
            return error
        self._tell(
            {
                "t": "started",
                "slot": slot,
                "generation": generation,
                "pid": worker.pid,
                "start_ticks": worker.ticks,
                "at_ns": worker.started_ns,
            }
        )
        return None

    def _agent_due(self, now: float) -> None:
        agent = self._agent
        if agent.next_start is not None and now >= agent.next_start:
            self.program.exempt.clear()
            if trouble := agent.start(now):
                self._say(f"{trouble}; the program goes on, the next try is in {(agent.next_start or now) - now:.1f} s")
                return
            self.program.exempt.add(agent.pid)
            agent.tell({"t": "state", **self.state(), "exits": list(self._unseen)})
            if self._reload_asked:  # while there was no agent, or of one that died before it did anything
                agent.tell({"t": "asked", "what": "reload", "signal": int(_SIGHUP)})
            self._dirty = True

    def _reap(self, now: float) -> None:
        for pid, status, usage in reap.collect():
            if pid == self._agent.pid:
                self.program.exempt.discard(pid)
                self._agent.died(now)
                if self._agent.failures == AGENT_FAILURES and not self._stopping:
                    log = f"{self.settings['state_dir']}/agent.log"
                    self._say(f"the agent ends again and again, see {log}; the program goes on")
                self._dirty = True
            else:
                self.program.collected(pid, status, usage)

    # --------------------------------------------------------------------------------------------------------- loop
    def run(self) -> int:
        """Start the program, keep it, and return its exit status when all is over."""
        wake, wake_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        for signum in (_SIGTERM, _SIGINT, _SIGCHLD):
            _signal.signal(signum, _noted)
        if _signal.getsignal(_SIGHUP) != _signal.SIG_IGN:  # nohup stays nohup
            _signal.signal(_SIGHUP, _noted)
        _signal.signal(int(_signal.SIGTTOU), _signal.SIG_IGN)
        become_subreaper()
        set_name("rw-keeper")
        for slot in range(self.settings["workers"]):
            if (error := self._start(slot, 1)) is not None:
                hint = (
                    "; is it a script without a first line such as #!/bin/sh?" if error.errno == errno.ENOEXEC else ""
                )
                self._say(f"{error.filename or self.settings['command'][0]} cannot be started: {error.strerror}{hint}")
                self._status = 127 if error.errno == errno.ENOENT else 126
                self._stop_all(0.0, None)
                break
        self._publish()
        if not self._agent.wanted:
            notify.send(self.settings["notify_socket"], "READY=1")
        while not self._over():
            self._turn(wake)
        return self._end()

    def _turn(self, wake: int) -> None:
        now = _clock.monotonic()
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        agent = self._agent.end
        if agent is not None:
            poll.register(agent, select.POLLIN | (select.POLLOUT if self._agent.waiting else 0))
        self._terminal.watch(poll, now)
        for sink in self._sinks:
            if sink.blocked and not sink.closed:
                poll.register(sink.fd, select.POLLOUT)
        ready = dict(poll.poll(max(0.0, self._wait(now)) * 1000))
        now = _clock.monotonic()
        if wake in ready:
            self._signals(bytes(n for n in os.read(wake, 4096) if n != _SIGCHLD))
        self._reap(now)
        if agent is not None and agent.fileno() in ready:
            self._agent.flush()
            self._hear_agent()
        if self._agent.hung(now):
            self._say("the agent gives no sign of life and is replaced; the program goes on")
            self._agent.heard = None
            self._agent.kill()
        self._terminal.relay(ready)
        moved = self.program.pump(now)
        if moved >= BUSY:
            self._cadence = 0.0
        elif moved:
            self._cadence = CADENCE_LEAST
        else:
            self._cadence = min(CADENCE_MOST, max(CADENCE_LEAST, self._cadence * 1.5))
        self.program.tick(now)
        self._agent_due(now)
        self._upkeep(now)
        self._publish()

    def _wait(self, now: float) -> float:
        wait = min(1.0, self.program.wait_at_most(now))
        if self.program.living:
            wait = min(wait, self._cadence)
        if self._agent.next_start is not None:
            wait = min(wait, self._agent.next_start - now)
        if self.settings["watchdog_usec"]:
            wait = min(wait, self._next_ping - now)
        return wait

    def _upkeep(self, now: float) -> None:
        if self.settings["watchdog_usec"] and now >= self._next_ping:
            self._next_ping = now + self.settings["watchdog_usec"] / 2_000_000
            notify.send(self.settings["notify_socket"], "WATCHDOG=1")
        if now >= self._next_trim:
            self._next_trim = now + _TRIM_EVERY
            self._agent.trim()
            trim_log(f"{self.settings['state_dir']}/output.log", OUTPUT_LOG_MOST)

    def _over(self) -> bool:
        """Return whether all workers are down and nobody is left who would start one."""
        if self.program.living:
            self._down_since = None
            return False
        if self._status is not None or self._stopping or not self._agent.wanted:
            return True
        now = _clock.monotonic()
        self._down_since = self._down_since or now
        if self._agent.end is not None and self._agent.spoke:
            self._down_since = now
        elif now - self._down_since >= AGENT_AWAY_MOST:
            self._say(f"there was no agent for {AGENT_AWAY_MOST:.0f} s to decide what to do next: this is the end")
            return True
        return False

    # ---------------------------------------------------------------------------------------------------------- end
    def _end(self) -> int:
        """Flush, let the agent say its last, leave nothing behind, and return the exit status."""
        self._publish()
        limit = _clock.monotonic() + FLUSH_MOST
        while (behind := self.program.behind) and (now := _clock.monotonic()) < limit and self._interrupts <= 1:
            if self.program.flush(now):
                limit = now + FLUSH_MOST
            else:
                _clock.sleep(0.001)
        if behind:
            self._say(f"the last {behind} bytes of output were not read and are lost")
        self._part_from_agent()
        for row in reap.below(reap.table(), (os.getpid(),)):
            if row.pid != os.getpid():
                reap.send(row.pid, row.ticks, int(_signal.SIGKILL))
        for _ in reap.collect():
            pass
        for worker in self.program.workers.values():
            for stream in worker.streams:
                stream.remove()
        clean_up(self.settings)
        return self.program.status() if self._status is None else self._status

    def _part_from_agent(self) -> None:
        agent = self._agent
        agent.tell({"t": "asked", "what": "exit", "signal": None})
        patience = 0.0 if self._interrupts > 1 else GOODBYE
        steps = (
            (agent.flush, patience),
            (lambda: agent.signal(_SIGTERM), patience),
            (agent.kill, 1.0),
        )
        for act, seconds in steps:
            act()
            limit = _clock.monotonic() + seconds
            while agent.pid and _clock.monotonic() < limit:
                for message in agent.receive():
                    if message.get("do") == "exit" and self._status is None:
                        self._status = int(message["status"])
                self._reap(_clock.monotonic())
                if agent.pid:
                    _clock.sleep(0.005)
            if not agent.pid:
                return


def _noted(_signum: int, _frame: object) -> None:
    """Leave it to the wakeup descriptor."""


def _terminal_is_there() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def main(argv: Sequence[str]) -> None:
    """Run the keeper with ``RUN_JSON [listen=FD] [lock=FD]`` and exit with the program's status."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open("/dev/null", os.O_RDWR)  # the lowest free number, which is fd
    with open(argv[0], encoding="utf-8") as file:
        settings = wire.loads(file.read())
    given = {name: int(value) for name, _, value in (item.partition("=") for item in argv[1:])}
    for fd in given.values():
        os.set_inheritable(fd, False)  # noqa: FBT003 - the function has no keyword
    os.chdir(settings["cwd"])
    status = Keeper(settings, given.get("listen", -1), given.get("lock", -1)).run()
    sys.stdout = sys.stderr = None  # nothing of ours is in them, and they may be gone
    os._exit(status)
