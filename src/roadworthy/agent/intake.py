"""What comes from the program: arenas and output are read here and nowhere else, and handed on to all who keep count.

Whoever reads something takes it away (events, what has changed), so there is one reader and one order.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from roadworthy import _clock
from roadworthy.agent.collect import Collected, Collector
from roadworthy.agent.echoes import Echoes
from roadworthy.agent.memory import Memory
from roadworthy.agent.output import Output
from roadworthy.agent.signals import SignalBook
from roadworthy.watch.operations import Windows
from roadworthy.watch.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from roadworthy.agent.crew import Member
    from roadworthy.agent.journal import Journal
    from roadworthy.config.places import Places
    from roadworthy.types import Snapshot, Startup


class Intake:
    """Reads, counts, and remembers over a restart of the agent; what is new goes to ``journal``."""

    def __init__(self, places: Places, journal: Journal) -> None:
        self._journal = journal
        self.memory = Memory(places.state)
        self.collector = Collector(places.arena, places.state, self.memory.positions)
        self.output = Output(places.arena, self.memory.offsets)
        self._echoes = Echoes()
        self.windows = Windows()
        self._record = Record()
        self.signals = SignalBook()
        self._disk = ThreadPoolExecutor(1, "memory")
        self._saving: Future[None] | None = None

    def read(self, now_ns: int, now: float, members: Sequence[Member]) -> Collected:
        """Read all arenas and output files, and hand on what is new in them."""
        # The output first: what a logging handler has printed until now is in the arena by the time that is read.
        lines = self.output.read(now, [(one.slot, one.generation, one.pid) for one in members if one.pid is not None])
        collected = self.collector.collect(now_ns, now)
        self._echoes.hear(now, collected.events)
        self.windows.update(now_ns / _clock.NS, collected.changed)
        self._record.metrics(collected.changed, collected.series if collected.anew else None, collected.places)
        self._journal.add((*collected.known, *collected.events, *self._echoes.without(lines)))
        self.memory.errors.take(collected.events)
        self.signals.events(collected.events)
        self.signals.output(self.output.last or now, self.output.grown)
        self.signals.series(now, collected.changed, collected.places, anew=collected.anew)
        self.signals.gauges(collected.gauges_set)
        self.signals.beats(now, [beat for process in collected.processes if process.alive for beat in process.beats])
        for notices in (self.collector.notices, self.memory.notices):
            for notice in notices:
                self._journal.note(notice, level="error")
            notices.clear()
        return collected

    def figures(self, snapshot: Snapshot) -> dict[str, float]:
        """Return what is recorded of a snapshot, by name."""
        return self._record.figures(
            snapshot.gauges,
            snapshot.resources,
            {worker.slot: worker.resources for worker in snapshot.workers},
            snapshot.operations,
            snapshot.system,
            self.windows.distributions(),
        )

    def remember(self, startups: Iterable[Startup]) -> None:
        """Save what must survive, in a thread because a disk may take its time.

        What fails is a finding until it works again.
        """
        saving = self._saving
        if saving is not None:
            if not saving.done():
                return  # the disk is slow: the next time will do
            self._journal.attempt("state", saving.result)
        text = self.memory.told(self.collector.positions(), startups, self.output.offsets())
        self._saving = self._disk.submit(self.memory.write, text)

    def close(self, startups: Iterable[Startup]) -> None:
        """Save for the last time and unmap all arenas."""
        self._disk.shutdown()
        text = self.memory.told(self.collector.positions(), startups, self.output.offsets())
        self._journal.attempt("state", lambda: self.memory.write(text))
        self.collector.close()
