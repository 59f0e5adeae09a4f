"""From options and environment to :class:`RunSettings`: what was asked for is checked before anything is started."""

from __future__ import annotations

import importlib.util
import math
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from roadworthy.cli.command import Python, cannot_inject, default_name
from roadworthy.cli.errors import warn
from roadworthy.config import duration
from roadworthy.config.places import Places, check_name
from roadworthy.config.values import CheckSetting, RunSettings
from roadworthy.errors import ConfigurationError, Unavailable, UsageError
from roadworthy.log.redact import redact

if TYPE_CHECKING:
    from pathlib import Path

MOST_WORKERS = 512
MOST_PORT = 65535

_CHECK_HINT = "For example: --check database=postgresql://localhost/app --check cache=tcp://127.0.0.1:6379"


def seconds(text: str, option: str) -> float:
    """Return a duration such as ``10``, ``500ms``, ``2m`` in seconds; raises :class:`UsageError`."""
    try:
        return duration.seconds_in(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}", why=duration.WHAT, hint=f"For example: {option} 10s") from error


def hours(value: float, option: str) -> float:
    """Return a number of hours that is one; raises :class:`UsageError` for ``nan`` and ``inf``."""
    if not math.isfinite(value):
        raise UsageError(
            f"{option}: {value} is no number of hours", why="It must be finite.", hint=f"For example: {option} 168"
        )
    return value


def working_directory() -> str:
    """Return the directory that the program will run in; raises :class:`Unavailable` when it was removed."""
    try:
        return os.getcwd()  # noqa: PTH109 - a text is wanted
    except OSError as error:
        raise Unavailable(
            "the working directory is gone", why=f"{error.strerror}: it was removed.", hint="cd to another one."
        ) from error


def stop_signal(text: str) -> int:
    """Return the number of a signal given by number or name, with or without ``SIG``; raises :class:`UsageError`."""
    name = text.upper().removeprefix("SIG")
    try:
        found = signal.Signals(int(text)) if text.isdigit() else signal.Signals["SIG" + name]
    except (KeyError, ValueError):
        raise UsageError(
            f"--stop-signal: there is no signal {text!r}",
            why="It is the name or number of a signal of this system.",
            hint="For example: --stop-signal INT",
        ) from None
    if found in {signal.SIGKILL, signal.SIGSTOP}:
        raise UsageError(
            f"--stop-signal: {found.name} cannot ask a program to stop",
            why="A program cannot see it; SIGKILL is sent anyway when the grace is over.",
            hint="Use TERM, INT, QUIT or HUP.",
        )
    return int(found)


def check_interval(text: str) -> float:
    """Return how often checks run (HLT-15), at least a second apart; raises :class:`UsageError`."""
    every = seconds(text, "--check-every")
    if every < 1:
        raise UsageError(
            "--check-every is too short",
            why="A check that runs more often than once a second is a load of its own.",
            hint="For example: --check-every 10s",
        )
    return every


def check_setting(text: str, every: float = 60.0) -> CheckSetting:
    """Return the check that ``NAME=URL`` asks for; raises :class:`UsageError`."""
    from roadworthy.agent.probes import probe_for

    name, separator, target = text.partition("=")
    if not separator or not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,63}", name):
        raise UsageError(
            f"--check: {redact(text)!r} is not understood",
            why="It is NAME=URL, the name of letters, digits, '.', '_' and '-'.",
            hint=_CHECK_HINT,
        )
    try:
        probe_for(target)
    except ConfigurationError as error:
        raise UsageError(f"--check {name}: {error.what}", why=error.why, hint=_CHECK_HINT) from error
    return CheckSetting(name, target, every=every)


def health_url(text: str) -> str:
    """Return the URL that tells when the program is ready, checked; raises :class:`UsageError`."""
    try:
        parts = urlsplit(text)
        fine = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        fine = False
    if text and not fine:
        raise UsageError(
            f"--health-url: {redact(text)!r} is no address of a web page",
            why="It begins with http:// or https:// and names a host.",
            hint="For example: --health-url http://127.0.0.1:8000/health",
        )
    return text


def history_url(text: str) -> str:
    """Return the address of the history's database.

    Raises :class:`UsageError` when it is none of PostgreSQL's, :class:`ConfigurationError` when psycopg is missing.
    """
    if text and urlsplit(text).scheme not in {"postgresql", "postgres"}:
        raise UsageError(
            f"--history-url: {redact(text)!r} is no address of a PostgreSQL database",
            why="Without the option the history is kept in SQLite on this machine.",
            hint="For example: --history-url postgresql://roadworthy@db.example/history",
        )
    if text and importlib.util.find_spec("psycopg") is None:
        raise ConfigurationError(
            "--history-url needs psycopg, which is not installed",
            why="It is what speaks to PostgreSQL.",
            hint="pip install 'roadworthy[postgres]'",
        )
    return text


def address(text: str, option: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``; without a host it is loopback. Raises :class:`UsageError`."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not (port.isascii() and port.isdigit() and int(port) <= MOST_PORT) or " " in host:
        raise UsageError(
            f"{option}: {text!r} is no address to listen on",
            why=f"It is HOST:PORT, the port at most {MOST_PORT}.",
            hint=f"For example: {option} 0.0.0.0:9901",
        )
    return host or "127.0.0.1", int(port)


def allowed_host(text: str) -> str:
    """Return a name for the Host header, checked: without scheme, port and path. Raises :class:`UsageError`."""
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?", text):
        raise UsageError(
            f"--allow-host: {text!r} is no host name",
            why="It is a name without scheme, port or path; addresses and loopback names need no permission.",
            hint="For example: --allow-host ops.example.com",
        )
    return text


def app_name(given: str, command: Sequence[str], python: Python | None) -> str:
    """Return the application's name: the given one, checked, or the command's."""
    return check_name(given) if given else check_name(default_name(command, python), "the command")


def sharing(settings: RunSettings, python: Python | None, executable: str) -> str:
    """Return why the workers cannot be given our listening socket, or an empty text; warns where that matters.

    Raises :class:`UsageError` for several workers that would each bind the same port.
    """
    if settings.port is None:
        if settings.workers > 1:
            warn(
                f"{settings.workers} workers without --port: if the program listens, only one of them will get its port"
            )
        return "no --port was given"
    reason = "--no-inject keeps our runtime out" if not settings.inject else cannot_inject(python, executable)
    if reason and settings.workers > 1:
        raise UsageError(
            f"{settings.workers} workers cannot share port {settings.port}",
            why=f"{reason[0].upper()}{reason[1:]}: each worker would bind the port itself and all but one fail.",
            hint="Use --workers 1, or let the program's own server start its workers.",
        )
    return reason


def placed(settings: RunSettings, places: Places) -> RunSettings:
    """Return the settings with the application's directories and the agent's command line in them."""
    return replace(
        settings,
        app=places.app,
        arena_dir=str(places.arena),
        run_dir=str(places.run),
        state_dir=str(places.state),
        agent_argv=agent_command(places.run),
    )


def agent_command(run_dir: Path) -> tuple[str, ...]:
    """Return the agent's command line; ``-P`` keeps modules in the program's directory from hiding the library's."""
    return (sys.executable, "-P", "-m", "roadworthy.cli.agent", str(run_dir))


def notify_settings(settings: RunSettings, env: Mapping[str, str]) -> RunSettings:
    """Return the settings with systemd's notification socket and watchdog interval, as the environment names them."""
    usec = env.get("WATCHDOG_USEC", "")
    return replace(
        settings, notify_socket=env.get("NOTIFY_SOCKET", ""), watchdog_usec=int(usec) if usec.isdigit() else 0
    )
