"""What ``roadworthy policy``, ``service`` and ``feature`` share: whom they ask, and how an answer is shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import click

from roadworthy import _clock
from roadworthy.cli.settings import seconds
from roadworthy.cli.status import ask, style_for
from roadworthy.errors import EXIT_OK, EXIT_UNHEALTHY, NotRunning, UsageError
from roadworthy.view.client import choose, connect

if TYPE_CHECKING:
    from roadworthy.config.places import Places
    from roadworthy.types import Snapshot
    from roadworthy.view.client import Agent
    from roadworthy.view.terminal.text import Style

PATIENCE: Final = 90.0
"""Seconds that an act may take: a recovery procedure has thirty in each process, and runs in all at once."""

app_option = click.option("--app", metavar="NAME", help="Which application, when several are running.")
json_option = click.option("--json", "as_json", is_flag=True, help="As JSON.")
reason_option = click.option("--reason", default="", metavar="TEXT", help="Why; shown, and kept in the audit trail.")
for_option = click.option("--for", "for_", metavar="DURATION", help="End it by itself after this, for example 5m.")


def shown(
    app: str | None,
    key: str,
    lines: Callable[[Snapshot, Style, float], list[str]],
    empty: str,
    *,
    as_json: bool,
) -> int:
    """Print one list of the agent's snapshot, as a table or as JSON; ``empty`` when there is nothing."""
    from roadworthy.view.snapshot import from_json

    app, as_json = _with_group(app, as_json=as_json)
    place = _place(app)
    document = ask(place)
    if document is None:
        raise _no_agent(place.app)
    if as_json:
        click.echo(json.dumps({key: document.get(key, [])}, ensure_ascii=False, indent=1))
    else:
        table = lines(from_json(document), style_for(sys.stdout), _clock.wall())
        click.echo("\n".join(table) if table else empty, color=True)
    return EXIT_OK


def act(
    app: str | None, method: str, path: str, names: Mapping[str, str], query: Mapping[str, Any], *, as_json: bool
) -> int:
    """Have something done and print what became of it; 0 when it helped or was begun, 7 when it did not.

    ``names`` fill the path; what is None or empty in ``query`` is left out. Raises what the agent refused.
    """
    app, as_json = _with_group(app, as_json=as_json)
    agent = _agent(app)
    filled = path.format(**{key: quote(value, safe="") for key, value in names.items()})
    given = {key: value for key, value in query.items() if value not in {None, ""}}
    done = agent.delete(filled, **given) if method == "DELETE" else agent.post(filled, **given)
    if as_json:
        click.echo(json.dumps(done, ensure_ascii=False, indent=1))
    else:
        detail = done["detail"].removeprefix(f"{done['outcome']}: ")  # what a process answers may begin with it, too
        click.echo(f"{done['act']} {done['target']}: {done['outcome']}, {detail}")
        if not done.get("audited", True):
            click.echo("roadworthy: the audit trail could not be written: see roadworthy status", err=True)
    return EXIT_OK if done["ok"] else EXIT_UNHEALTHY


def duration(text: str | None) -> float | None:
    """Return a duration in seconds, None for none; raises :class:`UsageError` naming the option."""
    return None if text is None else seconds(text, "--for")


def _with_group(app: str | None, *, as_json: bool) -> tuple[str | None, bool]:
    """Return the options, those that were given before the verb too."""
    group = click.get_current_context().parent
    given = group.params if group is not None else {}
    return app or given.get("app"), as_json or bool(given.get("as_json"))


def _place(app: str | None) -> Places:
    try:
        return choose(app)
    except UsageError as error:
        example = error.hint.rpartition(": ")[2]
        raise UsageError(error.what, why=error.why, hint=f"Name one, for example: --app {example}") from error


def _agent(app: str | None) -> Agent:
    place = _place(app)
    agent = connect(place)
    if agent is None:
        raise _no_agent(place.app)
    return replace(agent, timeout=PATIENCE)


def _no_agent(app: str) -> NotRunning:
    return NotRunning(
        f"no agent of {app} is running",
        why="Only the agent tells the program what people want.",
        hint=f"One that has just died is back in a moment; else start one: roadworthy attach {app}",
    )
