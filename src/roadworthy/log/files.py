"""A log file that several processes write, rotated by size and age.

Every writer appends to the same file. Who finds that it is due takes a record lock on ``.<name>.lock``, looks again,
and renames it to ``<name>.<time>``: one rename, before and after which every line stands in a file that is read. The
next writer that looks (all do, four times a second and before the first line after a pause) sees by the inode that its
file was moved on, and opens the new one; what it still wrote into the old one stands there. Old files are removed by
number and by age, but none that was written in the last two seconds, for somebody may not have looked yet.
"""

from __future__ import annotations

import errno
import fcntl
import os
from _thread import allocate_lock
from time import gmtime, strftime

from roadworthy._clock import NS, wall_ns
from roadworthy.log.sink import HIGH, Direct, complain, identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from roadworthy.log.sink import Told

ROTATE_BYTES = 100_000_000
KEEP = 7
SETTLE = 2.0
"""Seconds for which a rotated file stays, whatever there are: writers look more often than that."""

STEP = 1 << 16
"""Bytes after which a writer looks at the file's size at the latest."""

MODE = 0o640
FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_busy: set[str] = set()


class Rules:
    """When a file is rotated and what is kept; 0 for what has no limit."""

    __slots__ = ("every", "keep", "max_age", "size")

    def __init__(self, size: int = ROTATE_BYTES, every: float = 0.0, keep: int = KEEP, max_age: float = 0.0) -> None:
        self.size = size
        self.every = every
        self.keep = keep
        self.max_age = max_age

    def due(self, size: int, first: float, now: float) -> bool:
        """Return whether a file of ``size`` bytes, last known in the period of ``first``, is to be moved on.

        Periods are those of the clock: with ``every`` a day, the first line after midnight (UTC) begins a new file.
        """
        if size <= 0:
            return False
        if self.size and size >= self.size:
            return True
        return bool(self.every) and first // self.every != now // self.every

    def surplus(self, rotated: list[tuple[str, float]], now: float) -> list[str]:
        """Return which of the rotated files (name and time of the last line) are to be removed."""
        newest = sorted(rotated, reverse=True)
        gone = [one for at, one in enumerate(newest) if self.keep and at >= self.keep]
        gone += [one for one in newest if self.max_age and now - one[1] > self.max_age]
        return sorted({name for name, written in gone if now - written > SETTLE})


