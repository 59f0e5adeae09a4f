"""Files of secrets: replaced as a whole, private, and changed by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

from roadworthy.config.secrets.failures import cannot_write
from roadworthy.errors import Refused

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 4 * 1024 * 1024
"""Bytes of a file of secrets that are read at most."""


def replace(path: Path, data: bytes) -> None:
    """Replace a file as a whole, readable for its owner alone; on disk when this returns.

    After a crash at any point the old or the new one is there. Raises Exhausted or Unavailable, the old one then stays.
    """
    path = path.resolve()  # a link stays a link: what it leads to is replaced
    beside = path.with_name(f".{path.name.lstrip('.')}.new")
    try:
        beside.unlink(missing_ok=True)  # what a crash has left
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise cannot_write(path, error) from error


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that whoever changes ``path`` must hold: a file beside it, which goes with the lock.

    A killed holder's lock is free at once; its file stays until the next one goes. Raises Unavailable or Exhausted.
    """
    path = path.resolve()
    beside = path.with_name(f".roadworthy-{path.name.lstrip('.')}.lock")
    try:
        handle = _lock(beside)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
        fcntl.flock(handle, fcntl.LOCK_UN)  # closing is not enough: a child that was forked meanwhile has it open, too
        os.close(handle)


def _lock(beside: Path) -> int:
    """Return a descriptor that holds the lock; one whose file has gone meanwhile counts for nothing."""
    while True:
        handle = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), beside.stat()):
                    return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def check_private(path: Path, what: str) -> None:
    """Raise :class:`Refused` unless only its owner, we or root, may read ``path``; OSError if it is not there."""
    found = path.stat()
    if found.st_uid not in {os.getuid(), 0}:
        raise Refused(
            f"{path} belongs to user {found.st_uid}, not to {os.getuid()}",
            why=f"It is {what}; its owner could replace it.",
            hint=f"Make it yours: chown {os.getuid()} {path}",
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise Refused(
            f"{path} may be read by others (mode {stat.S_IMODE(found.st_mode):04o})",
            why=f"It is {what}, which only its owner may read.",
            hint=f"Close it: chmod 600 {path}",
        )
