"""The baseline's file in the state directory: one, replaced as a whole when a new one is taken."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from roadworthy.agent.statefiles import write_atomically
from roadworthy.errors import Unavailable
from roadworthy.watch.baseline import Baseline

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "baseline.json"


class Baselines:
    """Keeps the application's baseline."""

    def __init__(self, state: Path) -> None:
        self._file = state / FILE

    def load(self) -> Baseline | None:
        """Return the baseline, None when none was taken; raises :class:`Unavailable` for a file that is broken."""
        try:
            return Baseline.from_json(json.loads(self._file.read_text("utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Unavailable(
                "the baseline cannot be read",
                why=f"{type(error).__name__}: {error}.",
                hint="Take a new one: roadworthy baseline --take",
            ) from error

    def save(self, baseline: Baseline) -> None:
        """Replace the baseline; raises :class:`Exhausted` or :class:`Unavailable`."""
        write_atomically(self._file, json.dumps(baseline.to_json()))
