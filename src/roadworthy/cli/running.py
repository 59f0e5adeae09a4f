"""Which applications run: the lock that a keeper holds, the index that it writes, and finding one by name."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roadworthy.config.places import Places, places, run_root
from roadworthy.errors import NotRunning, Unavailable, UsageError
from roadworthy.keeper.cleaning import clean_up


@dataclass(frozen=True, slots=True)
class Running:
    """What the run directory tells about an application; a pid is None when that process is not alive any more."""

    places: Places
    keeper: tuple[int, int] | None
    agent: tuple[int, int] | None
    workers: tuple[tuple[int, int, int], ...] = ()
    """Slot, pid and start ticks of each living worker."""
    index: Mapping[str, Any] = field(default_factory=dict)
    agent_index: Mapping[str, Any] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Return whether anything of it lives."""
        return self.keeper is not None or bool(self.workers)


def start_ticks(pid: int) -> int | None:
    """Return when a process was started, in clock ticks since boot, or None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    except OSError:
        return None
    return None if fields[0] in {b"Z", b"X"} else int(fields[19])


def _identity(raw: Mapping[str, Any]) -> tuple[int, int] | None:
    pid, ticks = raw.get("pid"), raw.get("start_ticks")
    if isinstance(pid, int) and isinstance(ticks, int) and start_ticks(pid) == ticks:
        return pid, ticks
    return None


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return raw if isinstance(raw, dict) else {}


def look(app: Places) -> Running:
    """Return what lives of an application."""
    index, agent = _read(app.run / "keeper.json"), _read(app.run / "agent.json")
    if index.get("boot_id") != Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip():
        index = {}
    living = [(slot.get("slot", 0), _identity(slot)) for slot in index.get("slots", ())]
    return Running(
        app,
        _identity(index),
        _identity(agent),
        tuple((slot, *identity) for slot, identity in living if identity),
        index,
        agent,
    )


def running_names(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the names of the applications of which something lives."""
    env = dict(os.environ if environ is None else environ)
    root = run_root(env)
    if not root.is_dir():
        return []
    found = []
    for folder in sorted(root.iterdir()):
        try:
            if not folder.name.startswith(".") and folder.is_dir() and look(places(folder.name, env)).alive:
                found.append(folder.name)
        except UsageError:
            continue  # a folder of somebody else's making
    return found


def find(name: str | None) -> Running:
    """Return the running application ``name``, or the only one; raises :class:`NotRunning` or :class:`UsageError`."""
    names = running_names()
    if name:
        found = look(places(name))
        if found.alive:
            return found
        raise NotRunning(
            f"{name} is not running",
            why="Neither its keeper nor one of its workers is alive.",
            hint=f"Running now: {', '.join(names)}." if names else "Start it: roadworthy run -- COMMAND",
        )
    if not names:
        raise NotRunning(
            "nothing is running", why="There is no application of this user.", hint="roadworthy run -- COMMAND"
        )
    if len(names) > 1:
        raise UsageError(
            "which application?",
            why=f"{len(names)} are running: {', '.join(names)}.",
            hint="Give the name as the argument.",
        )
    return look(places(names[0]))


def claim(app: Places) -> int | None:
    """Take the application's lock and return its descriptor, or None when somebody else holds it.

    The lock is free again when the process that holds it ends, however it ends. Raises :class:`Unavailable`.
    """
    path = app.run / "lock"
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(
                f"cannot make {path}",
                why=f"{error.strerror} (errno {error.errno}).",
                hint="Make the directory writable.",
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), path.stat()):
                return fd
        except BlockingIOError:
            os.close(fd)
            return None
        except FileNotFoundError:
            pass  # the keeper that ends removes its lock: this was its file, take a new one
        os.close(fd)


def clear_away(app: Places) -> None:
    """Remove what a keeper that died left of a program of which nothing lives; nothing when somebody runs it again.

    Arenas that no agent has read stay for the next one, which adds what was counted.
    """
    lock = claim(app) if app.run.is_dir() else None
    if lock is None:
        return
    try:
        for path in (*app.arena.glob("out-*"), *app.arena.glob("err-*")):
            path.unlink(missing_ok=True)
        clean_up({"pid_file": "", "run_dir": str(app.run), "arena_dir": str(app.arena)})
    finally:
        os.close(lock)