class RotatingFile(Direct):
    """A file below a directory, opened when it is first needed, and again when it was moved, removed or closed."""

    def __init__(self, directory: str, name: str, told: Told, rules: Rules) -> None:
        super().__init__(os.path.join(directory, name), told, -1)
        self._directory = directory
        self._file = name
        self._rules = rules
        self._first = 0.0
        self._missing = ""
        self._looking = allocate_lock()

    def open_now(self) -> None:
        """Open the file before the first line, so that what is wrong with it is told at the start."""
        self.look(wall_ns())
        if self._missing:
            complain(f"{self.name} cannot be opened ({self._missing}): its lines are dropped and counted")

    def look(self, now: int) -> None:
        """Go on with the file that has the name now, and move it on when that is due."""
        if not self._looking.acquire(blocking=False):
            return  # another thread does, or a signal handler logs while we do: what is open will do
        try:
            self._look(now / NS)
        finally:
            self._looking.release()

    def after_fork(self) -> None:
        """Begin anew in a forked child: the thread that was looking may be in the parent."""
        self._looking = allocate_lock()

    def _look(self, seconds: float) -> None:
        try:
            found = self._current()
            if found is None:
                found = self._open()
                self._first = found.st_mtime if found.st_size else seconds
            if self._rules.due(found.st_size, self._first, seconds):
                self._rotate(seconds)
                found = self._current() or self._open()
                self._first = seconds
            elif self._rules.every:
                self._first = seconds
            room = self._rules.size - found.st_size if self._rules.size else STEP
            self._left = min(STEP, max(room // 8, 0))
        except OSError as error:
            if self.descriptor < 0:
                self._missing = error.strerror or str(error)
            self._left = STEP

    def _failed(self, error: OSError) -> None:
        if self.descriptor < 0 and self._missing:
            self.lose(self._missing)
            self._due = 0
            return
        super()._failed(error)

    def _closed(self, line: bytes) -> bool:
        """Write a line while another thread is opening the file anew; return whether that went."""
        try:
            descriptor = os.open(self.name, FLAGS, MODE)
        except OSError:
            return False
        try:
            return os.write(descriptor, line) == len(line)
        except OSError:
            return False
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Close the file; it is opened again with the next line."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0 and identity(descriptor) == self._identity:
            os.close(descriptor)

    def _current(self) -> os.stat_result | None:
        """Return what the descriptor leads to, None when that is not the file of this name any more."""
        if self.descriptor < 0:
            return None
        try:
            ours = os.fstat(self.descriptor)
        except OSError:
            self.descriptor = -1
            return None
        if (ours.st_dev, ours.st_ino) != self._identity:  # somebody closed it and opened another under its number
            self.descriptor = -1
            return None
        try:
            named = os.stat(self.name)
        except FileNotFoundError:
            named = None
        return ours if named is not None and os.path.samestat(ours, named) else None

    def _open(self) -> os.stat_result:
        try:
            low = os.open(self.name, FLAGS, MODE)
        except FileNotFoundError:
            os.makedirs(self._directory, exist_ok=True)
            low = os.open(self.name, FLAGS, MODE)
        found = os.fstat(low)
        if found.st_size and os.pread(low, 1, found.st_size - 1) != b"\n":
            self._torn = True  # whoever wrote last was cut off in the middle of a line
        if self.descriptor < 0:
            self.descriptor = _high(low)
        else:  # in one step, for another thread may be about to write to it
            os.dup2(low, self.descriptor, inheritable=False)
            os.close(low)
        self._identity = found.st_dev, found.st_ino
        self._missing = ""
        return found

    def _rotate(self, now: float) -> None:
        """Move the file on, unless another thread or process is doing it."""
        if self.name in _busy:
            return
        _busy.add(self.name)
        try:
            lock = os.open(
                os.path.join(self._directory, f".{self._file}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE
            )
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found = os.stat(self.name)
                if (found.st_dev, found.st_ino) == self._identity:  # else somebody was quicker
                    os.rename(self.name, free_name(self.name, now))
                    self._open()
                    self._clean(now)
            finally:
                os.close(lock)
        except (BlockingIOError, PermissionError, FileNotFoundError) as error:
            if error.errno not in {errno.EAGAIN, errno.EACCES, errno.ENOENT}:
                raise
        finally:
            _busy.discard(self.name)

    def _clean(self, now: float) -> None:
        for name in self._rules.surplus(rotated(self.name), now):
            try:
                os.unlink(name)
            except OSError:
                continue  # somebody else has removed it, or it is tried again with the next rotation


def free_name(name: str, now: float) -> str:
    """Return the name that a file is moved on to: with the time, and a number where there is one of that time already.

    Names sort by time.
    """
    made = f"{name}.{strftime('%Y%m%dT%H%M%S', gmtime(now))}"
    for number in range(10_000):
        if not os.path.lexists(candidate := f"{made}.{number:04d}"):
            return candidate
    raise FileExistsError(errno.EEXIST, "too many rotated files of one second", made)


def rotated(name: str) -> list[tuple[str, float]]:
    """Return the files that ``name`` was moved on to, oldest first, each with the time of its last line."""
    directory, file = os.path.split(name)
    made = []
    for entry in os.scandir(directory or "."):
        if _is_rotated(entry.name, file):
            try:
                made.append((os.path.join(directory, entry.name), entry.stat().st_mtime))
            except OSError:
                continue  # it was removed meanwhile
    return sorted(made)


def _is_rotated(entry: str, file: str) -> bool:
    if not entry.startswith(f"{file}."):
        return False
    stamp, _, number = entry[len(file) + 1 :].partition(".")
    return stamp[:8].isdigit() and stamp[8:9] == "T" and stamp[9:].isdigit() and number.isdigit()


def _high(low: int) -> int:
    """Return a descriptor like ``low``, which is closed, where a program's own do not come by."""
    try:
        made = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, HIGH)
    except OSError:
        return low  # the program may have fewer descriptors than that
    os.close(low)
    return made
