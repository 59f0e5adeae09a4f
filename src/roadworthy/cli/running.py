"""Which applications run: the lock that a keeper holds, the index that it writes, and finding one by name."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roadworthy.agent.statefiles import remove_half_written
from roadworthy.arena.identity import boot_id
from roadworthy.errors import Unavailable
from roadworthy.keeper.cleaning import clean_up

if TYPE_CHECKING:
    from roadworthy.config.places import Places


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
    if index.get("boot_id") != boot_id():
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


def find(name: str | None) -> Running:
    """Return the application ``name``, or the only one, of which a keeper or a worker lives; raises as ``choose``."""
    from roadworthy.view.client import choose  # it brings HTTP, which starting a program does not need

    return look(choose(name, living=lambda place: look(place).alive))


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
        remove_half_written(app.state)
    finally:
        os.close(lock)
