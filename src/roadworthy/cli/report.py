"""``roadworthy report``: how a program did, to read or to keep; and ``roadworthy baseline``: against a good time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from roadworthy import _clock
from roadworthy.cli.settings import seconds
from roadworthy.errors import NotRunning, UsageError
from roadworthy.view.client import choose, connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from roadworthy.config.places import Places
    from roadworthy.view.client import Agent

LEAST_EVERY = 1.0


@click.command()
@click.argument("name", required=False)
@click.option("--hours", type=click.FloatRange(1 / 60, 24 * 366), default=1.0, show_default=True, help="Over how long.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--path", "directory", metavar="DIR", help="Write it into a file there and print its path.")
@click.option("--every", metavar="DURATION", help="Go on until interrupted: one each time this has passed.")
def report(name: str | None, hours: float, directory: str | None, every: str | None, *, as_json: bool) -> int:
    """Report how a program did: operations, bottlenecks, trends, errors, usage, the baseline.

    The agent also writes one by itself, every day unless told otherwise (roadworthy run --report-every), into the
    folder reports of the state directory.
    """
    from roadworthy.view import reports

    place = choose(name)

    def once() -> None:
        made = _agent(place).get("/api/performance/report", hours=hours)
        if directory is None:
            click.echo(reports.render(made, as_json=as_json), nl=False)
        else:
            click.echo(reports.write(Path(directory), made, as_json=as_json))

    return repeat(once, every)


@click.command()
@click.argument("name", required=False)
@click.option("--take", is_flag=True, help="Take the figures of the last minutes as the baseline.")
@click.option(
    "--minutes", type=click.FloatRange(1, 24 * 60), default=10.0, show_default=True, help="How many minutes to look at."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def baseline(name: str | None, minutes: float, *, take: bool, as_json: bool) -> int:
    """Compare a program's figures with those of a good time, or take the present as that time.

    The exit code is 0 whatever the comparison says.
    """
    place = choose(name)
    agent = _agent(place)
    if take:
        told: dict[str, Any] = agent.post("/api/performance/baseline", minutes=minutes)
        text = f"the baseline of {place.app} now holds {told['taken']} figures"
    else:
        told = agent.get("/api/performance/baseline", minutes=minutes)
        text = "\n".join(_compared(told))
    click.echo(json.dumps(told, ensure_ascii=False, indent=1) if as_json else text)
    return 0


def _compared(told: dict[str, Any]) -> list[str]:
    from roadworthy.view.report import difference

    if told["baseline"] is None:
        return ["no baseline was taken yet: roadworthy baseline --take"]
    moved = [one for one in told["figures"] if one["change"] in {"higher", "lower"}]
    unknown = sum(one["change"] == "unknown" for one in told["figures"])
    lines = [difference(one) for one in moved] or ["nothing has moved"]
    return [*lines, *([f"{unknown} figures are not known now"] if unknown else [])]


def _agent(place: Places) -> Agent:
    """Return the running agent; raises :class:`NotRunning`: without one there is no history to tell of."""
    agent = connect(place)
    if agent is None:
        raise NotRunning(
            f"no agent runs for {place.app}",
            why="Only the agent knows figures over time.",
            hint=f"roadworthy attach {place.app} starts one.",
        )
    return agent


def repeat(act: Callable[[], None], every: str | None) -> int:
    """Do it once, or again each time ``every`` has passed, until interrupted; raises :class:`UsageError`."""
    period = seconds(every, "--every") if every is not None else 0.0
    if every is not None and period < LEAST_EVERY:
        raise UsageError("--every is too short", why="Once a second is the most.", hint="For example: --every 1h")
    due = _clock.monotonic()
    while True:
        act()
        if not period:
            return 0
        now = _clock.monotonic()
        due = max(due + period, now)
        _clock.sleep(due - now)
