"""What a fork does to an arena: the child may not write the parent's file, and makes its own at its first record.

After a fork the views in every cell are replaced by a trap, nothing more, so that children which only call exec, and
prefork workers that wait, stay cheap. The first store (or reservation) of the child falls into the trap, which makes
the child's files, puts their views into the cells and passes the store on. Two threads may fall into it at once, or a
signal handler into the trap that it interrupted: each makes files, the first to publish wins, the others remove
theirs. Nobody waits for anybody.
"""

from __future__ import annotations

import os
from _weakref import ref
from itertools import count

from roadworthy.arena.files import Mapped, remove
from roadworthy.arena.layout import BEAT_BYTES, BEAT_INHERITED, WORD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from roadworthy.arena.hot import Cell

Files = dict[int, Mapped]


class Birth:
    """What a child has of its own: its files by number, and counters that begin at 0."""

    __slots__ = ("files", "next_event", "next_mark")

    def __init__(self, files: Files) -> None:
        self.files = files
        self.next_event = count().__next__
        self.next_mark = count().__next__


class Forks:
    """The forks of an arena: ``set_traps`` hides the parent's file, ``make`` makes the child's, ``adopt`` uses them."""

    __slots__ = ("__weakref__", "_adopt", "_births", "_hooks", "_make", "_set_traps", "waiting")

    def __init__(
        self,
        set_traps: Callable[[Forks], object],
        make: Callable[[], Files],
        adopt: Callable[[Birth], object],
        hooks: list[Callable[[], object]],
    ) -> None:
        self._set_traps = set_traps
        self._make = make
        self._adopt = adopt
        self._hooks = hooks
        self._births: dict[str, Birth] = {}
        self.waiting = False

    def forked(self) -> None:
        """Prepare a child that has just been forked; the only thing that every fork pays for."""
        self._births = {}
        self.waiting = True
        self._set_traps(self)

    def born(self) -> None:
        """See that this process writes files of its own; never raises (``make`` does not)."""
        births = self._births
        birth = births.get("")
        if birth is not None:
            self._adopt(birth)
            return
        mine = Birth(self._make())
        birth = births.setdefault("", mine)
        self._adopt(birth)
        self.waiting = False
        if birth is not mine:
            if mine.files[0].path:
                remove(mine.files[0].path)
            return
        for hook in list(self._hooks):
            try:
                hook()
            except Exception:  # noqa: BLE001, S110 - the guest rule; a hook is ours and counts its own errors
                pass


class Trap:
    """Stands in for a view of a cell in a forked child."""

    __slots__ = ("_cell", "_forks", "_view")

    def __init__(self, forks: Forks, cell: Cell, view: str) -> None:
        self._forks = forks
        self._cell = cell
        self._view = view

    def _real(self) -> Any:  # noqa: ANN401 - a view of integers, doubles or bytes
        self._forks.born()
        return getattr(self._cell, self._view)

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401 - as above
        return self._real()[index]

    def __setitem__(self, index: int, value: object) -> None:
        self._real()[index] = value


def set_trap(forks: Forks, cell: Cell) -> None:
    """Replace the views of ``cell``."""
    cell.q = Trap(forks, cell, "q")
    cell.d = Trap(forks, cell, "d")
    cell.b = Trap(forks, cell, "b")


def copy_beats(source: Mapped, target: Mapped, words: list[int]) -> None:
    """Copy the declared signals of life at ``words``; readers show one of them only when the child has given it."""
    for i in words:
        at = i * WORD
        target.b[at : at + BEAT_BYTES] = source.b[at : at + BEAT_BYTES]
        for word in (1, 2, 5, 6):
            target.q[i + word] = 0
        target.q[i] |= BEAT_INHERITED


_watched: list[ref[Forks]] = []


def watch(forks: Forks) -> None:
    """Let ``forks`` know of every fork from now on, as long as it exists."""
    _watched[:] = [known for known in _watched if known() is not None]
    _watched.append(ref(forks))


def _after_fork() -> None:
    for known in _watched:
        forks = known()
        if forks is not None:
            forks.forked()


os.register_at_fork(after_in_child=_after_fork)
