"""``roadworthy attach``: an agent beside a program that has none: its keeper died, or it only called ``rw.start()``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from roadworthy.cli.running import find, look, start_ticks
from roadworthy.cli.settings import agent_command
from roadworthy.config.places import Places, arena_root, make, places
from roadworthy.config.values import RunSettings
from roadworthy.errors import NotRunning, Unavailable, UsageError


@click.command()
@click.argument("name", required=False)
@click.option("--ops-port", type=click.IntRange(0, 65535), help="Port of dashboard and operations API.")
def attach(name: str | None, ops_port: int | None) -> int:
    """Start an agent beside a running program, in the foreground; the program is not touched."""
    app, pid = _target(name)
    found = look(app)
    if found.agent is not None:
        raise Unavailable(
            f"{app.app} is watched already",
            why=f"Its agent is pid {found.agent[0]}.",
            hint=f"roadworthy status {app.app}",
        )
    if found.keeper is not None:
        raise Unavailable(
            f"{app.app} has a keeper, which starts its agent",
            why=f"The keeper is pid {found.keeper[0]}; its agent is on its way or fails.",
            hint=f"See {app.state / 'agent.log'}",
        )
    make(app)
    path = app.run / "run.json"
    if not path.exists():
        path.write_text(_settings(app, pid, ops_port).to_json(), encoding="utf-8")
        path.chmod(0o600)
    command = agent_command(app.run)
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606 - no shell is the point


def _target(name: str | None) -> tuple[Places, int | None]:
    """Return the application to watch and the pid of one of its processes, as far as it is known."""
    if name is None:
        alone = [(app, pid) for app, pid in _recording().items() if not look(places(app)).keeper]
        if len(alone) == 1:
            return places(alone[0][0]), alone[0][1]
        if len(alone) > 1:
            raise UsageError(
                "which application?", why=f"{', '.join(app for app, _ in alone)} run.", hint="Give the name."
            )
    try:
        found = find(name)
    except NotRunning:
        recording = _recording()
        if name is None or name not in recording:
            raise
        return places(name), recording[name]
    return found.places, found.workers[0][1] if found.workers else None


def _recording() -> dict[str, int]:
    """Return the applications of which a living process has an arena, with its pid."""
    root = arena_root(os.environ)
    found: dict[str, int] = {}
    for path in sorted(root.glob("*/*.arena")) if root.is_dir() else ():
        parts = path.stem.split("-")  # <boot>-<pid>-<ticks>-<n>
        try:
            if start_ticks(int(parts[-3])) == int(parts[-2]):
                found.setdefault(path.parent.name, int(parts[-3]))
        except (ValueError, IndexError):
            continue  # no arena's name
    return found


def _settings(app: Places, pid: int | None, ops_port: int | None) -> RunSettings:
    command: tuple[str, ...] = ()
    cwd = str(Path.cwd())
    try:
        if pid is not None:
            raw = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0")
            command, cwd = (
                tuple(os.fsdecode(word) for word in raw.split(b"\0")),
                str(Path(f"/proc/{pid}/cwd").readlink()),
            )
    except OSError as error:
        raise NotRunning(f"{app.app} has just ended", why=f"Process {pid} is gone.", hint="Start it again.") from error
    return RunSettings(
        app=app.app,
        command=command,
        cwd=cwd,
        ops_port=9900 if ops_port is None else ops_port,
        ops_port_given=ops_port is not None,
        arena_dir=str(app.arena),
        run_dir=str(app.run),
        state_dir=str(app.state),
    )
