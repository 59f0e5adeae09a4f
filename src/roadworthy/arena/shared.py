"""Words that the processes of one application share: host-wide breakers, switches.

Reading is a few loads and never waits. Writing is for transitions: it happens under an fcntl record lock, which the
kernel releases when its holder dies, waits a bounded time, and commits by one word, so a writer killed at any instant
leaves what was committed before.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable
from itertools import count
from typing import Any

from roadworthy._clock import monotonic, monotonic_ns, sleep
from roadworthy.arena import files
from roadworthy.arena.layout import (
    SHARED_BANK_WORDS,
    SHARED_BYTES,
    SHARED_FIRST_BANK,
    SHARED_HASH_AT,
    SHARED_NAME,
    SHARED_OWNER,
    SHARED_SLOTS,
    WORD,
)
from roadworthy.errors import Exhausted

Values = tuple[int, int, int]
_SIZE = SHARED_SLOTS * SHARED_BYTES
_RETRY = 0.0005
_READS = 64
_drafts = count()


class Word:
    """Three whole numbers under one name."""

    __slots__ = ("_at", "_index", "_owner", "name")

    def __init__(self, owner: SharedWords, name: str, slot: int) -> None:
        self._owner = owner
        self.name = name
        self._at = slot * SHARED_BYTES
        self._index = self._at // WORD

    def read(self) -> tuple[int, int, int, int]:
        """Return the three values and the monotonic ns of their last update (0: never)."""
        q = self._owner.q
        i = self._index
        found = (0, 0, 0, 0)
        for _ in range(_READS):
            committed = q[i]
            bank = i + SHARED_FIRST_BANK + (committed & 1) * SHARED_BANK_WORDS
            found = (q[bank], q[bank + 1], q[bank + 2], q[bank + 3])
            # A bank is written anew only by the second update from now.
            if q[i] - committed < 1:
                break
        return found

    def watch(self) -> tuple[Any, int]:
        """Return a sequence, and the place in it of a number that changes with each update."""
        return self._owner.q, self._index

    def update(self, fn: Callable[[int, int, int], Values], patience: float = 0.05) -> Values | None:
        """Replace the values by ``fn`` of them, one process and thread at a time, and return the new ones.

        Returns None, with nothing changed, when somebody else held the lock for ``patience`` seconds. What ``fn``
        raises goes out.
        """
        owner = self._owner
        deadline = monotonic() + patience
        lock = owner.lock
        if not lock.acquire(timeout=patience):
            return None
        try:
            try:
                # In here, since giving back what was not got does no harm, and Ctrl-C may come at any call.
                if not owner.lock_bytes(self._at, SHARED_BYTES, deadline):
                    return None
                q = owner.q
                i = self._index
                while True:
                    committed = q[i]
                    bank = i + SHARED_FIRST_BANK + (committed & 1) * SHARED_BANK_WORDS
                    made = fn(q[bank], q[bank + 1], q[bank + 2])
                    # An update of this word inside fn, or by a signal handler meanwhile, gave the process's lock back.
                    if not owner.lock_bytes(self._at, SHARED_BYTES, deadline):
                        return None
                    bank = i + SHARED_FIRST_BANK + ((committed + 1) & 1) * SHARED_BANK_WORDS
                    now, pid = monotonic_ns(), os.getpid()
                    # From here to the commit there is no call, so no signal handler comes between.
                    if q[i] == committed:
                        q[bank], q[bank + 1], q[bank + 2] = made
                        q[bank + 3] = now
                        q[i + SHARED_OWNER] = pid
                        q[i] = committed + 1
                        return made
            finally:
                owner.unlock_bytes(self._at, SHARED_BYTES)
        finally:
            lock.release()


class SharedWords:
    """The shared words in one directory; keep one per process. Raises as :func:`roadworthy.arena.files.create`."""

    def __init__(self, directory: os.PathLike[str] | str) -> None:
        place = os.fspath(directory)
        files.own_directory(place)
        path = os.path.join(place, SHARED_NAME)
        files.ensure(path, _SIZE, f"{path}.{os.getpid()}.{next(_drafts)}")
        self._mapped = files.attach(path, _SIZE)
        self.q: Any = self._mapped.q
        # Record locks belong to the process and go when it closes any descriptor of the file: this one stays open.
        self._fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        self.lock = threading.RLock()
        self._words: dict[str, Word] = {}
        os.register_at_fork(after_in_child=self._after_fork)

    def word(self, name: str) -> Word:
        """Return the word of that name, made now if need be.

        Raises :class:`~roadworthy.errors.Exhausted` when all slots are taken or the table is locked for a second.
        """
        found = self._words.get(name)
        if found is None:
            found = self._words.setdefault(name, Word(self, name, self._slot(name)))
        return found

    def _slot(self, name: str) -> int:
        from hashlib import sha256

        digest = sha256(name.encode("utf-8", "replace")).digest()[: SHARED_BYTES - SHARED_HASH_AT]
        slot = self._probe(digest)
        if slot is not None and self.q[slot * SHARED_BYTES // WORD]:
            return slot
        with self.lock:
            # The byte behind the last slot stands for the table.
            if not self.lock_bytes(_SIZE, 1, monotonic() + 1.0):
                raise Exhausted(
                    "the shared words are locked", why="Another process holds them.", hint="See which one is stopped."
                )
            try:
                slot = self._probe(digest)
                if slot is None:
                    raise Exhausted(
                        "no shared word is free", why=f"{SHARED_SLOTS} names are taken.", hint="Use fewer names."
                    )
                at = slot * SHARED_BYTES
                if not self.q[at // WORD]:
                    self._mapped.b[at + SHARED_HASH_AT : at + SHARED_BYTES] = digest
                    self.q[at // WORD] = 2
                return slot
            finally:
                self.unlock_bytes(_SIZE, 1)

    def _probe(self, digest: bytes) -> int | None:
        """Return the slot of ``digest``, or the free one where it belongs, or None when all are taken."""
        first = int.from_bytes(digest[:4], "little") % SHARED_SLOTS
        for step in range(SHARED_SLOTS):
            slot = (first + step) % SHARED_SLOTS
            at = slot * SHARED_BYTES
            if not self.q[at // WORD] or self._mapped.b[at + SHARED_HASH_AT : at + SHARED_BYTES] == digest:
                return slot
        return None

    def lock_bytes(self, at: int, length: int, deadline: float) -> bool:
        """Take the record lock on bytes of the file, trying until ``deadline``; tells whether it was got."""
        while True:
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, length, at)
                return True
            except OSError:
                if monotonic() >= deadline:
                    return False
            sleep(_RETRY)

    def unlock_bytes(self, at: int, length: int) -> None:
        """Give the record lock back."""
        fcntl.lockf(self._fd, fcntl.LOCK_UN, length, at)

    def _after_fork(self) -> None:
        # Another thread of the parent may have held it; that thread does not exist here.
        self.lock = threading.RLock()
