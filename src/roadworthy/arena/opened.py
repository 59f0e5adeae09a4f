"""One arena file, mapped for reading only after its header was found true to its size, so that no file can crash us.

A file with holes could kill a reader on a full tmpfs, so it is copied instead of mapped.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
from typing import Any, NamedTuple

from roadworthy.arena.layout import (
    BEAT_BYTES,
    BLOCK_WORDS,
    EVENT_BYTES,
    H_BEATS,
    H_BLOCKS,
    H_EVENTS,
    H_INFLIGHT,
    H_MAGIC,
    H_MARKS,
    H_SERIES,
    H_SIZE,
    H_STATE,
    H_VERSION,
    HEADER_BYTES,
    INFLIGHT_BYTES,
    MAGIC,
    MARK_BYTES,
    SERIES_BYTES,
    STATE_CLOSED,
    STATE_MAKING,
    VERSION,
    WORD,
)
from roadworthy.errors import ArenaBroken, ArenaVersion, Exhausted, Refused, Unavailable

MOST_BYTES = 256 << 20
"""A file larger than this is not ours."""

_EACH = {
    H_EVENTS: EVENT_BYTES,
    H_BEATS: BEAT_BYTES,
    H_INFLIGHT: INFLIGHT_BYTES,
    H_MARKS: MARK_BYTES,
    H_SERIES: SERIES_BYTES,
    H_BLOCKS: BLOCK_WORDS * WORD,
}
_HINT = "Remove the file if its process has ended; if it was written by a running program, please report this."


class Section(NamedTuple):
    """A validated part of a file: byte offset, first word, slots, words a slot."""

    at: int
    word: int
    slots: int
    step: int


class Opened:
    """A file and its views ``q``, ``d`` and ``b``. Use as long as needed, then :meth:`close`."""

    def __init__(self, path: str, *, extent: bool = False) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise _unreadable(path, error) from error
        try:
            self._map(extent=extent)
        except OSError as error:
            os.close(self._fd)
            raise _unreadable(path, error) from error
        except BaseException:
            os.close(self._fd)
            raise

    def _map(self, *, extent: bool) -> None:
        found = os.fstat(self._fd)
        if not stat.S_ISREG(found.st_mode):
            raise broken(self.path, "It is no regular file.")
        if found.st_uid not in {os.geteuid(), 0}:
            raise Refused(
                f"{self.path} belongs to user {found.st_uid}, not to {os.geteuid()}",
                why="Somebody else could show us figures that were never measured.",
                hint="Run as that user.",
            )
        if not HEADER_BYTES <= found.st_size <= MOST_BYTES:
            raise broken(self.path, f"It has {found.st_size} bytes, fewer than a header or more than any of ours.")
        head = os.pread(self._fd, HEADER_BYTES, 0)
        if len(head) != HEADER_BYTES:
            raise broken(self.path, "It became shorter while it was read.")
        words = self._checked(memoryview(head).cast("q"), found.st_size)
        self.size = found.st_size
        self.sections = {word: self._section(words, word) for word in ((H_SERIES, H_BLOCKS) if extent else _EACH)}
        events = self.sections.get(H_EVENTS)
        if events is not None and events.slots & (events.slots - 1):
            raise broken(self.path, f"Its event ring has {events.slots} slots, which is no power of two.")
        self.mapped = found.st_blocks * 512 >= found.st_size
        self.b: Any
        if self.mapped:
            self.b = mmap.mmap(self._fd, self.size, access=mmap.ACCESS_READ)
        else:
            self.b = bytearray(self.size)
            os.preadv(self._fd, [self.b], 0)
        view = memoryview(self.b)
        self.q: Any = view.cast("q")
        self.d: Any = view.cast("d")

    def _checked(self, words: memoryview, size: int) -> memoryview:
        """Return the header ``words`` of a file of ``size`` bytes if it is one of ours that can be read."""
        if words[H_MAGIC] != MAGIC:
            raise broken(self.path, "It does not begin with the mark of an arena.")
        if words[H_VERSION] != VERSION:
            raise ArenaVersion(
                f"{self.path} has arena format {words[H_VERSION]}, this roadworthy reads format {VERSION}",
                why="It was written by another version of roadworthy.",
                hint="Use one version for the program and for what watches it; restart the program after an update.",
            )
        if words[H_STATE] == STATE_MAKING:
            raise broken(self.path, "It is still being made, or its maker died while making it.")
        if not STATE_MAKING < words[H_STATE] <= STATE_CLOSED:
            raise broken(self.path, f"Its state is {words[H_STATE]}, which is none.")
        if words[H_SIZE] != size:
            raise broken(self.path, f"Its header says {words[H_SIZE]} bytes, it has {size}.")
        return words

    def _section(self, words: memoryview, word: int) -> Section:
        at, slots, each = words[word], words[word + 1], words[word + 2]
        expected = _EACH[word] // WORD if word == H_BLOCKS else _EACH[word]
        if each != expected or slots < 1 or at < HEADER_BYTES or at % WORD or at + slots * _EACH[word] > self.size:
            raise broken(
                self.path,
                f"The section of header word {word} ({slots} slots of {each} from byte {at}) does not lie in the file.",
            )
        return Section(at, at // WORD, slots, _EACH[word] // WORD)

    def check(self) -> None:
        """See that the file still has its size (else reading it would kill us); a copied one is copied again.

        Raises :class:`~roadworthy.errors.ArenaBroken`.
        """
        try:
            size = os.fstat(self._fd).st_size
            if size == self.size and not self.mapped:
                os.preadv(self._fd, [self.b], 0)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if size != self.size:
            raise broken(self.path, f"It was {self.size} bytes long and now has {size}: somebody changed its length.")

    def close(self) -> None:
        """Release the file; what was read from it stays valid."""
        self.q.release()
        self.d.release()
        os.close(self._fd)


def broken(path: str, why: str) -> ArenaBroken:
    """Return the error that says what is wrong with the arena file ``path``."""
    return ArenaBroken(f"{path} is not a usable arena file", why=why, hint=_HINT)


def _unreadable(path: str, error: OSError) -> ArenaBroken | Unavailable | Exhausted:
    if error.errno == errno.ELOOP:
        return broken(path, "It is a symbolic link.")
    if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM}:
        return Exhausted(
            f"cannot open {path}", why=f"{error.strerror}.", hint="Raise the limit of open files or of memory."
        )
    return Unavailable(
        f"cannot read the arena file {path}",
        why=f"{error.strerror} (errno {error.errno}).",
        hint="If it is gone, its process has ended and its last words were taken.",
    )
