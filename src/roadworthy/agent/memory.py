"""What the agent must still know after a restart: error groups, how far it had read, the last starts.

Groups and positions are one file, replaced as a whole: after ``kill -9`` events behind the saved positions are counted
again into the groups saved with them, so nothing is lost or counted twice while they are still in the ring.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from roadworthy.agent.errorlog import ErrorLog
from roadworthy.agent.statefiles import check_schema, write_atomically
from roadworthy.types import Startup, StartupStep

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA: Final = 1
FILE: Final = "memory.json"


class Memory:
    """Loads what the last agent saved; a file that cannot be read is set aside and notices says so."""

    def __init__(self, state: Path) -> None:
        self._file = state / FILE
        self.errors = ErrorLog()
        self.positions: dict[str, int] = {}
        self.offsets: dict[str, tuple[int, int]] = {}
        self.startups: list[Startup] = []
        self.notices: list[str] = []
        self._saved = ""
        try:
            raw = json.loads(self._file.read_text("utf-8"))
            check_schema(raw, SCHEMA)
            self.errors.load(raw["errors"])
            self.positions = {str(key): int(seq) for key, seq in raw["positions"].items()}
            self.offsets = {str(name): (int(inode), int(at)) for name, (inode, at) in raw.get("output", {}).items()}
            self.startups = [
                Startup(
                    one["pid"],
                    one["slot"],
                    one["at"],
                    one["total"],
                    tuple(StartupStep(**step) for step in one["steps"]),
                )
                for one in raw["startups"]
            ]
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            aside = self._file.with_suffix(".json.broken")
            self._file.replace(aside)
            self.errors, self.positions, self.offsets, self.startups = ErrorLog(), {}, {}, []
            self.notices.append(f"the agent's memory could not be read ({error}); set aside as {aside.name}")

    def told(
        self, positions: Mapping[str, int], startups: Iterable[Startup], offsets: Mapping[str, tuple[int, int]]
    ) -> str:
        """Return what is to be saved.

        ``positions`` tell how far the events of each arena were taken, ``offsets`` how far each output file was read.
        """
        return json.dumps(
            {
                "schema": SCHEMA,
                "positions": dict(positions),
                "output": dict(offsets),
                "errors": self.errors.to_json(),
                "startups": [asdict(one) for one in startups],
            }
        )

    def write(self, text: str) -> None:
        """Save it when something changed; raises :class:`Exhausted` or :class:`Unavailable` when that fails."""
        if text != self._saved:
            write_atomically(self._file, text)
            self._saved = text
