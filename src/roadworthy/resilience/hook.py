"""What policies tell the outside, and who listens; by default nobody does.

The application's runtime attaches itself (:mod:`roadworthy.app.policies`): it is called back here when the first policy
is made, so that a program without policies does not pay for them, and this package needs neither arena nor log. Nothing
that a listener raises reaches the program.
"""

from __future__ import annotations

from _weakref import ref

from roadworthy.resilience.outcome import SUCCESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    from roadworthy.types import StateStore

    class Hook(Protocol):
        """Who listens."""

        def words(self, policy: str) -> tuple[Any, int] | None:
            """Return where successes of a policy are counted: ``sequence[index] += 1`` is all that a success does."""

        def count(self, policy: str, outcome: int, n: int) -> None:
            """Count calls that came to another outcome; numbers as in :mod:`roadworthy.resilience.outcome`."""

        def add(self, series: str, policy: str, n: int) -> None:
            """Count in ``resilience.<series>``: retries, retries.denied, fallbacks, hedges."""

        def changed(
            self, policy: str, kind: str, before: str, after: str, reason: str, fields: Mapping[str, object]
        ) -> None:
            """Learn that the breaker (``kind``) of a policy went from one state to another."""

        def declared(self, policy: object) -> None:
            """Learn of a policy, by its name and ``describe``."""

        def store(self) -> StateStore | None:
            """Return what the processes of this application share; None when nothing can be shared."""

        def failed(self, place: str, error: BaseException) -> bool:
            """Count a failure of ours; True when the exception is the program's own and must pass."""

    class Reporter(Protocol):
        """What is told of a new listener: a policy."""

        name: str

        def attach(self, listener: Hook | None) -> None:
            """Count with this listener from now on, and tell it what was counted before."""


_listener: Hook | None = None
_living: dict[int, ref[Any]] = {}
_first_use: list[Callable[[], object]] = []
_noted: dict[str, str] = {}
_MOST_NOTED = 32


def attach(listener: Hook | None) -> None:
    """Tell everything to ``listener`` from now on, with all living policies; None: to nobody."""
    global _listener  # noqa: PLW0603 - one listener per process
    _listener = listener
    for policy in living():
        policy.attach(listener)
        if listener is not None:
            told("declared", listener.declared, policy)


def when_used(function: Callable[[], object]) -> None:
    """Call ``function`` once, when the first policy is made; now if there is one. What it raises is dropped."""
    if _living:
        told("first use", function)
    else:
        _first_use.append(function)


def made(policy: Any) -> None:  # noqa: ANN401 - a Reporter that may be weakly referenced
    """Note a new policy and tell the listener of it."""
    number = id(policy)
    _living[number] = ref(policy, lambda gone: _living.pop(number, None) if _living.get(number) is gone else None)
    waiting, _first_use[:] = _first_use[:], []
    if waiting:
        for function in waiting:
            told("first use", function)  # whoever attaches a listener now attaches this policy, too
    elif _listener is not None:
        policy.attach(_listener)
        told("declared", _listener.declared, policy)


def living() -> list[Any]:
    """Return the policies that exist in this process, in the order in which they were made."""
    return [policy for known in list(_living.values()) if (policy := known()) is not None]


def told(place: str, function: Callable[..., object], *arguments: object) -> Any:  # noqa: ANN401 - what it returns
    """Call a listener; None when it raises, which it is told of in turn. Only what is the program's own passes."""
    try:
        return function(*arguments)
    except Exception as error:
        if failed(place, error):
            raise
        return None


def failed(place: str, error: BaseException) -> bool:
    """Report a failure of ours; True when the exception is the program's own and must pass."""
    listener = _listener
    _noted[place] = f"{type(error).__name__}: {error}"[:200]
    if len(_noted) > _MOST_NOTED:
        _noted.pop(next(iter(_noted)), None)
    try:
        return listener is not None and listener.failed(place, error)
    except Exception:  # noqa: BLE001 - telling is the last resort: when it fails too, the program matters more
        return False


def failures() -> dict[str, str]:
    """Return the last failure of ours at each place; empty when there was none."""
    return dict(_noted)


def shared_store() -> StateStore | None:
    """Return what the processes of this application share; None when there is nobody who provides it."""
    return None if _listener is None else told("store", _listener.store)


class Meter:
    """The outcomes of one policy: counted here, and outside when somebody listens.

    ``word`` is where the wrappers count a success: ``sequence, index = meter.word; sequence[index] += 1``. One load
    gives both, so that a thread never sees the one without the other when a listener comes or a child is forked.
    """

    __slots__ = ("_base", "_listener", "_told", "counts", "policy", "word")

    def __init__(self, policy: str) -> None:
        self.policy = policy
        self.counts = [0] * 8
        self.word: tuple[Any, int] = (self.counts, SUCCESS)
        self._told = [0] * 8
        self._base = 0
        self._listener: Hook | None = None

    def attach(self, listener: Hook | None) -> None:
        """Count with ``listener`` from now on, beginning with what nobody was told of; None: for ourselves."""
        self._settle()
        self._listener = listener
        found = None if listener is None else told("words", listener.words, self.policy)
        if listener is None or found is None:
            return
        for outcome, n in enumerate(self.counts):
            if n > self._told[outcome]:
                told("count", listener.count, self.policy, outcome, n - self._told[outcome])
            self._told[outcome] = n
        sequence, index = found
        try:
            self._base = int(sequence[index])
            self.word = found
        except Exception as error:
            if failed("meter", error):
                raise

    def _settle(self) -> None:
        """Take the successes that were counted outside into our own counts, which count on."""
        if self.word[0] is not self.counts:
            self.counts[SUCCESS] = self._told[SUCCESS] = self.successes()
            self.word = (self.counts, SUCCESS)

    def forked(self, word: tuple[Any, int] | None = None) -> None:
        """Begin at 0, in a forked child: in another place, where it stands at 0 too, or in our own counts."""
        self.counts = [0] * 8
        self._told = [0] * 8
        self._base = 0
        self.word = word or (self.counts, SUCCESS)

    def successes(self) -> int:
        """Return how many calls succeeded in time."""
        mine = self.counts[SUCCESS]
        sequence, index = self.word
        if sequence is self.counts:
            return mine
        try:
            return mine + int(sequence[index]) - self._base
        except Exception as error:
            if failed("meter", error):
                raise
            return mine

    def count(self, outcome: int) -> None:
        """Count one call."""
        if outcome == SUCCESS:
            sequence, index = self.word
            sequence[index] += 1
            return
        self.counts[outcome] += 1
        if self._listener is not None:
            self._told[outcome] += 1
            told("count", self._listener.count, self.policy, outcome, 1)

    def add(self, series: str, n: int = 1) -> None:
        """Count retries, retries.denied, fallbacks or hedges."""
        if self._listener is not None:
            told(series, self._listener.add, series, self.policy, n)

    def changed(self, kind: str, before: str, after: str, reason: str, fields: Mapping[str, object]) -> None:
        """Tell that something of this policy went from one state to another."""
        if self._listener is not None:
            told("changed", self._listener.changed, self.policy, kind, before, after, reason, fields)
