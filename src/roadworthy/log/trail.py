"""The audit trail: what people had changed and what matters for security, appended to a chain of hashes.

``audit.jsonl`` in the application's state directory holds one record a line (:mod:`roadworthy.log.chain`), readable by
our user alone. Several processes may append: an fcntl record lock on ``audit.lock`` is held for one append, and waited
for no longer than told. A file that is full becomes ``audit-000001.jsonl`` and so on; the chain goes on in the next.
``audit.head`` names the last two records, so that records missing at the end are noticed.

A record is written whole or counts as not written. A line that a kill or a full disk has cut off stays, and the next
append says so. What a chain proves, and what it does not, is told in docs/audit.md.
"""

from __future__ import annotations

import errno
import os
from _thread import allocate_lock

from roadworthy import _clock
from roadworthy.errors import FULL, Exhausted, Unavailable
from roadworthy.log import chain
from roadworthy.log import head as heads
from roadworthy.log.chain import FIELDS, GENESIS
from roadworthy.log.head import HEAD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from roadworthy.log.verify import Verified

__all__ = ["FIELDS", "FILE", "HEAD", "append", "archives", "locked", "verify"]

FILE = "audit.jsonl"
LOCK = "audit.lock"
MOST_BYTES = 8 << 20
"""Bytes of one file; the record that would pass it begins the next."""

PATIENCE = 1.0
"""Seconds that an append waits for the lock, unless told otherwise."""

_WINDOW = 4096
_PAUSE = 0.002
_here = allocate_lock()
"""Record locks belong to a process: between its threads this one keeps order."""


def append(
    state: str | os.PathLike[str], record: Mapping[str, object], *, patience: float = PATIENCE, sync: bool = True
) -> None:
    """Append one record to the trail in the folder ``state``; ``at`` is in wall seconds.

    Values are redacted first. Raises :class:`Exhausted` (disk full) or :class:`Unavailable` (not writable, or locked
    for ``patience`` seconds); nothing counts as written then. Without ``sync`` the record survives the death of this
    process, but is left to the system to bring to the disk.
    """
    folder = os.fspath(state)
    cleaned = chain.clean(record, round(_clock.wall(), 3))
    path = os.path.join(folder, FILE)
    try:
        with locked(folder, patience):
            _append(folder, path, cleaned, sync=sync)
    except OSError as error:
        kind = Exhausted if error.errno in FULL else Unavailable
        raise kind(
            f"cannot write {path}",
            why=f"{error.strerror} (errno {error.errno}).",
            hint="Free some space there, or let ROADWORTHY_HOME point to a directory that has some.",
        ) from error


def verify(state: str | os.PathLike[str], *, expect: str = "") -> Verified:
    """Return what :func:`roadworthy.log.verify.verify` finds out about the trail in the folder ``state``."""
    from roadworthy.log.verify import verify as check

    return check(os.fspath(state), expect=expect)


def archives(folder: str) -> list[str]:
    """Return the names of the full files, the oldest first."""
    return sorted(name for name in os.listdir(folder) if _number(name) is not None)


class locked:  # noqa: N801 - used like a function: with locked(folder, patience)
    """Hold the trail's lock; raises :class:`Unavailable` when it is not to be had in time, ``OSError`` for no file."""

    def __init__(self, folder: str, patience: float, *, make: bool = True) -> None:
        self._path = os.path.join(folder, LOCK)
        self._patience = patience
        self._make = make
        self._handle = -1
        self._threads = _here

    def __enter__(self) -> None:
        deadline = _clock.monotonic() + self._patience
        if not self._threads.acquire(timeout=self._patience):
            raise _busy(self._path)
        try:
            self._lock(deadline)
        except BaseException:
            self._release()
            raise

    def __exit__(self, *_error: object) -> None:
        self._release()

    def _lock(self, deadline: float) -> None:
        import fcntl

        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if self._make else 0)
        self._handle = os.open(self._path, flags, 0o600)
        while True:
            try:
                fcntl.lockf(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in {errno.EAGAIN, errno.EACCES}:
                    raise
            else:
                return
            if _clock.monotonic() >= deadline:
                raise _busy(self._path)
            _clock.sleep(_PAUSE)

    def _release(self) -> None:
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)  # which gives the record lock back
        self._threads.release()


def _busy(path: str) -> Unavailable:
    return Unavailable(
        "the audit trail is locked", why=f"Another process holds {path}.", hint="See which one is stopped: lslocks"
    )


