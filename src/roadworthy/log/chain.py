"""The lines of the audit trail: made, sealed and read back. Nothing here touches a file.

A line is one JSON object. Its last three members make it a link of the chain::

    {"at":…,"actor":…,"act":…,"target":…,"reason":…,"result":…,…,"seq":7,"prev":"<hash of 6>","hash":"<hash of 7>"}

``hash`` is the SHA-256 of the line's own bytes before ``,"hash":``, so any change of a byte is one of the hash, and
whoever has ``sha256sum`` can check it. ``prev`` of the first record is 64 zeros; that record also has ``begins``, the
application's name and the time.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

GENESIS = "0" * 64
FIELDS = ("at", "actor", "act", "target", "reason", "result")
"""What every record has, in this order; more may follow."""

CONTINUED = "trail.continued"
"""Act of the record that begins a chain behind lines that an older version wrote without one."""

CUT_OFF = "trail.cut-off"
"""Act of the record that tells of a line before it which a full disk or a kill has cut off."""

LONGEST_TEXT = 4096
MOST_ITEMS = 64
DEEPEST = 6
LONGEST_LINE = 32_768
"""Bytes of one record; of one that would be longer only the fields that every record has are kept, shortened."""

_OWN = frozenset({"seq", "prev", "hash", "begins"})
_HASH = 64
_MARK = b',"hash":"'
_END = b'"}'
_SEALED = len(_MARK) + _HASH + len(_END)


class Link:
    """What a line says of its place: its number, the hash before it, and its own."""

    __slots__ = ("hash", "prev", "seq")

    def __init__(self, seq: int, prev: str, own: str) -> None:
        self.seq = seq
        self.prev = prev
        self.hash = own

    def follows(self, seq: int, own: str) -> bool:
        """Return whether this is the record right after number ``seq`` with the hash ``own``."""
        return self.seq == seq + 1 and self.prev == own


def digest(data: bytes) -> str:
    """Return the SHA-256 of ``data`` in hexadecimal digits."""
    import hashlib

    return hashlib.sha256(data).hexdigest()


def seal(record: Mapping[str, object], seq: int, prev: str) -> tuple[bytes, str]:
    """Return the line of ``record`` (cleaned by :func:`clean`) as number ``seq`` after ``prev``, and its hash."""
    import json

    text = json.dumps({**record, "seq": seq, "prev": prev}, ensure_ascii=False, separators=(",", ":"))
    body = text[:-1].encode()
    own = digest(body)
    return b"".join((body, _MARK, own.encode(), _END, b"\n")), own


def parse(line: bytes) -> Link | None:
    """Return the place of a line (without its line feed) whose hash is right, None for any other."""
    if len(line) <= _SEALED or not line.endswith(_END) or line[-_SEALED : -_SEALED + len(_MARK)] != _MARK:
        return None
    own = line[-_HASH - len(_END) : -len(_END)].decode("ascii", "replace")
    if digest(line[:-_SEALED]) != own:
        return None
    found = load(line)
    seq, prev = found.get("seq"), found.get("prev")
    return Link(seq, prev, own) if type(seq) is int and isinstance(prev, str) else None


def load(line: bytes) -> dict[str, object]:
    """Return the record in a line, empty for what is none."""
    import json

    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def clean(record: Mapping[str, object], at: float) -> dict[str, object]:
    """Return ``record`` as it is written: :data:`FIELDS` first, without secrets, control characters or endless texts.

    ``at`` stands in where the record has no time.
    """
    whole = {**dict.fromkeys(FIELDS), **{key: value for key, value in record.items() if key not in _OWN}}
    if whole["at"] is None:
        whole["at"] = at
    cleaned = {str(key)[:128]: _plain(str(key), value, 0) for key, value in list(whole.items())[:MOST_ITEMS]}
    if _size(cleaned) <= LONGEST_LINE:
        return cleaned
    kept: dict[str, object] = {}
    for key in FIELDS:
        value = cleaned[key]
        kept[key] = value[:512] if isinstance(value, str) else value if _size(value) <= LONGEST_TEXT else None
    return {**kept, "cut": True}


def _size(value: object) -> int:
    import json

    return len(json.dumps(value, ensure_ascii=False).encode())


def _plain(key: str, value: object, depth: int) -> object:
    from roadworthy.log.redact import REDACTED, one_line, redact, secret_key

    if value is None or isinstance(value, (bool, int)):
        return REDACTED if value and not isinstance(value, bool) and secret_key(key) else value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)  # infinities and NaN are not JSON
    if secret_key(key):
        return REDACTED
    if depth < DEEPEST and isinstance(value, dict):
        items = list(value.items())[:MOST_ITEMS]
        return {one_line(redact(str(name)[:128])): _plain(str(name), one, depth + 1) for name, one in items}
    if depth < DEEPEST and isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(key, one, depth + 1) for one in list(value)[:MOST_ITEMS]]
    text = value if type(value) is str else str(value)
    text = one_line(redact(text))
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"
