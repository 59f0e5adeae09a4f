"""Standard input from a terminal: relayed by us, because a program in its own process group may not read it.

Everything else that standard input can be (a pipe, a file) the program inherits as it is.
"""

from __future__ import annotations

import os
import select

from roadworthy import _clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from roadworthy.keeper.program import Program
    from roadworthy.keeper.worker import Worker

_LINE_MOST = 4096
_BACKGROUND_PAUSE = 1.0


class Terminal:
    """Passes what is typed to the newest worker, as long as we are in the foreground."""

    __slots__ = ("_again", "_is_one", "_program")

    def __init__(self, program: Program) -> None:
        self._program = program
        self._is_one = os.isatty(0)
        self._again = 0.0

    def watch(self, poll: select.poll, now: float) -> None:
        """Have the poll wait for typed lines when a worker takes them."""
        if self._is_one and now >= self._again and self._reader() is not None:
            poll.register(0, select.POLLIN)

    def relay(self, ready: dict[int, int]) -> None:
        """Pass on what was typed; at its end (Ctrl-D, a closed terminal) the worker's input ends too."""
        worker = self._reader()
        if 0 not in ready or worker is None:
            return
        try:
            if os.tcgetpgrp(0) != os.getpgrp():  # in the background, what is typed is for somebody else
                self._again = _clock.monotonic() + _BACKGROUND_PAUSE
                return
            data = os.read(0, _LINE_MOST)
            if data:
                os.write(worker.stdin, data)
                return
        except BlockingIOError:
            return  # the program does not read: its pipe is full, and what was typed beyond that is lost
        except OSError:
            pass
        os.close(worker.stdin)
        worker.stdin = -1

    def _reader(self) -> Worker | None:
        living = [worker for worker in self._program.living if worker.stdin >= 0]
        return living[-1] if living else None
