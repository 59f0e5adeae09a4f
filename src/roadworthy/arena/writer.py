"""The arena of this process, written by its threads without locks, made anew in a forked child at its first record.

Second regime at the door, first regime inside: :meth:`Arena.create` raises typed errors (the app layer turns them
into a runtime that does nothing); everything after it never raises and never blocks.
"""

from __future__ import annotations

import os
from itertools import count

from roadworthy._clock import monotonic_ns
from roadworthy.arena import files, fork, hot
from roadworthy.arena.layout import (
    BEAT_BYTES,
    BEAT_KINDS,
    BEAT_NAME,
    BEAT_NAME_AT,
    EVENT_KINDS,
    FLAG_DESCENDANT,
    H_BEATS,
    H_BLOCKS,
    H_EVENTS,
    H_EXTENTS,
    H_FLAGS,
    H_INFLIGHT,
    H_INTERNAL,
    H_MARKS,
    H_SERIES,
    H_STACK_FD,
    H_STACK_SIGNAL,
    H_STATE,
    HEADER_BYTES,
    INFLIGHT_BYTES,
    MARK_BYTES,
    MARK_KINDS,
    MARK_LABEL,
    MARK_LABEL_AT,
    STATE_CLOSED,
    STATE_LIVE,
    US,
    WORD,
    Sizes,
)
from roadworthy.arena.registry import Extent, Labels, Limits, Registry, copy_directory
from roadworthy.arena.store import Store, write_info

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Arena", "Limits", "Sizes"]


