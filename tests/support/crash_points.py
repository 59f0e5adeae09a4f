"""Every state in which a crash can leave a folder that a function is changing.

``crash_points(change, base, prepare)`` fills a fresh folder by ``prepare(folder)``, runs ``change(folder)`` in a forked
child and kills it (SIGKILL: nothing is flushed, nothing cleaned up) just before its first file-system operation; then
again in another fresh folder just before its second, and so on until it comes to its end. A write is also cut in half.
Each folder that is left is yielded as a :class:`Crash`, the finished one last::

    for crash in crash_points(rotate, tmp_path, prepare):
        assert readable(crash.folder) in ({"old"}, {"new"}), crash

With ``power_cut=True`` the machine dies instead of the process: each state is yielded a second time with all content
lost that was not yet written through by fsync (names are kept: that is what a file system may do to a replace without
fsync). What is said to be finished must be there then, too.

Operations are what goes through ``os`` (open, write, fsync, rename, replace, unlink, link, truncate, mkdir, chmod, ...)
and through ``open``, which ``pathlib``, ``tempfile``, ``shutil`` and ``os.fdopen`` use. Not seen: extensions that call
the system themselves (SQLite), and other processes.
"""

from __future__ import annotations

import _pyio  # type: ignore[import-not-found]  # the standard library's own, which has no stub
import builtins
import io
import os
import pickle
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

NAMES = (
    "open", "write", "pwrite", "writev", "sendfile", "copy_file_range", "fsync", "fdatasync", "rename", "replace",
    "renames", "unlink", "remove", "rmdir", "link", "symlink", "truncate", "ftruncate", "posix_fallocate", "mkdir",
    "chmod", "fchmod",
)  # fmt: skip
"""The functions of ``os`` that count as one operation each."""
_HALVED = frozenset({"write", "pwrite"})
_WRITES = frozenset({"write", "pwrite", "writev", "sendfile", "copy_file_range", "ftruncate"})
MOST = 2000
"""Operations beyond which a function is taken to have no end."""


@dataclass(frozen=True)
class Crash:
    """What one crash left: ``folder``, just before (or in the middle of) ``operation``, the ``number``-th."""

    folder: Path
    number: int
    operation: str
    power_cut: bool
    finished: bool

    def __str__(self) -> str:
        when = "finished" if self.finished else f"before operation {self.number}"
        return f"{when}: {self.operation}{', power cut' if self.power_cut else ''} ({self.folder})"


def crash_points(
    change: Callable[[Path], object],
    base: Path,
    prepare: Callable[[Path], object] = lambda folder: None,
    *,
    power_cut: bool = False,
) -> Iterator[Crash]:
    """Yield the folder that each crash point of ``change`` leaves below ``base``; the last ones are of the whole run.

    Raises AssertionError with the child's traceback when ``change`` itself fails.
    """
    for cut in (False, True) if power_cut else (False,):
        number = 1
        while True:
            assert number < MOST, f"{change} has not ended after {MOST} operations"
            told: list[str] = []
            for halved in (False, True):
                folder = base / f"{'cut' if cut else 'kill'}-{number:04}{'-half' if halved else ''}"
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                prepare(folder)
                operation, finished = _run(change, folder, _Plan(number, halved=halved, cut=cut))
                told.append(operation)
                yield Crash(folder, number, operation, cut, finished)
                if finished or operation.split(" ", 1)[0] not in _HALVED:
                    break
            if told[-1] == _END:
                break
            number += 1


_END = "end"


