"""Emergency state: what must not be lost when the program dies, in one file that is whole or not there.

::

    recovery.emergency_state(lambda: {"turn": world.turn, "units": world.units})   # saved on a critical failure
    saved = recovery.load_emergency_state()                                        # at the next start; None: none

The file is written beside its place (mode 0600), flushed to the disk, then renamed over; the one before is kept as
``emergency.previous.json``. It carries a checksum: what was damaged later is a clear error, never half a state.
What is saved must be plain data (dicts, lists, text, numbers, None).
"""

from __future__ import annotations

import os

from roadworthy._clock import wall
from roadworthy.errors import Refused, RoadworthyError, Unavailable, Unhealthy, UsageError
from roadworthy.resilience import outward

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

NAME = "emergency.json"
PREVIOUS = "emergency.previous.json"
FORMAT = 1
MOST_BYTES = 64 << 20
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class EmergencyStateBroken(Unhealthy):
    """The saved emergency state was damaged after it was written, or is none."""


def directory(given: str = "") -> str:
    """Return where emergency state is kept.

    ``given``; else what the runtime says; else ``$STATE_DIRECTORY``; else ``$XDG_STATE_HOME/roadworthy`` (default
    ``~/.local/state``) with the script's name.
    """
    if given:
        return os.fspath(given)
    told = outward.tell("state_directory")
    if isinstance(told, str) and told:
        return told
    systemd = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if systemd:
        return systemd
    import sys

    root = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    script = os.path.splitext(os.path.basename((getattr(sys, "argv", None) or [""])[0]))[0]
    return os.path.join(root, "roadworthy", script or "python")


