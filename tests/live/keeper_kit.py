"""Starts a real keeper, with a small agent of the test's own that restarts workers and writes down what it was told."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from roadworthy.config.values import RestartPolicy, RunSettings

MAIN = Path(__file__).parents[2] / "src" / "roadworthy" / "keeper" / "__main__.py"
SOURCE = MAIN.parents[2]

# The keeper's own entry, with some of its waiting times shortened: what happens after them is the same.
HURRIED = """
import runpy, sys
entry = runpy.run_path(sys.argv[1])
entry["_bare_package"]()
from roadworthy.keeper import beside, main, output
for where, name, value in %r:
    vars({"beside": beside, "main": main, "output": output}[where])[name] = value
main.main(sys.argv[2:])
"""

# The real supervisor on a bare loop: no sampling, no server. Messages go to a file, deaths as well.
AGENT = """
import asyncio, json, os, sys
sys.path.insert(0, sys.argv[1])
from roadworthy import _clock
from roadworthy.agent.crew import Observation
from roadworthy.agent.link import KeeperLink
from roadworthy.agent.supervisor import Supervisor
from roadworthy.config.values import RunSettings
from roadworthy.types import Liveness
from roadworthy.watch.liveness import Judgement

run = sys.argv[2]
settings = RunSettings.from_json(open(run + "/run.json").read())

async def main():
    over = asyncio.Event()
    log = open(run + "/../told.jsonl", "a")
    def heard(message):
        log.write(json.dumps({"heard": _clock.monotonic_ns(), **message}) + "\\n")
        log.flush()
        supervisor.handle(message, _clock.monotonic())
    def send(command):
        link.send(command)
        if command["do"] == "exit":
            over.set()
    link = KeeperLink.from_environment(heard, over.set)
    supervisor = Supervisor(settings, send)
    fine = Judgement(Liveness.WORKING, "")
    while not over.is_set():
        now = _clock.monotonic()
        seen = [Observation(m.slot, m.pid, fine, True, True, True, 1.0) for m in supervisor.members() if m.pid]
        supervisor.observe(seen, now)
        supervisor.tick(now)
        try:
            await asyncio.wait_for(over.wait(), 0.02)
        except TimeoutError:
            pass

asyncio.run(main())
"""


def wait_for(condition, seconds=60.0, what="the condition"):
    """Return the first true value of ``condition()``; fails after some seconds."""
    limit = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > limit:
            raise AssertionError(f"{what} did not come true within {seconds} s")
        time.sleep(0.01)


def alive(pid):
    """Return whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[0] not in "ZX"
    except OSError:
        return False


def pids_of(path):
    """Return the pids that a program under test has written into a file, one a line."""
    with contextlib.suppress(OSError):
        return [int(line) for line in Path(path).read_text().split()]
    return []


class Kept:
    """A keeper and what it keeps; everything it may leave behind is ended by pid."""

    def __init__(
        self,
        home,
        command,
        *,
        agent=True,
        argv=None,
        stdin=subprocess.DEVNULL,
        stdout=None,
        env=None,
        hurried=(),
        **given,
    ):
        self.home = Path(home)
        for name in ("arena", "run", "state"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        script = self.home / "agent.py"
        script.write_text(AGENT)
        run = str(self.home / "run")
        given.setdefault("restart", RestartPolicy(backoff_first=0.05))
        given.setdefault("inject", False)
        beside = (sys.executable, str(script), str(SOURCE), run) if agent else ()
        self.settings = RunSettings(
            app="kept",
            command=tuple(map(str, command)),
            cwd=str(self.home),
            arena_dir=str(self.home / "arena"),
            run_dir=run,
            state_dir=str(self.home / "state"),
            agent_argv=beside if argv is None else argv,
            **given,
        )
        (self.home / "run" / "run.json").write_text(self.settings.to_json())
        self.out = self.home / "stdout"
        self.err = self.home / "stderr"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            entry = ["-c", HURRIED % (hurried,), str(MAIN)] if hurried else [str(MAIN)]
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", "utf8", *entry, str(self.home / "run" / "run.json")],
                stdin=stdin,
                stdout=out if stdout is None else stdout,
                stderr=err,
                env=None if env is None else {**os.environ, **env},
            )
        self.seen = set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.look()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pid, ticks in self.seen:
            if ticks_of(pid) == ticks:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def look(self):
        """Return the index; its processes are remembered, to be ended whatever happens."""
        try:
            index = json.loads((self.home / "run" / "keeper.json").read_text())
        except (OSError, ValueError):
            return {}
        pids = [slot["pid"] for slot in index["slots"]] + [index["agent_pid"]]
        self.seen |= {(pid, ticks_of(pid)) for pid in pids if pid and alive(pid)}
        return index

    def worker(self, generation=1, slot=0):
        """Wait for a generation of a slot to run and return its pid."""

        def there():
            for row in self.look().get("slots", ()):
                if (row["slot"], row["generation"], row["state"]) == (slot, generation, "running"):
                    return row["pid"]
            return None

        return wait_for(there, what=f"generation {generation} of slot {slot}")

    def agent(self, other_than=None):
        """Wait for an agent to run and return its pid."""
        return wait_for(lambda: (p := self.look().get("agent_pid")) and p != other_than and p, what="an agent")

    def told(self, kind=None):
        """Return what the agents were told."""
        try:
            lines = (self.home / "told.jsonl").read_text().splitlines()
        except OSError:
            return []
        found = [json.loads(line) for line in lines if line.endswith("}")]
        return [message for message in found if kind in {None, message["t"]}]

    def ended(self, seconds=60):
        """Wait for the keeper's end and return its exit status."""
        self.look()
        return self.process.wait(seconds)


def ticks_of(pid):
    """Return the start ticks of a process, or None."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19])
    except OSError:
        return None
