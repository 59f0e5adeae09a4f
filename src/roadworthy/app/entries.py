"""The entries of operations in the in-flight table, and what is recorded when an operation has ended.

A plain operation keeps the entries that it has used: they carry its number already. Everything changes hands without a
lock, and without a call between taking an entry and noting whose it is.
"""

# ruff: noqa: ANN401, SLF001 - the hot path shares views and slots with its own objects and with arena.hot

from __future__ import annotations

from roadworthy.app import context as contexts
from roadworthy.app import errors, guard, sampling, start
from roadworthy.app.recorder import BUCKET, LONGEST_NS, SHORT, Recorder, sink_cell
from roadworthy.arena import hot
from roadworthy.arena.layout import BLOCK_SUM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from roadworthy.app.operation import Details

NAME = "operation.duration"
HOARD = 192
"""Entries of the in-flight table that plain operations keep; the rest serves those with context, and requests."""

MOST_NAMES = 4096
"""Different names that keep a recorder in memory; more are looked up in the arena each time."""

inflight = hot.InFlight(sink_cell, [])
"""The table of this process's arena; before there is one, a table without entries."""

recorders: dict[str, OperationRecorder] = {}
_hoarded = 0


class OperationRecorder(Recorder):
    """The recorder of an operation: outcomes are success, failure and cancelled.

    ``free`` holds entries of the in-flight table that carry this operation's number already and no parent.
    """

    __slots__ = ("free",)

    def __init__(self, name: str) -> None:
        super().__init__(name, NAME, (("operation", name), ("outcome", "success")))
        self.free: list[int] = []

    def take(self, q: Any) -> int:
        """Return an entry of the table whose integers are ``q``, for this operation; 0 when there is none."""
        global _hoarded  # noqa: PLW0603 - one table per process
        if self.q is None:
            return 0
        # No pop(), no helper, no way out of the loop but return: wherever CPython looks for signals while the entry is
        # in neither list, a handler that raises would lose it.
        if _hoarded < HOARD and (free := inflight._free):
            i = free[-1]
            del free[-1]
            _hoarded += 1
            q[i + 1] = self.number
            q[i + 2] = 0
            return i
        for other in tuple(recorders.values()):
            if free := other.free:
                i = free[-1]
                del free[-1]
                q[i + 1] = self.number
                q[i + 2] = 0
                return i
        return 0

    def failure_labels(self, kind: str) -> tuple[tuple[str, str], ...]:
        """Return the labels of the series for the outcome ``kind``."""
        return (("operation", self.name), ("outcome", kind))

    def told(  # noqa: C901, PLR0912 - one pass on the hot path: each call saved counts
        self, n: int, error: BaseException | None, details: Details | None
    ) -> None:
        """Record an end that is not short, not a success, or has details."""
        if error is None:
            outcome = "success"
            q = self.q
            plain = details is None or not details.memory
            if plain and n < SHORT and n < sampling.slow_ns and q is not None and q is self.cell.q:
                q[self.base + BUCKET[n]] += 1  # as in __exit__
                self.d[self.base + BLOCK_SUM] += n
                if n > self.top:
                    self.higher(n)
                return
        elif isinstance(error, GeneratorExit) or (isinstance(error, SystemExit) and not error.code):
            outcome = "success"  # the consumer of a generator had enough, the program ends in order
        elif isinstance(error, Exception):
            outcome = "failure"
        else:
            outcome = "cancelled"
        if outcome == "success":
            self.slow(n)
        else:
            self.failed(n, outcome)
        n &= LONGEST_NS
        context = details.context if details is not None else {}
        if details is not None and details.memory:
            from roadworthy.app.memory import changed

            changed(self.name, details.before)
        if outcome == "failure" and error is not None:
            errors.record(error, operation=self.name, context=context)
        if n >= sampling.slow_ns:
            arena = start.current()
            if arena is not None:
                fields = contexts.plain(context)
                fields.update(outcome=outcome, duration=f"{n / 1e9:.6f}")
                if details is not None and details.kind != "internal":
                    fields["kind"] = details.kind
                arena.event("operation", 30, self.name, f"{self.name} took {n / 1e9:.3f} s", fields)


def recorder_of(name: object) -> OperationRecorder:
    """Return the recorder of an operation's name, made at its first use; names are text of at most 96 characters."""
    try:
        text = contexts.label_value(name)[:96] if type(name) is not str or len(name) > contexts.LONGEST else name
        found = recorders.get(text)
        if found is None:
            found = OperationRecorder(contexts.label_value(text))
            if len(recorders) < MOST_NAMES:
                found = recorders.setdefault(text, found)
        return found
    except Exception as error:
        if guard.failed("operation.name", error):
            raise
        return OperationRecorder("unnamed")


def adopt() -> None:
    """Give back all kept entries in a forked child: they carry no number in its files yet. Maxima begin anew."""
    global _hoarded  # noqa: PLW0603 - one table per process
    for recorder in list(recorders.values()):
        kept, recorder.free = recorder.free, []
        inflight._free.extend(kept)
        recorder.q, recorder.d, recorder.top = recorder.cell.q, recorder.cell.d, 0
    _hoarded = 0
