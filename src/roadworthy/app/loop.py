"""A main loop that tells its frames and turns, heartbeats, and progress.

Two figures, because they answer different questions: ``loop.frame.duration`` is the work of a frame,
``loop.frame.interval`` runs from start to start and contains the sleep; the frames per second that people mean are
those of the interval. Turns tell that the loop gets on: frames alone also come from a loop that rejects the same step
for ever.
"""

from __future__ import annotations

from roadworthy._clock import monotonic_ns
from roadworthy.app import context as contexts
from roadworthy.app import errors, guard, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Self

_loops: dict[str, Loop] = {}
_beats: dict[str, Heartbeat] = {}
_progress: dict[str, Any] = {}


class Loop:
    """A frame loop; made by :func:`loop`. Used by one thread."""

    __slots__ = (
        "_beat",
        "_begun",
        "_count",
        "_duration",
        "_interval",
        "_seen",
        "_turns",
        "name",
        "target_fps",
        "turns",
    )

    def __init__(self, name: str, target_fps: float | None) -> None:
        self.name = name
        self.target_fps = target_fps
        self.turns = 0
        self._seen = 0
        self._begun = 0
        self._beat: Any = None
        self._bind()

    @property
    def frames(self) -> int:
        """How many frames have ended."""
        return self._seen

    def frame(self) -> Loop:
        """Return a block that is one frame; an exception in it is recorded with turn and frame, and passes."""
        return self

    def frame_start(self) -> None:
        """Tell that a frame begins. Never raises."""
        try:
            now = monotonic_ns()
            if self._beat is None and not self._bind():
                return
            before = self._begun
            self._begun = now
            self._beat.frame_start(now)
            if before:
                self._interval(now - before)
        except Exception as error:
            if guard.failed("loop.frame_start", error):
                raise

    def frame_end(self) -> None:
        """Tell that the frame under way has ended; without a start before it nothing is recorded. Never raises."""
        try:
            now = monotonic_ns()
            if self._beat is None or not self._begun:
                return
            self._seen += 1
            self._beat.frame_end(now)
            self._duration(now - self._begun)
        except Exception as error:
            if guard.failed("loop.frame_end", error):
                raise

    def turn(self, n: int = 1) -> None:
        """Tell that the loop got on by ``n`` turns: progress, as the agent judges it. Never raises."""
        try:
            if self._beat is None and not self._bind():
                return
            self.turns += n
            self._beat.turn(n)
            self._turns(n)
        except Exception as error:
            if guard.failed("loop.turn", error):
                raise

    def __enter__(self) -> Self:
        self.frame_start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            errors.record(error, operation=f"loop {self.name}", context={"turn": self.turns, "frame": self._seen})
        self.frame_end()

    def _bind(self) -> bool:
        try:
            arena = start.ensure()
            if arena is None:
                return False
            labels = (("loop", self.name),)
            self._interval = arena.histogram(
                "loop.frame.interval",
                labels,
                unit="s",
                scale=1e9,
                help="from frame start to frame start, sleep included",
            ).record
            self._duration = arena.histogram(
                "loop.frame.duration", labels, unit="s", scale=1e9, help="work of a frame"
            ).record
            self._turns = arena.counter("loop.turns", labels, help="turns that the loop advanced").add
            self._beat = arena.beat(self.name, kind="loop", target_fps=self.target_fps)
            return True
        except Exception as error:
            if guard.failed("loop", error):
                raise
            return False


class Heartbeat:
    """A declared signal of life; made by :func:`heartbeat`."""

    __slots__ = ("beat", "every", "name")

    def __init__(self, name: str, every: float | None) -> None:
        self.name = name
        self.every = every
        self.beat: Callable[[], None] = self._first
        if start.current() is not None:
            self._bind()

    def _first(self) -> None:
        if self._bind():
            self.beat()

    def _bind(self) -> bool:
        try:
            arena = start.ensure()
            if arena is None:
                return False
            self.beat = arena.beat(self.name, kind="heartbeat", every=self.every).beat
            return True
        except Exception as error:
            if guard.failed("heartbeat", error):
                raise
            return False


def loop(name: str, target_fps: float | None = None) -> Loop:
    """Return the frame loop of this name: ``with rw.loop("main", target_fps=60).frame(): …`` around each pass.

    ``frame_start()`` and ``frame_end()`` do the same without a block; ``turn()`` tells that the loop got on. The same
    name gives the same loop. Never raises.
    """
    text = contexts.label_value(name)
    found = _loops.get(text)
    if found is None:
        fps = float(target_fps) if isinstance(target_fps, (int, float)) and target_fps > 0 else None
        found = _loops.setdefault(text, Loop(text, fps))
    return found


def heartbeat(name: str, every: float | None = None) -> Heartbeat:
    """Declare a signal of life that comes ``every`` seconds and return it: call its ``beat()``. Never raises.

    When it stays away for three times that, and for longer than the operator's ``--hang-after`` (10 s), the process
    counts as hung. Without ``every`` only the latter counts; one that never came at all is only shown.
    """
    text = contexts.label_value(name)
    found = _beats.get(text)
    if found is None:
        interval = float(every) if isinstance(every, (int, float)) and every > 0 else None
        found = _beats.setdefault(text, Heartbeat(text, interval))
    return found


def progress(name: str, n: int = 1) -> None:
    """Tell that ``n`` units of work were done: ``progress("rows", 500)``. Never raises.

    A process that is alive but whose declared progress stays away is reported as not progressing.
    """
    try:
        count = _progress.get(name)
        if count is None:
            arena = start.ensure()
            if arena is None:
                return
            count = _progress[name] = arena.beat(contexts.label_value(name), kind="progress").count
        count(n)
    except Exception as error:
        if guard.failed("progress", error):
            raise
