"""Whether the kernel killed a process for want of memory: what its log and the control group's counter tell."""

from __future__ import annotations

import os
import re
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_OOM_LINE: Final = re.compile(r"[Kk]illed process (\d+)")


def kernel_killed(lines: Iterable[str]) -> frozenset[int]:
    """Return the pids that the kernel's log says it killed for want of memory."""
    return frozenset(int(found[1]) for line in lines if (found := _OOM_LINE.search(line)))


def read_kernel_log(path: str = "/dev/kmsg", most: int = 2_000) -> list[str]:
    """Return the kernel's newest messages; none where that is not allowed to us."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    lines: deque[str] = deque(maxlen=most)
    try:
        while True:
            record = os.read(handle, 8192)
            if not record:
                break
            if b"illed process" in record:
                lines.append(record.decode("utf-8", "replace"))
    except OSError:
        pass
    finally:
        os.close(handle)
    return list(lines)


def was_oom(signal: int | None, pid: int, oom_before: int | None, oom_now: int | None, kernel: Iterable[str]) -> bool:
    """Return whether the kernel says that this death by SIGKILL was for want of memory.

    Its log, else the group's counter.
    """
    if signal != 9:  # noqa: PLR2004 - SIGKILL
        return False
    if pid in kernel_killed(kernel):
        return True
    return oom_before is not None and oom_now is not None and oom_now > oom_before
