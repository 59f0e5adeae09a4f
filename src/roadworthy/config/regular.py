"""Files that others may have put there are read without waiting: a pipe without a writer would hold us for ever."""

from __future__ import annotations

import errno
import os
import stat


def handle(path: str | os.PathLike[str]) -> int:
    """Open a regular file for reading and return its descriptor; raises OSError, also for what is none."""
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    mode = os.fstat(opened).st_mode
    if stat.S_ISREG(mode):
        return opened
    os.close(opened)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    raise OSError(errno.EINVAL, "It is no regular file", os.fspath(path))


def read(path: str | os.PathLike[str], most: int) -> bytes:
    """Return the first ``most`` bytes of a regular file; raises as :func:`handle`."""
    with os.fdopen(handle(path), "rb") as file:
        return file.read(most)
