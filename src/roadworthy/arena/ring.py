"""The event ring, read while it is being written: whole events in order, and how many were missed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from roadworthy.arena.layout import EVENT_KINDS, EVENT_PAYLOAD, EVENT_PAYLOAD_AT, H_EVENTS, US, WORD
from roadworthy.arena.records import RawEvent

if TYPE_CHECKING:
    from roadworthy.arena.opened import Opened

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

    Of a living process an event under way, and what follows it, is held back until the next call, for at most two
    seconds; of a dead process (``dead``) it is returned as torn. Go on with the seq of the last event returned.
    """
    found, newest, slots = _scan(opened, after)
    oldest = max(after + 1, newest - slots + 1)
    made: list[RawEvent] = []
    missed = oldest - (after + 1)
    taken: set[int] = set()
    for seq in range(oldest, newest + 1):
        here = found.get(seq)
        if seq in taken:
            continue
        if here is not None and here.part:
            # Its beginning was returned with an earlier event, or is gone.
            missed += here.first > after and here.first not in taken
            continue
        pieces = [] if here is None else _join(here, found, newest)
        if here is None or len(pieces) < here.parts:
            if not dead and _may_come(found, seq, newest, now_ns):
                break
            if here is None and (seq not in found or not dead):
                missed += 1
                continue
            # Of an event in several parts the next slot under way is taken for its own.
            under_way = next((later for later in range(seq + 1, newest + 1) if found.get(later, here) is None), seq)
            taken.add(under_way if here is not None else seq)
        taken.update(piece.seq for piece in pieces)
        made.append(_decode(seq, pieces))
    return made, missed


def _scan(opened: Opened, after: int) -> tuple[dict[int, _Part | None], int, int]:
    """Return the slots behind ``after`` by seq (None: under way), the newest seq, and how many slots there are."""
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
    return found, newest, slots


def _read(opened: Opened, word: int, seq: int) -> _Part | None:
    """Return a slot's contents if it is whole and stayed so while it was read."""
    at_ns, what, first = opened.q[word + 1 : word + 4].tolist()
    length = what >> 19 & 0x3FF
    parts = what >> 15 & 0xF
    at = word * WORD + EVENT_PAYLOAD_AT
    payload = bytes(opened.b[at : at + min(length, EVENT_PAYLOAD)])
    if opened.q[word] != seq + 1 or length > EVENT_PAYLOAD or parts < 1:
        return None
    return _Part(
        seq, at_ns, what & 0xFF, what >> 8 & 0xF, what >> 12 & 0x7, parts, seq if parts == 1 else first, payload
    )


def _join(head: _Part, found: dict[int, _Part | None], newest: int) -> list[_Part]:
    """Return the parts of the event that begins with ``head``, in order, as far as they are whole."""
    pieces = [head]
    for seq in range(head.seq + 1, newest + 1):
        if len(pieces) == head.parts:
            break
        part = found.get(seq)
        if part is not None and part.parts > 1 and part.first == head.seq and part.part == len(pieces):
            pieces.append(part)
    return pieces


def _may_come(found: dict[int, _Part | None], seq: int, newest: int, now_ns: int) -> bool:
    """Tell whether what is missing at ``seq`` may still come: it, or what follows it, was written a moment ago."""
    for later in range(seq, newest + 1):
        part = found.get(later)
        if part is not None:
            return now_ns - part.at_ns < PATIENCE_NS
    return True


def _decode(seq: int, parts: list[_Part]) -> RawEvent:
    """Return the event made of ``parts``, torn when some are missing."""
    if not parts:
        return RawEvent(seq, None, "log", 0, "", "", {}, torn=True)
    head = parts[0]
    pieces = b"".join(part.payload for part in parts).decode("utf-8", "replace").split(US)
    fields = {}
    for piece in pieces[2:]:
        if piece[:1] == "{":
            fields.update(_object(piece))
            continue
        key, _, value = piece.partition("=")
        fields[key] = value
    kind = _KIND_NAMES.get(head.kind, "log")
    text = pieces[1] if len(pieces) > 1 else ""
    return RawEvent(seq, head.at_ns, kind, head.level * 10, pieces[0], text, fields, torn=len(parts) < head.parts)


def _object(piece: str) -> dict[str, str]:
    """Return the fields of a JSON object as text; one that was cut is a field as it is."""
    try:
        found = json.loads(piece)
    except (ValueError, RecursionError):
        return {"fields": piece}
    if not isinstance(found, dict):
        return {"fields": piece}
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for key, value in found.items()
    }