def save(state: object, place: str, reason: str = "") -> str:
    """Write ``state`` into directory ``place``, made if need be, and return the file's path.

    Either the new state is there, whole, or the one before is still there. Raises
    :class:`~roadworthy.errors.UsageError` when it is no plain data, :class:`~roadworthy.errors.Unavailable` when it
    cannot be written.
    """
    import json
    from hashlib import sha256

    try:
        body = json.dumps(state, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            "the emergency state is no plain data", why=str(error), hint="Save dicts, lists, text, numbers and None."
        ) from error
    head = {
        "format": FORMAT,
        "at": wall(),
        "reason": reason,
        "pid": os.getpid(),
        "sha256": sha256(body.encode()).hexdigest(),
    }
    path = os.path.join(place, NAME)
    draft = f"{path}.{os.getpid()}.draft"
    try:
        os.makedirs(place, mode=0o700, exist_ok=True)
        _clear(draft)
        descriptor = os.open(draft, _FLAGS, 0o600)
        try:
            try:
                _write_all(descriptor, f"{json.dumps(head)}\n{body}\n".encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            _keep_previous(place)
            os.replace(draft, path)
        except BaseException:
            _clear(draft)
            raise
        _sync_directory(place)
    except OSError as error:
        raise Unavailable(
            f"the emergency state could not be saved in {place}",
            why=f"{type(error).__name__}: {error.strerror or error}",
            hint="Make room there, or name another directory.",
        ) from error
    return path


def load(place: str, *, previous: bool = False) -> dict[str, Any] | None:
    """Return the saved state with ``at`` (wall seconds) and ``reason`` as a dict; None when nothing was saved.

    Raises :class:`EmergencyStateBroken` for a damaged file, naming the older one if that is whole,
    :class:`~roadworthy.errors.Refused` for somebody else's file, :class:`~roadworthy.errors.Unavailable` for one that
    cannot be read.
    """
    path = os.path.join(place, PREVIOUS if previous else NAME)
    try:
        found = read(path)
        return found if found is not None or previous else read(os.path.join(place, PREVIOUS))
    except EmergencyStateBroken as error:
        older = os.path.join(place, PREVIOUS)
        if previous or not whole(older):
            raise
        error.hint = f"The one before it is whole: load it with previous=True ({older})."
        raise


def read(path: str) -> dict[str, Any] | None:
    """Return what one file holds, None when there is none; raises as :func:`load`."""
    import json
    from hashlib import sha256

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"{path} cannot be read", why=f"{type(error).__name__}: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if found.st_uid not in {os.getuid(), 0}:
            raise Refused(f"{path} belongs to another user", why=f"Its owner is {found.st_uid}.", hint="Remove it.")
        # No more than is there: room for the most would be set aside before, in a process that may have none.
        data = file.read(min(found.st_size, MOST_BYTES) + 1)
    first, _, body = data.partition(b"\n")
    body = body.removesuffix(b"\n")
    try:
        head = json.loads(first)
        good = isinstance(head, dict) and head.get("format") == FORMAT and len(data) <= MOST_BYTES
        if good and sha256(body).hexdigest() == head.get("sha256"):
            return {"state": json.loads(body), "at": head["at"], "reason": head["reason"], "path": path}
        why = "Its checksum does not fit its contents." if good else "It has no header of ours."
    except (ValueError, KeyError, RecursionError) as error:
        why = f"It is cut or overwritten ({type(error).__name__})."
    raise EmergencyStateBroken(f"the emergency state in {path} is damaged", why=why, hint="Nothing older is whole.")


def whole(path: str) -> bool:
    """Tell whether a file is there and holds an undamaged state."""
    try:
        return read(path) is not None
    except RoadworthyError:
        return False


class Emergency:
    """The functions that give what must not be lost, and the saving of it, at most once in :data:`EVERY` seconds."""

    EVERY = 5.0

    def __init__(self) -> None:
        self._sources: dict[str, tuple[Callable[[], object], str]] = {}
        self.saved = 0
        self.failed = 0
        self.last_error = ""
        self._saved_at: float | None = None

    def register(self, save_fn: Callable[[], object], place: str = "", name: str = "state") -> None:
        """Have ``save_fn()`` asked for what must be saved; the same name again replaces it. Raises UsageError."""
        if not callable(save_fn):
            raise UsageError("save_fn cannot be called", hint="Give a function that returns plain data.")
        self._sources[name] = save_fn, place

    @property
    def registered(self) -> bool:
        """Whether there is anything to save."""
        return bool(self._sources)

    def save(self, reason: str, now: float, *, soon: bool = False) -> list[str]:
        """Save what every function gives and return the paths; never raises.

        What could not be saved is counted and kept in ``last_error``; the others are saved nevertheless. Again within
        :data:`EVERY` seconds only with ``soon``.
        """
        if not soon and self._saved_at is not None and now - self._saved_at < self.EVERY:
            return []
        self._saved_at = now
        by_place: dict[str, dict[str, object]] = {}
        for name, (function, place) in list(self._sources.items()):
            try:
                by_place.setdefault(directory(place), {})[name] = function()
            except Exception as error:  # noqa: BLE001 - the program's function, in a program that is failing
                self._missed(error)
        paths = []
        for place, states in by_place.items():
            try:
                paths.append(save(states, place, reason))
                self.saved += 1
            except (RoadworthyError, MemoryError) as error:
                self._missed(error)
        return paths

    def load(self, place: str = "", *, name: str = "state", previous: bool = False) -> Mapping[str, Any] | None:
        """Return what was saved under ``name``, with ``at`` and ``reason``; None: nothing. Raises as :func:`load`."""
        found = load(directory(place), previous=previous)
        if found is None or not isinstance(found["state"], dict) or name not in found["state"]:
            return None
        return {**found, "state": found["state"][name]}

    def _missed(self, error: BaseException) -> None:
        self.failed += 1
        self.last_error = f"{type(error).__name__}: {error}".replace("\n", " ")[:300]


def _keep_previous(place: str) -> None:
    """Keep the newest whole state as the one before: a damaged one never takes the place of a whole one."""
    path, older = os.path.join(place, NAME), os.path.join(place, PREVIOUS)
    if whole(path):
        _clear(f"{older}.draft")
        try:
            os.link(path, f"{older}.draft")  # both names at once
        except PermissionError:
            os.replace(path, older)  # a file system without links: for an instant only the older name is there
        else:
            os.replace(f"{older}.draft", older)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_directory(place: str) -> None:
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _clear(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
