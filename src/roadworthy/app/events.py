"""``event("save game loaded")``: a line for the flight recorder.

What comes again without fields takes a short way, written out by hand as :meth:`roadworthy.arena.hot.Ring.put` does it:
everything in its slot but the time was put together when the same line came first.
"""

# ruff: noqa: SLF001 - the hot path is one with roadworthy.arena.hot

from __future__ import annotations

from roadworthy import _known
from roadworthy._clock import monotonic_ns
from roadworthy.app import context as contexts
from roadworthy.app import guard, start
from roadworthy.arena import hot
from roadworthy.arena.layout import EVENT_KINDS, EVENT_PAYLOAD, US

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from roadworthy.arena.writer import Arena

LONGEST = contexts.LONGEST * 2
"""Characters of a text that is remembered."""

MOST = 1024
_SEVERITIES = {"debug": 1, "info": 2, "warning": 3, "error": 4, "critical": 5}
_NUMBERS = {kind: EVENT_KINDS[kind] for kind in ("log", "warning", "operation", "state", "usage", "check")}
_KINDS = {number: kind for kind, number in _NUMBERS.items()}
_now = monotonic_ns


class Remembered:
    """What goes into the ring for events without fields, and how long it is; bounded in number and in length.

    By level, kind, source and text as they were given: four look-ups take half the time of one by all four together.
    """

    __slots__ = ("count", "ready")

    def __init__(self) -> None:
        self.ready: dict[str, dict[str, dict[str, dict[str, tuple[bytes, int]]]]] = {}
        self.count = 0

    def add(self, level: str, kind: str, source: str, text: str, made: bytes) -> None:
        """Keep it if all are short texts; when there are too many they are all forgotten."""
        for given in (level, kind, source, text):
            if type(given) is not str or len(given) > LONGEST:
                return
        if self.count >= MOST:
            self.clear()
        self.count += 1
        by_source = self.ready.setdefault(level, {}).setdefault(kind, {})
        by_source.setdefault(source, {})[text] = made, len(made)

    def clear(self) -> None:
        """Forget all: what was harmless is not, once a value in it is known as a secret."""
        self.ready.clear()
        self.count = 0


remembered = Remembered()
_known.memos.append(remembered)
_ready = remembered.ready
_ring: Any = None
_cell: Any = None
_base = _mask = 0


def event(text: str, *, kind: str = "state", level: str = "info", source: str = "", **fields: object) -> None:
    """Put a line into the flight recorder: ``event("save game loaded", slot=3)``.

    ``kind`` is log, warning, operation, state, usage or check, ``level`` debug to critical; unknown ones become
    state and info. Text and fields are redacted and bounded. Never raises.
    """
    i = 0
    try:
        if not fields:
            try:
                ready, n = _ready[level][kind][source][text]
            except (KeyError, TypeError):
                pass
            else:
                # Ring.put written out: from the check of a reservation to its commit there is no call here, either.
                at = _now()
                while True:
                    seq = _ring.reserve()
                    q = _cell.q
                    i = _base + ((seq & _mask) << 6)
                    if q[i] <= seq:
                        break
                q[i] = ~seq
                j = (i << 3) + 16
                _cell.b[j : j + n] = ready
                q[i + 1] = at
                q[i] = seq + 1
                return
        _tell(text, kind, level, source, fields)
    except Exception as broken:
        if i:
            _ring._lost(i)
        if guard.failed("event", broken):
            raise


def _tell(text: str, kind: str, level: str, source: str, fields: dict[str, object]) -> None:
    """Put the line into the ring, and remember what went there where it may come again."""
    version = _known.version
    arena = start.current() or start.ensure()
    if arena is None:
        return
    name = contexts.label_value(source) if source else ""
    number = _NUMBERS[kind] if kind in _NUMBERS else _NUMBERS["state"]
    severity = _SEVERITIES[level] if level in _SEVERITIES else _SEVERITIES.get(str(level).lower(), 2)
    if fields:
        arena.event(_KINDS[number], severity * 10, name, contexts.line(text), contexts.plain(fields))
    else:
        made = f"{name}{US}{contexts.line(text)}".encode("utf-8", "replace")
        arena.ring.put(number, severity, made)
        if len(made) <= EVENT_PAYLOAD:
            remembered.add(level, kind, source, text, hot.ready(number, severity, made))
            if version != _known.version:
                remembered.clear()  # while it was redacted a value in it may have become a secret


def _started(arena: Arena) -> None:
    global _ring, _cell, _base, _mask
    _ring, _cell = arena.ring, arena.ring._cell
    _base, _mask = arena.ring._base, arena.ring._mask


start.when_started(_started)
