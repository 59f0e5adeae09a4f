"""The control page: what the agent tells the workers, compared by them in one load.

Word 1 is the generation, odd while the page is being written. A worker asks :meth:`ControlReader.generation` where it
matters and :meth:`ControlReader.value` only when the answer changed. Holding the writer is also the agent's claim on
the directory.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from itertools import count

from roadworthy._clock import monotonic, monotonic_ns, sleep
from roadworthy.arena import files
from roadworthy.arena.layout import (
    CONTROL_AT,
    CONTROL_BYTES,
    CONTROL_GENERATION,
    CONTROL_LENGTH,
    CONTROL_MAGIC,
    CONTROL_NAME,
    CONTROL_PID,
    CONTROL_STAMP,
    CONTROL_TEXT,
)
from roadworthy.errors import Exhausted, RoadworthyError, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_READS = 64
_CLAIM_FOR = 1.0
_drafts = count()


class ControlWriter:
    """The agent's side.

    Raises :class:`~roadworthy.errors.Unavailable` when another agent holds the page, else as ``files.create``.
    """

    def __init__(self, directory: os.PathLike[str] | str) -> None:
        path = _ensure(os.fspath(directory))
        self._mapped = files.attach(path, CONTROL_BYTES)
        self._claim = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        deadline = monotonic() + _CLAIM_FOR
        while True:
            try:
                fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                # A program that just looks whether we are there holds it for an instant.
                if monotonic() >= deadline:
                    os.close(self._claim)
                    raise Unavailable(
                        "another agent watches this application",
                        why=f"It holds {path} (pid {self._mapped.q[CONTROL_PID]}).",
                        hint="Use that one, or end it first.",
                    ) from error
            sleep(0.01)
        self._mapped.q[CONTROL_PID] = os.getpid()

    def publish(self, value: Mapping[str, object]) -> int:
        """Replace the page's value and return its generation; workers see the old value or the new one, no mixture.

        Raises :class:`~roadworthy.errors.Exhausted` when it is longer than the page, with the old value left in place.
        """
        import json

        body = json.dumps(value, separators=(",", ":")).encode()
        if len(body) > CONTROL_TEXT:
            raise Exhausted(
                "the control page is full",
                why=f"{len(body)} bytes were to be told to the workers, it holds {CONTROL_TEXT}.",
                hint="Set fewer log levels and switches.",
            )
        q = self._mapped.q
        generation = (int(q[CONTROL_GENERATION]) | 1) + 1
        q[CONTROL_GENERATION] = generation - 1
        q[CONTROL_LENGTH] = len(body)
        self._mapped.b[CONTROL_AT : CONTROL_AT + len(body)] = body
        q[CONTROL_STAMP] = monotonic_ns()
        q[CONTROL_GENERATION] = generation
        return generation

    def close(self) -> None:
        """Give up the claim; the last value stays for the workers."""
        os.close(self._claim)


class ControlReader:
    """A worker's side. Never raises: without a page there is generation 0 and an empty value, for good."""

    __slots__ = ("_b", "_q", "_seen", "_value")

    def __init__(self, directory: os.PathLike[str] | str) -> None:
        self._seen = 0
        self._value: dict[str, Any] = {}
        try:
            path = _ensure(os.fspath(directory))
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(fd).st_size != CONTROL_BYTES:
                    raise Unavailable(f"{path} has a wrong size")
                memory = mmap.mmap(fd, CONTROL_BYTES, access=mmap.ACCESS_READ)
            finally:
                os.close(fd)
        except (OSError, RoadworthyError):
            memory = mmap.mmap(-1, CONTROL_BYTES)
        self._b = memory
        self._q = memoryview(memory).cast("q")

    def generation(self) -> int:
        """Return the page's generation; odd while the agent writes it (keep what you have), 0 before it ever did."""
        return self._q[CONTROL_GENERATION]

    def value(self) -> dict[str, Any]:
        """Return the newest whole value, parsed once a generation; the last one while the page is written."""
        q = self._q
        for _ in range(_READS):
            generation = q[CONTROL_GENERATION]
            if generation == self._seen:
                break
            if generation & 1:
                continue
            length = q[CONTROL_LENGTH]
            body = bytes(self._b[CONTROL_AT : CONTROL_AT + min(max(length, 0), CONTROL_TEXT)])
            if q[CONTROL_GENERATION] != generation:
                continue
            self._value = _parsed(body, self._value)
            self._seen = generation  # last: another thread that finds it takes the value as that of this generation
        return self._value


def _parsed(body: bytes, before: dict[str, Any]) -> dict[str, Any]:
    import json

    try:
        made = json.loads(body)
    except (ValueError, RecursionError):
        return before
    return made if isinstance(made, dict) else before


def _ensure(directory: str) -> str:
    files.own_directory(directory)
    path = os.path.join(directory, CONTROL_NAME)
    files.ensure(path, CONTROL_BYTES, f"{path}.{os.getpid()}.{next(_drafts)}", {0: CONTROL_MAGIC})
    return path
