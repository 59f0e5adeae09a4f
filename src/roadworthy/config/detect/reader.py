"""The one way in which detection reads: variables, small files, and three questions to the system."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

MOST: Final = 1 << 20
"""Bytes that are read of one file; the largest that matters, the mount table of a busy host, has some ten thousand."""


class Reader:
    """Reads this machine; ``environ`` stands in for the process's own variables."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ: Mapping[str, str] = os.environ if environ is None else environ

    def variable(self, name: str) -> str:
        """Return a variable without surrounding blanks, empty when it is not set."""
        return self._environ.get(name, "").strip()

    def text(self, path: str) -> str | None:
        """Return the text of a small file, None when it cannot be read."""
        try:
            with Path(path).open("rb") as file:
                return file.read(MOST).decode("utf-8", "replace")
        except (OSError, ValueError):
            return None

    def exists(self, path: str) -> bool:
        """Return whether there is such a file or directory."""
        try:
            return Path(path).exists()
        except OSError:
            return False  # behind a directory that is closed to us

    def system(self) -> str:
        """Return the operating system as Python names it: linux, darwin, win32, cygwin."""
        return sys.platform

    def cpus(self) -> int | None:
        """Return how many CPUs the machine has, None when it does not tell."""
        return os.cpu_count()

    def affinity(self) -> int | None:
        """Return how many CPUs this process may run on, None when it does not tell."""
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


class Recorded(Reader):
    """Reads what was written down: for tests, and for looking at another machine's case.

    ``files`` maps paths to texts; a directory is there when a file below it is, or when its own path is a key.
    """

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
        *,
        system: str = "linux",
        cpus: int | None = None,
        affinity: int | None = None,
    ) -> None:
        super().__init__({} if environ is None else environ)
        self._files: Mapping[str, str] = {} if files is None else files
        self._system = system
        self._cpus = cpus
        self._affinity = affinity

    def text(self, path: str) -> str | None:
        """Return the recorded text, None when there is none."""
        return self._files.get(path)

    def exists(self, path: str) -> bool:
        """Return whether something is recorded at or below the path."""
        return path in self._files or any(name.startswith(path.rstrip("/") + "/") for name in self._files)

    def system(self) -> str:
        """Return the recorded operating system."""
        return self._system

    def cpus(self) -> int | None:
        """Return the recorded number of CPUs."""
        return self._cpus

    def affinity(self) -> int | None:
        """Return the recorded number of CPUs that the process may use."""
        return self._affinity
