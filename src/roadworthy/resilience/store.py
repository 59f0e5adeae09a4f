"""Words that the threads of one process share: what breakers, limits and switches of scope ``process`` keep.

The same protocol over the host is :mod:`roadworthy.app.host_state`; one contract suite holds for both.

A word has no lock. It is a chain of versions: an update makes a new version from the newest and hangs it on that one by
``dict.setdefault``, which only one of several callers can win; the others begin again with the winner's. So nobody
waits for a thread that does not run. A signal handler, a GC callback or a forked child in the midst of an update finds
the word whole, and an exception out of any line leaves either the old values or the new ones. What is not guaranteed:
that ``fn`` is called only once. It must be a quick function of its arguments, since a version stays in memory as long
as a caller that began with it is still at work.

Values are whole numbers of 64 bits, as on the host. Who keeps what in a word says so beside its transitions, which are
pure functions of the three values and ``now``: :mod:`roadworthy.resilience.states` for breakers,
:mod:`~roadworthy.resilience.rate_limit` for limits, :mod:`~roadworthy.resilience.switch` for features and services.
"""

from __future__ import annotations

from roadworthy._clock import NS, monotonic_ns
from roadworthy.errors import Exhausted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Version = tuple[int, int, int, int, dict[int, "Version"]]

MOST_WORDS = 4096
"""Names in one store; as many as on the host."""

MOST_LOST = 100
"""Rivals that were quicker before an update may give up; each of them has done its own."""

_LIMIT = 1 << 63


class Word:
    """Three whole numbers; a :class:`~roadworthy.types.StateWord`."""

    __slots__ = ("_near",)

    def __init__(self) -> None:
        self._near: Version = (0, 0, 0, 0, {})

    def read(self) -> tuple[int, int, int, int]:
        """Return the three values and the monotonic ns of their last update (0: never)."""
        version = self._near
        while (newer := version[4].get(0)) is not None:
            version = newer
        return version[:4]

    def update(
        self, fn: Callable[[int, int, int], tuple[int, int, int]], patience: float = 0.05
    ) -> tuple[int, int, int] | None:
        """Replace the values by ``fn`` of them and return the new ones.

        Returns None, with nothing changed, when others were quicker each time for ``patience`` seconds and
        :data:`MOST_LOST` times: a thread that the host let wait has not lost for that. Raises what
        ``fn`` raises, and :class:`ValueError` for a value that does not fit into 64 bits; then nothing changes, too.
        """
        lost = deadline = 0
        while True:
            version = self._near
            while (newer := version[4].get(0)) is not None:
                version = newer
            a, b, c = fn(version[0], version[1], version[2])
            if not (-_LIMIT <= a < _LIMIT and -_LIMIT <= b < _LIMIT and -_LIMIT <= c < _LIMIT):
                message = f"a shared value does not fit into 64 bits: {a}, {b}, {c}"
                raise ValueError(message)
            now = monotonic_ns()
            # Never the same stamp twice, so that who looks at it sees every update.
            made: Version = (a, b, c, max(now, version[3] + 1), {})
            if version[4].setdefault(0, made) is made:
                # Only where the next search begins: a thread that comes late with an older one costs a few steps.
                self._near = made
                return a, b, c
            lost += 1
            if lost == 1:
                deadline = now + int(patience * NS)
            elif lost >= MOST_LOST and now >= deadline:
                return None


class ProcessStore:
    """The words of this process by name; a :class:`~roadworthy.types.StateStore`."""

    __slots__ = ("_words",)

    def __init__(self) -> None:
        self._words: dict[str, Word] = {}

    def word(self, name: str) -> Word:
        """Return the word of that name, made now if need be.

        Raises :class:`~roadworthy.errors.Exhausted` when :data:`MOST_WORDS` names are taken.
        """
        found = self._words.get(name)
        if found is None:
            if len(self._words) >= MOST_WORDS:
                raise Exhausted("no shared word is free", why=f"{MOST_WORDS} names are taken.", hint="Use fewer names.")
            found = self._words.setdefault(name, Word())
        return found
