"""Two arms of a comparison that are alive at once, the plain program and the attached one, of which one runs at a time.

The other is suspended, with all its processes: an agent that went on while the plain program has its turn would be
charged to the plain program. Of the attached arm keeper and agent are suspended before the program and come back after
it, so that they never see it stopped; that they recorded nothing of it is checked at the end.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.rows import NotMeasured
from benchmarks.running import Running, arranged, cpu_seconds, running, set_free, wait_until
from roadworthy._clock import monotonic, sleep

SETTLE = 3.0
"""Seconds that both arms run before they are measured: the row is about a program that runs, not about its start."""

SUSPENDED_WITHIN = 5.0


class Disturbed(NotMeasured):
    """A start whose attached arm did not live through its suspensions as if nothing had been; the message says what."""


@dataclass(frozen=True, slots=True)
class Command:
    """What an arm runs, and how to tell that it is ready to be measured."""

    argv: Sequence[str]
    ready: Callable[[], bool]
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Arm:
    """A program that runs, and the processes beside it: none for a plain one."""

    run: Running
    program: int
    beside: tuple[int, ...] = ()

    @property
    def attached(self) -> bool:
        """Return whether it runs under ``roadworthy run``."""
        return bool(self.beside)

    def used(self) -> tuple[float, float]:
        """Return the CPU seconds that the program has used, and those of keeper and agent."""
        return cpu_seconds(self.program), sum(cpu_seconds(pid) for pid in self.beside)

    def suspend(self) -> None:
        """Stop everything of this arm and return when it stands; raises NotMeasured when it does not, or is gone."""
        for pid in (*self._others(), self.program):
            _tell(pid, signal.SIGSTOP)
            deadline = monotonic() + SUSPENDED_WITHIN
            while _state(pid) != "T":
                if monotonic() > deadline:
                    raise NotMeasured(f"process {pid} was not suspended within {SUSPENDED_WITHIN:.0f} s")
                sleep(0.001)

    def resume(self) -> None:
        """Let everything of this arm go on."""
        for pid in (self.program, *reversed(self._others())):
            _tell(pid, signal.SIGCONT)

    def _others(self) -> list[int]:
        """Return keeper, agent and whatever else belongs to this arm now, but not the program."""
        return [pid for pid in family(self.run.process.pid) if pid != self.program]


@dataclass(frozen=True, slots=True)
class Arms:
    """Both arms, one of which runs."""

    plain: Arm
    attached: Arm

    def turn(self, *, attached: bool) -> Arm:
        """Suspend the one arm, let the other go on and return that."""
        mine, other = (self.attached, self.plain) if attached else (self.plain, self.attached)
        other.suspend()
        mine.resume()
        return mine

    def check(self) -> None:
        """Raise Disturbed when the attached arm has an incident, or other processes than at the beginning."""
        run = self.attached.run
        assert run.places is not None  # noqa: S101 - for the type checker: the attached arm has a name
        recorded = sorted(one.name for one in run.places.state.glob("incidents/*"))
        if recorded:
            raise Disturbed(f"the agent recorded an incident: {', '.join(recorded)}")
        if _processes(run) != (self.attached.program, self.attached.beside):
            raise Disturbed("keeper, agent or program of the attached arm is not the one of the beginning any more")


@contextlib.contextmanager
def both(name: str, plain: Command, attached: Command, *, beside: str) -> Iterator[Arms]:
    """Run both arms until they have settled, hand them over, and end them; ``name`` is the attached application's.

    Plain means without ``roadworthy run`` and with ``ROADWORTHY_ENABLED=0``.
    """
    off = {**plain.environ, "ROADWORTHY_ENABLED": "0"}
    with (
        running(arranged(plain.argv), environ=off) as bare,
        running(arranged(attached.argv, name=name), name=name, environ=attached.environ) as ours,
    ):
        wait_until("the plain program is ready", plain.ready, bare)
        wait_until("the attached program is ready", attached.ready, ours)
        up = set_free if beside == "free" else Running.said_by_agent
        wait_until("the agent is up", lambda: bool(up(ours)) and _processes(ours) is not None, ours)
        sleep(SETTLE)
        found = _processes(ours)
        if found is None:
            raise NotMeasured(f"keeper, agent and program are not all up any more; it printed: {ours.tail()}")
        arms = Arms(Arm(bare, bare.process.pid), Arm(ours, *found))
        try:
            yield arms
        finally:
            for arm in (arms.plain, arms.attached):  # what is suspended does not end when it is asked to
                arm.resume()


def family(pid: int) -> list[int]:
    """Return a process and all its descendants, parents first; nothing when it is gone."""
    found, at = [pid], 0
    while at < len(found):
        with contextlib.suppress(OSError):  # a process or thread that has just ended
            for thread in Path(f"/proc/{found[at]}/task").iterdir():
                found += [int(child) for child in (thread / "children").read_text(encoding="ascii").split()]
        at += 1
    return found


def _processes(run: Running) -> tuple[int, tuple[int, ...]] | None:
    """Return the program's process, and keeper and agent; None before all are up."""
    said = run.said_by_keeper()
    pids = [slot["pid"] for slot in said.get("slots", ()) if slot.get("pid")]
    beside = said.get("pid"), run.said_by_agent().get("pid")
    if len(pids) != 1 or None in beside:
        return None
    return int(pids[0]), tuple(int(pid) for pid in beside if pid is not None)


def _tell(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # told by _state, by the requests that fail, or at the end
        os.kill(pid, number)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(") ")[2][0]
    except OSError:
        raise NotMeasured(f"process {pid} ended during the measurement") from None
