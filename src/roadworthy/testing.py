"""For tests, yours and ours: what the program recorded, read back as the agent would read it.

::

    from roadworthy.testing import recording

    def test_extraction_is_measured():
        with recording() as seen:
            extract("game.sfc")
        assert seen.count("operation.duration", operation="sprite_extraction", outcome="success") == 1
        assert seen.errors() == []

And how its policies behave, without waiting for it::

    from roadworthy.testing import MovableClock, no_wait

    def test_the_upstream_is_asked_again_after_the_break():
        with MovableClock() as clock:
            ...                     # fail until the breaker is open
            clock.move(60)
            ...                     # a probe is let through

    def test_the_third_attempt_succeeds():
        with no_wait() as pauses:
            fetch()
        assert len(pauses) == 2

    def test_the_page_survives_a_bad_upstream():
        with upstream.inject(fail=0.3, delay=0.5, seed=1):
            ...
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from roadworthy import _clock
from roadworthy.app import start
from roadworthy.arena.reader import Reader
from roadworthy.errors import Unavailable, UsageError

if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Self

    from roadworthy.arena.records import RawBeat, RawEvent, RawInFlight, RawMark, RawSeries

Key = tuple[str, tuple[tuple[str, str], ...]]


class Recorded:
    """What was recorded since :func:`recording` began, up to now; every question reads the arena anew."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._before: dict[Key, float] = {}
        for found in self._series():
            self._before[_key(found)] = self._before.get(_key(found), 0.0) + _total(found)
        events, _ = reader.events()
        self._after = events[-1].seq if events else -1

    def count(self, name: str, **labels: str) -> int:
        """Return by how much a counter grew, or how many values a histogram got, over all series with these labels.

        A dot in a label's name is written as two underscores: ``error__type="KeyError"``.
        """
        return round(self.value(name, **labels))

    def value(self, name: str, **labels: str) -> float:
        """Return as :meth:`count`, with the fraction."""
        wanted = {(key.replace("__", "."), value) for key, value in labels.items()}
        grown = 0.0
        for found in self._series():
            if found.name == name and found.kind != "gauge" and wanted <= set(found.labels):
                grown += _total(found)
        for (known, pairs), before in self._before.items():
            if known == name and wanted <= set(pairs):
                grown -= before
        return grown

    def gauge(self, name: str, **labels: str) -> float | None:
        """Return what a gauge stands at, None when it was never set."""
        wanted = {(key.replace("__", "."), value) for key, value in labels.items()}
        for found in self._series():
            if found.name == name and found.kind == "gauge" and wanted <= set(found.labels):
                return found.value
        return None

    def events(self, kind: str = "") -> list[RawEvent]:
        """Return the events since the beginning, oldest first, all or of one kind."""
        found, _ = self._reader.refresh().events(self._after)
        return [event for event in found if not kind or event.kind == kind]

    def errors(self) -> list[RawEvent]:
        """Return the errors that were recorded, oldest first."""
        return self.events("error")

    def in_flight(self) -> list[RawInFlight]:
        """Return the operations that are under way now."""
        return list(self._reader.refresh().inflight())

    def beats(self) -> dict[str, RawBeat]:
        """Return the declared signals of life of this process by name."""
        return {beat.name: beat for beat in self._reader.refresh().beats()}

    def marks(self) -> list[RawMark]:
        """Return the start-up checkpoints of this process."""
        return list(self._reader.refresh().marks())

    def _series(self) -> list[RawSeries]:
        return self._reader.refresh().series()


@contextmanager
def recording() -> Iterator[Recorded]:
    """Give what the program records while the block runs; starts roadworthy if need be.

    It then lives in a temporary place. Raises :class:`~roadworthy.errors.Unavailable` when it cannot run, because it is
    switched off for instance. Instruments made before keep working: the figures are differences, not totals.
    """
    if start.current() is None and "ROADWORTHY_HOME" not in os.environ and "ROADWORTHY_ARENA_DIR" not in os.environ:
        os.environ["ROADWORTHY_HOME"] = tempfile.mkdtemp(prefix="roadworthy-test-")
    arena = start.ensure()
    if arena is None:
        raise Unavailable(
            "roadworthy does not run in this process, so nothing can be recorded",
            why=start.reason(),
            hint="Unset ROADWORTHY_ENABLED in your tests' environment.",
        )
    with Reader(arena.path) as reader:
        yield Recorded(reader)


def _key(series: RawSeries) -> Key:
    return series.name, tuple(series.labels)


def _total(series: RawSeries) -> float:
    if series.buckets is not None:
        return float(sum(series.buckets.values()))
    return series.value or 0.0


# -- time, for policies: all of roadworthy.resilience, and nothing else, goes by the clock of a test


