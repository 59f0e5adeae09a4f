"""Where things live, as strings: what :mod:`roadworthy.config.places` says with paths, for the user's program.

Only ``os`` is imported here: ``pathlib``, ``dataclasses`` and ``re`` would cost every start milliseconds.
"""

from __future__ import annotations

import os
import stat

from roadworthy.errors import FULL, Exhausted, Refused, Unavailable, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ARENA_NEEDS = 16 * 1024 * 1024
"""Free bytes below which a tmpfs is too small for arenas."""

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
LONGEST_NAME = 64


def check_name(name: str, origin: str = "--name") -> str:
    """Return ``name`` if it may name an application; raise :class:`UsageError` otherwise."""
    if not (0 < len(name) <= LONGEST_NAME and _PLAIN.issuperset(name) and name[0] not in "._-"):
        raise UsageError(
            f"{name!r} cannot be an application's name",
            why=f"It came from {origin}; a name is 1-64 letters, digits, '.', '_', '-', the first a letter or digit.",
            hint="Choose another, for example: --name web",
        )
    return name


def big_enough(path: str) -> bool:
    """Return whether arenas have room at ``path``, and may be written there."""
    try:
        free = os.statvfs(path)
    except OSError:
        return False
    return os.access(path, os.W_OK) and free.f_bavail * free.f_frsize >= ARENA_NEEDS


def arena_root(env: Mapping[str, str], roomy: Callable[[str], bool] = big_enough) -> str:
    """Return where arenas live: shared memory if it is big enough, else the run directory, else the state directory."""
    if home := _home(env):
        return os.path.join(home, "arena")
    shm = "/dev/shm"  # noqa: S108 - the system's shared memory; our folder in it is private and verified
    if roomy(shm):
        return f"{shm}/roadworthy-{os.getuid()}"
    run = run_root(env)
    if roomy(_existing(run)):
        return os.path.join(run, ".arena")
    return os.path.join(_state_home(env), ".arena")


def run_root(env: Mapping[str, str]) -> str:
    """Return where sockets, tokens and the index of running applications live."""
    if home := _home(env):
        return os.path.join(home, "run")
    if (given := env.get("RUNTIME_DIRECTORY", "").split(":")[0]) and os.path.isabs(given):  # systemd made it for us
        return given
    if os.access(_absolute(env, "XDG_RUNTIME_DIR"), os.W_OK):
        return os.path.join(env["XDG_RUNTIME_DIR"], "roadworthy")
    if os.getuid() == 0 and os.access("/run", os.W_OK):
        return "/run/roadworthy"
    return os.path.join(_absolute(env, "TMPDIR") or "/tmp", f"roadworthy-{os.getuid()}")  # noqa: S108 - private folder, owner verified


def state_root(env: Mapping[str, str], app: str) -> str:
    """Return where one application's history, incidents and trail live."""
    if home := _home(env):
        return os.path.join(home, "state", app)
    if env.get("STATE_DIRECTORY"):
        return os.path.join(env["STATE_DIRECTORY"].split(":")[0], app)
    return os.path.join(_state_home(env), app)


def private(path: str) -> str:
    """Make ``path`` a directory only its owner may enter and return it; what is already there is verified.

    Raises :class:`Refused` when it is a link or belongs to somebody else, :class:`Exhausted` when the disk is full and
    :class:`Unavailable` when it cannot be made.
    """
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
        found = os.lstat(path)
    except OSError as error:
        raise cannot_make(path, error) from error
    verify(path, found)
    if stat.S_IMODE(found.st_mode) & 0o077:
        os.chmod(path, 0o700)
    return path


def cannot_make(path: object, error: OSError) -> Exhausted | Unavailable:
    """Return the error of ours that says why the directory ``path`` could not be made."""
    kind = Exhausted if error.errno in FULL else Unavailable
    return kind(
        f"cannot make the directory {path}",
        why=f"{error.strerror} (errno {error.errno}).",
        hint="Make it writable for this user, or set ROADWORTHY_HOME to a directory that is.",
    )


def verify(path: object, found: os.stat_result) -> None:
    """Raise :class:`Refused` unless ``found`` is a plain directory that belongs to us."""
    if not stat.S_ISDIR(found.st_mode):
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


def _state_home(env: Mapping[str, str]) -> str:
    home = _absolute(env, "HOME") or os.path.expanduser("~")
    base = _absolute(env, "XDG_STATE_HOME") or os.path.join(home, ".local", "state")
    return os.path.join(base, "roadworthy")


def _home(env: Mapping[str, str]) -> str:
    """Return what ``ROADWORTHY_HOME`` names; absolute, because the program may change its directory."""
    given = env.get("ROADWORTHY_HOME", "")
    return given if not given or os.path.isabs(given) else os.path.join(os.getcwd(), given)


def _absolute(env: Mapping[str, str], name: str) -> str:
    """Return a directory from the environment; empty when it is unset or relative, which is to be ignored (XDG)."""
    given = env.get(name, "")
    return given if os.path.isabs(given) else ""


def _existing(path: str) -> str:
    while not os.path.exists(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return path
