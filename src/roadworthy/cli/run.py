"""``roadworthy run``: resolve everything, refuse what is wrong in one clear error, then become the keeper."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

import roadworthy.keeper
from roadworthy.cli.command import Python, python_of, resolve
from roadworthy.cli.configured import configuration, options, recorded, run_settings, told
from roadworthy.cli.daemon import check_daemon, check_pid_file, detach, write_pid_file
from roadworthy.cli.ports import check_free, listen
from roadworthy.cli.running import Running, claim, look, start_ticks
from roadworthy.cli.settings import MOST_WORKERS, address, app_name, notify_settings, placed, sharing, working_directory
from roadworthy.cli.waiting import wait_until_ready, wait_until_up
from roadworthy.config.keys import PLACES, STAGES
from roadworthy.config.places import Places, check_room, make, places
from roadworthy.errors import FULL, Exhausted, RoadworthyError, Unavailable, Unhealthy

if TYPE_CHECKING:
    from roadworthy.config.values import RunSettings

MOST_NAMES = 100
LISTEN_FROM = 100
"""Least number of the descriptor that the workers inherit."""

_OPS_HOST = "127.0.0.1"
_LEVELS = ("debug", "info", "warning", "error", "critical")


@click.command(context_settings={"allow_interspersed_args": False, "show_default": True})
@click.option(
    "--name",
    default="",
    show_default=False,
    metavar="NAME",
    help="What the application is called.  [default: the script's name]",
)
@click.option(
    "--workers",
    type=click.IntRange(1, MOST_WORKERS),
    default=1,
    help="How many processes of it to run.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="The program's port: bound once and shared by its workers.",
)
@click.option("--bind", default="127.0.0.1", metavar="ADDRESS", help="The address that --port is bound on.")
@click.option(
    "--ops-port",
    type=click.IntRange(0, 65535),
    help="Port of dashboard and operations API.  [default: 9900, else the next free one]",
)
@click.option(
    "--ops-host",
    default=_OPS_HOST,
    metavar="ADDRESS",
    help="Address of dashboard and operations API; off loopback, reading needs the token.",
)
@click.option(
    "--probe-bind",
    default="",
    show_default=False,
    metavar="HOST:PORT",
    help="Serve only the health probes here, without login.",
)
@click.option(
    "--restart",
    type=click.Choice(["on-failure", "always", "never"]),
    default="on-failure",
    help="When a worker that ended is started again.",
)
@click.option("--inject/--no-inject", default=True, help="Whether our runtime goes into Python programs.")
@click.option("--dev", is_flag=True, help="Restart on source changes, log at debug level.")
@click.option("--daemon", is_flag=True, help="Go into the background.")
@click.option(
    "--pid-file",
    default="",
    show_default=False,
    metavar="PATH",
    type=click.Path(dir_okay=False),
    help="Write our pid and start time here.",
)
@click.option("--health-check", is_flag=True, help="Let the exit code tell whether the program became healthy.")
@click.option(
    "--health-url", default="", show_default=False, metavar="URL", help="The program is ready when this answers 2xx."
)
@click.option("--ready-timeout", default="40s", metavar="DURATION", help="How long it may take to become ready.")
@click.option(
    "--log-level",
    type=click.Choice(_LEVELS, case_sensitive=False),
    help="Log level in the program.",
)
@click.option("--stop-signal", default="TERM", metavar="SIGNAL", help="What asks the program to stop.")
@click.option("--grace", default="10s", metavar="DURATION", help="How long it may take to stop before it is killed.")
@click.option(
    "--hang-after", default="10s", metavar="DURATION", help="A declared signal of life that is this late means hung."
)
@click.option(
    "--progress-after",
    default="60s",
    metavar="DURATION",
    help="Declared progress that stands still for this long means not progressing.",
)
@click.option(
    "--hang-action",
    type=click.Choice(["auto", "alarm", "restart"]),
    default="auto",
    help="What is done with a hung worker.",
)
@click.option(
    "--check", "checks", multiple=True, metavar="NAME=URL", help="Check something the program needs; may be repeated."
)
@click.option(
    "--check-every",
    default="60s",
    metavar="DURATION",
    help="How often checks run that do not say it themselves.",
)
@click.option(
    "--data-dir",
    "data_dirs",
    multiple=True,
    metavar="DIR",
    help="A directory that the program keeps data in: must be there and writable, its growth is watched; repeatable.",
)
@click.option(
    "--sample-performance",
    type=click.FloatRange(0, 1),
    default=1.0,
    help="Share of the successful runs of operations that are measured; figures stay estimates of all.",
)
@click.option(
    "--sample-errors",
    type=click.FloatRange(0, 1),
    default=1.0,
    help="Share of the errors that are kept with their text; all are counted.",
)
@click.option(
    "--report-every", default="24h", metavar="DURATION", help="How often a report is written by itself; 0 for never."
)
@click.option("--retention-hours", type=click.FloatRange(min=1), default=168.0, help="How long figures are kept.")
@click.option(
    "--history-url",
    default="",
    metavar="URL",
    help="A PostgreSQL database that keeps the history of several agents (a password belongs into the variable).",
)
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    metavar="HOST",
    help="A Host header that the operations API accepts.",
)
@click.option(
    "--environment",
    type=click.Choice([*STAGES, *PLACES], case_sensitive=False),
    help="The stage, or the kind of place, which means one; chooses its profile.  [default: development]",
)
@click.option(
    "--set", "set_", multiple=True, metavar="KEY=VALUE", help="Any other setting, by its dotted name; repeatable."
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True)
@click.pass_context
def run(context: click.Context, /, command: tuple[str, ...], **_given: Any) -> int:  # noqa: ANN401 - read from the context
    """Run COMMAND, keep it running, and exit with its status.

    What is not an option here comes from the environment, .env, roadworthy.toml and other files: roadworthy config.

    Everything after -- belongs to the program: roadworthy run --port 8000 -- python app.py
    """
    executable = resolve(command[0])
    python = python_of(command, executable)
    layer = options(context)
    loaded = configuration(Path(working_directory()), layer).require()
    told(loaded)
    if loaded["daemon"]:
        check_daemon(os.environ)
    settings = notify_settings(run_settings(loaded, command), os.environ)
    wanted = app_name(loaded["name"], command, python)
    if settings.pid_file:
        check_pid_file(Path(settings.pid_file))
    app, lock = _claim_name(wanted, given=bool(loaded["name"]))
    try:
        write_private(app.run / "config.json", recorded(loaded, layer))
        daemon = _start(placed(settings, app), app, lock, python, executable)
    except RoadworthyError:
        _release(app)
        raise
    return _report(settings, app, daemon)


def _claim_name(wanted: str, *, given: bool) -> tuple[Places, int]:
    """Return the places of the first free name and the lock on it; a taken name that was asked for is refused."""
    for number in range(1, MOST_NAMES):
        app = make(places(wanted if number == 1 else f"{wanted}-{number}"))
        lock = claim(app)
        if lock is not None:
            found = look(app)
            if not found.workers:
                _clean(found)
                return app, lock
            os.close(lock)
        if given:
            raise _taken(look(app))
    raise Unavailable(
        f"{MOST_NAMES} applications called {wanted} are running",
        why="Each needs a name of its own.",
        hint="Use --name.",
    )


def _taken(found: Running) -> Unavailable:
    name = found.places.app
    if found.keeper is None and found.workers:
        pids = ", ".join(str(pid) for _, pid, _ in found.workers)
        return Unavailable(
            f"{name} is already running without its keeper",
            why=f"Its keeper has died; its workers live on (pid {pids}).",
            hint=f"roadworthy attach {name} watches them, roadworthy stop {name} ends them.",
        )
    return Unavailable(
        f"{name} is already running",
        why=f"Its keeper is pid {found.keeper[0]}." if found.keeper else "Another run holds its lock.",
        hint=f"roadworthy stop {name}, or choose another --name.",
    )


def _release(app: Places) -> None:
    """Leave nothing of a run that was refused behind; what an earlier one left in the state directory stays."""
    for name in ("lock", "config.json"):
        (app.run / name).unlink(missing_ok=True)
    for folder in (app.run, app.arena, app.state):
        try:
            folder.rmdir()
        except OSError:
            continue  # something is kept there


def _clean(found: Running) -> None:
    """Remove what a run that was killed left in its directories; arenas stay for the agent, which reads last words."""
    if found.agent:  # of a keeper that was killed after its program had ended
        os.kill(found.agent[0], signal.SIGTERM)
    for pattern, folder in (("out-*", found.places.arena), ("err-*", found.places.arena), ("*.json", found.places.run)):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def _start(settings: RunSettings, app: Places, lock: int, python: Python | None, executable: str) -> int:
    """Become the keeper; with ``--daemon``, let a process in the background do so and return its pid."""
    check_room(app.arena, settings.workers)
    reason = sharing(settings, python, executable)
    if settings.ops_port_given or settings.ops_host != _OPS_HOST:
        check_free(settings.ops_host, settings.ops_port if settings.ops_port_given else 0, "--ops-port NUMBER")
    if settings.probe_bind:
        check_free(*address(settings.probe_bind, "--probe-bind"), "--probe-bind HOST:PORT")
    descriptors = {"lock": lock}
    if settings.port is not None:
        bound = listen(settings.bind, settings.port)
        settings = replace(settings, port=bound.getsockname()[1])
        if reason:
            bound.close()  # it was free: the program binds it itself
        else:
            # High, because scripts use the low numbers by hand (`exec 3>file`).
            descriptors["listen"] = fcntl.fcntl(bound.fileno(), fcntl.F_DUPFD_CLOEXEC, LISTEN_FROM)
            bound.close()
    if settings.daemon and (pid := detach(app.state / "output.log")):
        os.close(lock)
        return pid
    if settings.pid_file:
        write_pid_file(Path(settings.pid_file))
    return _become_keeper(settings, app, descriptors)


def write_private(path: Path, text: str) -> None:
    """Write a file of the run directory; raises :class:`Exhausted` or :class:`Unavailable`, it is not there then."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        path.unlink(missing_ok=True)
        kind = Exhausted if error.errno in FULL else Unavailable
        raise kind(
            f"{path} cannot be written", why=f"{error.strerror} (errno {error.errno}).", hint="Free some space there."
        ) from error


