"""The trail of what people have had changed: one JSON line an act, appended, readable by our user alone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from roadworthy.errors import FULL, Exhausted, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "audit.jsonl"
FIELDS: Final = ("at", "actor", "act", "target", "reason", "result")


def append(state: Path, record: Mapping[str, object]) -> None:
    """Append one record to the trail in ``state``; ``at`` is in wall seconds, and what is beyond the fields stays.

    Raises :class:`Exhausted` (disk full) or :class:`Unavailable`; a line is written whole or counts as not written.
    """
    path = state / FILE
    line = json.dumps({**dict.fromkeys(FIELDS), **record}, ensure_ascii=False).encode() + b"\n"
    try:
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            size = os.fstat(handle).st_size
            whole = size == 0 or os.pread(handle, 1, size - 1) == b"\n"
            data = line if whole else b"\n" + line  # what a full disk has cut off stays one broken line
            if os.write(handle, data) != len(data):
                os.ftruncate(handle, size)
                raise Exhausted(f"cannot write {path}", why="The disk is full.", hint="Free some space there.")
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        kind = Exhausted if error.errno in FULL else Unavailable
        raise kind(
            f"cannot write {path}",
            why=f"{error.strerror} (errno {error.errno}).",
            hint="Free some space there, or let ROADWORTHY_HOME point to a directory that has some.",
        ) from error
