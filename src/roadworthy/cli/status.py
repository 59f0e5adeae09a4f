"""``roadworthy status``: how a program is, why, and since when; the exit code says it too.

0 ok or degraded, 7 unhealthy or not known, 4 not running.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any, TextIO

import click

from roadworthy import _clock
from roadworthy.errors import EXIT_OK, EXIT_UNHEALTHY, NotRunning, Unavailable
from roadworthy.view.client import choose, connect

if TYPE_CHECKING:
    from roadworthy.config.places import Places
    from roadworthy.types import Snapshot
    from roadworthy.view.terminal.text import Style

WELL = frozenset({"ok", "degraded"})


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the snapshot as JSON (docs/snapshot.schema.json).")
@click.option("--signals", is_flag=True, help="Also list every kind of signal and when it was last really received.")
@click.option("--self", "own", is_flag=True, help="Also tell what roadworthy itself uses, in full.")
def status(name: str | None, *, as_json: bool, signals: bool, own: bool) -> int:
    """Tell how a program is, why, and since when.

    NAME is the application's name; it may be left out when there is only one. The exit code is 0 when it is ok or
    degraded, 7 when it is unhealthy or not known, 4 when it is not running.
    """
    place = choose(name)
    document = ask(place)
    if document is None:
        from roadworthy.view import offline
        from roadworthy.view.snapshot import to_json

        seen = offline.snapshot(place)
        if not seen.verdict.live and seen.keeper_pid is None:
            raise NotRunning(
                f"{place.app} is not running",
                why="Its last processes have ended.",
                hint="Start it with: roadworthy run -- COMMAND",
            )
        document = to_json(seen) if as_json else None
        click.echo(
            f"no agent runs for {place.app}: read from its arenas alone; `roadworthy attach {place.app}` starts one",
            err=True,
        )
    else:
        seen = None
    from roadworthy.view.snapshot import from_json
    from roadworthy.view.terminal.status import status as lines_of

    snapshot: Snapshot = seen if seen is not None else from_json(document or {})
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False, indent=1))
    else:
        click.echo(
            "\n".join(lines_of(snapshot, style_for(sys.stdout), _clock.wall(), signals=signals, own=own)), color=True
        )
        if document is not None and (agent := connect(place)) is not None:
            click.echo(f"dashboard: {agent.url}")
    return code_of(snapshot)


def ask(place: Places) -> dict[str, Any] | None:
    """Return the running agent's snapshot as JSON, or None when no agent runs; raises as ``Agent.get``."""
    agent = connect(place)
    if agent is None:
        return None
    document = agent.get("/api/snapshot")
    if not isinstance(document, dict):
        raise Unavailable(f"the agent of {place.app} answered something else", hint="Is it of the same version?")
    return document


def code_of(snapshot: Snapshot) -> int:
    """Return the exit code for a snapshot's verdict; what is not known, or too old to tell, is a failure."""
    from roadworthy.view.terminal.status import judged

    return EXIT_OK if judged(snapshot, _clock.wall())[0].value in WELL else EXIT_UNHEALTHY


def style_for(stream: TextIO) -> Style:
    """Return how to draw on this stream: colours only on a terminal and without NO_COLOR, signs where they can be."""
    from roadworthy.view.terminal.text import Style

    terminal = stream.isatty()
    colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    unicode = (stream.encoding or "").lower().replace("-", "") in {"utf8", "utf8sig"}
    width = shutil.get_terminal_size((100, 24)).columns if terminal or os.environ.get("COLUMNS") else 160
    return Style(colour=colour, unicode=unicode, width=max(20, width))
