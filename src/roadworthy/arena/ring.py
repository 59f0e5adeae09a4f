"""The event ring, read while it is being written: whole events in order, and how many were missed."""

from __future__ import annotations

from typing import NamedTuple

from roadworthy.arena.layout import EVENT_KINDS, EVENT_PAYLOAD, EVENT_PAYLOAD_AT, H_EVENTS, US, WORD
from roadworthy.arena.opened import Opened
from roadworthy.arena.records import RawEvent

PATIENCE_NS = 2_000_000_000
"""How long the events behind a gap wait for a writer that was interrupted between reserving and committing."""

_KIND_NAMES = {number: name for name, number in EVENT_KINDS.items()}


class _Part(NamedTuple):
    """One slot, whole."""

    seq: int
    at_ns: int
    kind: int
    level: int
    part: int
    parts: int
    first: int
    payload: bytes


def events(opened: Opened, after: int, now_ns: int, *, dead: bool) -> tuple[list[RawEvent], int]:
    """Return the events behind seq ``after``, oldest first, and how many are lost to overwriting or damage.

    Of a living process an event under way, and what follows it, is held back until the next call, for at most two seconds; of a
    dead process (``dead``) it is returned as torn. Go on with the seq of the last event returned.
    """
    section = opened.sections[H_EVENTS]
    slots = section.slots
    commits = opened.q[section.word : section.word + slots * section.step : section.step].tolist()
    newest = max((abs(commit) for commit in commits), default=0) - 1
    found: dict[int, _Part | None] = {}
    for slot, commit in enumerate(commits):
        seq = abs(commit) - 1
        if commit == 0 or seq <= after or seq & (slots - 1) != slot or seq <= newest - slots:
            continue
        found[seq] = _read(opened, section.word + slot * section.step, seq) if commit > 0 else None
    oldest = max(after + 1, newest - slots + 1)
    made: list[RawEvent] = []
    missed = oldest - (after + 1)
    held = False
    taken: set[int] = set()
    for seq in range(oldest, newest + 1):
        if seq in taken:
            continue
        here = found.get(seq)
        if here is None:
            if dead:
                if seq in found:
                    made.append(_torn(seq))
                else:
                    missed += 1
            elif _is_young(found, seq, newest, now_ns):
                held = True
                break
            else:
                missed += 1
            continue
        if here.parts == 1:
            made.append(_decode(seq, here, here.payload))
            continue
        if here.part:
            # Its beginning was returned with an earlier event, or is gone.
            missed += here.first > after
            continue
        pieces = _join(here, found, newest)
        if pieces is None:
            if not dead and _is_young(found, seq, newest, now_ns, stamp=here.at_ns):
                held = True
                break
            made.append(_torn(seq))
            taken.update(part.seq for part in found.values() if part is not None and part.first == seq)
            taken.update(other for other, part in found.items() if part is None and other > seq and dead)
            continue
        taken.update(piece.seq for piece in pieces)
        made.append(_decode(seq, here, b"".join(piece.payload for piece in pieces)))
    del held
    return made, missed


def _read(opened: Opened, word: int, seq: int) -> _Part | None:
    """Return a slot's contents if it is whole and stayed so while it was read."""
    at_ns, what, first = opened.q[word + 1 : word + 4].tolist()
    length = what >> 19 & 0x3FF
    parts = what >> 15 & 0xF
    at = word * WORD + EVENT_PAYLOAD_AT
    payload = bytes(opened.b[at : at + min(length, EVENT_PAYLOAD)])
    if opened.q[word] != seq + 1 or length > EVENT_PAYLOAD or parts < 1:
        return None
    return _Part(seq, at_ns, what & 0xFF, what >> 8 & 0xF, what >> 12 & 0x7, parts, seq if parts == 1 else first, payload)


def _join(head: _Part, found: dict[int, _Part | None], newest: int) -> list[_Part] | None:
    pieces = [head]
    for seq in range(head.seq + 1, newest + 1):
        part = found.get(seq)
        if part is not None and part.parts > 1 and part.first == head.seq and part.part == len(pieces):
            pieces.append(part)
            if len(pieces) == head.parts:
                return pieces
    return None


def _is_young(found: dict[int, _Part | None], seq: int, newest: int, now_ns: int, stamp: int | None = None) -> bool:
    """Tell whether the writer of a gap at ``seq`` may still come: something later than it was written a moment ago."""
    if stamp is not None:
        return now_ns - stamp < PATIENCE_NS
    for later in range(seq + 1, newest + 1):
        part = found.get(later)
        if part is not None:
            return now_ns - part.at_ns < PATIENCE_NS
    return True


def _decode(seq: int, head: _Part, payload: bytes) -> RawEvent:
    pieces = payload.decode("utf-8", "replace").split(US)
    fields = {}
    for piece in pieces[2:]:
        key, _, value = piece.partition("=")
        fields[key] = value
    kind = _KIND_NAMES.get(head.kind, "log")
    return RawEvent(seq, head.at_ns, kind, head.level * 10, pieces[0], pieces[1] if len(pieces) > 1 else "", fields)


def _torn(seq: int) -> RawEvent:
    return RawEvent(seq, None, "log", 0, "", "", {}, torn=True)
