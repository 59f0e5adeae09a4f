"""What is cured by giving something up: memory that is used up, disks that are full."""

from __future__ import annotations

import os

from roadworthy.resilience import arguments
from roadworthy.resilience.recover import classify
from roadworthy.resilience.recover.repair import Repair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from roadworthy.resilience.recover.context import ErrorContext
    from roadworthy.resilience.recover.pressure import Shedding

AWAY = 60.0
"""Seconds that a feature stays off after the last error that switched it off."""


def collect() -> int:
    """Collect garbage now and return how many objects were unreachable; for ``recovery.on(MemoryError, collect)``."""
    import gc

    return gc.collect()


class Memory:
    """Memory errors: release the ballast, collect, give up the next dispensable feature (ERR-03)."""

    name = "make_memory"
    kinds = frozenset({classify.MEMORY})

    def __init__(self, shedding: Shedding) -> None:
        self._shedding = shedding
        self._ballast: bytearray | None = None
        self._size = 0

    def ballast(self, size: int) -> None:
        """Set ``size`` bytes aside that are given back to the program on a memory error. Raises BadArgument."""
        self._size = arguments.whole("size", size, least=0, most=1 << 34)
        self.refill()

    def refill(self) -> bool:
        """Set the ballast aside again; tells whether it is there."""
        if self._ballast is None and self._size:
            try:
                self._ballast = bytearray(self._size)
                for page in range(0, self._size, 4096):
                    self._ballast[page] = 1  # really taken, not only promised
            except MemoryError:
                self._ballast = None
        return self._ballast is not None

    @property
    def ready(self) -> bool:
        """Whether ballast is there to be released."""
        return self._ballast is not None

    def run(self, _error: BaseException, _context: ErrorContext, _tries: int, _now_ns: int) -> Repair:
        """Release, collect, shed; the ballast is set aside again once a later call succeeded."""
        released = self._size if self._ballast is not None else 0
        self._ballast = None
        found = collect()
        gone = self._shedding.more("out of memory", AWAY)
        note = f"{found} objects collected"
        if released:
            note = f"{released} bytes of ballast released, {note}"
        return Repair(note, repaired=bool(released or found or gone), degraded=(gone,) if gone else ())


class DiskFull:
    """A full disk: rotate what was declared, give up the next dispensable feature (ERR rows, issue 3)."""

    name = "make_disk_room"
    kinds = frozenset({classify.DISK_FULL})

    def __init__(self, shedding: Shedding) -> None:
        self._shedding = shedding
        self._rotations: list[Callable[[], object]] = []

    def rotate(self, *what: str | Callable[[], object], keep: int = 3) -> None:
        """Declare what may be given up when the disk is full.

        A function is called (a log handler's ``doRollover`` for instance). Of a path the numbered older files
        ``path.1``, ``path.2``, … beyond the ``keep`` newest are deleted, and nothing else. Raises BadArgument.
        """
        arguments.whole("keep", keep, least=0)
        for one in what:
            if callable(one):
                self._rotations.append(one)
            elif os.path.isabs(one):
                self._rotations.append(_Older(one, keep))
            else:
                raise arguments.BadArgument("rotate", one, "a function or an absolute path")

    def run(self, _error: BaseException, _context: ErrorContext, _tries: int, _now_ns: int) -> Repair:
        """Rotate and shed; a rotation that fails does not keep the others from being tried."""
        done, failed = 0, 0
        for rotation in list(self._rotations):
            try:
                done += rotation() is not False
            except Exception:  # noqa: BLE001 - on a full disk a rotation may fail as well; it is counted
                failed += 1
        gone = self._shedding.more("the disk is full", AWAY)
        note = f"{done} of {done + failed} rotations done"
        return Repair(note, repaired=done > 0, degraded=(gone,) if gone else ())


class _Older:
    """Deletes the numbered older files of one path."""

    __slots__ = ("_keep", "_path")

    def __init__(self, path: str, keep: int) -> None:
        self._path = path
        self._keep = keep

    def __call__(self) -> bool:
        """Tell whether anything was deleted."""
        folder, name = os.path.split(self._path)
        older = []
        for found in os.listdir(folder):
            stem, _, rest = found.removesuffix(".gz").rpartition(".")
            if stem == name and rest.isdecimal():
                older.append((int(rest), os.path.join(folder, found)))
        gone = [path for _, path in sorted(older)[self._keep :]]
        for path in gone:
            os.unlink(path)
        return bool(gone)
