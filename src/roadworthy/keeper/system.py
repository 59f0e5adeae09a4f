"""The few system calls that Python has no function for, by ctypes."""

from __future__ import annotations

import ctypes
import os

_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_KEEP_SIZE = 0x01
_PUNCH_HOLE_KEEP_SIZE = _KEEP_SIZE | 0x02

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def become_subreaper() -> None:
    """Have every orphan below this process re-parented to it; raises ``OSError`` when the kernel cannot."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_CHILD_SUBREAPER")


def set_name(name: str) -> None:
    """Show ``name`` (at most 15 bytes) for this process in ``ps`` and ``top``, where that is possible."""
    _libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def punch_hole(fd: int, start: int, end: int) -> None:
    """Give a file's bytes from ``start`` to ``end`` back to the file system; its size stays. Raises ``OSError``."""
    if end > start and _libc.fallocate(fd, _PUNCH_HOLE_KEEP_SIZE, start, end - start) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def reserve(fd: int, start: int, count: int) -> None:
    """Take ``count`` bytes of room for a file from ``start`` on; its size stays. Raises ``OSError``."""
    if _libc.fallocate(fd, _KEEP_SIZE, start, count) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
