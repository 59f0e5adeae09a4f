"""``roadworthy stop | restart | reload | stacks``: one question to a running application each."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import click

from roadworthy.agent.auditor import user_name
from roadworthy.cli.running import Running, clear_away, find, look, start_ticks
from roadworthy.cli.socket import ask
from roadworthy.cli.waiting import wait
from roadworthy.config.values import RunSettings
from roadworthy.errors import RoadworthyError, Temporary, Unavailable
from roadworthy.keeper import reap
from roadworthy.log import trail

_GRACE = 10.0
"""Seconds that a program has whose settings are gone."""

_PATIENCE = 15.0
"""Seconds past the grace that a keeper has to end."""

_TOLD = 2.0
"""Seconds that an agent has to take note that the program is about to be ended."""

_LAST_WORDS = 5.0
"""Seconds that an agent without a keeper has to end by itself, once the program has ended."""


@click.command()
@click.argument("name", required=False)
@click.option("--now", is_flag=True, help="Do not wait for the program to end by itself: kill it.")
def stop(name: str | None, now: bool) -> int:  # noqa: FBT001 - click passes it by name
    """Stop a program and all that it started, and wait until nothing of it is left."""
    found = find(name)
    _note(found, now=now)
    if found.keeper is None:
        _end_workers(found, 0.0 if now else _grace(found))
    else:
        pid, ticks = found.keeper
        reap.send(pid, ticks, signal.SIGINT if now else signal.SIGTERM)
        reap.send(pid, ticks, signal.SIGCONT)  # one that is stopped could not act
        if now:
            reap.send(pid, ticks, signal.SIGINT)
            wait(lambda: start_ticks(pid) != ticks, 0.05)
            reap.send(pid, ticks, signal.SIGINT)  # two that come at once may be seen as one
        if not wait(lambda: start_ticks(pid) != ticks, _grace(found) + _PATIENCE):
            raise Temporary(
                f"{found.places.app} is still stopping",
                why=f"Its keeper, pid {pid}, has not ended yet.",
                hint="Try --now.",
            )
        if (left := look(found.places)).workers:  # the keeper did not end: it was killed, and they live on
            _end_workers(left, 0.0 if now else _grace(left))
    print(f"{found.places.app} is stopped")
    return 0


def _note(found: Running, *, now: bool) -> None:
    """Write into the trail who stops the program; what hinders that is told and does not hinder the stop."""
    record = {
        "actor": f"command line, {user_name(os.getuid())} (uid {os.getuid()}), pid {os.getpid()}",
        "act": "stop",
        "target": found.places.app,
        "result": {"ok": True, "outcome": "begun", "detail": "at once" if now else ""},
    }
    try:
        trail.append(found.places.state, record)
    except RoadworthyError as error:
        print(f"the audit trail has no record of this: {error}", file=sys.stderr)


def _grace(found: Running) -> float:
    try:
        return RunSettings.from_json((found.places.run / "run.json").read_text(encoding="utf-8")).stop_grace
    except (OSError, ValueError, TypeError, KeyError):
        return _GRACE


def _end_workers(found: Running, grace: float) -> None:
    """End workers whose keeper has died, with everything that carries their marks or descends from them.

    An agent that watches them is told before: what follows was asked for and is no incident.
    """

    def left() -> list[reap.Process]:
        rows = reap.table()
        roots = [pid for _, pid, ticks in found.workers if pid in rows and rows[pid].ticks == ticks]
        run = str(found.places.run)
        marked = [pid for pid in rows if reap.marks(pid).get("ROADWORTHY_RUN_DIR") == run and pid != os.getpid()]
        return reap.below(rows, [*roots, *marked], () if found.agent is None else (found.agent[0],))

    if found.agent is not None:
        try:
            _ask(found, {"do": "stop-comes"}, _TOLD)
        except RoadworthyError as error:  # it hangs, or is just dying: that must not hold up the end
            print(f"its agent was not told and will record this as a death: {error}", file=sys.stderr)
    for process in left():
        reap.send(process.pid, process.ticks, signal.SIGTERM)
        reap.send(process.pid, process.ticks, signal.SIGCONT)
    if not wait(lambda: not left(), grace):
        for process in left():
            reap.send(process.pid, process.ticks, signal.SIGKILL)
        if not wait(lambda: not left(), _PATIENCE):
            pids = ", ".join(str(process.pid) for process in left())
            raise Temporary(
                f"{found.places.app} cannot be ended", why=f"SIGKILL does not end pid {pids}.", hint="Wait."
            )
    if found.agent is not None:
        agent, ticks = found.agent
        if not wait(lambda: start_ticks(agent) != ticks, _LAST_WORDS):
            reap.send(agent, ticks, signal.SIGTERM)
            wait(lambda: start_ticks(agent) != ticks, _PATIENCE)
    clear_away(found.places)


def _ask(found: Running, message: dict[str, Any], timeout: float = 10.0) -> dict[str, Any]:
    """Return the agent's answer; raises what it refused as :class:`Unavailable`."""
    answer = ask(found.places.run / "agent.sock", message, timeout)
    if not answer.get("ok"):
        raise Unavailable(
            str(answer.get("what", "the agent refused")),
            why=str(answer.get("why", "")),
            hint=str(answer.get("hint", "")),
        )
    return answer


def _with_slot(what: str, slot: int | None) -> dict[str, Any]:
    return {"do": what} if slot is None else {"do": what, "slot": slot}


@click.command()
@click.argument("name", required=False)
@click.option("--slot", type=click.IntRange(0), help="Only this worker.")
def restart(name: str | None, slot: int | None) -> int:
    """Stop a program's workers and start them again."""
    print(_ask(find(name), _with_slot("restart", slot))["what"])
    return 0


@click.command()
@click.argument("name", required=False)
def reload(name: str | None) -> int:
    """Replace the workers one by one: new, ready, the old one finishes what it has, and ends."""
    found = find(name)
    try:
        print(_ask(found, {"do": "reload"})["what"])
    except RoadworthyError:
        if found.agent is not None or found.keeper is None:
            raise
        reap.send(*found.keeper, signal.SIGHUP)  # the agent is away for a moment: the keeper tells the next one
        print(f"reload of {found.places.app} was asked for")
    return 0


@click.command()
@click.argument("name", required=False)
@click.option("--slot", type=click.IntRange(0), help="Only this worker.")
def stacks(name: str | None, slot: int | None) -> int:
    """Show what every thread of a program is doing, now."""
    answer = _ask(find(name), _with_slot("stacks", slot), timeout=30.0)
    for number, text in sorted(answer["stacks"].items()):
        print(f"worker {number}:\n{text}")
    return 0
