"""Arena files on disk: made whole or not at all, named for one process, found and removed again.

A file is reserved with ``posix_fallocate`` before it is mapped, so that a full disk is an error here and not a SIGBUS
later.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat

from roadworthy.arena.identity import is_alive
from roadworthy.arena.layout import (
    BOOT_AT,
    BOOT_BYTES,
    CONTROL_NAME,
    H_MAGIC,
    H_PID,
    H_STATE,
    H_TICKS,
    MAGIC,
    STATE_MAKING,
)
from roadworthy.errors import Exhausted, Refused, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TYPE = ".arena"
KEPT_DEAD = 64
"""Arenas of dead processes that are kept when no agent takes their last words."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
_HEX = frozenset("0123456789abcdef")
_PARTS = 4


class Mapped:
    """A mapped file (or, without a path, private memory of the same shape) and its views."""

    __slots__ = ("b", "d", "path", "q")

    def __init__(self, path: str, memory: mmap.mmap) -> None:
        self.path = path
        self.b: Any = memory
        view = memoryview(memory)
        self.q: Any = view.cast("q")
        self.d: Any = view.cast("d")


def create(path: str, size: int) -> Mapped:
    """Make a new file of ``size`` reserved, zeroed bytes and map it; nothing stays behind when that fails.

    Raises :class:`FileExistsError` when the name is taken, :class:`Exhausted` when disk, memory or descriptors are, and
    :class:`Unavailable` otherwise.
    """
    made = False
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        made = True
        try:
            os.posix_fallocate(fd, 0, size)
            return Mapped(path, mmap.mmap(fd, size))
        finally:
            os.close(fd)
    except FileExistsError:
        raise
    except OSError as error:
        if made:
            unlink(path)
        raise failed(path, error) from error


def attach(path: str, size: int) -> Mapped:
    """Map a file of ours that exists; raises as :func:`create`."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_size != size:
                raise OSError(errno.EINVAL, "it has another size than was expected")
            return Mapped(path, mmap.mmap(fd, size))
        finally:
            os.close(fd)
    except OSError as error:
        raise failed(path, error) from error


def ensure(path: str, size: int, draft: str, words: dict[int, int] | None = None) -> None:
    """See that a file of ``size`` bytes is at ``path``, made whole as ``draft`` first; raises as :func:`create`."""
    if os.path.lexists(path):
        return
    made = create(draft, size)
    for word, value in (words or {}).items():
        made.q[word] = value
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    except OSError as error:
        raise failed(path, error) from error
    finally:
        unlink(draft)


def private_memory(size: int) -> Mapped:
    """Return memory that nobody reads, for when there is no file: writers need not know."""
    return Mapped("", mmap.mmap(-1, size))


def failed(path: str, error: OSError) -> Exhausted | Unavailable:
    """Return the error of ours that says why ``path`` could not be used."""
    kind = Exhausted if error.errno in _FULL else Unavailable
    return kind(
        f"cannot make the arena file {path}",
        why=f"{error.strerror} (errno {error.errno}).",
        hint="Your program is fine, but nothing of it can be measured. Free some space there or set ROADWORTHY_HOME.",
    )


def own_directory(directory: str) -> None:
    """See that ``directory`` is a plain directory of this user, making it if need be.

    Raises :class:`Refused` for a link or another owner, :class:`Exhausted` or :class:`Unavailable` when it cannot be
    made.
    """
    try:
        found = os.lstat(directory)
    except FileNotFoundError:
        from roadworthy.config.where import private

        private(directory)
        return
    except OSError as error:
        raise failed(directory, error) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise Refused(
            f"{directory} is not a plain directory of user {os.geteuid()}",
            why="A link or somebody else's directory could lead our files somewhere else.",
            hint="Remove it, or set ROADWORTHY_HOME to another directory.",
        )


def base_names(directory: str) -> list[str]:
    """Return the names of the base files in ``directory``, sorted; none when it does not exist."""
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    return sorted(name for name in names if _pid_in(name))


def _pid_in(name: str) -> str:
    """Return the pid in a base file's name (``<boot>-<pid>-<ticks>-<n>.arena``), empty when it is none."""
    if not name.endswith(TYPE):
        return ""
    parts = name[: -len(TYPE)].split("-")
    if len(parts) != _PARTS or len(parts[0]) != 8 or not _HEX.issuperset(parts[0]):  # noqa: PLR2004 - hex digits
        return ""
    return parts[1] if all(part.isascii() and part.isdigit() for part in parts[1:]) else ""


def remove(base: str) -> None:
    """Remove a base file and all its extents; what is gone already is no error."""
    directory, name = os.path.split(base)
    stem = name.removesuffix(TYPE) + "."
    try:
        names = os.listdir(directory or ".")
    except OSError:
        names = []
    for other in names:
        # The base file last: while it is there, a second attempt still finds the extents.
        if other.startswith(stem) and other != name:
            unlink(os.path.join(directory, other))
    unlink(base)


def unlink(path: str) -> None:
    """Remove ``path``; what is gone already, or may not be removed, is left."""
    try:
        os.unlink(path)
    except OSError:
        pass


def agent_claims(directory: str) -> bool:
    """Tell whether a living agent holds the control page of ``directory`` and so takes the last words of the dead."""
    try:
        fd = os.open(os.path.join(directory, CONTROL_NAME), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def bound_dead(directory: str, kept: int = KEPT_DEAD) -> int:
    """Remove the oldest arenas of dead processes beyond ``kept`` unless an agent claims them; returns how many."""
    names = base_names(directory)
    if len(names) <= kept or agent_claims(directory):
        return 0
    dead = []
    for name in names:
        path = os.path.join(directory, name)
        if _is_dead(path):
            try:
                dead.append((os.stat(path).st_mtime_ns, path))
            except OSError:
                continue
    dead.sort()
    surplus = dead[: max(0, len(dead) - kept)]
    for _, path in surplus:
        remove(path)
    return len(surplus)


def _is_dead(path: str) -> bool:
    """Tell whether the process of a base file has ended; what cannot be read, or is just being made, is left alone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            head = os.pread(fd, BOOT_AT + BOOT_BYTES, 0)
        finally:
            os.close(fd)
    except OSError:
        return False
    if len(head) < BOOT_AT + BOOT_BYTES:
        return False
    words = memoryview(head[:BOOT_AT]).cast("q")
    if words[H_MAGIC] != MAGIC:
        return False
    if words[H_STATE] == STATE_MAKING:
        pid = _pid_in(os.path.basename(path))
        return bool(pid) and not os.path.exists(f"/proc/{pid}")
    return not is_alive(head[BOOT_AT:].decode("ascii", "replace"), words[H_PID], words[H_TICKS])