def _become_keeper(settings: RunSettings, app: Places, descriptors: dict[str, int]) -> NoReturn:
    path = app.run / "run.json"
    write_private(path, settings.to_json())
    for number in descriptors.values():
        os.set_inheritable(number, True)  # noqa: FBT003 - the function has no keyword
    keeper = Path(roadworthy.keeper.__file__).with_name("__main__.py")
    given = [f"{name}={number}" for name, number in descriptors.items()]
    sys.stdout.flush()
    sys.stderr.flush()
    # Isolated and without site: what is installed or set in the program's environment does not reach the keeper.
    command = [sys.executable, "-I", "-S", "-X", "utf8", str(keeper), str(path), *given]
    os.execv(command[0], command)  # noqa: S606 - no shell is the point


def _report(settings: RunSettings, app: Places, pid: int) -> int:
    """Wait until the daemon is up (and healthy, when asked), say so, and return the exit code."""
    wait_until_up(app, pid, start_ticks(pid))
    if not settings.health_check:
        print(f"{app.app} runs in the background, pid {pid}; its output goes to {app.state / 'output.log'}")
        return 0
    if not wait_until_ready(app, pid, settings.ready_timeout):
        raise Unhealthy(
            f"{app.app} did not become healthy",
            why=f"It was not ready within {settings.ready_timeout:g} s, or it ended before.",
            hint=f"See {app.state / 'output.log'}",
        )
    print(f"{app.app} is healthy, pid {pid}")
    return 0
