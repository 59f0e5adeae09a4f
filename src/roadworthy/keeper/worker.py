"""One generation of one worker slot: its process, what descends from it, its output, how it ended."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from roadworthy.keeper.output import Stream
    from roadworthy.keeper.wire import Message

RUNNING = "running"
STOPPING = "stopping"
DOWN = "down"


class Worker:
    """A generation in a slot; down when its main process was collected and nothing that descends from it lives."""

    __slots__ = (
        "exit",
        "generation",
        "killed",
        "last",
        "main",
        "pid",
        "slot",
        "started_ns",
        "state",
        "stdin",
        "stop_by",
        "streams",
        "swept",
        "ticks",
    )

    def __init__(self, slot: int, generation: int, streams: tuple[Stream, ...]) -> None:
        self.slot = slot
        self.generation = generation
        self.streams = streams
        self.state = RUNNING
        self.pid = 0
        self.ticks = 0
        self.started_ns = 0
        self.main = False
        """Whether the main process has not been collected yet."""
        self.exit: Message | None = None
        self.last: tuple[int | None, int | None] = (None, None)
        """Code and signal of the process collected last: the status of a daemonized program."""
        self.stop_by: float | None = None
        self.swept = 0.0
        self.killed: list[int] = []
        self.stdin = -1

    @property
    def name(self) -> str:
        """Return what messages call it."""
        return f"worker {self.slot} (pid {self.pid})"

    def row(self) -> Message:
        """Return its line of ``keeper.json``."""
        return {
            "slot": self.slot,
            "generation": self.generation,
            "pid": self.pid or None,
            "start_ticks": self.ticks or None,
            "started_ns": self.started_ns,
            "state": self.state,
            "main": self.main,
            "exit": self.exit,
        }

    def status(self) -> int:
        """Return how it ended as a shell would: the code, or 128 plus the signal."""
        code, signal = self.last
        return 128 + signal if signal is not None else code or 0
