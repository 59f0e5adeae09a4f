"""Faults that the film commits on request, each of them real: for drills, and for trying what a supervisor does.

    python examples/movie/main.py --misbehave leak@10       ten seconds after the start
    echo crash > DATA/misbehave                             now: the file is looked for once a second
    echo 'errors@5' >> DATA/misbehave                       five seconds after it was read
    echo none > DATA/misbehave                              an end to leak, slow, livelock and errors

The file is taken away when it is read, so that a restarted film is a healthy one.
"""

from __future__ import annotations

import ctypes
import logging
import re
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger("movie.misbehave")

LEAK_PER_SECOND = 5 << 20
MOST_LEAKED = 1 << 30
SLOW_SECONDS = 0.12
ERROR_EVERY = 10  # frames


class Kind(Enum):
    """What can go wrong."""

    LEAK = "leak"  # memory grows by 5 MB/s up to 1 GB
    HANG = "hang"  # the loop stands still, the process stays; SIGTERM does not help
    CRASH = "crash"  # an exception that nobody handles
    SEGV = "segv"  # a read at address 0
    SLOW = "slow"  # each frame takes 120 ms longer
    LIVELOCK = "livelock"  # frames go on, but the same step is refused at every turn
    ERRORS = "errors"  # every tenth frame raises and is handled
    EXIT = "exit"  # ends with status 3


_ORDER = re.compile(rf"({'|'.join(kind.value for kind in Kind)}|none)(?:@([0-9]{{1,6}}(?:\.[0-9]{{1,3}})?))?")


@dataclass(frozen=True, slots=True)
class Order:
    """One fault and the seconds to wait before it; `kind` None puts an end to all that can end."""

    kind: Kind | None
    after: float = 0.0


def parse(text: str) -> Order:
    """Return the order that KIND[@SECONDS] or `none` stands for. Raises ValueError naming the text and the kinds."""
    order = _ORDER.fullmatch(text.strip().lower())
    if order is None:
        kinds = ", ".join(kind.value for kind in Kind)
        raise ValueError(f"misbehave {text.strip()!r}: say KIND or KIND@SECONDS, KIND being one of {kinds} or none")
    name, seconds = order.groups(default="0")
    return Order(None if name == "none" else Kind(name), float(seconds))


class Injected(RuntimeError):
    """The exception of `crash` and `errors`."""


@dataclass(slots=True)
class Faults:
    """What is ordered, what is going on, and the memory that has been leaked."""

    file: Path
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    active: set[Kind] = field(default_factory=set)
    _pending: list[tuple[float, Order]] = field(default_factory=list)
    _next_look: float = 0.0
    _leaked: list[bytes] = field(default_factory=list)
    _leaked_at: float = 0.0

    def order(self, order: Order) -> None:
        """Take an order; its seconds count from now."""
        self._pending.append((self.clock() + order.after, order))

    def between_frames(self) -> None:
        """Commit what is due outside of any frame, where nothing is handled: this may never return."""
        now = self.clock()
        if now >= self._next_look:
            self._next_look = now + 1.0
            self._take_file()
        for due in [entry for entry in self._pending if entry[0] <= now]:
            self._pending.remove(due)
            self._begin(due[1].kind, now)
        if Kind.LEAK in self.active:
            self._leak(now)

    def within_frame(self, frame: int) -> None:
        """Dawdle while `slow` goes on; raise Injected at every tenth frame while `errors` does."""
        if Kind.SLOW in self.active:
            self.sleep(SLOW_SECONDS)
        if Kind.ERRORS in self.active and frame % ERROR_EVERY == 1:
            raise Injected(f"frame {frame} was told to fail")

    @property
    def refuses_steps(self) -> bool:
        """Whether the ground refuses every step."""
        return Kind.LIVELOCK in self.active

    def _take_file(self) -> None:
        try:
            text = self.file.read_text(encoding="utf-8", errors="replace")
            self.file.unlink()
        except FileNotFoundError:
            return
        except OSError as exc:
            log.warning("orders in %s are ignored: %s", self.file, exc)
            return
        for line in filter(None, map(str.strip, text.splitlines())):
            try:
                self.order(parse(line))
            except ValueError as exc:
                log.warning("%s", exc)

    def _begin(self, kind: Kind | None, now: float) -> None:
        if kind is None:
            log.warning("misbehaviour ends", extra={"ended": sorted(kind.value for kind in self.active)})
            self.active.clear()
            self._leaked.clear()
            return
        log.warning("misbehaviour begins: %s", kind.value, extra={"misbehaviour": kind.value})
        match kind:
            case Kind.HANG:
                while True:
                    self.sleep(3600)
            case Kind.CRASH:
                raise Injected("the film was told to crash")
            case Kind.SEGV:
                ctypes.string_at(0)
            case Kind.EXIT:
                raise SystemExit(3)
            case _:
                self._leaked_at = now
                self.active.add(kind)

    def _leak(self, now: float) -> None:
        """Keep as much memory as the time since the last leak asks for, in pages that are really used."""
        amount = int((now - self._leaked_at) * LEAK_PER_SECOND)
        if amount >= LEAK_PER_SECOND // 10 and sum(map(len, self._leaked)) < MOST_LEAKED:
            self._leaked.append(b"\1" * amount)
            self._leaked_at = now