def _append(folder: str, path: str, cleaned: dict[str, object], *, sync: bool) -> None:
    handle = _open(path)
    try:
        last, glue, notes = _place(folder, handle)
        data, seq, own = _sealed(folder, last, [*notes, cleaned])
        size = os.fstat(handle).st_size
        if size and not glue and not notes and size + len(data) > MOST_BYTES:
            heads.write(folder, *last, sync=sync)  # the file that names it is about to be another
            os.close(handle)
            handle = -1
            _rotate(folder, path, sync=sync)
            handle = _open(path)
            size = 0
        data = glue + data
        if os.write(handle, data) != len(data):
            os.ftruncate(handle, size)
            raise Exhausted(f"cannot write {path}", why="The disk is full.", hint="Free some space there.")
        if sync:
            os.fsync(handle)
    finally:
        if handle >= 0:
            os.close(handle)
    try:
        heads.write(folder, seq, own, sync=sync)
    except OSError:
        pass  # the record is written and counts: a head that is behind is brought up by the next append


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _sealed(folder: str, last: tuple[int, str], records: list[dict[str, object]]) -> tuple[bytes, int, str]:
    """Return the lines of ``records`` after ``last``, and number and hash of the last of them."""
    seq, own = last
    lines = []
    for record in records:
        if seq == 0:
            app = os.path.basename(os.path.abspath(folder))
            record = {**record, "begins": {"app": app, "at": record["at"]}}  # noqa: PLW2901 - the same, anchored
        line, own = chain.seal(record, seq + 1, own)
        seq += 1
        lines.append(line)
    return b"".join(lines), seq, own


def _place(folder: str, handle: int) -> tuple[tuple[int, str], bytes, list[dict[str, object]]]:
    """Return what the next record follows, what must be written before it, and what must be told first."""
    size = os.fstat(handle).st_size
    line, rest = _tail(handle, size)
    glue = b"\n" if rest else b""
    told = heads.read(folder)
    found = chain.parse(rest) if rest else None
    cut = rest if rest and found is None else b""
    found = found or chain.parse(line) or (None if told else _last_link(folder, handle, size))
    if told is None and found is None:
        return (0, GENESIS), glue, [_boundary(handle, size)] if size else []
    # The head goes before a tail that is older than it, or not what it names: that gap must stay to be seen.
    ahead = found is not None and (told is None or found.seq > told[0])
    last = (found.seq, found.hash) if ahead and found is not None else told or (0, GENESIS)
    notes = [_own_record(chain.CUT_OFF, {"bytes": len(cut), "sha256": chain.digest(cut)})] if cut else []
    return last, glue, notes


def _tail(handle: int, size: int) -> tuple[bytes, bytes]:
    """Return the last whole line, and what follows it without a line feed."""
    length = _WINDOW
    while True:
        start = max(0, size - length)
        data = os.pread(handle, size - start, start)
        parts = data.rsplit(b"\n", 2)
        if start == 0 or len(parts) == 3:  # noqa: PLR2004 - before the line, the line, after it
            return (parts[-2] if len(parts) > 1 else b""), parts[-1]
        length *= 4


def _last_link(folder: str, handle: int, size: int) -> chain.Link | None:
    """Return the last link that is still whole, of this file or, when it is empty, of the one before."""
    if size:
        with open(os.dup(handle), "rb") as file:
            file.seek(0)
            return _newest(file.read().split(b"\n"))
    names = archives(folder)
    if not names:
        return None
    with open(os.path.join(folder, names[-1]), "rb") as file:
        return _newest(file.read().split(b"\n"))


def _newest(lines: list[bytes]) -> chain.Link | None:
    for line in reversed(lines):
        found = chain.parse(line)
        if found is not None:
            return found
    return None


def _boundary(handle: int, size: int) -> dict[str, object]:
    """Return the record that tells of the lines of an older version, which are in no chain."""
    data = os.pread(handle, size, 0)
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    return _own_record(chain.CONTINUED, {"lines": lines, "bytes": size, "sha256": chain.digest(data)})


def _own_record(act: str, data: dict[str, object]) -> dict[str, object]:
    record = chain.clean({"actor": "roadworthy", "act": act, "target": FILE}, round(_clock.wall(), 3))
    return {**record, "data": data}


def _rotate(folder: str, path: str, *, sync: bool) -> None:
    """Put the full file aside under the next number."""
    names = archives(folder)
    number = (_number(names[-1]) or 0) + 1 if names else 1
    os.rename(path, os.path.join(folder, f"audit-{number:06}.jsonl"))
    if sync:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _number(name: str) -> int | None:
    digits = name[len("audit-") : -len(".jsonl")]
    fits = name.startswith("audit-") and name.endswith(".jsonl") and len(digits) >= 6 and digits.isdecimal()  # noqa: PLR2004
    return int(digits) if fits else None


def _after_fork() -> None:
    global _here  # noqa: PLW0603 - one per process; the thread that held the parent's does not exist here
    _here = allocate_lock()


os.register_at_fork(after_in_child=_after_fork)
