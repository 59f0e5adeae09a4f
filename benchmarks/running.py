"""Start programs for a measurement, plain or under ``roadworthy run``, and end what was started here."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rows import NotMeasured
from roadworthy._clock import monotonic, sleep
from roadworthy.config.places import Places, places

ROOT = Path(__file__).resolve().parents[1]
STOP_WITHIN = 20.0
PROGRAM_CPU = 0
CLIENT_CPU = 1
CPUS = os.sched_getaffinity(0)
"""What this process was given when it started, before it keeps itself off the program's."""


_PROCESS_TIME = 2
"""Linux: the low bits of the clock of another process's CPU time, above which its inverted pid stands."""


@dataclass(frozen=True, slots=True)
class Running:
    """A program under measurement; ``places`` is None for a plain one."""

    process: subprocess.Popen[bytes]
    folder: Path
    output: Path
    places: Places | None

    def tail(self) -> str:
        """Return the end of what it printed."""
        return self.output.read_text(encoding="utf-8", errors="replace")[-2_000:].strip()

    def said_by_keeper(self) -> dict[str, Any]:
        """Return the keeper's own account (keeper.json), empty before it has given one."""
        return self._account("keeper.json")

    def said_by_agent(self) -> dict[str, Any]:
        """Return the agent's own account (agent.json), empty before it has given one."""
        return self._account("agent.json")

    def _account(self, name: str) -> dict[str, Any]:
        if self.places is None:
            return {}
        try:
            found: dict[str, Any] = json.loads((self.places.run / name).read_bytes())
        except FileNotFoundError:
            return {}
        return found


def python() -> str:
    """Return the interpreter that every measured program runs on."""
    return sys.executable


def application(what: str) -> str:
    """Return a name for the application of this run, which no other run on this machine has."""
    return f"bench-{what}-{os.getpid()}"


def keep_off_the_program() -> None:
    """Keep this process, and the clients that it starts, off the CPU of the measured program, where there are two."""
    if {PROGRAM_CPU, CLIENT_CPU} <= CPUS:
        os.sched_setaffinity(0, CPUS - {PROGRAM_CPU})


def pinned(cpu: int, argv: Sequence[str]) -> list[str]:
    """Return the command that runs ``argv``, and what it starts, on one CPU only; unchanged where there is just one."""
    return ["taskset", "-c", str(cpu), *argv] if {PROGRAM_CPU, CLIENT_CPU} <= CPUS else list(argv)


def arranged(argv: Sequence[str], *, name: str = "", options: Sequence[str] = ()) -> list[str]:
    """Return the command on the program's CPU: plain, or under ``roadworthy run`` when the application has a name."""
    if not name:
        return pinned(PROGRAM_CPU, argv)
    script = str(Path(sys.executable).with_name("roadworthy"))
    return pinned(PROGRAM_CPU, [script, "run", "--name", name, *options, "--", *argv])


@contextlib.contextmanager
def running(argv: Sequence[str], *, name: str = "", environ: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Run a command in folders of its own and end it at the end; ``name`` is the application's when it runs under us.

    What it prints goes to a file, as it would in production: never to a pipe that this process must empty.
    """
    with tempfile.TemporaryDirectory(prefix="roadworthy-bench-") as made:
        folder = Path(made)
        env = {key: value for key, value in os.environ.items() if not key.startswith("ROADWORTHY_")}
        env.pop("PYTHONDONTWRITEBYTECODE", None)  # a start would be measured with all the compiling each time
        env |= {"XDG_RUNTIME_DIR": str(folder), "XDG_STATE_HOME": str(folder / "state"), **(environ or {})}
        where = places(name, env) if name else None
        output = folder / "output"
        with output.open("wb") as sink:
            process = subprocess.Popen(argv, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)
        try:
            yield Running(process, folder, output, where)
        finally:
            stop(process)
            if where is not None:
                shutil.rmtree(where.arena, ignore_errors=True)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a process of ours to end, and end it when it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def set_free(run: Running) -> bool:
    """Let keeper and agent, which began on the program's CPU, use every CPU; return False until both are up."""
    found = [run.said_by_keeper().get("pid"), run.said_by_agent().get("pid")]
    if None in found:
        return False
    for pid in found:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):  # a thread that has just ended
                os.sched_setaffinity(int(thread.name), CPUS)
    return True


def finish(run: Running, within: float, *, free: bool = False) -> None:
    """Wait until the program has ended by itself; raises NotMeasured when it failed or takes too long.

    With ``free``, keeper and agent are let off the program's CPU as soon as they are up.
    """
    deadline = monotonic() + within
    while (status := run.process.poll()) is None:
        if monotonic() > deadline:
            raise NotMeasured(f"not done after {within:.0f} s; it printed: {run.tail() or 'nothing'}")
        free = free and not set_free(run)
        sleep(0.01)
    if status:
        raise NotMeasured(f"ended with status {status}; it printed: {run.tail() or 'nothing'}")


def wait_until(what: str, true: Callable[[], bool], run: Running, within: float = 20.0) -> None:
    """Wait for a condition; raises NotMeasured when it does not come true or the program ends first."""
    deadline = monotonic() + within
    while not true():
        if run.process.poll() is not None:
            raise NotMeasured(
                f"ended with status {run.process.returncode} before {what}; it printed: {run.tail() or 'nothing'}"
            )
        if monotonic() > deadline:
            raise NotMeasured(f"{what}: not within {within:.0f} s; it printed: {run.tail() or 'nothing'}")
        sleep(0.01)


def probe(argv: Sequence[str], *, name: str = "", within: float = 120.0) -> Any:  # noqa: ANN401 - JSON
    """Run a probe module to its end, under ``roadworthy run`` when it has a name, and return the JSON that it wrote."""
    with tempfile.TemporaryDirectory(prefix="roadworthy-bench-") as made:
        out = Path(made, "found.json")
        command = [python(), "-m", *argv, "--out", str(out)]
        with running(arranged(command, name=name), name=name) as run:
            finish(run, within, free=bool(name))
        return json.loads(out.read_bytes())


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, of its own and in the kernel; raises NotMeasured when it is gone.

    It is read from the process's own clock, to the nanosecond: /proc counts in hundredths, one per cent of a second.
    """
    try:
        return time.clock_gettime(~pid << 3 | _PROCESS_TIME)
    except OSError:
        raise NotMeasured(f"process {pid} ended during the measurement") from None


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process; raises NotMeasured when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
    except OSError:
        raise NotMeasured(f"process {pid} ended during the measurement") from None
    return pages * os.sysconf("SC_PAGE_SIZE")