class MovableClock:
    """The clock of all policies, breakers, limits and features while its block runs: it stands still until moved.

    Pauses between attempts and waits for a rate limit move it by their length and take no time; :attr:`pauses` lists
    them, in seconds. Not moved are the clocks of the program itself, of other processes and of event loops: test a
    timeout that interrupts a coroutine without this block, and short. One at a time: a clock that is replaced cannot
    be replaced again.
    """

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self._mono = _clock.monotonic_ns()
        self._wall = _clock.wall_ns()
        self._restore: list[Callable[[], object]] = []

    def move(self, seconds: float) -> None:
        """Let ``seconds`` go by, for both clocks. Raises :class:`ValueError` for less than none: :meth:`move_wall`."""
        if not seconds >= 0:
            message = f"a monotonic clock cannot be moved by {seconds} seconds"
            raise ValueError(message)
        self._mono += round(seconds * _clock.NS)
        self._wall += round(seconds * _clock.NS)

    def move_wall(self, seconds: float) -> None:
        """Set the wall clock alone ``seconds`` on, or back when negative: an operator or NTP has corrected it."""
        self._wall += round(seconds * _clock.NS)

    def monotonic_ns(self) -> int:
        """Return the monotonic clock in nanoseconds."""
        return self._mono

    def wall_ns(self) -> int:
        """Return the wall clock in nanoseconds since the epoch."""
        return self._wall

    def monotonic(self) -> float:
        """Return the monotonic clock in seconds."""
        return self._mono / _clock.NS

    def wall(self) -> float:
        """Return the wall clock in seconds since the epoch."""
        return self._wall / _clock.NS

    def sleep(self, seconds: float) -> None:
        """Move by ``seconds`` and note the pause."""
        self.pauses.append(seconds)
        self.move(seconds)

    def __enter__(self) -> Self:
        names = ("monotonic_ns", "wall_ns", "monotonic", "wall", "sleep")
        self._restore.append(_replace({name: getattr(self, name) for name in names}, self.sleep))
        return self

    def __exit__(self, *raised: object) -> None:
        self._restore.pop()()


@contextmanager
def moved(seconds: float) -> Iterator[MovableClock]:
    """Run the block ``seconds`` later, as far as policies can tell; gives the :class:`MovableClock` that does it."""
    with MovableClock() as clock:
        clock.move(seconds)
        yield clock


@contextmanager
def no_wait() -> Iterator[list[float]]:
    """Have policies wait for nothing while the block runs; gives the list of what they would have waited, in seconds.

    That is pauses between attempts and waits for a rate limit, in all threads and event loops; not injected delays.
    Clocks run on as they do: with :class:`MovableClock` instead, the time of a pause is taken to have gone by.
    """
    pauses: list[float] = []
    restore = _replace({"sleep": pauses.append}, pauses.append, but=f"{_RESILIENCE}.inject")
    try:
        yield pauses
    finally:
        restore()


_RESILIENCE = "roadworthy.resilience"
_WRAPPER = "<roadworthy policy>"
"""The file that generated wrappers name as theirs."""


def _replace(functions: dict[str, Any], pause: Callable[[float], object], but: str = "") -> Callable[[], object]:
    """Put ``functions`` in the place of those of ``_clock`` for all of resilience, and ``pause`` in that of asyncio's.

    Everybody else goes on with the real ones, the module ``but`` too.
    """
    import asyncio

    if asyncio.sleep.__module__ == __name__:
        raise UsageError(
            "the clock of policies is already replaced",
            why="A MovableClock or no_wait block is running.",
            hint="Use one at a time; a MovableClock does not wait either.",
        )
    real = {name: getattr(_clock, name) for name in functions}
    asleep = asyncio.sleep

    async def wait(delay: float, result: object = None) -> object:
        pause(delay)
        await asleep(0)
        return result

    new: list[tuple[dict[str, Any], str, Any]] = [
        (vars(module), name, functions[known])
        for module in _resilience()
        for name, value in vars(module).items()
        for known in functions
        if value is real[known] and module.__name__ != but
    ]
    new += [(vars(_clock), name, _for_resilience(functions[name], real[name], but)) for name in functions]
    new.append((vars(asyncio), "sleep", _for_resilience(wait, asleep, but)))
    old = [(namespace, name, namespace[name]) for namespace, name, _ in new]
    _put(new)
    return lambda: _put(old)


def _put(values: list[tuple[dict[str, Any], str, Any]]) -> None:
    for namespace, name, value in values:
        namespace[name] = value


def _for_resilience(function: Callable[..., Any], real: Callable[..., Any], but: str) -> Callable[..., Any]:
    """Return what calls ``function`` for resilience, and ``real`` for everybody else."""

    def either(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as what it stands for
        asking = sys._getframe(1)  # noqa: SLF001 - who asks decides
        name = str(asking.f_globals.get("__name__", ""))
        ours = name.startswith(_RESILIENCE) or asking.f_code.co_filename == _WRAPPER
        return function(*args, **kwargs) if ours and name != but else real(*args, **kwargs)

    return either


def _resilience() -> list[ModuleType]:
    """Return all modules of resilience, so that none is first imported, with the real clock, while a test runs."""
    import pkgutil
    from importlib import import_module

    package = import_module(_RESILIENCE)
    for found in pkgutil.walk_packages(package.__path__, f"{_RESILIENCE}."):
        if ".transports." not in found.name:
            import_module(found.name)
    return [module for name, module in list(sys.modules.items()) if name.startswith(_RESILIENCE)]