def _run(change: Callable[[Path], object], folder: Path, plan: _Plan) -> tuple[str, bool]:
    """Return the operation before which the child was killed, or that it came to its end."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(change, folder, plan, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    told, failed = pickle.loads(said) if said else (f"nothing was said, status {status}", True)  # noqa: S301 - our own child
    if failed:
        message = f"the function itself failed in {folder}:\n{told}"
        raise AssertionError(message)
    return told, told == _END


def _child(change: Callable[[Path], object], folder: Path, plan: _Plan, writer: int) -> None:
    tell = os.write
    try:
        plan.install(lambda operation: tell(writer, pickle.dumps((operation, False))))
        try:
            change(folder)
        finally:
            plan.take_out()
        plan.lose()
        tell(writer, pickle.dumps((_END, False)))
        os._exit(0)
    except BaseException:  # noqa: BLE001 - whatever it was, the parent is told and this process ends here
        plan.take_out()
        tell(writer, pickle.dumps((traceback.format_exc(), True)))
    os._exit(1)


class _Plan:
    """Counts operations and dies at one of them."""

    def __init__(self, number: int, *, halved: bool, cut: bool) -> None:
        self.left = number
        self.halved = halved
        self.cut = cut
        self.inside = False
        self.real = {name: getattr(os, name) for name in NAMES if hasattr(os, name)}
        self.opens = builtins.open, io.open
        self.unsynced: dict[tuple[int, int], tuple[int, int]] = {}  # (device, inode): (descriptor, bytes that are safe)
        self.tell: Callable[[str], object] = str

    def install(self, tell: Callable[[str], object]) -> None:
        """Put ourselves between the program and the system; ``_pyio`` goes through ``os`` where ``io`` does not."""
        self.tell = tell
        for name in self.real:
            setattr(os, name, self._counted(name))
        builtins.open = io.open = _pyio.open

    def take_out(self) -> None:
        """Give back the real functions."""
        for name, function in self.real.items():
            setattr(os, name, function)
        builtins.open, io.open = self.opens

    def _counted(self, name: str) -> Callable[..., Any]:
        real = self.real[name]

        def operation(*args: Any, **kwargs: Any) -> Any:
            if self.inside:
                return real(*args, **kwargs)
            self.inside = True
            try:
                self.left -= 1
                if self.left == 0:
                    self._die(name, args, kwargs)
                safe = self._size(args[0]) if name in _WRITES else 0
                result = real(*args, **kwargs)
                self._note(name, args, result, safe)
                return result
            finally:
                self.inside = False

        return operation

    def _die(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        shown = f"{name} {', '.join(_short(argument) for argument in args)}"
        if self.halved and name in _HALVED:
            data = bytes(args[1])
            safe = self._size(args[0])
            self.real[name](args[0], data[: len(data) // 2], *args[2:], **kwargs)
            self._note(name, args, None, safe)
            shown += " (half of it)"
        self.take_out()
        self.lose()
        self.tell(shown)
        os.kill(os.getpid(), signal.SIGKILL)

    def _size(self, descriptor: int) -> int:
        return os.fstat(descriptor).st_size

    def _note(self, name: str, args: tuple[Any, ...], result: object, safe: int) -> None:
        """Keep account of what a power cut would take."""
        if not self.cut:
            return
        if name == "open" and isinstance(result, int) and len(args) > 1 and args[1] & os.O_TRUNC:
            self._unsafe(result, 0)
        elif name in _WRITES:
            self._unsafe(args[0], safe)
        elif name in {"fsync", "fdatasync"}:
            found = os.fstat(args[0])
            held = self.unsynced.pop((found.st_dev, found.st_ino), None)
            if held is not None:
                os.close(held[0])

    def _unsafe(self, descriptor: int, safe: int) -> None:
        found = os.fstat(descriptor)
        key = (found.st_dev, found.st_ino)
        if key not in self.unsynced:
            self.unsynced[key] = (os.dup(descriptor), safe)

    def lose(self) -> None:
        """Take away what was never synced; to be called with the real functions in place."""
        for descriptor, safe in self.unsynced.values():
            if os.fstat(descriptor).st_size > safe:
                os.ftruncate(descriptor, safe)


def _short(argument: object) -> str:
    if isinstance(argument, bytes | bytearray | memoryview):
        return f"{len(argument)} bytes"
    return str(argument)[-80:]
