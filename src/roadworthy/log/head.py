"""``audit.head``: number and hash of the trail's last record, so that records missing at the end are noticed.

Two slots of :data:`SLOT` bytes are written in turn, each a line with a check sum. Whatever happens while one is
written, the other is whole; then the head is one record behind, which breaks nothing. Replacing a file would do as
well, but a file system may write that out at once: milliseconds in the program.
"""

from __future__ import annotations

import os

from roadworthy.log import chain

HEAD = "audit.head"
SLOT = 160


def read(folder: str) -> tuple[int, str] | None:
    """Return number and hash of the last record, None when no slot is whole."""
    try:
        with open(os.path.join(folder, HEAD), "rb") as file:
            data = file.read(2 * SLOT)
    except OSError:
        return None
    found = [told for told in (_told(data[:SLOT]), _told(data[SLOT:])) if told is not None]
    return max(found) if found else None


def write(folder: str, seq: int, own: str, *, sync: bool) -> None:
    """Write number and hash over the older slot; raises ``OSError``."""
    handle = os.open(os.path.join(folder, HEAD), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.pwrite(handle, slot(seq, own), (seq + 1) % 2 * SLOT)
        if sync:
            os.fsync(handle)
    finally:
        os.close(handle)


def slot(seq: int, own: str) -> bytes:
    """Return the bytes of one slot."""
    return (b'{"seq":%d,"hash":"%s","sum":"%s"}' % (seq, own.encode(), _sum(seq, own))).ljust(SLOT - 1) + b"\n"


def _told(data: bytes) -> tuple[int, str] | None:
    told = chain.load(data)
    seq, own = told.get("seq"), told.get("hash")
    if type(seq) is not int or not isinstance(own, str) or told.get("sum") != _sum(seq, own).decode():
        return None
    return seq, own


def _sum(seq: int, own: str) -> bytes:
    return chain.digest(f"{seq}:{own}".encode())[:16].encode()