class Arena:
    """One process's arena. Make it with :meth:`create`."""

    def __init__(self, store: Store, app: str, limits: Limits) -> None:
        self.directory = store.directory
        self.app = app
        self.sizes = sizes = store.sizes
        self._store = store
        self.after_fork_hooks: list[Callable[[], object]] = []
        self._info: dict[str, object] = {}
        self._at = store.at
        self._files: dict[int, files.Mapped] = {0: store.new_base()}
        base = self._files[0]
        self.cell = hot.Cell(base.q, base.d, base.b)
        self._extents = {0: Extent(self.cell, self._at[H_SERIES], self._at[H_BLOCKS])}
        self._registry = Registry(self._extents[0], sizes, limits, self._extent)
        self._most_extents = limits.series * 2 // max(1, min(sizes.series, sizes.blocks)) + 4
        self.ring = hot.Ring(self.cell, self._at[H_EVENTS] // WORD, sizes.events)
        first = self._at[H_INFLIGHT] // WORD
        each = INFLIGHT_BYTES // WORD
        self.inflight = hot.InFlight(self.cell, [first + n * each for n in range(sizes.inflight - 1, -1, -1)])
        self._beats: dict[tuple[str, str], hot.Beat] = {}
        self._next_beat = count().__next__
        self._next_mark: Callable[[], int] = count().__next__
        self._forks = fork.Forks(self._set_traps, self._child_files, self._adopt, self.after_fork_hooks)

    @classmethod
    def create(
        cls,
        directory: os.PathLike[str] | str,
        app: str,
        *,
        slot: int | None = None,
        generation: int = 0,
        sizes: Sizes = Sizes(),  # noqa: B008 - a constant
        limits: Limits = Limits(),  # noqa: B008 - a constant
        info: Mapping[str, object] | None = None,
        flags: int = 0,
    ) -> Arena:
        """Make and map this process's file in ``directory``, and open it to readers.

        Raises :class:`~roadworthy.errors.Exhausted` when the disk is full, :class:`~roadworthy.errors.Refused` when
        the directory is a link or somebody else's, :class:`~roadworthy.errors.Unavailable` when it cannot be written.
        """
        place = os.fspath(directory)
        files.own_directory(place)
        files.bound_dead(place)
        arena = cls(Store(place, sizes, 0 if slot is None else slot + 1, generation, flags), app, limits)
        arena.set_info({"app": app, **(info or {})})
        arena.cell.q[H_STATE] = STATE_LIVE
        fork.watch(arena._forks)
        return arena

    # -- instruments

    @property
    def path(self) -> str:
        """The base file of this process; of its parent, until a forked child has recorded something."""
        return self._files[0].path

    def counter(self, name: str, labels: Labels = (), unit: str = "", help: str = "") -> hot.Counter:  # noqa: A002 - the field's term
        """Return the counter of this name and labels, always the same; beyond a limit the name's overflow series."""
        made: hot.Counter = self._registry.get("counter", name, labels, unit, help)
        return made

    def gauge(self, name: str, labels: Labels = (), unit: str = "", help: str = "", merge: str = "last") -> hot.Gauge:  # noqa: A002
        """Return the gauge of this name and labels, not measured until it is set; ``merge`` as in ``types.Merge``."""
        made: hot.Gauge = self._registry.get("gauge", name, labels, unit, help, merge)
        return made

    def histogram(
        self,
        name: str,
        labels: Labels = (),
        unit: str = "",
        help: str = "",  # noqa: A002 - as above
        scale: float = 1.0,
    ) -> hot.Histogram:
        """Return the histogram of this name and labels; ``scale`` stored units make one ``unit`` (1e9 for ns and s)."""
        made: hot.Histogram = self._registry.get("histogram", name, labels, unit, help, "sum", scale)
        return made

    def beat(
        self, name: str, kind: str = "heartbeat", every: float | None = None, target_fps: float | None = None
    ) -> hot.Beat:
        """Declare a signal of life expected ``every`` seconds (None: whenever); always the same one for a name."""
        key = (kind, name)
        found = self._beats.get(key)
        if found is not None:
            return found
        number = self._next_beat()
        if number >= self.sizes.beats:
            self.internal_error()
            memory = files.private_memory(HEADER_BYTES + BEAT_BYTES)
            unseen = hot.Beat(hot.Cell(memory.q, memory.d, memory.b), HEADER_BYTES // WORD)
            return self._beats.setdefault(("", ""), unseen)
        at = self._at[H_BEATS] + number * BEAT_BYTES
        i = at // WORD
        text = hot.cut(name.encode("utf-8", "replace"), BEAT_NAME)
        self.cell.b[at + BEAT_NAME_AT : at + BEAT_NAME_AT + len(text)] = text
        q = self.cell.q
        q[i + 3] = int(every * 1e9) if every else 0
        q[i + 4] = len(text)
        self.cell.d[i + 7] = target_fps or 0.0
        made = self._beats.setdefault(key, hot.Beat(self.cell, i))
        if made._index == i:  # noqa: SLF001 - one house; a slot of its own would cost memory
            q[i] = BEAT_KINDS.get(kind, 1)
        return made

    def mark(self, kind: str, label: str = "", at_ns: int = 0) -> None:
        """Note a start-up checkpoint (kind checkpoint, ready or began); when the table is full it is only counted."""
        _ = self.cell.q[H_STATE]  # in a forked child this makes its file, whose marks begin at 0
        number = self._next_mark()
        if number >= self.sizes.marks:
            self.internal_error()
            return
        at = self._at[H_MARKS] + number * MARK_BYTES
        i = at // WORD
        text = hot.cut(label.encode("utf-8", "replace"), MARK_LABEL)
        self.cell.b[at + MARK_LABEL_AT : at + MARK_LABEL_AT + len(text)] = text
        q = self.cell.q
        q[i + 1] = at_ns or monotonic_ns()
        q[i + 2] = len(text)
        q[i] = MARK_KINDS.get(kind, 1)

    def event(self, kind: str, level: int, source: str, text: str, fields: Mapping[str, str] | None = None) -> None:
        """Append to the flight recorder; ``level`` as in :mod:`logging` (10 debug … 50 critical), all text redacted.

        What does not fit into 3840 bytes is cut: the text at half of that when there are fields, then the last fields.
        """
        try:
            whole = f"{source}{US}{text}"
            most, separators = len(whole), 1
            if fields:
                separators += len(fields)
                whole = US.join([whole, *[f"{key}={value}" for key, value in fields.items()]])
            if most > _SURELY_FITS or whole.count(US) != separators:
                payload = _fitted(source, text, fields or {})
            else:
                payload = whole.encode("utf-8", "replace")
            number = EVENT_KINDS[kind] if kind in EVENT_KINDS else 1  # noqa: SIM401 - cheaper than a call
            self.ring.put(number, level // 10, payload)
        except Exception as error:
            if hot.passes(error):
                raise
            self.internal_error()

    # -- the header

    def internal_error(self) -> None:
        """Count an error of ours."""
        self.cell.trouble(H_INTERNAL)

    def set_info(self, info: Mapping[str, object]) -> None:
        """Merge ``info`` into what readers are told about this program; what is too long is shortened."""
        try:
            self._info.update(info)
            write_info(self.cell, self._info)
        except Exception as error:
            if hot.passes(error):
                raise
            self.internal_error()

    def set_stack(self, signal: int, fd: int) -> None:
        """Tell which signal makes faulthandler write all stacks, and to which descriptor; 0 and -1 for none."""
        self.cell.q[H_STACK_FD] = fd
        self.cell.q[H_STACK_SIGNAL] = signal

    @property
    def flags(self) -> int:
        """The header's flags (``layout.FLAG_…``)."""
        return int(self.cell.q[H_FLAGS])

    def set_flags(self, flags: int) -> None:
        """Replace the header's flags."""
        self._store.flags = flags
        self.cell.q[H_FLAGS] = flags

    def close(self) -> None:
        """Note an orderly exit; instruments may still be used and readers still read."""
        if not self._forks.waiting:
            self.cell.q[H_STATE] = STATE_CLOSED

    # -- files

    def _extent(self, number: int) -> Extent | None:
        """Return extent ``number``, made now if need be, by whoever comes first: the file system decides."""
        found = self._extents.get(number)
        if found is not None or number > self._most_extents:
            return found
        _ = self.cell.q[H_STATE]  # in a forked child this makes its base file first
        try:
            mapped = self._store.extent_file(self._files[0].path, number)
        except Exception as error:
            if hot.passes(error):
                raise
            return None  # no room: the overflow series takes the values, and counts them
        mapped = self._files.setdefault(number, mapped)
        made = Extent(hot.Cell(mapped.q, mapped.d, mapped.b), HEADER_BYTES, self._store.extent_blocks_at)
        winner = self._extents.setdefault(number, made)
        q = self.cell.q
        if q[H_EXTENTS] < number:  # noqa: PLR1730 - a call to max() could be interrupted by another thread
            q[H_EXTENTS] = number
        return winner

    # -- after a fork

    def _child_files(self) -> dict[int, files.Mapped]:
        """Make a forked child's files: the series that it knows, with nothing counted; private memory if that fails."""
        made: dict[int, files.Mapped] = {}
        store = self._store
        store.flags |= FLAG_DESCENDANT
        source = dict(self._files)
        per_file: dict[int, list[int]] = {}
        for number in self._registry.placed:
            per_file.setdefault(number // self.sizes.series, []).append(number % self.sizes.series)
        try:
            made[0] = store.new_base()
            for number in range(1, len(source)):
                made[number] = store.extent_file(made[0].path, number)
        except Exception:  # noqa: BLE001 - the guest rule: the child works on, unseen
            if made:
                files.remove(made[0].path)
            made = {number: store.private_memory(number) for number in source}
        for number, slots in per_file.items():
            at = self._at[H_SERIES] if number == 0 else HEADER_BYTES
            copy_directory(source[number], made[number], at, slots)
        beats = [beat._index for (_, name), beat in list(self._beats.items()) if name]  # noqa: SLF001 - as in beat()
        fork.copy_beats(source[0], made[0], beats)
        base = made[0]
        base.q[H_EXTENTS] = len(source) - 1
        write_info(base, self._info)
        base.q[H_STATE] = STATE_LIVE
        return made

    def _set_traps(self, forks: fork.Forks) -> None:
        for extent in self._extents.values():
            fork.set_trap(forks, extent.cell)
        self.ring.reserve = self._reserve_first

    def _reserve_first(self) -> int:
        self._forks.born()
        return int(self.ring.reserve())

    def _adopt(self, birth: fork.Birth) -> None:
        """Let every instrument write to the files of ``birth``; may be done twice, by threads that meet here."""
        self._files = birth.files
        for number, extent in list(self._extents.items()):
            mapped = birth.files.get(number)
            if mapped is not None:
                extent.cell.q = mapped.q
                extent.cell.d = mapped.d
                extent.cell.b = mapped.b
        self._next_mark = birth.next_mark
        self.ring.reserve = birth.next_event


_HALF_EVENT = 1920
_SURELY_FITS = _HALF_EVENT // 4
"""Characters that fit into half of an event whatever they are."""


def _fitted(source: str, text: str, fields: Mapping[str, str]) -> bytes:
    """Return an event's payload, without separators in its text, which leaves half of the room to the fields."""
    head = f"{_plain(source)[:200]}{US}{_plain(text)}".encode("utf-8", "replace")
    if fields:
        head = hot.cut(head, _HALF_EVENT)
    rest = "".join(f"{US}{_plain(key)}={_plain(value)}" for key, value in fields.items())
    return head + rest.encode("utf-8", "replace")


def _plain(text: object) -> str:
    made = text if isinstance(text, str) else str(text)
    return made.replace(US, " ") if US in made else made
