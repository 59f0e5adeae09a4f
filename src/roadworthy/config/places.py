"""Where things live: arenas on tmpfs, the run directory, the state directory. Standard library only.

Everything belongs to one user: a directory of ours that somebody else owns, or that is a symbolic link, is refused.
``ROADWORTHY_HOME`` puts all three below one folder.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from roadworthy.config import where
from roadworthy.errors import Exhausted

WORKER_NEEDS = 4 * 1024 * 1024
"""Free bytes below which one more worker is not started: its arena, and both its output files."""


@dataclass(frozen=True, slots=True)
class Places:
    """The three directories of one application."""

    app: str
    arena: Path
    run: Path
    state: Path


def check_name(name: str, origin: str = "--name") -> str:
    """Return ``name`` if it may name an application; raise :class:`UsageError` otherwise."""
    return where.check_name(name, origin)


def places(app: str, environ: dict[str, str] | None = None) -> Places:
    """Return the directories of ``app`` without making them; raises :class:`UsageError` for a bad name."""
    env = os.environ if environ is None else environ
    check_name(app)
    return Places(app, arena_root(env) / app, run_root(env) / app, state_root(env, app))


def arena_root(env: os._Environ[str] | dict[str, str]) -> Path:
    """Return where arenas live: shared memory if it is big enough, else the run directory, else the state directory."""
    return Path(where.arena_root(env, lambda path: _big_enough(Path(path))))


def run_root(env: os._Environ[str] | dict[str, str]) -> Path:
    """Return where sockets, tokens and the index of running applications live."""
    return Path(where.run_root(env))


def state_root(env: os._Environ[str] | dict[str, str], app: str) -> Path:
    """Return where one application's history, incidents and trail live."""
    return Path(where.state_root(env, app))


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
        raise where.cannot_make(path, error) from error
    where.verify(path, found)
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


def _big_enough(path: Path) -> bool:
    return where.big_enough(os.fspath(path))
