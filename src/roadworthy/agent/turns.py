"""Whose turn in a reload is still to come, kept in a small file so that a reload outlives the agent that began it.

A row names the process that is to be replaced, not only its slot: what was replaced meanwhile is not replaced again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from roadworthy.agent.statefiles import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME: Final = "reload.json"

Turn = tuple[int, int, int]
"""Slot, pid and start ticks of a process that a reload has yet to replace."""


def keep(directory: Path, turns: Sequence[Turn]) -> None:
    """Write what is to come, or remove the file when nothing is. Raises as ``write_atomically``."""
    path = directory / NAME
    if turns:
        write_atomically(path, json.dumps({"turns": turns}))
    else:
        path.unlink(missing_ok=True)


def kept(directory: Path) -> tuple[Turn, ...]:
    """Return what an agent before this one has left; nothing when there is no such file, or it makes no sense."""
    try:
        rows = json.loads((directory / NAME).read_text("utf-8"))["turns"]
        return tuple((int(slot), int(pid), int(ticks)) for slot, pid, ticks in rows)
    except (OSError, ValueError, KeyError, TypeError):
        return ()
