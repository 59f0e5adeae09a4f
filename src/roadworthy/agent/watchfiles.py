"""Source changes, for ``--dev``: modification times of Python files below some directories, compared now and then."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

EVERY: Final = 0.5
"""Seconds between two looks."""

FILES_MOST: Final = 5_000
SUFFIXES: Final = frozenset({".py", ".toml", ".html", ".jinja", ".j2"})
_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages", "venv", "build", "dist"})


class SourceWatch:
    """Remembers the modification times of what it saw."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = tuple(paths)
        self._seen = self._look()

    def changed(self) -> list[str]:
        """Return the files that were changed, added or removed since the last call, in order."""
        now = self._look()
        before, self._seen = self._seen, now
        return sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))

    def _look(self) -> dict[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        for path in self._files():
            try:
                stat = os.stat(path)  # noqa: PTH116 - thousands of files, twice a second
            except OSError:
                continue  # removed while we looked
            found[path] = (stat.st_mtime_ns, stat.st_size)
            if len(found) >= FILES_MOST:
                break
        return found

    def _files(self) -> Iterator[str]:
        for root in self._paths:
            if Path(root).is_file():
                yield root
                continue
            for folder, folders, names in os.walk(root):
                folders[:] = sorted(name for name in folders if name not in _SKIPPED and not name.startswith("."))
                yield from (f"{folder}/{name}" for name in names if name[name.rfind(".") :] in SUFFIXES)
