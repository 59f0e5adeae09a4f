"""What a built-in check does: one look at a dependency, answered with a status and a sentence. Passwords never show.

A probe never raises for a dependency's failure: that is its answer. What could not be verified is *unknown*, and says
what is missing.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from roadworthy.agent import host, network
from roadworthy.agent.outcome import InThread, Outcome, Probe
from roadworthy.errors import ConfigurationError
from roadworthy.log.redact import redact
from roadworthy.types import Status

DISK_WARN: Final = 85.0
DISK_FULL: Final = 98.0
MEMORY_WARN: Final = 80.0
MEMORY_FULL: Final = 97.0
CPU_WARN: Final = 70.0
WRITE_TEST_PREFIX: Final = ".roadworthy-check-"
"""How the file is called that is written to see that a directory can be written to."""

_WRITE_TEST: Final = b"roadworthy wrote this to see that it can\n" * 100


def probe_for(target: str) -> Probe:  # noqa: PLR0911 - one line per scheme
    """Return the probe for a target: a URL (http, https, tcp, sqlite, postgresql, redis, dir, disk, env) or a path.

    Raises :class:`ConfigurationError` for a target that no probe understands.
    """
    scheme = target.partition("://")[0].lower().partition("+")[0] if "://" in target else ""  # "+psycopg": a driver
    url = urlsplit(target)
    match scheme:
        case "http" | "https":
            return lambda: network.http(url)
        case "tcp":
            _need_port(target, url)
            return lambda: network.tcp(url.hostname or "127.0.0.1", url.port or 0)
        case "sqlite":
            return InThread(sqlite, _path_of(target))
        case "postgresql" | "postgres":
            return lambda: network.postgresql(url)
        case "redis" | "rediss" | "valkey":
            return lambda: network.redis(url)
        case "env":
            return lambda: environment(target.partition("://")[2])
        case "dir" | "file":
            return InThread(directory, _path_of(target))
        case "disk":
            return InThread(disk, _path_of(target))
        case "" if target.startswith(("/", ".", "~")):
            return InThread(directory, Path(target).expanduser())
        case _:
            raise ConfigurationError(
                f"no built-in check understands {redact(target)!r}",
                why="It is a path, or a URL of http, https, tcp, sqlite, postgresql, redis, dir, disk or env",
                hint="For example: --check database=postgresql://localhost/app",
            )


def _need_port(target: str, url: SplitResult) -> None:
    try:
        port = url.port
    except ValueError:
        port = None
    if not port:
        raise ConfigurationError(f"{redact(target)!r} names no port", hint="Write tcp://HOST:PORT.")


def _path_of(target: str) -> Path:
    """Return the path of ``scheme:///absolute`` or ``scheme://relative``.

    SQLAlchemy writes four slashes for absolute ones.
    """
    rest = target.partition("://")[2].partition("?")[0]
    return Path("/" + rest.lstrip("/")) if rest.startswith("/") else Path(rest)


# -- this machine


def disk(path: Path) -> Outcome:
    """Look at the space of the file system that holds ``path``.

    Above 85 % it warns, above 98 % it is as good as full.
    """
    total, used = host.space(str(path))
    if not total or used is None:
        return Outcome(Status.UNKNOWN, f"the file system of {path} cannot be asked")
    percent = used / total * 100.0
    left = (total - used) / (1 << 30)
    text = f"{percent:.0f} % used, {left:.1f} GiB left"
    if percent >= DISK_FULL:
        return Outcome(Status.UNHEALTHY, f"full: {text}")
    return Outcome(Status.DEGRADED if percent >= DISK_WARN else Status.OK, text)


def writable(path: Path) -> Outcome:
    """Really write, sync and remove a small file: a full or read-only disk looks well until somebody writes."""
    try:
        with tempfile.NamedTemporaryFile(dir=path, prefix=WRITE_TEST_PREFIX) as file:
            file.write(_WRITE_TEST)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        why = "no space left" if error.errno in {errno.ENOSPC, errno.EDQUOT} else (error.strerror or str(error)).lower()
        return Outcome(Status.UNHEALTHY, f"cannot write to {path}: {why}")
    return Outcome(Status.OK, "a file was written and removed")


def storage(path: Path) -> Outcome:
    """Look at space first, then write; the worse of the two answers."""
    space = disk(path)
    wrote = writable(path)
    return wrote if wrote.status is not Status.OK else space


def directory(path: Path) -> Outcome:
    """See that ``path`` is a directory that we may read and write, or a file that we may read."""
    if path.is_file():
        readable = os.access(path, os.R_OK)
        return Outcome(Status.OK, "readable") if readable else Outcome(Status.UNHEALTHY, f"{path} cannot be read")
    if not path.is_dir():
        return Outcome(Status.UNHEALTHY, f"{path} does not exist")
    return writable(path)


def memory(percent: float | None, limit: int | None, cpu: float | None = None) -> Outcome:
    """Judge the memory in use (and CPU) as last sampled against 80 % (C-09) and 97 %."""
    if percent is None:
        return Outcome(Status.UNKNOWN, "memory was not measured yet")
    of = f" of {limit / (1 << 30):.1f} GiB" if limit else ""
    text = f"{percent:.0f} %{of} used" + (f", CPU {cpu:.0f} %" if cpu is not None else "")
    if percent >= MEMORY_FULL:
        return Outcome(Status.UNHEALTHY, text)
    return Outcome(Status.DEGRADED if percent >= MEMORY_WARN else Status.OK, text)


def sqlite(path: Path) -> Outcome:
    """Open a database read-only and read from it.

    Its structure is checked as far as a hundred problems or two million steps.
    """
    if not path.exists():
        return Outcome(Status.UNHEALTHY, f"{path} does not exist")
    steps = 0

    def enough() -> int:
        nonlocal steps
        steps += 1
        return int(steps > 200)  # noqa: PLR2004 - of ten thousand instructions each

    try:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1.0)
        try:
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            db.set_progress_handler(enough, 10_000)
            (problem,) = db.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            db.close()
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            return Outcome(Status.OK, "readable; too large to be checked as a whole")
        return Outcome(Status.UNHEALTHY, f"cannot be read: {error}")
    except sqlite3.DatabaseError as error:
        return Outcome(Status.UNHEALTHY, f"broken: {error}")
    return (
        Outcome(Status.OK, "readable and whole") if problem == "ok" else Outcome(Status.UNHEALTHY, f"broken: {problem}")
    )


async def environment(names: str) -> Outcome:
    """See that variables (``env://SECRET_KEY,DATABASE_URL``) are set and not empty; values are never shown.

    The program was given the environment that we were given.
    """
    wanted = [name for name in names.strip("/").split(",") if name]
    missing = [name for name in wanted if not os.environ.get(name)]
    if missing or not wanted:
        return Outcome(Status.UNHEALTHY, f"not set: {', '.join(missing)}" if wanted else "no variable is named")
    return Outcome(Status.OK, f"set: {', '.join(wanted)}")
