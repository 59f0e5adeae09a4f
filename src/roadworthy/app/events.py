"""``event("save game loaded")``: a line for the flight recorder.

What comes again without fields takes a short way, written out by hand as :meth:`roadworthy.arena.hot.Ring.put` does it:
everything in its slot but the time was put together when the same line came first.
"""

# ruff: noqa: SLF001 - the hot path is one with roadworthy.arena.hot

from __future__ import annotations

from roadworthy._clock import monotonic_ns
from roadworthy.app import context as contexts
from roadworthy.app import guard, start
from roadworthy.arena import hot
from roadworthy.arena.layout import EVENT_KINDS, EVENT_PAYLOAD, US

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from roadworthy.arena.writer import Arena

_SEVERITIES = {"debug": 1, "info": 2, "warning": 3, "error": 4, "critical": 5}
_NUMBERS = {kind: EVENT_KINDS[kind] for kind in ("log", "warning", "operation", "state", "usage", "check")}
_KINDS = {number: kind for kind, number in _NUMBERS.items()}
_now = monotonic_ns
_ready = contexts.ready
_ring: Any = None


def event(text: str, *, kind: str = "state", level: str = "info", source: str = "", **fields: object) -> None:
    """Put a line into the flight recorder: ``event("save game loaded", slot=3)``.

    ``kind`` is log, warning, operation, state, usage or check, ``level`` debug to critical; unknown ones become
    state and info. Text and fields are redacted and bounded. Never raises.
    """
    i = 0
    try:
        if not fields:
            try:
                ready = _ready[text, source, kind, level]
            except (KeyError, TypeError):
                pass
            else:
                # Ring.put written out: from the check of a reservation to its commit there is no call here, either.
                ring = _ring
                n = len(ready)
                at = _now()
                while True:
                    seq = ring.reserve()
                    cell = ring._cell
                    q = cell.q
                    i = ring._base + ((seq & ring._mask) << 6)
                    if q[i] <= seq:
                        break
                q[i] = ~seq
                j = (i << 3) + 16
                cell.b[j : j + n] = ready
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
            contexts.remember_event((text, source, kind, level), hot.ready(number, severity, made))


def _started(arena: Arena) -> None:
    global _ring  # noqa: PLW0603 - one arena per process
    _ring = arena.ring


start.when_started(_started)
