"""Going into the background, and the pid file."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from roadworthy.cli.running import start_ticks
from roadworthy.config.detect import facts
from roadworthy.config.detect.reader import Reader
from roadworthy.errors import FULL, Exhausted, RoadworthyError, Unavailable, UsageError


def refusal(env: Mapping[str, str], pid: int, parent: int, parent_name: str, *, container: bool) -> str:
    """Return why going into the background would be wrong here, or an empty text."""
    if container and 1 in {pid, parent}:
        return "A container ends when its first process ends, and that is what --daemon does."
    started = env.get("SYSTEMD_EXEC_PID") in {str(pid), str(parent)} or parent_name == "systemd"
    if started and (env.get("INVOCATION_ID") or env.get("NOTIFY_SOCKET")):
        return "systemd started this and supervises it: it would take a daemon for a program that has ended."
    return ""


def check_daemon(env: Mapping[str, str]) -> None:
    """Raise :class:`UsageError` when ``--daemon`` is wrong here."""
    parent = os.getppid()
    try:
        name = Path(f"/proc/{parent}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        name = ""
    container = facts.container(Reader(env)) is not None or "KUBERNETES_SERVICE_HOST" in env
    if why := refusal(env, os.getpid(), parent, name, container=container):
        raise UsageError(
            "--daemon is refused here", why=why, hint="Leave --daemon out: roadworthy stays in the foreground."
        )


def check_pid_file(path: Path) -> None:
    """Raise :class:`Unavailable` when the pid file names a living process or cannot be written; a stale one is fine."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").split()
    except FileNotFoundError:
        lines = []
    except OSError as error:
        raise _unwritable(path, error) from error
    if not os.access(path.parent, os.W_OK | os.X_OK):  # said now: in the background nobody would read it
        number = errno.EACCES if path.parent.is_dir() else errno.ENOENT
        raise _unwritable(path, OSError(number, os.strerror(number)))
    if lines and lines[0].isdigit():
        pid = int(lines[0])
        ticks = start_ticks(pid)
        if ticks is not None and (len(lines) == 1 or lines[1] == str(ticks)) and pid != os.getpid():
            raise Unavailable(
                f"{path} names a living process, pid {pid}",
                why="Another run uses this pid file.",
                hint="Stop that one first, or choose another --pid-file.",
            )


def write_pid_file(path: Path) -> None:
    """Write pid and start ticks of this process, each on a line; raises :class:`Unavailable`."""
    new = path.with_name(path.name + ".new")
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n{start_ticks(os.getpid())}\n")
        new.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink()
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> RoadworthyError:
    kind = Exhausted if error.errno in FULL else Unavailable
    return kind(
        f"the pid file {path} cannot be written",
        why=f"{error.strerror} (errno {error.errno}).",
        hint="Choose a path in a directory that this user may write: --pid-file PATH",
    )


def detach(log: Path) -> int:
    """Fork twice into a session of its own; returns the daemon's pid in the caller and 0 in the daemon.

    The daemon reads nothing and appends its output to ``log``.
    """
    try:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        kind = Exhausted if error.errno in FULL else Unavailable
        raise kind(
            f"{log} cannot be written",
            why=f"{error.strerror} (errno {error.errno}).",
            hint="The output of a program in the background goes there: make room, or make it writable.",
        ) from error
    read_end, write_end = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    if first := os.fork():
        os.close(write_end)
        os.close(out)
        with os.fdopen(read_end, "rb") as pipe:
            text = pipe.read()
        os.waitpid(first, 0)
        if not text:
            raise Unavailable(
                "the background process could not be started", why="A fork failed.", hint="See `ulimit -u`."
            )
        return int(text)
    os.close(read_end)
    try:
        os.setsid()
        if second := os.fork():
            os.write(write_end, str(second).encode())
            os._exit(0)
    except OSError:
        os._exit(1)
    os.close(write_end)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(null)
    os.close(out)
    return 0
