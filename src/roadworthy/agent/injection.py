"""Why no runtime of ours is in a worker: what its interpreter noted, what we were told, what its command line says.

An interpreter that reads our ``sitecustomize`` and declines leaves ``declined-<pid>.json`` beside the arenas. One that
never read it (``python -I``) or is no Python at all says so by its command line.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from roadworthy.agent.proc import ProcFiles, read_file
from roadworthy.watch.inject import is_python, reason_from_cmdline

if TYPE_CHECKING:
    from pathlib import Path

NOTE_BYTES: Final = 4096
NOTE: Final = "declined-"
_REASON: Final = 300


@dataclass(frozen=True, slots=True)
class Absence:
    """Why the runtime is not in a process, and its Python where known; no ``reason``: nothing explains it yet."""

    reason: str = ""
    python: str = ""


class Absences:
    """Looks for the reasons; ``inject`` is whether the runtime was to go in at all."""

    def __init__(self, directory: Path, *, inject: bool, root: str = "/proc") -> None:
        self._directory = directory
        self._inject = inject
        self._root = root

    def of(self, pid: int, start_ticks: int) -> Absence:
        """Return why the runtime is not in a living process that has no arena."""
        note = self._note(pid, start_ticks)
        if note is not None:
            return note
        raw = read_file(f"{self._root}/{pid}/cmdline") or b""
        argv = [word.decode("utf-8", "replace") for word in raw.removesuffix(b"\0").split(b"\0")] if raw else []
        return Absence(why_absent(argv, inject=self._inject))

    def sweep(self) -> None:
        """Remove the notes of processes that have ended: an interpreter leaves none where too many lie around."""
        try:
            notes = list(self._directory.glob(f"{NOTE}*.json"))
        except OSError:
            return
        for path in notes:
            pid = path.stem.removeprefix(NOTE)
            files = ProcFiles(int(pid) if pid.isdecimal() else 0, self._root)
            if files.stat() is None:
                path.unlink(missing_ok=True)
            files.close()

    def _note(self, pid: int, start_ticks: int) -> Absence | None:
        raw = read_file(str(self._directory / f"{NOTE}{pid}.json"), NOTE_BYTES)
        if not raw:
            return None
        try:
            found: dict[str, Any] = json.loads(raw)
            if found["start_ticks"] != start_ticks:
                return None  # the number was given away again
            return Absence(str(found["reason"])[:_REASON], str(found["python"])[:_REASON])
        except (ValueError, TypeError, KeyError):
            return None  # half written: it is read again with the next tick


def why_absent(argv: list[str], *, inject: bool) -> str:
    """Return why the runtime cannot be in a process with this command line, or an empty text. Pure."""
    if not inject:
        return "--no-inject keeps our runtime out"
    if not argv or not argv[0]:
        return ""
    if not is_python(argv):
        return f"{os.path.basename(argv[0])} is no Python interpreter"  # noqa: PTH119 - a name, not a place
    return reason_from_cmdline(argv) or ""
