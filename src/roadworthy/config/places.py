"""Where things live: arenas on tmpfs, the run directory, the state directory. Standard library only.

Everything belongs to one user: a directory of ours that somebody else owns, or that is a symbolic link, is refused.
``ROADWORTHY_HOME`` puts all three below one folder.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from roadworthy.errors import FULL, Exhausted, Refused, Unavailable, UsageError

ARENA_NEEDS = 16 * 1024 * 1024
"""Free bytes below which a tmpfs is too small for arenas."""

WORKER_NEEDS = 4 * 1024 * 1024
"""Free bytes below which one more worker is not started: its arena, and both its output files."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


@dataclass(frozen=True, slots=True)
class Places:
    """The three directories of one application."""

    app: str
    arena: Path
    run: Path
    state: Path


def check_name(name: str, origin: str = "--name") -> str:
    """Return ``name`` if it may name an application; raise :class:`UsageError` otherwise."""
    if not _NAME.match(name):
        raise UsageError(
            f"{name!r} cannot be an application's name",
            why=f"It came from {origin}; a name is 1-64 letters, digits, '.', '_', '-', the first a letter or digit.",
            hint="Choose another, for example: --name web",
        )
    return name


def places(app: str, environ: dict[str, str] | None = None) -> Places:
    """Return the directories of ``app`` without making them; raises :class:`UsageError` for a bad name."""
    env = os.environ if environ is None else environ
    check_name(app)
    return Places(app, arena_root(env) / app, run_root(env) / app, state_root(env, app))


def arena_root(env: os._Environ[str] | dict[str, str]) -> Path:
    """Return where arenas live: shared memory if it is big enough, else the run directory, else the state directory."""
    if home := _home(env):
        return home / "arena"
    shm = Path("/dev/shm")  # noqa: S108 - the system's shared memory; our folder in it is private and verified
    if _big_enough(shm):
        return shm / f"roadworthy-{os.getuid()}"
    run = run_root(env)
    if _big_enough(_existing(run)):
        return run / ".arena"
    return _state_home(env) / ".arena"


def run_root(env: os._Environ[str] | dict[str, str]) -> Path:
    """Return where sockets, tokens and the index of running applications live."""
    if home := _home(env):
        return home / "run"
    if (given := env.get("RUNTIME_DIRECTORY", "").split(":")[0]) and os.path.isabs(given):  # systemd made it for us
        return Path(given)
    if os.access(_absolute(env, "XDG_RUNTIME_DIR"), os.W_OK):
        return Path(env["XDG_RUNTIME_DIR"], "roadworthy")
    if os.getuid() == 0 and os.access("/run", os.W_OK):
        return Path("/run/roadworthy")
    return Path(_absolute(env, "TMPDIR") or "/tmp", f"roadworthy-{os.getuid()}")  # noqa: S108 - private folder, owner verified


def state_root(env: os._Environ[str] | dict[str, str], app: str) -> Path:
    """Return where one application's history, incidents and trail live."""
    if home := _home(env):
        return home / "state" / app
    if env.get("STATE_DIRECTORY"):
        return Path(env["STATE_DIRECTORY"].split(":")[0], app)
    return _state_home(env) / app


def _state_home(env: os._Environ[str] | dict[str, str]) -> Path:
    home = _absolute(env, "HOME") or os.path.expanduser("~")
    base = _absolute(env, "XDG_STATE_HOME") or os.path.join(home, ".local", "state")
    return Path(base, "roadworthy")


def _home(env: os._Environ[str] | dict[str, str]) -> Path | None:
    """Return what ``ROADWORTHY_HOME`` names; absolute, because the program may change its directory."""
    given = env.get("ROADWORTHY_HOME", "")
    return Path(given).absolute() if given else None


def _absolute(env: os._Environ[str] | dict[str, str], name: str) -> str:
    """Return a directory from the environment; empty when it is unset or relative, which is to be ignored (XDG)."""
    given = env.get(name, "")
    return given if os.path.isabs(given) else ""


def private(path: Path) -> Path:
    """Make ``path`` a directory only its owner may enter and return it; what is already there is verified.

    Raises :class:`Refused` when it is a link or belongs to somebody else, :class:`Exhausted` when the disk is full and
    :class:`Unavailable` when it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            pass
        found = path.lstat()
    except OSError as error:
        kind = Exhausted if error.errno in FULL else Unavailable
        raise kind(
            f"cannot make the directory {path}",
            why=f"{error.strerror} (errno {error.errno}).",
            hint="Make it writable for this user, or set ROADWORTHY_HOME to a directory that is.",
        ) from error
    if stat.S_ISLNK(found.st_mode) or not stat.S_ISDIR(found.st_mode):
        raise Refused(
            f"{path} is not a plain directory",
            why="A link there could lead our files somewhere else.",
            hint="Remove it, or set ROADWORTHY_HOME to another directory.",
        )
    if found.st_uid != os.getuid():
        raise Refused(
            f"{path} belongs to user {found.st_uid}, not to {os.getuid()}",
            why="Somebody else could read or replace what we write there.",
            hint="Run as that user, or set ROADWORTHY_HOME to another directory.",
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o700)
    return path


def make(app: Places) -> Places:
    """Make the three directories, their roots first; raises as :func:`private`."""
    for path in (app.arena, app.run, app.state):
        private(path.parent)
        private(path)
    return app


def check_room(path: Path, workers: int) -> None:
    """Raise :class:`Exhausted` when the file system of ``path`` has no room for what ``workers`` processes need there.

    A program that was started all the same would fail when it prints.
    """
    space = os.statvfs(path)
    free, needed = space.f_bavail * space.f_frsize, WORKER_NEEDS * workers
    if free < needed or (space.f_files and not space.f_favail):
        raise Exhausted(
            f"the file system of {path} is full",
            why=f"{needed >> 20} MiB are needed for {workers} worker{'s' * (workers > 1)}, {free >> 10} KiB are free.",
            hint="Free some space there, or set ROADWORTHY_HOME to a directory that has some.",
        )


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _big_enough(path: Path) -> bool:
    try:
        free = os.statvfs(path)
    except OSError:
        return False
    return os.access(path, os.W_OK) and free.f_bavail * free.f_frsize >= ARENA_NEEDS
